//! Two Runners on one PostgreSQL, whose policy has limits of domains.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use dcp_runner::api::{Error, Record, Runner as _};
use dcp_runner::execution::{Id, Phase};
use dcp_runner::remote::{Options, Remote};
use dcp_runner::request::{Definition, Submit};
use dcp_tests::fake_spark::{FakeSpark, wait_until};
use dcp_tests::postgres;
use rustix::process::Signal;
use serde_json::json;

use super::world::command;
use crate::continuous::Process;
use crate::harness::Sandbox;

/// Writes a line with the domain at the beginning and at the end of a driver, which waits for the file `go`.
const SCRIPT: &str = r#"
echo "+${@: -1}" >> runs
while [ ! -e go ]; do sleep 0.05; done
sleep 0.$((RANDOM % 5 + 1))
echo "-${@: -1}" >> runs
"#;

const EXECUTIONS: usize = 12;

fn policy(running: u32) -> String {
    format!(
        "bindings:\n- {{role: developer, users: [ci], scopes: [\"*\"], domains: [\"*\"]}}\n\
         limits:\n- {{domains: [sales], running: {running}}}\n- {{domains: [hr], submitsPerSecond: 1}}\n"
    )
}

struct Runners {
    sandbox: Sandbox,
    fake_spark: FakeSpark,
    database: String,
    token: String,
}

impl Runners {
    fn new() -> Self {
        let (sandbox, fake_spark) = (Sandbox::new(), FakeSpark::with_version("4.1.1", SCRIPT));
        sandbox.write("policy.yaml", policy(1)).write("main.py", "");
        let database = postgres::database();
        let mut create = command(&sandbox, &fake_spark, &["token", "create", "ci"]);
        let output = create.env("DCP_DATABASE", &database).output().expect("the binary can be run");
        let token = String::from_utf8(output.stdout).expect("a token is ASCII").trim().to_owned();
        Self { sandbox, fake_spark, database, token }
    }

    fn start(&self, name: &str) -> (Process, Remote) {
        let args = ["serve", "runner", "--listen", "127.0.0.1:0", "--policy", "policy.yaml", "--quiet"];
        let mut serve = command(&self.sandbox, &self.fake_spark, &args);
        serve.env("DCP_DATABASE", &self.database);
        let process = Process::start(serve, name, self.sandbox.join(&format!("{name}.log")));
        let client = self.client(&process.url, Duration::from_millis(200));
        (process, client)
    }

    fn client(&self, url: &str, retry_for: Duration) -> Remote {
        let options = Options { retry_for, ..Options::new(url, self.token.as_str()) };
        Remote::new(options).expect("the address is valid")
    }

    fn post(&self, url: &str, path: &str, body: &str) -> String {
        let address = url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the server listens");
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("the request can be sent");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("the server responds");
        response
    }

    /// Returns the number of drivers of a domain that run, the greatest number of them at once, and the number of those
    /// that have ended.
    fn drivers(&self, domain: &str) -> (usize, usize, usize) {
        let (mut running, mut most, mut ended) = (0, 0, 0);
        for line in self.fake_spark.lines("runs") {
            match line.split_at(1) {
                ("+", of) if of == domain => running += 1,
                ("-", of) if of == domain => (running, ended) = (running - 1, ended + 1),
                _ => {}
            }
            most = most.max(running);
        }
        (running, most, ended)
    }
}

fn submit(domain: &str, token: &str) -> Submit {
    let mut job = dcp_tests::job(&format!("  job: {{pyspark: {{main: main.py, args: [{domain}]}}}}\n"));
    job.metadata.domain = serde_json::from_value(json!(domain)).expect("it is a domain");
    Submit {
        token: token.to_owned(),
        job: Definition::from(job),
        parameters: std::collections::BTreeMap::new(),
        streaming: None,
        exclusive: None,
        order: None,
        fence: None,
        by: "ci".to_owned(),
        on_behalf_of: None,
    }
}

/// Waits until an execution fulfils a condition.
async fn wait_for(runner: &Remote, id: &Id, is: impl Fn(&Record) -> bool) -> Record {
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    loop {
        match runner.check(id).await {
            Ok(record) if is(&record) => return record,
            other => assert!(std::time::Instant::now() < deadline, "the condition did not hold: {other:#?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runners_share_the_limit_of_a_domain() {
    let runners = Runners::new();
    let ((one, of_one), (_other, of_other)) = (runners.start("one"), runners.start("other"));
    let mut ids = Vec::new();
    for number in 0..EXECUTIONS {
        let runner = if number % 2 == 0 { &of_one } else { &of_other };
        let submitted = runner.submit(submit("sales", &format!("t-{number}"))).await;
        ids.push(submitted.expect("the submit is accepted").record.id().clone());
    }
    // The first one runs, and those behind it say why they don't.
    wait_until(|| (runners.drivers("sales").0 == 1).then_some(()));
    let says =
        |it: &Record| it.execution.waiting.as_deref().is_some_and(|why| why.contains("limit `running: 1`"));
    for (runner, id) in [(&of_one, &ids[EXECUTIONS - 2]), (&of_other, &ids[EXECUTIONS - 1])] {
        assert_eq!(wait_for(runner, id, says).await.execution.phase, Phase::Queued);
    }
    // Another domain is not delayed.
    let free = of_other.submit(submit("logistics", "free")).await.expect("it has no limit").record;
    wait_for(&of_other, free.id(), |it| it.execution.phase == Phase::Running).await;
    assert_eq!(runners.drivers("sales"), (1, 1, 0));
    // A changed limit is in force without a restart.
    runners.sandbox.write("policy.yaml", policy(2));
    wait_until(|| (runners.drivers("sales").0 == 2).then_some(()));
    std::fs::write(runners.fake_spark.path("go"), "").expect("the file can be written");
    for ended in [2, 4] {
        one.send(Signal::STOP);
        tokio::time::sleep(Duration::from_secs(1)).await;
        one.send(Signal::CONT);
        wait_until(|| (runners.drivers("sales").2 >= ended).then_some(()));
    }
    drop(one);
    for id in &ids {
        let record = wait_for(&of_other, id, |it| it.execution.phase.is_final()).await;
        assert_eq!(record.execution.phase, Phase::Succeeded, "{record:#?}");
    }
    assert_eq!(runners.drivers("sales"), (0, 2, EXECUTIONS));
}

/// The rejection of a submit has the time of a retry, over gRPC and REST, and a client waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submit_beyond_the_rate_gets_the_time_of_a_retry() {
    let runners = Runners::new();
    std::fs::write(runners.fake_spark.path("go"), "").expect("the file can be written");
    let (process, client) = runners.start("one");
    // Until the rate is exceeded, as a slow machine needs longer.
    let mut number = 0;
    let error = loop {
        number += 1;
        if let Err(error) = client.submit(submit("hr", &format!("t-{number}"))).await {
            break error;
        }
    };
    let Error::Exhausted { message, retry_after: Some(wait) } = &error else { panic!("{error:?}") };
    assert!(message.contains("`hr`") && message.contains("submitsPerSecond: 1"), "{message}");
    assert!(*wait <= Duration::from_secs(1), "{wait:?}");
    let Definition::Inline(job) = submit("hr", "any").job else { unreachable!("it has a definition") };
    let job: serde_json::Value = serde_json::from_str(job.text()).expect("it is JSON");
    let response = loop {
        number += 1;
        let body = json!({"token": format!("t-{number}"), "definition": job}).to_string();
        let response = runners.post(&process.url, "/api/v1/job", &body);
        if !response.starts_with("HTTP/1.1 2") {
            break response;
        }
    };
    assert!(response.starts_with("HTTP/1.1 429"), "{response}");
    assert!(response.to_lowercase().contains("\r\nretry-after: 1\r\n"), "{response}");
    assert!(response.contains("\"EXHAUSTED\""), "{response}");
    let patient = runners.client(&process.url, Duration::from_secs(30));
    for patience in 0..2 {
        let submitted = patient.submit(submit("hr", &format!("patient-{patience}"))).await;
        assert!(submitted.expect("the client waits").fresh);
    }
}
