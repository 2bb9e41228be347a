//! The permissions of dcp and of drivers: those in the manifest that `dcp doctor` prints, and no others.

use std::path::PathBuf;
use std::time::Duration;

use dcp_gateway::application::CONNECT;
use dcp_gateway::kubernetes::doctor::{Domains, Finding, Report, State};
use dcp_gateway::kubernetes::{Credentials, Kubernetes, Namespaces, Settings, connect};
use dcp_gateway::{Compute as _, ConnectKey, Cursor, Phase};
use dcp_tests::cluster::{TestCluster, parsed, pod_names, settings};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, Client};
use serde_json::json;

use super::{application, name, set, unique, wait_for_end, wait_until};

/// Returns the settings of a cluster whose records and domains have namespaces of this test.
fn prepared(test: &str) -> Settings {
    let mut settings = settings(&format!("{test}-apps"));
    settings.records = format!("{test}-records");
    settings.namespaces = Namespaces { default: Some(format!("{test}-{{domain}}")), ..Namespaces::default() };
    settings
}

async fn backend(cluster: &TestCluster, settings: &Settings, token: Option<PathBuf>) -> Kubernetes {
    let credentials = match token {
        None => dcp_tests::cluster::kubeconfig(cluster.kubeconfig()),
        Some(token_file) => Credentials::Server {
            url: server(cluster),
            token_file,
            certificate_authority: Some(cluster.folder().join("keys/ca.crt")),
        },
    };
    let client = connect(&credentials).await.expect("the credentials are usable");
    Kubernetes::new(client, settings.clone(), jiff::Timestamp::now)
}

fn domains() -> Domains {
    Domains { named: ["sales".to_owned()].into(), ..Domains::default() }
}

fn states(report: &Report, of: State) -> Vec<(&str, &str)> {
    let found = report.findings.iter().filter(|finding| finding.state == of);
    found.map(|Finding { subject, text, .. }| (*subject, text.as_str())).collect()
}

/// Returns the URL of the API server.
pub(super) fn server(cluster: &TestCluster) -> String {
    let file = Kubeconfig::read_from(cluster.kubeconfig()).expect("it is a kubeconfig");
    let first = file.clusters.into_iter().next().and_then(|named| named.cluster);
    first.and_then(|cluster| cluster.server).expect("it names a server")
}

/// Creates or changes the objects in documents of YAML.
async fn apply(client: &Client, text: &str) {
    for document in text.split("---\n") {
        let object: DynamicObject = serde_yaml_ng::from_str(document).expect("it is an object");
        let types = object.types.clone().expect("the object has a kind");
        let kind = GroupVersionKind::try_from(&types).expect("the kind has a version");
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let params = PatchParams::apply("dcp-tests").force();
        let name = object.metadata.name.clone().expect("the object has a name");
        api.patch(&name, &params, &Patch::Apply(&object)).await.expect("the object is valid");
    }
}

/// Grants dcp what the manifest has, and returns a backend with a token of this account.
async fn granted(cluster: &TestCluster, test: &str, settings: &Settings) -> (Kubernetes, tempfile::TempDir) {
    // A server that does not respond can't return the account of dcp, so the manifest has the default account.
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let nobody = dcp_tests::cluster::kubeconfig_of_nobody(folder.path());
    let client = connect(&dcp_tests::cluster::kubeconfig(nobody)).await.expect("the file is usable");
    let offline = Kubernetes::new(client, settings.clone(), jiff::Timestamp::now);
    let administrator = cluster.client().await;
    apply(&administrator, &offline.preparation(&domains()).await).await;
    let accounts: Api<ServiceAccount> = Api::namespaced(administrator, &format!("{test}-records"));
    let request: TokenRequest = parsed(json!({"metadata": {}, "spec": {"audiences": []}}));
    let issued = accounts.create_token_request("dcp", &PostParams::default(), &request).await;
    let token = issued.expect("the account exists").status.expect("a token is issued").token;
    let path = folder.path().join("token");
    std::fs::write(&path, token).expect("the folder is writable");
    (backend(cluster, settings, Some(path)).await, folder)
}

#[tokio::test]
async fn the_life_of_an_application_needs_the_permissions_of_the_manifest_only() {
    // It binds cluster roles to its own account.
    let cluster = TestCluster::exclusive().await;
    let test = unique("permissions");
    let mut settings = prepared(&test);
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let key = ConnectKey::load_or_create(&folder.path().join("key")).expect("the folder is writable");
    settings.connect_key = Some(key);
    let (dcp, _folder) = granted(&cluster, &test, &settings).await;
    let report = dcp.doctor(&domains()).await;
    assert_eq!(states(&report, State::Failed), [], "{report:?}");
    let lacks_some = states(&report, State::Warning).iter().any(|(subject, _)| *subject == "permissions");
    assert!(!lacks_some, "{report:?}");

    let mut events = dcp.watch();
    tokio::spawn(async move {
        while let Some(event) = futures_util::StreamExt::next(&mut events).await {
            event.expect("the watch has its permissions");
        }
    });
    let name = name(&format!("{test}-1"));
    let mut of = application(name.as_str(), "echo up; sleep 2");
    set(&mut of, CONNECT, "true");
    dcp.create(&of).await.expect("the application is created");
    dcp.create(&of).await.expect("a repeated call finds the objects");
    wait_until(&dcp, &name, |status| status.phase != Phase::Pending).await;
    let end = wait_for_end(&dcp, &name).await;
    assert!(end.succeeded, "{end:?}");
    assert_eq!(dcp.logs(&name, &Cursor::default(), 100).await.expect("the log can be read").bytes, b"up\n");
    dcp.forget(&name).await.expect("it has ended");

    let stopped = super::name(&format!("{test}-2"));
    dcp.create(&application(stopped.as_str(), "exec sleep 1000")).await.expect("the application is created");
    dcp.delete(&stopped, Duration::from_secs(1)).await.expect("it can be stopped");
    assert!(wait_for_end(&dcp, &stopped).await.stopped);
}

#[tokio::test]
async fn doctor_reports_what_a_cluster_lacks_and_changes_nothing() {
    let cluster = TestCluster::exclusive().await;
    let test = unique("doctor");
    let settings = prepared(&test);
    let administrator = backend(&cluster, &settings, None).await;
    let found = administrator.doctor(&domains()).await;
    let namespaces = ["records", "sales"].map(|it| format!("`{test}-{it}` does not exist"));
    let failed = states(&found, State::Failed);
    assert_eq!(failed, namespaces.each_ref().map(|text| ("namespaces", text.as_str())), "{found:?}");

    let (dcp, _folder) = granted(&cluster, &test, &settings).await;
    let found = administrator.doctor(&domains()).await;
    assert_eq!((states(&found, State::Failed), states(&found, State::Warning)), (vec![], vec![]));
    let manages = format!("the service account `spark` in `{test}-sales` can manage executors");
    assert!(states(&found, State::Passed).contains(&("drivers", manages.as_str())), "{found:?}");

    let namespace = format!("{test}-sales");
    let client = cluster.client().await;
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), &namespace);
    bindings.delete("dcp-applications", &DeleteParams::default()).await.expect("the binding exists");
    let accounts: Api<ServiceAccount> = Api::namespaced(client, &namespace);
    accounts.delete("spark", &DeleteParams::default()).await.expect("the account exists");
    let user = format!("`system:serviceaccount:{test}-records:dcp`");
    let lacks = format!("{user} lacks create, delete, get, patch on pods in `{namespace}`");
    let is_found = async {
        loop {
            // Rights are cached by the API server for a moment.
            let found = dcp.doctor(&domains()).await;
            if states(&found, State::Failed).contains(&("permissions", lacks.as_str())) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let found = tokio::time::timeout(super::LONG_TIMEOUT, is_found).await.expect("the right is missing");
    let may_not_ask =
        format!("dcp may not ask for the permissions of the service account `spark` in `{namespace}`");
    assert!(states(&found, State::Warning).contains(&("drivers", may_not_ask.as_str())), "{found:?}");
    let found = administrator.doctor(&domains()).await;
    let absent = format!("the service account `spark` in `{namespace}` does not exist");
    assert_eq!(states(&found, State::Failed), [("drivers", absent.as_str())]);
    assert_eq!(pod_names(&cluster.client().await, &namespace).await, [""; 0]);
}
