//! A real Spark with secrets of its namespace in settings, options and variables. The tests search for their values in
//! every object of the cluster, and in everything that dcp and Spark write.

use dcp_tests::cluster::{RECORDS, objects_as_text, parsed};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::Project;

const CANARY: &str = "canary-81f3 \"q\" \\ ü";

/// Prints hashes of the secrets that it has, and whether Spark shows one of them.
pub(super) const PROGRAM: &str = "\
import glob, hashlib, os, urllib.request
from pyspark.sql import SparkSession

# In two parts, as a config map has this program.
MARK = 'can' 'ary'

def digest(text):
    return hashlib.sha256((text or '').encode()).hexdigest()

spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext
secret = context.getConf().get('spark.shop.password')
print('setting:', digest(secret))
print('hadoop:', digest(context._jsc.hadoopConfiguration().get('fs.shop.password')))
print('driver:', digest(os.environ['PASSWORD']))
print('executor:', context.parallelize([0], 1).map(lambda _: digest(os.environ['SHOP_PASSWORD'])).first())
with open('/proc/self/cmdline') as own, open(f'/proc/{os.getppid()}/cmdline') as jvm:
    print('command lines:', MARK in own.read() + jvm.read())
url = f'http://localhost:4040/api/v1/applications/{context.applicationId}/environment'
shown = urllib.request.urlopen(url).read().decode()
print('environment:', 'spark.shop.password' in shown, MARK in shown)
spark.stop()
[log] = glob.glob('/tmp/eventlog_v2_*/events_*')
text = open(log).read()
print('event log:', 'spark.shop.password' in text, MARK in text)
";

const JOB: &str = "pyspark: {main: \"local:///opt/programs/secrets.py\"}
  spark:
    conf:
      spark.shop.password: \"${secret.shop-db/password}\"
      spark.eventLog.compress: false
    hadoopConf: {fs.shop.password: \"${secret.shop-db/password}\"}";

/// A stream with a secret in an option of its sink, which Spark passes on.
const STREAM: &str = "stream:
      sources:
        lines: {files: {path: /opt/programs, format: text, schema: {value: string}}}
      query: SELECT value FROM lines
      sink: {files: {path: /tmp/out, format: text, options: {lineSep: \"${secret.shop-db/password}\"}}}
      checkpoint: file:///tmp/checkpoint";

async fn create_secret(project: &Project) {
    let secrets: Api<Secret> = Api::namespaced(project.cluster.client().await, &project.namespace);
    let secret = json!({"metadata": {"name": "shop-db"}, "stringData": {"password": CANARY}});
    secrets.create(&PostParams::default(), &parsed(secret)).await.expect("the secret can be created");
}

/// Asserts that no object of the cluster and no file of the project has a part of a secret.
async fn assert_unseen(project: &Project) {
    let client = project.cluster.client().await;
    for namespace in [&*project.namespace, RECORDS] {
        let text = objects_as_text(&client, namespace).await;
        assert!(!text.contains("canary"), "{text}");
    }
    let mut folders = vec![project.sandbox.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder can be listed").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).expect("the file can be read");
                let is_there = bytes.windows(6).any(|part| part == b"canary");
                assert!(!is_there, "{}", path.display());
            }
        }
    }
}

/// Checks the secrets with the credentials of an account without rights.
async fn check_without_the_right_to_read_secrets(project: &Project) {
    let accounts: Api<ServiceAccount> = Api::namespaced(project.cluster.client().await, &project.namespace);
    let account = parsed(json!({"metadata": {"name": "guest"}}));
    accounts.create(&PostParams::default(), &account).await.expect("the account can be created");
    let request: TokenRequest = parsed(json!({"metadata": {}, "spec": {"audiences": []}}));
    let token = accounts.create_token_request("guest", &PostParams::default(), &request).await;
    let token = token.expect("a token can be requested").status.expect("there is one").token;
    let own = std::fs::read_to_string(project.cluster.kubeconfig()).expect("the file can be read");
    let mut kubeconfig: Value = serde_yaml_ng::from_str(&own).expect("the file is YAML");
    for user in kubeconfig["users"].as_array_mut().expect("users are a list") {
        user["user"] = json!({"token": token});
    }
    project.sandbox.write("guest/kubeconfig", kubeconfig.to_string());
    let file = project.sandbox.read("clusters.yaml");
    let path = project.cluster.kubeconfig().display().to_string();
    project.sandbox.write("guest/clusters.yaml", file.replace(&path, "kubeconfig"));
    let args =
        ["secrets", "check", "--cluster", "test", "--clusters", "guest/clusters.yaml", "--output", "json"];
    let secret = project.run(&args).exits_with(0).json()["secrets"][0].clone();
    let reason = secret["reason"].as_str().expect("there is a reason");
    assert!(reason.contains("lack the right to `get` `secrets`"), "{secret}");
}

#[tokio::test]
async fn settings_and_variables_have_secrets_that_nothing_shows() {
    let mut project = Project::prepare("cli-secrets", &[("secret", JOB)]).await;
    let variable = "executors: {env: {SHOP_PASSWORD: \"${secret.shop-db/password}\"}}, driver: {env: {PASSWORD: \"${secret.shop-db/password}\"}, ";
    project.sandbox.edit("manifests/secret.yaml", "driver: {configMaps", &format!("{variable}configMaps"));
    // The driver reads its own event log.
    project.sandbox.edit("clusters.yaml", "    settings:", "    eventLogs: file:///tmp\n    settings:");
    let check = |code: i32, state: &str| {
        let args = ["secrets", "check", "--cluster", "test", "--output", "json"];
        let found = project.run(&args).exits_with(code);
        assert!(!found.stdout.contains("canary"), "{}", found.stdout);
        let secrets = found.json()["secrets"].clone();
        let states: Vec<_> =
            secrets.as_array().expect("they are a list").iter().map(|it| &it["state"]).collect();
        assert_eq!(states, [state], "{secrets}");
    };
    check(1, "missing");
    create_secret(&project).await;
    check(0, "found");
    check_without_the_right_to_read_secrets(&project).await;
    project.start_up();
    project.run(&["apply", "--auto-approve"]).exits_with(0);
    let run = project.run(&["run", "sales/secret", "--wait"]).exits_with(0);
    assert!(!run.stdout.contains("canary"), "{}", run.stdout);
    let log = project.run(&["logs", "--all", "sales/secret"]).exits_with(0).stdout;
    // SHA-256 of the canary.
    let digest = "7261ee1fa812cee6";
    for line in ["setting", "hadoop", "driver", "executor"] {
        assert!(log.contains(&format!("{line}: {digest}")), "{line}\n{log}");
    }
    for line in ["command lines: False", "environment: True False", "event log: True False"] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    assert!(!log.contains("canary"), "{log}");
    assert_unseen(&project).await;
}

#[tokio::test]
async fn a_stream_has_options_with_secrets_that_nothing_shows() {
    let mut project = Project::prepare("cli-secret-option", &[("lines", STREAM)]).await;
    create_secret(&project).await;
    let programs = "pods: {executors: {configMaps: [{name: programs, path: /opt/programs}]}, ";
    project.sandbox.edit("manifests/lines.yaml", "pods: {", programs);
    project.start_up();
    project.run(&["apply", "--auto-approve"]).exits_with(0);
    project.run(&["run", "sales/lines", "--wait"]).exits_with(0).prints("succeeded");
    let log = project.run(&["logs", "--all", "sales/lines"]).exits_with(0).stdout;
    assert!(log.contains("Successfully stopped SparkContext"), "{log}");
    assert!(!log.contains("canary"), "{log}");
    assert_unseen(&project).await;
}
