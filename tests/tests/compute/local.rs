//! The contract of every backend, with the local one and a shell script as spark-submit, so that tests control how it ends
//! and what it leaves behind. Tests in `spark` use a real Spark.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use dcp_gateway::application::{ConfigMapSpec, Metadata, PodSpec, RuntimeVersions, Spec};
use dcp_gateway::{Compute, Cursor, End, Error, Name, Phase, Reason, SparkApplication, Status};
use dcp_tests::fake_spark::{FakeSpark, is_alive, parent_pid, send_signal, wait_until};
use rustix::process::Signal;

use crate::contract::Open;

pub(crate) const SUPERVISOR: &str = env!("CARGO_BIN_EXE_dcp-test-supervisor");
const GRACE: Duration = Duration::from_millis(300);

pub(crate) async fn wait_for_end(local: &dyn Compute, name: &Name) -> End {
    let deadline = Instant::now() + Duration::from_mins(3);
    loop {
        let status = local.get(name).await.expect("the backend responds").expect("the application is known");
        if let Status { phase: Phase::Ended, end: Some(end), .. } = status {
            return end;
        }
        assert!(Instant::now() < deadline, "the application did not end: {status:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn application(name: &str) -> SparkApplication {
    let runtime_versions = RuntimeVersions { spark_version: "4.3".to_owned(), ..RuntimeVersions::default() };
    let py_files = Some("main.py".to_owned());
    let spec = Spec { runtime_versions, py_files, ..Spec::default() };
    let metadata = Metadata { name: name.to_owned(), ..Metadata::default() };
    SparkApplication { metadata, spec, ..SparkApplication::default() }
}

fn cursor(text: &str) -> Cursor {
    text.parse().expect("the cursor is short")
}

/// Returns the text of all evidence.
pub(crate) fn evidence(end: &End) -> String {
    end.evidence.iter().map(|it| it.text.as_str()).collect::<Vec<_>>().join("\n")
}

/// Returns true if the application ended because its supervisor was killed.
pub(crate) fn was_lost(end: &End) -> bool {
    end.reason == Reason::BackendFailed && evidence(end).contains("supervisor was killed")
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("the name is valid")
}

/// Checks the parts of a log of one line, each read by a new process.
async fn assert_log_is_read_by_cursor(fake_spark: &FakeSpark, backend: Open) {
    let name = name("a-1");
    let read = async |after: &Cursor, limit| backend(fake_spark).logs(&name, after, limit).await;
    let log = read(&Cursor::default(), 1024).await.expect("the application has a log");
    let text = String::from_utf8_lossy(&log.bytes).into_owned();
    assert!(text == "done\n" || text == "wrong\n", "{text}");
    let rest = read(&log.next, 1024).await.expect("the application has a log");
    assert_eq!(rest.bytes, b"");
    let part = read(&cursor("1"), 2).await.expect("the application has a log");
    assert_eq!((part.bytes.as_slice(), part.next.as_str()), (&text.as_bytes()[1..3], "3"));
    let far = read(&cursor("9223372036854775807"), 2).await;
    assert_eq!(far.expect("the offset may be beyond the end").bytes, b"");
    let other = read(&cursor("2026-01-31T00:00:00Z"), 2).await;
    assert!(matches!(other, Err(Error::Invalid(_))), "a cursor of another backend is rejected: {other:?}");
}

pub(crate) async fn end_of_an_application_is_known_to_later_processes(backend: Open) {
    for (script, succeeded, code) in [("echo done", true, 0), ("echo wrong >&2; exit 52", false, 52)] {
        let fake_spark = FakeSpark::new(script);
        backend(&fake_spark).create(&application("a-1")).await.expect("the application starts");
        let found = wait_for_end(&*backend(&fake_spark), &name("a-1")).await;
        assert_eq!((found.succeeded, found.exit_code, found.signal), (succeeded, Some(code), None));
        assert_log_is_read_by_cursor(&fake_spark, backend).await;
    }
    let fake_spark = FakeSpark::new("kill -SEGV $$");
    backend(&fake_spark).create(&application("a-1")).await.expect("the application starts");
    let found = wait_for_end(&*backend(&fake_spark), &name("a-1")).await;
    assert_eq!((found.succeeded, found.exit_code, found.signal), (false, None, Some(11)));
}

pub(crate) async fn concurrent_creates_start_one_application(backend: Open) {
    let fake_spark = FakeSpark::new("echo $$ >> starts; while [ ! -e go ]; do sleep 0.01; done");
    let all = (0..8).map(|_| async { backend(&fake_spark).create(&application("a-1")).await });
    for one in futures_util::future::join_all(all).await {
        one.expect("the application is started");
    }
    fake_spark.wait_for_line("starts");
    backend(&fake_spark).create(&application("a-1")).await.expect("the application was started before");
    fs::write(fake_spark.path("go"), "").expect("the file can be written");
    assert!(wait_for_end(&*backend(&fake_spark), &name("a-1")).await.succeeded);
    backend(&fake_spark).create(&application("a-1")).await.expect("the application was started before");
    assert_eq!(fake_spark.lines("starts").len(), 1);
    let mut other = application("a-1");
    other.spec.driver_args.push("more".to_owned());
    assert!(matches!(backend(&fake_spark).create(&other).await, Err(Error::Conflict(_))));
}

/// Exits on SIGTERM unless the file `stubborn` exists, and leaves a child in another session.
const STUBBORN: &str = "trap '[ -e stubborn ] || exit 7' TERM\nsetsid sleep 1000 &\necho $! > child\n\
                        echo $$ > pid\nwhile true; do sleep 0.01; done";

pub(crate) async fn delete_signals_and_then_kills_all_processes(backend: Open) {
    for stubborn in [false, true] {
        let fake_spark = FakeSpark::new(STUBBORN);
        if stubborn {
            fs::write(fake_spark.path("stubborn"), "").expect("the file can be written");
        }
        let local = backend(&fake_spark);
        local.create(&application("a-1")).await.expect("the application starts");
        let (pid, child) = (fake_spark.wait_for_line("pid"), fake_spark.wait_for_line("child"));
        let grace = if stubborn { GRACE } else { Duration::from_mins(10) };
        local.delete(&name("a-1"), grace).await.expect("the backend responds");
        local.delete(&name("a-1"), grace).await.expect("the backend responds to a repeated call");
        let found = wait_for_end(&*backend(&fake_spark), &name("a-1")).await;
        assert!(found.stopped && !found.succeeded, "{found:?}");
        let how = if stubborn { (None, Some(9)) } else { (Some(7), None) };
        assert_eq!((found.exit_code, found.signal), how);
        assert!(!is_alive(&pid) && !is_alive(&child), "no process is left");
    }
}

/// Exits once the stop file exists, unless the file `stubborn` exists.
const WATCHING: &str = "trap 'echo signaled > signaled; exit 9' TERM\ntouch \"$DCP_STOP_FILE.watched\"\necho $$ > pid\n\
                        while [ -e stubborn ] || [ ! -e \"$DCP_STOP_FILE\" ]; do sleep 0.01; done; exit 0";

pub(crate) async fn program_that_watches_for_its_stop_file_gets_no_sigterm(backend: Open) {
    for stubborn in [false, true] {
        let fake_spark = FakeSpark::new(WATCHING);
        if stubborn {
            fs::write(fake_spark.path("stubborn"), "").expect("the file can be written");
        }
        let local = backend(&fake_spark);
        local.create(&application("a-1")).await.expect("the application starts");
        fake_spark.wait_for_line("pid");
        let grace = if stubborn { GRACE } else { Duration::from_mins(10) };
        local.delete(&name("a-1"), grace).await.expect("the backend responds");
        let found = wait_for_end(&*local, &name("a-1")).await;
        assert!(found.stopped && !fake_spark.path("signaled").exists(), "{found:?}");
        let how = if stubborn { (None, Some(9)) } else { (Some(0), None) };
        assert_eq!((found.exit_code, found.signal), how);
    }
}

pub(crate) async fn application_deleted_before_its_start_never_starts(backend: Open) {
    let fake_spark = FakeSpark::new("echo $$ >> starts");
    backend(&fake_spark).delete(&name("a-1"), GRACE).await.expect("the backend responds");
    backend(&fake_spark).create(&application("a-1")).await.expect("the backend responds");
    let found = wait_for_end(&*backend(&fake_spark), &name("a-1")).await;
    assert!(found.stopped && fake_spark.lines("starts").is_empty(), "{found:?}");
}

pub(crate) async fn killed_driver_leaves_no_process(backend: Open) {
    let fake_spark = FakeSpark::new(STUBBORN);
    backend(&fake_spark).create(&application("a-1")).await.expect("the application starts");
    let (pid, child) = (fake_spark.wait_for_line("pid"), fake_spark.wait_for_line("child"));
    send_signal(&pid, Signal::KILL);
    let found = wait_for_end(&*backend(&fake_spark), &name("a-1")).await;
    assert_eq!((found.succeeded, found.stopped, found.signal), (false, false, Some(9)));
    assert!(!is_alive(&child));
}

pub(crate) async fn application_without_supervisor_is_killed_and_not_restarted(backend: Open) {
    let fake_spark = FakeSpark::new(&format!("echo $$ >> starts\n{STUBBORN}"));
    backend(&fake_spark).create(&application("a-1")).await.expect("the application starts");
    let (pid, child) = (fake_spark.wait_for_line("pid"), fake_spark.wait_for_line("child"));
    let supervisor = parent_pid(&pid);
    send_signal(&supervisor, Signal::KILL);
    wait_until(|| (!is_alive(&supervisor)).then_some(()));
    let found = wait_for_end(&*backend(&fake_spark), &name("a-1")).await;
    assert!(!found.succeeded && was_lost(&found), "{found:?}");
    assert!(!is_alive(&pid) && !is_alive(&child), "no process is left");
    backend(&fake_spark).create(&application("a-1")).await.expect("the application was started before");
    assert_eq!(fake_spark.lines("starts").len(), 1);
}

/// The supervisor is killed after a different delay each time. Each application starts at most once, and always ends.
pub(crate) async fn killed_supervisor_never_causes_a_second_start(backend: Open) {
    let fake_spark = FakeSpark::new("echo started >> starts-$1; sleep 0.05");
    fs::write(fake_spark.path("main.jar"), "").expect("the file can be written");
    let local = backend(&fake_spark);
    let mut lost = 0;
    for round in 0..20u64 {
        let id = format!("a-{round}");
        let mut application = application(&id);
        application.spec.py_files = None;
        application.spec.jars = Some("main.jar".to_owned());
        // The script's first argument is `--master`, so all rounds append to the same file.
        application.spec.driver_args = vec![round.to_string()];
        let folder = fake_spark.path("runs").join(&id);
        let killer = std::thread::spawn(move || {
            let marked = folder.display().to_string();
            std::thread::sleep(Duration::from_millis(round));
            _ = Command::new("pkill")
                .args(["-KILL", "-f", &format!("dcp-test-supervisor {marked}$")])
                .status();
        });
        // If the supervisor is killed before it begins, the call is retried, as by a Runner.
        let created = until_created(&*local, &application).await;
        killer.join().expect("the thread ends");
        let found = wait_for_end(&*local, &name(&id)).await;
        lost += u32::from(was_lost(&found));
        assert!(created <= 20, "{created} tries");
    }
    let starts: usize = fs::read_dir(fake_spark.path(""))
        .expect("the file exists")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("starts-"))
        .map(|entry| fs::read_to_string(entry.path()).expect("the file can be read").lines().count())
        .sum();
    assert!(starts <= 20, "{starts} starts of 20 applications");
    assert!(starts + lost as usize >= 20, "{starts} starts, {lost} lost");
}

async fn until_created(local: &dyn Compute, application: &SparkApplication) -> u32 {
    for tries in 1.. {
        match local.create(application).await {
            Ok(()) => return tries,
            Err(Error::Unavailable(_)) => {}
            Err(other) => unreachable!("{other}"),
        }
    }
    unreachable!("it would be tried forever")
}

/// Returns the application `orders-1` with settings, files, arguments, a config map and an environment.
fn with_all_settings() -> SparkApplication {
    let mut application = application("orders-1");
    let conf = [
        ("spark.executor.instances", "500"),
        ("spark.driver.memory", "1g"),
        ("spark.executor.memory", "512m"),
        ("spark.submit.deployMode", "cluster"),
        ("spark.eventLog.enabled", "false"),
    ];
    let spec = &mut application.spec;
    spec.spark_conf = conf.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    spec.py_files = Some("local:///opt/dcp/job/main.py,lib.zip".to_owned());
    spec.driver_args = vec!["--day".to_owned(), "local:///opt/dcp/job/job.json".to_owned()];
    let data =
        BTreeMap::from([("job.json".to_owned(), "{}".to_owned()), ("../../out".to_owned(), String::new())]);
    spec.config_map_specs = vec![ConfigMapSpec { name: "job".to_owned(), data }];
    spec.driver_spec = PodSpec {
        pod_template_spec: serde_json::json!({"spec": {
            "volumes": [{"name": "v", "configMap": {"name": "job"}}],
            "containers": [{
                "name": "driver",
                "env": [{"name": "STAGE", "value": "dev"}],
                "volumeMounts": [{"name": "v", "mountPath": "/opt/dcp/job"}],
            }],
        }}),
    };
    application
}

pub(crate) async fn spark_submit_gets_the_arguments_of_the_application(backend: Open) {
    let fake_spark =
        FakeSpark::new("printf '%s\\n' \"$@\" > args; env > environment; cat \"${@: -1}\" > mounted");
    fs::write(fake_spark.path("lib.zip"), "").expect("the file can be written");
    let application = with_all_settings();
    backend(&fake_spark).create(&application).await.expect("the application starts");
    assert!(wait_for_end(&*backend(&fake_spark), &name("orders-1")).await.succeeded);
    let runs = fake_spark.path("runs").canonicalize().expect("the file exists").join("orders-1");
    let here = runs.join("config/0").display().to_string();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let expected = format!(
        "--master\nlocal[{cores}]\n--name\norders-1\n--conf\nspark.driver.memory=1536m\n--conf\n\
         spark.eventLog.dir=file://{}/events\n--conf\nspark.eventLog.enabled=false\n--conf\n\
         spark.executor.instances=500\n--conf\nspark.executor.memory=512m\n--conf\n\
         spark.sql.warehouse.dir=file://{warehouse}\n--conf\nspark.ui.port=0\n--conf\n\
         spark.ui.showConsoleProgress=false\n--py-files\n{project}/lib.zip\n{here}/main.py\n--day\n{here}/job.json",
        runs.display(),
        warehouse = runs.with_file_name("warehouse").display(),
        project = fake_spark.path("").canonicalize().expect("the file exists").display()
    );
    assert_eq!(fake_spark.lines("args").join("\n"), expected);
    assert_eq!(fake_spark.lines("mounted"), ["{}"]);
    assert!(fake_spark.lines("environment").contains(&"STAGE=dev".to_owned()));
    assert!(!fake_spark.path("out").exists() && !fake_spark.path("runs/out").exists());
}

pub(crate) async fn unsupported_applications_are_rejected(backend: Open) {
    let fake_spark = FakeSpark::new("echo never");
    let mut secret = application("a-1");
    secret.spec.driver_spec = PodSpec {
        pod_template_spec: serde_json::json!({"spec": {"containers": [
            {"env": [{"name": "DCP_NO_SUCH", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        ]}}),
    };
    let mut reference = application("a-4");
    reference.spec.spark_conf = [("spark.x".to_owned(), "a ${secret.s3/key} b".to_owned())].into();
    let mut nothing = application("a-2");
    nothing.spec.py_files = None;
    let mut old = application("a-3");
    "3.5".clone_into(&mut old.spec.runtime_versions.spark_version);
    for (application, expected) in [
        (secret, "`pods.driver.env.DCP_NO_SUCH`: this machine does not have the secret `s/k`"),
        (reference, "`spark.conf.spark.x`: this machine does not have the secret `s3/key`"),
        (nothing, "neither a jar, nor a Python program, nor a main class"),
        (old, "Spark 3.5 is not on this machine, which has 4.3.0"),
    ] {
        let error = backend(&fake_spark).create(&application).await.expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
        let of: Name = application.metadata.name.parse().expect("the name is valid");
        assert_eq!(
            backend(&fake_spark).get(&of).await.expect("the backend responds"),
            None,
            "the backend stores nothing of it"
        );
    }
    for bad in ["", "../a", "a/b", "A", "-a", "a.b", &"a".repeat(64)] {
        let refused = backend(&fake_spark).create(&application(bad)).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{bad}");
    }
    assert_eq!(fs::read_dir(fake_spark.path("runs")).map_or(0, Iterator::count), 0);
}

/// A folder at the path of `end.json` makes writing fail, as on a full disk.
pub(crate) async fn end_is_recorded_once_it_can_be_written(backend: Open) {
    let fake_spark = FakeSpark::new("echo $$ > pid; while [ ! -e go ]; do sleep 0.01; done; exit 7");
    backend(&fake_spark).create(&application("a-1")).await.expect("the application starts");
    let pid = fake_spark.wait_for_line("pid");
    let end_file = fake_spark.path("runs/a-1/end.json");
    fs::create_dir_all(end_file.join("in-the-way")).expect("the folder can be created");
    fs::write(fake_spark.path("go"), "").expect("the file can be written");
    wait_until(|| (!is_alive(&pid)).then_some(()));
    fs::remove_dir_all(&end_file).expect("the file exists");
    let found = wait_for_end(&*backend(&fake_spark), &name("a-1")).await;
    assert_eq!((found.exit_code, found.evidence.as_slice()), (Some(7), [].as_slice()));
}
