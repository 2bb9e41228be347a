//! S3 over HTTP, served by moto. `make test-cloud` runs these tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dcp_objects::object_store::aws::AmazonS3Builder;
use dcp_objects::object_store::path::Path as Key;
use dcp_objects::object_store::{ObjectStore, ObjectStoreExt};
use dcp_objects::{CompletionMarker, Objects};
use dcp_reconciler::publish::{Cause, DagFolder, Error};
use futures_util::TryStreamExt;

use crate::failing_store::assert_repair_after_each_step;
use crate::fixture::{Fixture, expected, files, wait};

const KEY: &str = "AKIATESTKEYOFNOBODY";
const SECRET: &str = "tops3cret-key-of-nobody";

/// A moto server that ends with this process, because it reads a pipe from this process until it closes.
struct Moto {
    endpoint: String,
    _server: Child,
}

impl Moto {
    fn start(environment: &[(&str, &str)]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/moto");
        let mut command = Command::new(script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).envs(environment.iter().copied());
        let mut server = command.spawn().expect("scripts/moto can be run");
        let mut endpoint = String::new();
        let out = server.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut endpoint).expect("it can be read");
        assert!(endpoint.starts_with("http://"), "scripts/moto serves no S3; what it said is above");
        Self { endpoint: endpoint.trim().to_owned(), _server: server }
    }

    fn shared() -> &'static Self {
        static MOTO: OnceLock<Moto> = OnceLock::new();
        MOTO.get_or_init(|| Self::start(&[]))
    }

    /// Creates a bucket for one test.
    fn bucket(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let bucket = format!("dags-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let address = self.endpoint.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("moto listens");
        let request = format!(
            "PUT /{bucket} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("moto reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("moto answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        bucket
    }
}

fn environment(endpoint: &str) -> [(String, String); 5] {
    [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
}

fn open(endpoint: &str, bucket: &str) -> DagFolder {
    let location = format!("s3://{bucket}/team/dags");
    DagFolder::open_with(&location, Path::new("/nowhere"), environment(endpoint)).expect("it can be opened")
}

/// Opens the same bucket without the DAG folder.
fn store(endpoint: &str, bucket: &str) -> Arc<dyn ObjectStore> {
    let builder =
        AmazonS3Builder::new().with_endpoint(endpoint).with_bucket_name(bucket).with_allow_http(true);
    let builder = builder.with_access_key_id(KEY).with_secret_access_key(SECRET);
    Arc::new(builder.build().expect("it can be opened"))
}

fn s3() -> Fixture {
    let moto = Moto::shared();
    let bucket = moto.bucket();
    let folder = open(&moto.endpoint, &bucket);
    Fixture::of(folder, store(&moto.endpoint, &bucket), "team/dags")
}

mod s3 {
    crate::contract::suite!(crate::cloud::s3);
}

/// Returns the cause of an error, and checks that its texts show no secret.
#[track_caller]
fn cause(failed: Result<(), Error>) -> Cause {
    let error = failed.expect_err("it can't be done");
    let told = format!("{error} {error:?}");
    assert!(!told.contains(SECRET) && !told.contains(KEY), "{told}");
    assert!(error.help().is_some() && error.to_string().contains("s3://"), "{told}");
    match error {
        Error::Failed { cause, .. } => cause,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_publication_that_dies_can_be_repaired() {
    let moto = Moto::shared();
    let bucket = moto.bucket();
    let fixture = Fixture::of(open(&moto.endpoint, &bucket), store(&moto.endpoint, &bucket), "team/dags");
    wait(assert_repair_after_each_step(&fixture, store(&moto.endpoint, &bucket), "team/dags"));
}

#[test]
fn files_beyond_one_page_of_a_listing_are_found() {
    let fixture = s3();
    let many = files(1100, "x");
    wait(async {
        fixture.folder.stage("1", &many).await.expect("they can be staged");
        fixture.folder.switch("1", &many).await.expect("they are staged");
        assert_eq!(fixture.folder.list().await.map(|listed| listed.len()), Ok(many.len()));
        assert_eq!(fixture.folder.leftovers().await, Ok(Vec::new()));
        let names: Vec<_> = many.iter().map(|file| file.name.clone()).collect();
        fixture.folder.remove(&names).await.expect("they can be removed");
        assert_eq!(fixture.all().await, expected(&[]));
    });
}

#[test]
fn missing_bucket_is_reported() {
    let folder = open(&Moto::shared().endpoint, "no-such-bucket");
    for failed in [
        wait(folder.stage("1", &files(1, "x"))),
        wait(folder.switch("1", &files(1, "x"))),
        wait(folder.put(&files(1, "x"))),
        wait(folder.remove(&["a.py".to_owned()])),
        wait(folder.list()).map(drop),
        wait(folder.read("a.py")).map(drop),
        wait(folder.leftovers()).map(drop),
        wait(folder.discard("1")),
    ] {
        assert_eq!(cause(failed), Cause::NoBucket);
    }
}

#[test]
fn missing_permission_is_reported() {
    let moto = Moto::start(&[("INITIAL_NO_AUTH_ACTION_COUNT", "0")]);
    let folder = open(&moto.endpoint, "bucket");
    assert_eq!(
        cause(wait(folder.stage("1", &files(1, "x")))),
        Cause::Denied("InvalidAccessKeyId".to_owned())
    );
}

#[test]
fn missing_credentials_are_reported() {
    let environment = [
        ("AWS_ENDPOINT_URL", Moto::shared().endpoint.as_str()),
        ("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9"),
        ("AWS_ALLOW_HTTP", "true"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let folder = DagFolder::open_with("s3://bucket/dags", Path::new("/nowhere"), environment);
    let folder = folder.expect("credentials are asked for when they are needed");
    assert_eq!(cause(wait(folder.put(&files(1, "x")))), Cause::NoCredentials);
}

/// The same checks as for a local folder in `objects/tests/folder.rs`.
#[test]
fn objects_below_a_prefix_are_listed_read_and_removed() {
    let moto = Moto::shared();
    let bucket = moto.bucket();
    let store = store(&moto.endpoint, &bucket);
    let url = format!("s3a://{bucket}/some%20results/");
    let objects = Objects::open_with(&url, environment(&moto.endpoint)).expect("it can be opened");
    wait(async {
        let large = vec![b'x'; 9 << 20];
        for (path, content) in [("a/b/two", &b"22"[..]), ("a/one", b"1"), ("a", b""), ("ab", &large)] {
            let path = Key::from(format!("some results/{path}"));
            store.put(&path, content.to_vec().into()).await.expect("it can be written");
        }
        let listed = async |below: &str| {
            let found: Vec<_> = objects.list(below).try_collect().await.expect("it can be listed");
            let mut found: Vec<_> = found.iter().map(|it| format!("{} {}", it.path, it.size)).collect();
            found.sort();
            found
        };
        assert_eq!(listed("a").await, ["a/b/two 2", "a/one 1"]);
        let read = objects.read("ab").await.expect("it exists").try_collect::<Vec<_>>().await;
        assert!(read.expect("it can be read").concat() == large);
        objects.write("a/seal", "whole".into()).await.expect("it can be written");
        let marker = CompletionMarker { name: "seal", content_when_copied: "leaving".into() };
        objects.rename("a", "moved/a", &marker).await.expect("it can be moved");
        objects.rename("a", "moved/a", &marker).await.expect("it has arrived");
        let gone = objects.rename("nothing", "nowhere", &marker).await.expect_err("there is no such thing");
        assert!(gone.is_not_found(), "{gone}");
        assert_eq!(listed("moved").await, ["moved/a/b/two 2", "moved/a/one 1", "moved/a/seal 5"]);
        let mut names = objects.names("").await.expect("it can be listed");
        names.sort();
        assert_eq!(names, ["a", "ab", "moved"], "what is at the path itself is not below it");
        objects.remove("moved").await.expect("it can be removed");
        objects.remove("a").await.expect("it can be removed");
        objects.remove("a").await.expect("it is gone, and may be");
        assert_eq!(listed("").await, ["ab 9437184"]);
        assert!(objects.read("a/one").await.err().is_some_and(|error| error.is_not_found()));
        let gone = Objects::open_with("s3://no-such-bucket/a", environment(&moto.endpoint));
        let gone = gone.expect("nothing is asked yet").remove("a").await.expect_err("there is no bucket");
        assert!(gone.to_string().contains("the bucket does not exist"), "{gone}");
    });
}

/// Requests are retried for at least ten seconds, but not without end.
#[test]
fn unreachable_endpoint_is_reported_within_half_a_minute() {
    // No program listens on this port.
    let folder = open("http://127.0.0.1:1", "bucket");
    let start = Instant::now();
    assert_eq!(
        cause(wait(folder.stage("1", &files(9, "x")))),
        Cause::Unreachable("no connection".to_owned())
    );
    let took = start.elapsed();
    assert!((10..40).contains(&took.as_secs()), "{took:?}");
}

/// Serves the same response to each request, and counts the requests.
fn answering(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("it has an address"));
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head = "Connection: close\r\nContent-Length";
            let _ = write!(stream, "HTTP/1.1 {}\r\n{head}: {}\r\n\r\n{answer}", &answer[..3], answer.len());
        }
    });
    (endpoint, count)
}

#[test]
fn service_errors_are_reported_by_their_code_only() {
    // Messages of some services contain the request, including secrets.
    for (answer, expected) in [
        ("403 <Code>AccessDenied</Code> tops3cret-key-of-nobody", Cause::Denied("AccessDenied".to_owned())),
        ("403 <Code>no name: AKIATESTKEYOFNOBODY</Code>", Cause::Denied(String::new())),
        ("400 <Code>InvalidBucketName</Code>", Cause::Unavailable("InvalidBucketName".to_owned())),
        ("301 <Code>PermanentRedirect</Code>", Cause::WrongRegion),
    ] {
        let (endpoint, count) = answering(answer);
        assert_eq!(cause(wait(open(&endpoint, "bucket").list()).map(drop)), expected, "{answer}");
        assert_eq!(count.load(Ordering::Relaxed), 1, "to try again would change nothing");
    }
}

#[test]
fn unavailable_service_is_retried() {
    let (endpoint, count) = answering("503 <Code>SlowDown</Code>");
    let start = Instant::now();
    assert_eq!(
        cause(wait(open(&endpoint, "bucket").list()).map(drop)),
        Cause::Unavailable("SlowDown".to_owned())
    );
    assert!(start.elapsed() < Duration::from_secs(40) && count.load(Ordering::Relaxed) > 3);
}
