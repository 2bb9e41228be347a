//! Real jobs on this machine with canary values in every place that may have a reference. The test searches for them in
//! everything that dcp and Spark write or answer.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{CommandOutput, DCP, Sandbox};

const CANARY: &str = "canary-c0ffee+/ \"x";

/// Prints the secret in several forms, searches all command lines for it, and fails with it.
const PROGRAM: &str = "\
import base64, glob, hashlib, os, urllib.parse, urllib.request
from pyspark.sql import SparkSession

# In two parts, as this program is a file too.
MARK = b'can' b'ary-'

def digest(text):
    return hashlib.sha256((text or '').encode()).hexdigest()[:16]

spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext
secret = context.getConf().get('spark.shop.password')
print('setting:', digest(secret))
print('hadoop:', digest(context._jsc.hadoopConfiguration().get('fs.shop.password')))
print('variable:', digest(os.environ['PASSWORD']), digest(os.environ['LOGIN'].removeprefix('dcp:')))
lines = []
for path in glob.glob('/proc/[0-9]*/cmdline'):
    try:
        lines.append(open(path, 'rb').read())
    except OSError:
        pass
print('command lines:', sum(MARK in line for line in lines))
shown = urllib.request.urlopen(f'{context.uiWebUrl}/api/v1/applications/{context.applicationId}/environment').read()
print('environment:', b'spark.shop.password' in shown, MARK in shown)
print(secret, base64.b64encode(secret.encode()).decode(), urllib.parse.quote(secret))
raise ValueError(f'the login failed for {secret}')
";

const JOB: &str = "  retry: {attempts: 1}
  spark:
    conf: {spark.shop.password: \"${secret.shop-db/password}\", spark.eventLog.compress: false}
    hadoopConf: {fs.shop.password: \"${secret.shop-db/password}\"}
  pods: {driver: {env: {PASSWORD: {secret: {name: shop-db, key: password}}, LOGIN: \"dcp:${secret.shop-db/password}\"}}}
  job: {pyspark: {main: program.py}}
";

const STREAM: &str = "  retry: {attempts: 1}
  spark: {conf: {spark.eventLog.compress: false}}
  job:
    stream:
      sources:
        lines: {files: {path: %DIR%/in, format: text, schema: {value: string}}}
      query: SELECT value FROM lines
      sink: {files: {path: %DIR%/out, format: text, options: {lineSep: \"${secret.shop-db/password}\"}}}
      checkpoint: %DIR%/checkpoint
";

/// A running `dcp up`, killed on drop.
struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{domain: sales, name: {name}, owner: a@example.com}}\nspec:\n  \
         engine: {{version: \"4.1\"}}\n  run: {{manual: {{}}}}\n  resources: {{driver: {{memory: 512m}}, executors: \
         {{memory: 512m}}}}\n{spec}"
    )
}

fn start(sandbox: &Sandbox) -> Up {
    let mut up = sandbox.command(&DCP);
    up.arg("up").env("SPARK_HOME", dcp_tests::spark_home());
    up.env("DCP_SECRET_SHOP_DB_PASSWORD", CANARY);
    up.stdout(Stdio::piped()).stderr(std::fs::File::create(sandbox.join("log")).expect("files can be made"));
    let mut up = up.spawn().expect("the program can be run");
    let out = up.stdout.take().expect("it is piped");
    let listens = BufReader::new(out).lines().map_while(Result::ok).any(|line| line.contains("listens at"));
    assert!(listens, "`dcp up` starts: {}", sandbox.read("log"));
    Up(up)
}

fn assert_unseen(output: &CommandOutput) {
    let all = format!("{}{}", output.stdout, output.stderr);
    assert!(!all.contains("canary-") && !all.contains("Y2FuYXJ5"), "{all}");
}

/// Asserts that no file below a folder has a part of a secret.
fn assert_absent(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("the folder can be listed").flatten() {
        let path = entry.path();
        if path.is_dir() {
            assert_absent(&path);
        } else if path.is_file() {
            let bytes = std::fs::read(&path).expect("the file can be read");
            let has = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
            assert!(!has(b"canary-") && !has(b"Y2FuYXJ5"), "{}", path.display());
        }
    }
}

/// Creates the project, whose program and stream have secrets.
fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().display().to_string();
    sandbox.write("dcp.yaml", "project: shop\n").write("program.py", PROGRAM);
    sandbox.write("manifests/program.yaml", manifest("program", JOB));
    sandbox.write("manifests/lines.yaml", manifest("lines", &STREAM.replace("%DIR%", &folder)));
    sandbox.write("in/a.txt", "one\n");
    sandbox
}

fn run(sandbox: &Sandbox, args: &[&str], code: i32) -> String {
    let output = sandbox.run(args).exits_with(code);
    assert_unseen(&output);
    output.stdout
}

/// Asserts that the program had its secrets, and that its log does not show them.
fn assert_program_had_secrets(sandbox: &Sandbox) {
    let log = run(sandbox, &["logs", "--all", "sales/program"], 0);
    let digest = "1e502ffbdca87df6";
    for line in [
        format!("setting: {digest}"),
        format!("hadoop: {digest}"),
        format!("variable: {digest} {digest}"),
        "command lines: 0".to_owned(),
        "environment: True False".to_owned(),
        "… … …".to_owned(),
        "ValueError: the login failed for …".to_owned(),
    ] {
        assert!(log.contains(&line), "{line}\n{log}");
    }
}

/// Asserts that the sink of the stream had its secret, and removes the rows.
fn assert_stream_had_secrets(sandbox: &Sandbox) {
    let rows = std::fs::read_dir(sandbox.join("out")).expect("the sink was written").flatten();
    let rows = rows.filter(|entry| entry.path().extension().is_some_and(|it| it == "txt"));
    let rows: String = rows.map(|entry| std::fs::read_to_string(entry.path()).unwrap_or_default()).collect();
    assert_eq!(rows, format!("one{CANARY}"), "the rows end with the secret");
    std::fs::remove_dir_all(sandbox.join("out")).expect("the rows can be removed");
}

#[test]
fn canary_values_of_secrets_are_in_no_file_answer_or_command_line() {
    let sandbox = project();
    let _up = start(&sandbox);
    run(&sandbox, &["plan", "--output", "json"], 0);
    run(&sandbox, &["apply", "--auto-approve"], 0);
    run(&sandbox, &["run", "sales/lines", "--wait"], 0);
    run(&sandbox, &["run", "sales/program", "--wait"], 1);
    assert_program_had_secrets(&sandbox);
    assert_stream_had_secrets(&sandbox);
    for args in [
        &["runs", "--output", "json"][..],
        &["runs", "sales/program"],
        &["logs", "sales/lines", "--all"],
        &["show", "sales/program"],
        &["history"],
        &["status"],
    ] {
        run(&sandbox, args, 0);
    }
    let rest = Command::new("curl")
        .args(["--silent", "--fail", "--unix-socket"])
        .arg(sandbox.join(".dcp/up.sock"))
        .arg("http://localhost/api/v1/job")
        .output()
        .expect("curl can be run");
    let rest = String::from_utf8_lossy(&rest.stdout).into_owned();
    assert!(rest.contains("program") && !rest.contains("canary-"), "{rest}");
    assert_absent(sandbox.path());
}
