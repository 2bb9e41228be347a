//! Several processes that share a PostgreSQL: a control plane, a Runner and reconcilers.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use dcp_tests::postgres::database;
use rustix::process::Signal;

use super::{Process, Project};

/// A proxy to PostgreSQL whose connections can be cut.
struct DatabaseProxy {
    url: String,
    open: Arc<Mutex<Option<Vec<UnixStream>>>>,
    _folder: tempfile::TempDir,
}

impl DatabaseProxy {
    fn new(database: &str) -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let (before, rest) = database.split_once('@').expect("the URL has a user");
        let (socket, name) = rest.split_once('/').expect("the URL has a database");
        let server_socket = socket.replace("%2F", "/");
        let server_socket = Path::new(&server_socket).join(".s.PGSQL.5432");
        let proxy_socket = folder.path().join(".s.PGSQL.5432");
        let url = format!("{before}@{}/{name}", folder.path().display().to_string().replace('/', "%2F"));
        let open = Arc::new(Mutex::new(Some(Vec::new())));
        let listener = UnixListener::bind(proxy_socket).expect("the file can be created");
        let shared = Arc::clone(&open);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut open = shared.lock().expect("no thread panicked");
                let Some(open) = open.as_mut() else { continue };
                let server = UnixStream::connect(&server_socket).expect("the server listens");
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (copy(from), copy(to));
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                open.extend([client, server]);
            }
        });
        Self { url, open, _folder: folder }
    }

    fn disconnect(&self) {
        for stream in self.open.lock().expect("no thread panicked").take().into_iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn copy(stream: &UnixStream) -> UnixStream {
    stream.try_clone().expect("file descriptors are available")
}

/// A control plane, a Runner and reconcilers, each in a separate process.
struct Deployment {
    project: Project,
    database: String,
    runner: String,
    _processes: [Process; 2],
}

impl Deployment {
    fn new() -> Self {
        let (project, database) = (Project::new(), database());
        let listen = ["--listen", "127.0.0.1:0", "--quiet"];
        let control = [&["serve", "control"][..], &listen].concat();
        let control = project.start("control", &control, Some(&database));
        let runner = [&["serve", "runner", "--control", &control.url][..], &listen].concat();
        let runner = project.start("runner", &runner, Some(&database));
        let target = format!(
            "targets:\n  prod: {{default: true, server: \"{}\", runner: \"{}\", dags: dags}}\n",
            control.url, runner.url
        );
        project.sandbox.write("dcp.yaml", format!("project: shop\nmanifests: [clicks.yaml]\n{target}"));
        let url = runner.url.clone();
        Self { project, database, runner: url, _processes: [control, runner] }
    }

    fn reconciler(&self, name: &str, database: &str) -> Process {
        let args = ["serve", "reconciler", "--runner", &self.runner, "--lease", "2"];
        self.project.start(name, &args, Some(database))
    }
}

#[test]
fn another_reconciler_takes_over_however_the_leader_is_lost() {
    let deployment = Deployment::new();
    let project = &deployment.project;
    let proxy = DatabaseProxy::new(&deployment.database);
    let first = deployment.reconciler("first", &proxy.url);
    first.wait_for_log("it acts, by epoch 1");
    let second = deployment.reconciler("second", &deployment.database);
    project.run(&["apply", "--auto-approve", "--quiet"]).exits_with(0);
    project.wait_until_healthy(1);
    // Without its database connection, the reconciler can't know whether it still holds the lease.
    proxy.disconnect();
    project.apply("\"one\"", "\"two\"");
    second.wait_for_log("it acts, by epoch 2");
    project.wait_until_healthy(2);
    // The process is suspended for longer than the lease, and then resumes.
    let third = deployment.reconciler("third", &deployment.database);
    second.send(Signal::STOP);
    project.apply("\"two\"", "\"three\"");
    third.wait_for_log("it acts, by epoch 3");
    project.wait_until_healthy(3);
    second.send(Signal::CONT);
    project.run(&["restart", "logistics/clicks", "--wait"]).exits_with(0);
    // The process is killed.
    let fourth = deployment.reconciler("fourth", &deployment.database);
    drop(third);
    project.apply("\"three\"", "\"four\"");
    project.wait_until_healthy(4);
    assert!(second.log_text().contains("by epoch 4") || fourth.log_text().contains("by epoch 4"));
    assert!(!first.log_text().contains("by epoch 3") && !first.log_text().contains("by epoch 4"));
    assert_eq!(project.started_drivers(), ["one", "two", "three", "three", "four"]);
    project.assert_no_concurrent_drivers();
    // A pause that is requested at the control plane stops the last run.
    project.run(&["pause", "logistics/clicks", "--wait"]).exits_with(0).prints("logistics/clicks is paused");
    assert_eq!(project.fake_spark.lines("stopped").len(), 5);
}

/// The leader is suspended during a start and resumes after a takeover: its late requests are rejected, or have no
/// effect.
#[test]
fn late_calls_of_a_resumed_reconciler_have_no_effect() {
    let deployment = Deployment::new();
    let project = &deployment.project;
    let mut reconcilers = vec![deployment.reconciler("0", &deployment.database)];
    project.run(&["apply", "--auto-approve", "--quiet"]).exits_with(0);
    project.wait_until_healthy(1);
    for round in 1..5_u64 {
        reconcilers.push(deployment.reconciler(&round.to_string(), &deployment.database));
        let (old, new) = (format!("\"{}\"", number_word(round - 1)), format!("\"{}\"", number_word(round)));
        project.apply(&old, &new);
        // At a different point of the redeploy each time.
        thread::sleep(Duration::from_millis(150 * round));
        reconcilers[0].send(Signal::STOP);
        project.wait_until_healthy(round + 1);
        reconcilers[0].send(Signal::CONT);
        let gone = reconcilers.remove(0);
        project.wait_until_healthy(round + 1);
        drop(gone);
    }
    project.assert_no_concurrent_drivers();
    let started: Vec<String> = (0..5).map(|round| number_word(round).to_owned()).collect();
    assert_eq!(project.started_drivers(), started);
}

fn number_word(round: u64) -> &'static str {
    ["one", "two", "three", "four", "five"][usize::try_from(round).expect("the number is small")]
}
