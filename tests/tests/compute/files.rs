//! Files and environment of drivers on the local backend.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use dcp_gateway::application::{ConfigMapSpec, PACKAGES, PodSpec};
use dcp_gateway::local::Local;
use dcp_gateway::secrets::Providers;
use dcp_gateway::{Compute as _, Cursor, Error, Log, Result, SparkApplication, Status};
use dcp_tests::fake_spark::FakeSpark;
use serde_json::json;

use crate::local::{SUPERVISOR, application, evidence, name, wait_for_end};

/// Variables that a driver may have: passed on, set by dcp, or set by bash.
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
    // Cargo sets this variable for tests. `DCP_DATABASE` and `DCP_TOKEN` would be inherited in the same way.
    assert!(std::env::var_os("CARGO_PKG_NAME").is_some(), "the service has a variable that is not passed on");
    let fake_spark = FakeSpark::new("env > driver; tr '\\0' '\\n' < /proc/$PPID/environ > supervisor");
    let mut application = application("a-1");
    application.spec.driver_spec = PodSpec {
        pod_template_spec: json!({"spec": {"containers": [{"env": [
            {"name": "STAGE", "value": "dev"},
            {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "WITH_SECRET", "value": "a ${secret.s/k} b"},
        ]}]}}),
    };
    write_secret(&fake_spark, "s/k", "only-for-the-driver");
    let local = fake_spark
        .local_backend(SUPERVISOR)
        .with_secrets(Providers::of_machine(Some(fake_spark.path("secrets"))));
    local.create(&application).await.expect("the application starts");
    assert!(wait_for_end(&local, &name("a-1")).await.succeeded);
    let names = |file: &str| -> Vec<String> {
        let lines = fake_spark.lines(file).into_iter();
        lines.filter_map(|line| line.split_once('=').map(|(name, _)| name.to_owned())).collect()
    };
    let known = |name: &String| EXPECTED.contains(&name.as_str()) || name.starts_with("LC_");
    let (driver, supervisor) = (names("driver"), names("supervisor"));
    let own = ["STAGE", "FROM_SECRET", "WITH_SECRET", "DCP_APPLICATION_FOLDER"];
    let odd: Vec<_> = driver.iter().filter(|name| !known(name) && !own.contains(&name.as_str())).collect();
    assert!(odd.is_empty(), "{odd:?}");
    assert!(own.iter().all(|name| driver.iter().any(|it| it == name)), "{driver:?}");
    assert!(supervisor.iter().any(|name| name == "PATH") && supervisor.iter().all(known), "{supervisor:?}");
    // A secret of the manifest is in the driver's environment, but in no file.
    let driver = fake_spark.lines("driver");
    assert!(driver.contains(&"FROM_SECRET=only-for-the-driver".to_owned()), "{driver:?}");
    assert!(driver.contains(&"WITH_SECRET=a only-for-the-driver b".to_owned()), "{driver:?}");
    assert_absent(&fake_spark.path("runs"), "only-for-the-driver");
}

/// Creates a secret on the machine.
pub(crate) fn write_secret(fake_spark: &FakeSpark, place: &str, value: &str) {
    let path = fake_spark.path("secrets").join(place);
    fs::create_dir_all(path.parent().expect("the path has a folder"))
        .expect("the temporary folder is writable");
    fs::write(&path, value).expect("the temporary folder is writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file belongs to this user");
}

/// Checks that no file below a folder contains a text.
pub(crate) fn assert_absent(folder: &Path, text: &str) {
    for path in tree(folder).into_iter().filter(|path| path.is_file()) {
        let bytes = fs::read(&path).expect("the file belongs to this user");
        assert!(!String::from_utf8_lossy(&bytes).contains(text), "{}", path.display());
    }
}

/// Returns an application that has a secret in each place that may have one.
fn with_reference(reference: &str) -> SparkApplication {
    let mut application = application("a-1");
    let spec = &mut application.spec;
    spec.spark_conf = [
        ("spark.hadoop.fs.s3a.key".to_owned(), reference.to_owned()),
        ("spark.plain".to_owned(), "plain".to_owned()),
    ]
    .into();
    let task =
        json!({"stream": {"sources": {"s": {"kafka": {"options": {"kafka.sasl.jaas.config": reference}}}}}});
    let data = [("job.json".to_owned(), task.to_string())].into();
    spec.config_map_specs = vec![ConfigMapSpec { name: "job".to_owned(), data }];
    spec.driver_spec = PodSpec {
        pod_template_spec: json!({"spec": {
            "volumes": [{"name": "v", "configMap": {"name": "job"}}],
            "containers": [{"volumeMounts": [{"name": "v", "mountPath": "/opt/dcp/job"}]}],
        }}),
    };
    application
}

/// The driver copies its arguments and files.
#[tokio::test]
async fn secrets_are_in_no_command_line_and_in_no_remaining_file() {
    let fake_spark = FakeSpark::new(
        "printf '%s\\n' \"$@\" > args; tr '\\0' '\\n' < /proc/$$/cmdline > cmdline\n\
         for it in \"$@\"; do case \"$it\" in */spark.properties) cp \"$it\" properties; stat -c %a \"$it\" > mode ;; esac; done\n\
         cp runs/a-1/config/0/job.json job; ls runs/a-1 > files",
    );
    write_secret(&fake_spark, "s3/secret-key", "wJalr XUtn=\"FEMI\n");
    let application = with_reference("${secret.s3/secret-key}");
    let local = fake_spark
        .local_backend(SUPERVISOR)
        .with_secrets(Providers::of_machine(Some(fake_spark.path("secrets"))));
    local.accepts(&application).expect("the application is accepted");
    local.create(&application).await.expect("the application starts");
    assert!(wait_for_end(&local, &name("a-1")).await.succeeded);
    assert_eq!(fake_spark.lines("properties"), ["", "spark.hadoop.fs.s3a.key=wJalr\\ XUtn\\=\"FEMI"]);
    assert_eq!(fake_spark.lines("mode"), ["600"]);
    let job: serde_json::Value =
        serde_json::from_str(&fake_spark.wait_for_line("job")).expect("the text is JSON");
    let option = &job["stream"]["sources"]["s"]["kafka"]["options"]["kafka.sasl.jaas.config"];
    assert_eq!(option, "wJalr XUtn=\"FEMI");
    for file in ["args", "cmdline"] {
        let text = fake_spark.lines(file).join("\n");
        assert!(!text.contains("wJalr") && text.contains("spark.plain=plain"), "{text}");
        let redacted = "|^\\Qspark.hadoop.fs.s3a.key\\E$|^\\Qfs.s3a.key\\E$";
        assert!(text.contains("spark.redaction.regex=") && text.contains(redacted), "{text}");
    }
    assert!(!fake_spark.lines("files").contains(&"secrets.json".to_owned()));
    assert_absent(&fake_spark.path("runs"), "wJalr");
}

#[tokio::test]
async fn secrets_in_visible_fields_are_rejected_by_field_name() {
    let fake_spark = FakeSpark::new("echo never");
    write_secret(&fake_spark, "s/k", "value");
    let local = fake_spark
        .local_backend(SUPERVISOR)
        .with_secrets(Providers::of_machine(Some(fake_spark.path("secrets"))));
    let reference = || "x=${secret.s/k}".to_owned();
    let mut argument = application("a-1");
    argument.spec.driver_args.push(reference());
    let mut options = application("a-1");
    options.spec.spark_conf.insert("spark.driver.extraJavaOptions".to_owned(), reference());
    for (application, field) in
        [(argument, "`job.args`"), (options, "`spark.conf.spark.driver.extraJavaOptions`")]
    {
        let error = local.accepts(&application).expect_err(field).to_string();
        assert!(error.starts_with(field) && error.contains("s/k") && !error.contains("value"), "{error}");
    }
}

/// Returns a folder, and everything below it.
pub(crate) fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().expect("the file has a type").is_dir() {
            found.extend(tree(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// Checks that only the owner has access to a folder and everything below it.
pub(crate) fn assert_private(folder: &Path) {
    for path in tree(folder) {
        let mode = fs::symlink_metadata(&path).expect("the file exists").permissions().mode() & 0o777;
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{} has {mode:o}", path.display());
    }
}

#[tokio::test]
async fn files_of_an_application_are_private_to_their_owner() {
    let fake_spark = FakeSpark::new(
        "for it in \"$@\"; do case \"$it\" in spark.eventLog.dir=file://*) events=\"${it#*file://}\" ;; esac; done\n\
         mkdir $events/eventlog_v2_a; echo '{}' > $events/eventlog_v2_a/events_1_a; chmod 0770 $events/eventlog_v2_a\n\
         chmod 0660 $events/eventlog_v2_a/events_1_a; mkdir runs/results; echo row > runs/results/part; echo done",
    );
    let local = fake_spark.local_backend(SUPERVISOR);
    local.location_id().expect("the backend has a location");
    local.create(&application("a-1")).await.expect("the application starts");
    assert!(wait_for_end(&local, &name("a-1")).await.succeeded);
    local.delete(&name("a-2"), Duration::ZERO).await.expect("the backend responds");
    let files = tree(&fake_spark.path("runs"));
    let has = |name: &str| files.iter().any(|path| path.ends_with(name));
    for name in ["a-1/launch.json", "a-1/driver.log", "a-1/end.json", "a-1/lock", "a-1/started.json", "place"]
    {
        assert!(has(name), "{name}");
    }
    assert!(has("eventlog_v2_a/events_1_a") && has("results/part") && has("a-2/stop.json"));
    assert_private(&fake_spark.path("runs"));
}

/// Reads a driver's log in parts, from a position to its end.
async fn follow(fake_spark: &FakeSpark, from: u64) -> Vec<u8> {
    let local = fake_spark.local_backend(SUPERVISOR);
    let mut after: Cursor = from.to_string().parse().expect("the cursor is short");
    let mut text = Vec::new();
    loop {
        let Log { next, bytes } =
            local.logs(&name("a-1"), &after, 100_000).await.expect("the log can be read");
        if bytes.is_empty() {
            return text;
        }
        text.extend(bytes);
        after = next;
    }
}

#[tokio::test]
async fn driver_log_is_limited_and_can_be_followed() {
    // A multiple of the lengths of both lines.
    const WRITTEN: u64 = 342_000 * 18 * 13;
    let fake_spark = FakeSpark::new(&format!(
        "echo first; yes 'a line of the log' | head -c {WRITTEN}; echo half\n\
         while [ ! -e go ]; do sleep 0.01; done; yes 'another line' | head -c {WRITTEN}; echo last >&2; exit 3"
    ));
    let local = fake_spark.local_backend(SUPERVISOR).with_log_limit(8 << 20);
    local.create(&application("a-1")).await.expect("the application starts");
    let deadline = Instant::now() + Duration::from_mins(1);
    let half = loop {
        let text = follow(&fake_spark, 0).await;
        if text.ends_with(b"half\n") && text.len() < 9 << 20 {
            break text;
        }
        assert!(Instant::now() < deadline, "{} bytes are left of the log", text.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let at = WRITTEN + "first\nhalf\n".len() as u64;
    assert!(half.starts_with(b"first\n"));
    fs::write(fake_spark.path("go"), "").expect("the temporary folder is writable");
    // The driver's writes and its exit code are not affected by the limit.
    assert_eq!(wait_for_end(&local, &name("a-1")).await.exit_code, Some(3));
    let about = fs::metadata(fake_spark.path("runs/a-1/driver.log")).expect("the file exists");
    assert!(about.blocks() * 512 <= 8 << 20, "{} bytes are used", about.blocks() * 512);
    for from in [0, at] {
        let text = String::from_utf8(follow(&fake_spark, from).await).expect("the text is UTF-8");
        assert!(text.len() < 9 << 20 && text.ends_with("another line\nlast\n"));
        assert_eq!(text.starts_with("first\n"), from == 0);
        assert_eq!(text.matches("bytes of the log were dropped here; the limit is 8 MiB").count(), 1);
    }
}

/// The results of `logs`, `tail`, `create` and `get`.
type Answers = (Result<Log>, Result<Vec<u8>>, Result<()>, Result<Option<Status>>);

/// Makes calls in a separate thread, so that a blocking call fails the test.
fn call_all(local: Local) -> Answers {
    let (send, answers) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the runtime can be created").block_on(async {
            let name = name("a-1");
            let log = local.logs(&name, &Cursor::default(), 1 << 20).await;
            let tail = local.tail(&name, 1 << 20).await;
            let created = local.create(&application("a-1")).await;
            _ = send.send((log, tail, created, local.get(&name).await));
        });
    });
    answers.recv_timeout(Duration::from_secs(20)).expect("no call blocks")
}

/// Replaces a file by something else.
type Replace<'a> = &'a dyn Fn(&Path);

#[tokio::test]
async fn files_that_a_driver_replaced_neither_block_nor_are_followed() {
    let fake_spark = FakeSpark::new("echo text; echo $$ > pid; while [ ! -e go ]; do sleep 0.01; done");
    let secret = fake_spark.path("outside");
    fs::write(&secret, "secret").expect("the temporary folder is writable");
    fake_spark.local_backend(SUPERVISOR).create(&application("a-1")).await.expect("the application starts");
    fake_spark.wait_for_line("pid");
    let folder = fake_spark.path("runs/a-1");
    let replacements: [(&str, Replace<'_>); 4] = [
        ("FIFO", &|path| {
            rustix::fs::mkfifoat(rustix::fs::CWD, path, 0o600.into())
                .expect("the temporary folder is writable");
        }),
        ("device", &|path| symlink("/dev/zero", path).expect("the temporary folder is writable")),
        ("link", &|path| symlink(&secret, path).expect("the temporary folder is writable")),
        ("folder", &|path| fs::create_dir(path).expect("the temporary folder is writable")),
    ];
    for (what, replace) in replacements {
        for file in ["driver.log", "log.json", "stop.json", "application.json", "cgroup"] {
            let path = folder.join(file);
            let saved = fake_spark.path("saved");
            let was_there = fs::rename(&path, &saved).is_ok();
            replace(&path);
            let (log, tail, created, status) = call_all(fake_spark.local_backend(SUPERVISOR));
            let is_log = matches!(file, "driver.log" | "log.json");
            assert_eq!(matches!(log, Err(Error::Unavailable(_))), is_log, "{what} for {file}: {log:?}");
            assert_eq!(matches!(tail, Err(Error::Unavailable(_))), is_log, "{what} for {file}: {tail:?}");
            assert_eq!(created.is_err(), file == "application.json", "{what} for {file}: {created:?}");
            assert!(status.is_ok_and(|it| it.is_some()), "{what} for {file}");
            fs::remove_dir(&path).or_else(|_| fs::remove_file(&path)).expect("the file exists");
            if was_there {
                fs::rename(&saved, &path).expect("the file existed");
            }
        }
    }
    fs::write(fake_spark.path("go"), "").expect("the temporary folder is writable");
    assert!(wait_for_end(&fake_spark.local_backend(SUPERVISOR), &name("a-1")).await.succeeded);
}

/// The script changes to the machine's folder; the driver's working folder is `$OLDPWD`.
#[tokio::test]
async fn files_and_archives_are_in_the_working_folder_of_the_driver() {
    let fake_spark = FakeSpark::new(
        "cat \"$OLDPWD/a.txt\" \"$OLDPWD/lib/inner/b.txt\" > out; ls \"$OLDPWD\" > names; printf '%s\\n' \"$@\" > args",
    );
    fs::create_dir_all(fake_spark.path("data/inner")).expect("the temporary folder is writable");
    fs::write(fake_spark.path("data/a.txt"), "file\n").expect("the temporary folder is writable");
    fs::write(fake_spark.path("data/inner/b.txt"), "archive\n").expect("the temporary folder is writable");
    let packed =
        Command::new("tar").args(["czf", "lib.tgz", "inner"]).current_dir(fake_spark.path("data")).status();
    assert!(packed.expect("tar can be run").success());
    let mut application = application("a-1");
    application.spec.files = Some("data/a.txt".to_owned());
    application.spec.spark_conf = [("spark.archives".to_owned(), "data/lib.tgz#lib".to_owned())].into();
    let local = fake_spark.local_backend(SUPERVISOR);
    local.create(&application).await.expect("the application starts");
    let ended = wait_for_end(&local, &name("a-1")).await;
    assert!(ended.succeeded, "{ended:?}");
    assert_eq!(fake_spark.lines("out"), ["file", "archive"]);
    assert_eq!(fake_spark.lines("names"), ["a.txt", "lib"]);
    let root = fake_spark.path("").canonicalize().expect("the file exists");
    let args = fake_spark.lines("args");
    for path in ["data/a.txt", "main.py"] {
        assert!(args.contains(&root.join(path).display().to_string()), "{args:?}");
    }
    let mut missing = application.clone();
    missing.spec.files = Some("data/none.txt".to_owned());
    let error = local.accepts(&missing).expect_err("the file does not exist").to_string();
    assert!(error.starts_with("`dependencies.files`"), "{error}");
}

/// Creates a wheel without dependencies, and returns its requirement for pip.
fn wheel(fake_spark: &FakeSpark) -> String {
    let program = "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w') as it:\n  \
                it.writestr('demo.py', 'VALUE = \"from the package\"')\n  \
                it.writestr('demo-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n')\n  \
                it.writestr('demo-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n  \
                it.writestr('demo-1.0.dist-info/RECORD', '')\n";
    let path = fake_spark.path("demo-1.0-py3-none-any.whl").display().to_string();
    let made = Command::new("python3").args(["-c", program, &path]).status();
    assert!(made.expect("python3 can be run").success());
    format!("demo @ file://{path}")
}

fn with_packages(id: &str, requirement: &str) -> SparkApplication {
    let mut application = application(id);
    let list = serde_json::json!([requirement]).to_string();
    application.spec.spark_conf = [(PACKAGES.to_owned(), list)].into();
    application
}

#[tokio::test]
async fn python_packages_are_installed_once_for_all_applications() {
    let fake_spark = FakeSpark::new(
        "for it in \"$@\"; do case \"$it\" in spark.pyspark.python=*) python=\"${it#*=}\" ;; esac; done\n\
         \"$python\" -c 'import demo; print(demo.VALUE)' >> values",
    );
    let requirement = wheel(&fake_spark);
    let local = fake_spark.local_backend(SUPERVISOR);
    for id in ["a-1", "a-2"] {
        local.create(&with_packages(id, &requirement)).await.expect("the application starts");
    }
    let mut installed = 0;
    for id in ["a-1", "a-2"] {
        let ended = wait_for_end(&local, &name(id)).await;
        let log = local.tail(&name(id), 1 << 20).await.expect("the application has a log");
        let log = String::from_utf8_lossy(&log).into_owned();
        assert!(ended.succeeded, "{ended:?} {log}");
        installed += log.matches("Successfully installed demo-1.0").count();
    }
    assert_eq!(installed, 1, "the packages are installed once");
    assert_eq!(fake_spark.lines("values"), ["from the package", "from the package"]);
}

#[tokio::test]
async fn failed_package_installation_fails_the_attempt_with_the_error_of_pip() {
    let fake_spark = FakeSpark::new("echo started > started");
    let local = fake_spark.local_backend(SUPERVISOR);
    let requirement = format!("demo @ file://{}/none.whl", fake_spark.path("").display());
    local.create(&with_packages("a-1", &requirement)).await.expect("the application starts");
    let ended = wait_for_end(&local, &name("a-1")).await;
    assert!(!ended.succeeded && !fake_spark.path("started").exists());
    let message = &evidence(&ended);
    assert!(
        message.contains("can't be installed") && message.contains("none.whl") && message.contains("ERROR"),
        "{message}"
    );
    let refused = local.accepts(&with_packages("a-2", "--index-url=http://x"));
    assert!(matches!(refused, Err(Error::Field { field, .. }) if field.ends_with("environment.packages")));
}
