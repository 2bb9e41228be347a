//! The permissions of dcp and of drivers: those in the manifest that `dcp doctor` prints, and no others.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use dcp_gateway::application::CONNECT;
use dcp_gateway::kubernetes::doctor::{Domains, Finding, Report, State};
use dcp_gateway::kubernetes::{
    Credentials, Kubernetes, Namespaces, ServerEvent, Settings, connect, connect_servers,
};
use dcp_gateway::{Compute as _, ConnectKey, Cursor, Phase};
use dcp_tests::cluster::{TestCluster, parsed, pod_names, settings};
use futures_util::StreamExt as _;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, Client};
use serde_json::json;

use super::{LONG_TIMEOUT, application, name, set, unique, wait_for_end, wait_until};

/// Returns the settings of a cluster whose records and domains have namespaces of this test.
fn prepared(test: &str) -> Settings {
    let mut settings = settings(&format!("{test}-apps"));
    settings.records = format!("{test}-records");
    settings.namespaces = Namespaces { default: Some(format!("{test}-{{domain}}")), ..Namespaces::default() };
    settings
}

/// Connects with the token of a service account, which is written into a folder.
async fn client_of(cluster: &TestCluster, namespace: &str, account: &str, folder: &Path) -> Client {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client().await, namespace);
    let request: TokenRequest = parsed(json!({"metadata": {}, "spec": {"audiences": []}}));
    let issued = accounts.create_token_request(account, &PostParams::default(), &request).await;
    let token = issued.expect("the account exists").status.expect("a token is issued").token;
    let token_file = folder.join("token");
    std::fs::write(&token_file, token).expect("the folder is writable");
    let certificate_authority = Some(cluster.folder().join("keys/ca.crt"));
    let credentials = Credentials::Server { url: server(cluster), token_file, certificate_authority };
    connect(&credentials).await.expect("the credentials are usable")
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
    let client = client_of(cluster, &format!("{test}-records"), "dcp", folder.path()).await;
    (Kubernetes::new(client, settings.clone(), jiff::Timestamp::now), folder)
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
    let administrator = Kubernetes::new(cluster.client().await, settings.clone(), jiff::Timestamp::now);
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

#[tokio::test]
async fn a_proxy_needs_to_list_and_watch_pods_only() {
    let cluster = TestCluster::shared().await;
    let namespace = unique("permissions-proxy");
    cluster.backend(&namespace).await;
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    // Every namespace has this account, which has no rights.
    let account = "default";
    let client = client_of(&cluster, &namespace, account, folder.path()).await;
    let first = async || connect_servers(client.clone(), &namespace, &BTreeMap::new()).next().await;
    let denied = first().await.expect("it ends with an error").expect_err("it has no rights").to_string();
    assert!(
        denied.contains(&format!("the pods of the namespace `{namespace}` can't be watched")),
        "{denied}"
    );
    assert!(denied.ends_with("give the account the verbs `list` and `watch` of `pods` there"), "{denied}");
    let administrator = cluster.client().await;
    let rights = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]);
    let roles: Api<Role> = Api::namespaced(administrator.clone(), &namespace);
    let role = parsed(json!({"metadata": {"name": "proxy"}, "rules": rights}));
    roles.create(&PostParams::default(), &role).await.expect("the role is valid");
    let bindings: Api<RoleBinding> = Api::namespaced(administrator, &namespace);
    let binding = parsed(json!({
        "metadata": {"name": "proxy"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "proxy"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }));
    bindings.create(&PostParams::default(), &binding).await.expect("the binding is valid");
    let listed = async {
        while first().await != Some(Ok(ServerEvent::Listed)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, listed).await.expect("the rights are enough");
}
