//! Secrets of the namespace in a driver's files and variables. dcp never reads them.

use dcp_gateway::kubernetes::Kubernetes;
use dcp_gateway::{Compute as _, Phase, Reason, SparkApplication};
use dcp_tests::cluster::{RECORDS, TestCluster, objects_as_text, parsed};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use super::{name, set, unique, wait_for_end, wait_for_obstacle, with_template};

const CANARY: &str = "canary-5d1c \"q\" \\ ü";

async fn create_secret(client: Client, namespace: &str, value: &str) {
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    let secret = json!({"metadata": {"name": "shop-db"}, "stringData": {"password": format!("{value}\n"), "user": "dcp"}});
    secrets.create(&PostParams::default(), &parsed(secret)).await.expect("the secret can be created");
}

/// Returns an application with a secret in a setting, in an option and in variables, whose driver runs a script.
fn with_secrets(name: &str, script: &str) -> SparkApplication {
    let container = json!({
        "name": "spark", "command": ["bash", "-c", script],
        "env": [{"name": "LOGIN", "value": "${secret.shop-db/user}:x"}, {"name": "PASS", "value": "${secret.shop-db/password}"}],
        "volumeMounts": [{"name": "dcp-job", "mountPath": "/opt/dcp/job"}],
    });
    let volume = json!({"name": "dcp-job", "configMap": {"name": format!("{name}-job")}});
    let mut of = with_template(name, &json!({"spec": {"containers": [container], "volumes": [volume]}}));
    set(&mut of, "spark.hadoop.fs.x.key", "a ${secret.shop-db/password}");
    let task = json!({"stream": {"sink": {"jdbc": {"password": "${secret.shop-db/password}"}}}});
    of.spec.config_map_specs =
        vec![parsed(json!({"name": format!("{name}-job"), "data": {"job.json": task.to_string()}}))];
    of.spec.driver_args = vec!["/opt/dcp/job/job.json".to_owned()];
    of
}

/// Compares what the driver has with the expected value, of which the script has the hash only.
fn script() -> String {
    let of_variable = digest(&format!("{CANARY}\n"));
    let of_file = digest(CANARY);
    format!(
        "python3 - \"$@\" <<'END'\n\
         import hashlib, json, os, sys\n\
         digest = lambda text: hashlib.sha256(text.encode()).hexdigest()\n\
         task = json.load(open('/opt/dcp/secrets/job.json', encoding='utf-8'))\n\
         assert digest(task['stream']['sink']['jdbc']['password']) == '{of_file}', 'job'\n\
         assert digest(os.environ['PASS']) == '{of_variable}', 'variable'\n\
         assert os.environ['LOGIN'] == 'dcp:x', os.environ['LOGIN']\n\
         lines = open('/opt/dcp/secrets/spark.properties', encoding='utf-8').read().splitlines()\n\
         value = [it.split('=', 1)[1] for it in lines if it.startswith('spark.hadoop.fs.x.key=')][0]\n\
         value = json.loads('\"' + value + '\"')\n\
         assert digest(value.removeprefix('a ')) == '{of_file}', 'setting'\n\
         assert os.stat('/opt/dcp/secrets/job.json').st_mode & 0o777 == 0o600, 'mode'\n\
         assert not os.path.exists('/opt/dcp/sources'), 'sources'\n\
         print('all secrets are there')\n\
         END\n"
    )
}

fn digest(text: &str) -> String {
    let output = std::process::Command::new("python3")
        .args(["-c", "import hashlib, sys; print(hashlib.sha256(sys.argv[1].encode()).hexdigest())", text])
        .output()
        .expect("Python runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn log_of(backend: &Kubernetes, of: &dcp_gateway::Name) -> String {
    let bytes = backend.tail(of, 10_000).await.unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_driver_has_the_secrets_of_its_namespace_and_no_object_has_their_values() {
    let namespace = unique("secrets");
    let cluster = TestCluster::shared().await;
    let backend = cluster.backend(&namespace).await;
    let client = cluster.client().await;
    create_secret(client.clone(), &namespace, CANARY).await;
    let name = name(&format!("{namespace}-1"));
    let of = with_secrets(name.as_str(), &script());
    backend.accepts(&of).expect("the application is valid");
    backend.create(&of).await.expect("the application is created");
    let end = wait_for_end(&backend, &name).await;
    let log = log_of(&backend, &name).await;
    assert!(end.succeeded && log == "all secrets are there\n", "{end:?}\n{log}");
    for place in [&*namespace, RECORDS] {
        let text = objects_as_text(&client, place).await;
        assert!(text.contains(name.as_str()) && !text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn a_missing_key_of_a_secret_is_an_obstacle() {
    let namespace = unique("secrets-missing");
    let cluster = TestCluster::shared().await;
    let backend = cluster.backend(&namespace).await;
    let name = name(&format!("{namespace}-1"));
    backend.create(&with_secrets(name.as_str(), "exit 0")).await.expect("the application is created");
    let (phase, obstacle) = wait_for_obstacle(&backend, &name, Reason::Preparation).await;
    assert_eq!(phase, Phase::Pending);
    assert!(obstacle.to_string().contains("shop-db"), "{obstacle}");
    backend.delete(&name, std::time::Duration::from_secs(1)).await.expect("it can be stopped");
    wait_for_end(&backend, &name).await;
}

#[tokio::test]
async fn a_secret_that_is_no_text_ends_the_application_with_its_name() {
    let namespace = unique("secrets-binary");
    let cluster = TestCluster::shared().await;
    let backend = cluster.backend(&namespace).await;
    create_secret(cluster.client().await, &namespace, "canary\0x").await;
    let name = name(&format!("{namespace}-1"));
    let mut of = with_secrets(name.as_str(), "exit 0");
    of.spec.driver_spec.pod_template_spec["spec"]["containers"][0]["env"] = json!([]);
    backend.create(&of).await.expect("the application is created");
    let end = wait_for_end(&backend, &name).await;
    assert_eq!((end.succeeded, end.reason), (false, Reason::Preparation), "{end:?}");
    let text = &end.evidence[0].text;
    assert!(text.contains("shop-db/password") && !text.contains("canary"), "{end:?}");
}
