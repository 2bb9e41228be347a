use std::cell::RefCell;
use std::collections::HashMap;

use super::*;
use crate::kubernetes::fields::FIELDS;

/// Bindings in memory, for tests of the choice only; the Runner's store is tested with its databases.
#[derive(Debug, Default)]
struct Memory(Mutex<HashMap<Name, Binding>>);

#[async_trait]
impl Bindings for Memory {
    async fn bind(&self, name: &Name, binding: Binding) -> Result<Binding> {
        Ok(self.0.lock().unwrap().entry(name.clone()).or_insert(binding).clone())
    }

    async fn binding(&self, name: &Name) -> Result<Option<Binding>> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    async fn unbind(&self, name: &Name) -> Result<()> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }

    async fn identity(&self) -> Result<String> {
        Ok("p1".to_owned())
    }

    async fn with_owner(&self, names: &[Name]) -> Result<HashSet<Name>> {
        Ok(names.iter().filter(|name| self.0.lock().unwrap().contains_key(*name)).cloned().collect())
    }
}

/// A cluster that accepts applications, and answers each create with the same result. It may be unable to store logs.
#[derive(Debug)]
struct Answering(Result<()>, Mutex<Option<String>>);

#[async_trait]
impl Compute for Answering {
    fn capabilities(&self) -> Capabilities {
        Capabilities { fields: &FIELDS, abilities: &[] }
    }

    fn accepts(&self, _: &SparkApplication) -> Result<()> {
        Ok(())
    }

    async fn create(&self, _: &SparkApplication) -> Result<()> {
        self.0.clone()
    }

    async fn get(&self, _: &Name) -> Result<Option<Status>> {
        Ok(Some(Status::new(Phase::Running)))
    }

    fn watch(&self) -> BoxStream<'static, Result<WatchEvent>> {
        Box::pin(futures_util::stream::pending())
    }

    async fn delete(&self, _: &Name, _: Duration) -> Result<()> {
        Ok(())
    }

    async fn logs(&self, _: &Name, after: &Cursor, _: usize) -> Result<Log> {
        Ok(Log { next: after.clone(), bytes: Vec::new() })
    }

    async fn tail(&self, _: &Name, _: usize) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    async fn forget(&self, _: &Name) -> Result<()> {
        Ok(())
    }

    fn log_problem(&self) -> Option<String> {
        self.1.lock().unwrap().clone()
    }
}

fn clusters(answer: Result<()>) -> Clusters {
    let properties = Properties { weight: 1, ..Properties::default() };
    let (kind, orphans) = ("kubernetes", Orphans::default());
    let member = Member { kind, properties, orphans, compute: Arc::new(Answering(answer, Mutex::default())) };
    let members = BTreeMap::from([("main".to_owned(), member)]);
    Clusters::new(members, Arc::new(Memory::default()), || Timestamp::UNIX_EPOCH, |_| {})
}

fn application() -> SparkApplication {
    let mut application = SparkApplication::default();
    application.metadata.name = "a-1".to_owned();
    application
}

#[tokio::test]
async fn an_application_counts_as_load_unless_its_cluster_rejects_it() {
    for (answer, load) in [
        (Ok(()), 1),
        // It may have been created.
        (Err(Error::Unavailable("no answer".to_owned())), 1),
        (Err(Error::Invalid("a bad template".to_owned())), 0),
    ] {
        let clusters = clusters(answer.clone());
        assert_eq!(clusters.create(&application()).await, answer);
        assert_eq!(clusters.statuses()[0].load, load, "{answer:?}");
    }
}

#[tokio::test]
async fn an_application_that_was_stopped_before_gets_no_cluster() {
    let clusters = clusters(Ok(()));
    let name: Name = "a-1".parse().unwrap();
    clusters.delete(&name, Duration::from_secs(1)).await.unwrap();
    clusters.create(&application()).await.unwrap();
    let status = clusters.get(&name).await.unwrap().expect("the binding is known");
    assert_eq!((status.phase, clusters.statuses()[0].load), (Phase::Ended, 0));
}

#[tokio::test]
async fn nothing_is_concluded_about_an_application_whose_cluster_was_removed() {
    let clusters = clusters(Ok(()));
    let name: Name = "a-1".parse().unwrap();
    clusters.create(&application()).await.unwrap();
    clusters.replace(BTreeMap::new());
    let Err(Error::Unavailable(why)) = clusters.get(&name).await else { panic!("nothing is known") };
    assert!(why.starts_with("the cluster `main` is not in the clusters file any more"), "{why}");
    clusters.create(&application()).await.expect_err("it is not started elsewhere");
}

#[tokio::test]
async fn a_status_has_the_name_of_the_cluster_and_the_choice_is_reported() {
    let clusters = clusters(Ok(()));
    let name: Name = "a-1".parse().unwrap();
    assert_eq!(clusters.report().routings, []);
    clusters.create(&application()).await.unwrap();
    clusters.create(&application()).await.unwrap();
    let status = clusters.get(&name).await.unwrap().expect("it runs");
    assert_eq!(status.cluster.as_deref(), Some("main"));
    let report = clusters.report();
    let chosen: Vec<_> = report.routings.iter().map(|it| (&it.application, it.cluster.as_deref())).collect();
    assert_eq!(chosen, [(&name, Some("main"))], "a bound application is not routed again");
    assert_eq!((report.clusters[0].name.as_str(), report.clusters[0].load), ("main", 1));
}

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

#[tokio::test]
async fn each_cause_why_logs_are_not_stored_is_logged_once_until_they_are_stored_again() {
    let compute = Arc::new(Answering(Ok(()), Mutex::default()));
    let (kind, orphans) = ("kubernetes", Orphans::default());
    let member =
        Member { kind, properties: Properties::default(), orphans, compute: Arc::clone(&compute) as _ };
    let members = BTreeMap::from([("main".to_owned(), member)]);
    let log = |text: &str| LOGGED.with_borrow_mut(|lines| lines.push(text.to_owned()));
    let clusters = Clusters::new(members, Arc::new(Memory::default()), || Timestamp::UNIX_EPOCH, log);
    let cluster = clusters.0.cluster("main").unwrap();
    for problem in [None, Some("full"), Some("full"), Some("denied"), Some("full"), None, None, Some("full")]
    {
        *compute.1.lock().unwrap() = problem.map(str::to_owned);
        health::check_logs("main", &cluster, &clusters.0);
        assert_eq!(clusters.statuses()[0].log_problem.as_deref(), problem);
    }
    let expected = ["not stored: full", "not stored: denied", "stored again", "not stored: full"];
    let expected = expected.map(|end| format!("cluster `main`: logs of drivers are {end}"));
    assert_eq!(LOGGED.take(), expected);
}
