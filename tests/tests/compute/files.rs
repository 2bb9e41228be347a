//! What a driver of `local` gets, may see and may do with the files of its application.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use dcp_gateway::application::PodSpec;
use dcp_gateway::{Compute as _, Error, Log};
use dcp_tests::machine::Machine;
use serde_json::json;

use crate::local::{SUPERVISOR, application, end, name};

/// What a driver may have in its environment: what is passed on, what dcp sets, and what bash sets itself.
const EXPECTED: [&str; 22] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "JAVA_HOME",
    "SPARK_CONF_DIR",
    "HADOOP_CONF_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SPARK_HOME",
    "SPARK_LOCAL_IP",
    "PYSPARK_PYTHON",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "_",
    "DCP_STOP_FILE",
];

#[tokio::test]
async fn driver_and_supervisor_do_not_inherit_the_environment_of_the_service() {
    // Cargo sets it for its tests; `DCP_DATABASE` and `DCP_TOKEN` come in the same way.
    assert!(std::env::var_os("CARGO_PKG_NAME").is_some(), "the service has a variable that is not passed on");
    let machine = Machine::new("env > driver; tr '\\0' '\\n' < /proc/$PPID/environ > supervisor");
    let mut application = application("a-1");
    application.spec.driver_spec = PodSpec {
        pod_template_spec: json!({"spec": {"containers": [{"env": [
            {"name": "STAGE", "value": "dev"},
            {"name": "CARGO_PKG_NAME", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ]}]}}),
    };
    let local = machine.local(SUPERVISOR);
    local.create(&application).await.expect("it starts");
    assert!(end(&local, &name("a-1")).await.succeeded);
    let names = |file: &str| -> Vec<String> {
        let lines = machine.lines(file).into_iter();
        lines.filter_map(|line| line.split_once('=').map(|(name, _)| name.to_owned())).collect()
    };
    let known = |name: &String| EXPECTED.contains(&name.as_str()) || name.starts_with("LC_");
    let (driver, supervisor) = (names("driver"), names("supervisor"));
    let own = ["STAGE", "CARGO_PKG_NAME", "DCP_APPLICATION_FOLDER"];
    let odd: Vec<_> = driver.iter().filter(|name| !known(name) && !own.contains(&name.as_str())).collect();
    assert!(odd.is_empty(), "{odd:?}");
    assert!(own.iter().all(|name| driver.iter().any(|it| it == name)), "{driver:?}");
    assert!(supervisor.iter().any(|name| name == "PATH") && supervisor.iter().all(known), "{supervisor:?}");
    // What the manifest takes from a secret is in the driver's environment and in no file.
    let value = env!("CARGO_PKG_NAME");
    assert!(machine.lines("driver").contains(&format!("CARGO_PKG_NAME={value}")));
    for path in tree(&machine.path("runs")).into_iter().filter(|path| path.is_file()) {
        let text = String::from_utf8_lossy(&fs::read(&path).expect("it is ours")).into_owned();
        assert!(!text.contains(&format!("\"{value}\"")), "{}", path.display());
    }
}

/// Everything below a folder, and the folder itself.
pub(crate) fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().expect("it is known").is_dir() {
            found.extend(tree(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// Asserts that nobody but its owner has any right to what is below a folder.
pub(crate) fn is_private(folder: &Path) {
    for path in tree(folder) {
        let mode = fs::symlink_metadata(&path).expect("it is there").permissions().mode() & 0o777;
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{} has {mode:o}", path.display());
    }
}

#[tokio::test]
async fn files_of_an_application_are_for_their_owner_alone() {
    let machine = Machine::new(
        "for it in \"$@\"; do case \"$it\" in spark.eventLog.dir=file://*) events=\"${it#*file://}\" ;; esac; done\n\
         mkdir $events/eventlog_v2_a; echo '{}' > $events/eventlog_v2_a/events_1_a; chmod 0770 $events/eventlog_v2_a\n\
         chmod 0660 $events/eventlog_v2_a/events_1_a; mkdir runs/results; echo row > runs/results/part; echo done",
    );
    let local = machine.local(SUPERVISOR);
    local.place().expect("it has one");
    local.create(&application("a-1")).await.expect("it starts");
    assert!(end(&local, &name("a-1")).await.succeeded);
    local.delete(&name("a-2"), Duration::ZERO).await.expect("it can be asked");
    let files = tree(&machine.path("runs"));
    let has = |name: &str| files.iter().any(|path| path.ends_with(name));
    for name in ["a-1/launch.json", "a-1/driver.log", "a-1/end.json", "a-1/lock", "a-1/started.json", "place"]
    {
        assert!(has(name), "{name}");
    }
    assert!(has("eventlog_v2_a/events_1_a") && has("results/part") && has("a-2/stop.json"));
    is_private(&machine.path("runs"));
}

/// Reads a driver's log from a place to its end, in parts.
async fn follow(machine: &Machine, mut from: u64) -> Vec<u8> {
    let local = machine.local(SUPERVISOR);
    let mut text = Vec::new();
    loop {
        let Log { next, bytes, .. } = local.logs(&name("a-1"), from, 100_000).await.expect("it can be read");
        if bytes.is_empty() {
            return text;
        }
        text.extend(bytes);
        from = next;
    }
}

#[tokio::test]
async fn driver_log_is_limited_and_can_be_followed() {
    // Whole lines of both kinds.
    const WRITTEN: u64 = 342_000 * 18 * 13;
    let machine = Machine::new(&format!(
        "echo first; yes 'a line of the log' | head -c {WRITTEN}; echo half\n\
         while [ ! -e go ]; do sleep 0.01; done; yes 'another line' | head -c {WRITTEN}; echo last >&2; exit 3"
    ));
    let local = machine.local(SUPERVISOR).with_log_limit(8 << 20);
    local.create(&application("a-1")).await.expect("it starts");
    let half = loop {
        let text = follow(&machine, 0).await;
        if text.ends_with(b"half\n") && text.len() < 9 << 20 {
            break text;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let at = WRITTEN + "first\nhalf\n".len() as u64;
    assert!(half.starts_with(b"first\n"));
    fs::write(machine.path("go"), "").expect("there is room");
    // Neither what it wrote nor that much of it was dropped makes a difference to it.
    assert_eq!(end(&local, &name("a-1")).await.exit_code, Some(3));
    let about = fs::metadata(machine.path("runs/a-1/driver.log")).expect("it is there");
    assert!(about.blocks() * 512 <= 8 << 20, "{} bytes are used", about.blocks() * 512);
    for from in [0, at] {
        let text = String::from_utf8(follow(&machine, from).await).expect("it is text");
        assert!(text.len() < 9 << 20 && text.ends_with("another line\nlast\n"));
        assert_eq!(text.starts_with("first\n"), from == 0);
        assert_eq!(text.matches("bytes of the log were dropped here; the limit is 8 MiB").count(), 1);
    }
}

#[tokio::test]
async fn files_that_a_driver_replaced_are_neither_waited_for_nor_followed() {
    let machine = Machine::new("echo text; echo $$ > pid; while [ ! -e go ]; do sleep 0.01; done");
    let secret = machine.path("outside");
    fs::write(&secret, "secret").expect("there is room");
    machine.local(SUPERVISOR).create(&application("a-1")).await.expect("it starts");
    machine.line("pid");
    let folder = machine.path("runs/a-1");
    type Replace<'a> = &'a dyn Fn(&Path);
    let replacements: [(&str, Replace<'_>); 4] = [
        ("FIFO", &|path| rustix::fs::mkfifoat(rustix::fs::CWD, path, 0o600.into()).expect("there is room")),
        ("device", &|path| symlink("/dev/zero", path).expect("there is room")),
        ("link", &|path| symlink(&secret, path).expect("there is room")),
        ("folder", &|path| fs::create_dir(path).expect("there is room")),
    ];
    for (what, replace) in replacements {
        for file in ["driver.log", "log.json", "stop.json", "application.json", "cgroup"] {
            let path = folder.join(file);
            let saved = machine.path("saved");
            let was_there = fs::rename(&path, &saved).is_ok();
            replace(&path);
            let local = machine.local(SUPERVISOR);
            // On a thread of its own, so that one that waits fails the test.
            let (send, answers) = mpsc::channel();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("it can be made").block_on(async {
                    let name = name("a-1");
                    let log = local.logs(&name, 0, 1 << 20).await;
                    let tail = local.tail(&name, 1 << 20).await;
                    let created = local.create(&application("a-1")).await;
                    _ = send.send((log, tail, created, local.get(&name).await));
                });
            });
            let answer = answers.recv_timeout(Duration::from_secs(20));
            let (log, tail, created, status) = answer.expect("nothing waits");
            let is_log = matches!(file, "driver.log" | "log.json");
            assert_eq!(matches!(log, Err(Error::Unavailable(_))), is_log, "{what} for {file}: {log:?}");
            assert_eq!(matches!(tail, Err(Error::Unavailable(_))), is_log, "{what} for {file}: {tail:?}");
            assert_eq!(created.is_err(), file == "application.json", "{what} for {file}: {created:?}");
            assert!(status.is_ok_and(|it| it.is_some()), "{what} for {file}");
            fs::remove_dir(&path).or_else(|_| fs::remove_file(&path)).expect("it is there");
            if was_there {
                fs::rename(&saved, &path).expect("it was there");
            }
        }
    }
    fs::write(machine.path("go"), "").expect("there is room");
    assert!(end(&machine.local(SUPERVISOR), &name("a-1")).await.succeeded);
}
