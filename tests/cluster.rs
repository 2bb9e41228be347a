//! A real Kubernetes of one node, started by `scripts/kubernetes/cluster`.
//!
//! `scripts/run-tests` starts one for all test programs and names its folder in `DCP_TEST_CLUSTER`. Without that, each
//! test program starts its own.

use std::fmt::Debug;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, UdpSocket};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use dcp_gateway::kubernetes::{Credentials, Kubernetes, Namespaces, Operator, Settings, connect};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The image with Spark and Python that is in the cluster.
pub const SPARK_IMAGE: &str = "localhost/spark:4.1.1";
/// The namespace of the records of all tests.
pub const RECORDS: &str = "dcp";

/// A running cluster.
#[derive(Debug)]
pub struct TestCluster {
    folder: PathBuf,
    _server: Option<Server>,
}

/// The process that stops a cluster when its standard input closes, as it does when this program ends.
#[derive(Debug)]
struct Server {
    process: Child,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // The folder is removed afterwards.
        let _ = self.process.wait();
    }
}

static USES: RwLock<()> = RwLock::const_new(());

/// The cluster of all tests, for one of them.
#[derive(Debug)]
pub struct SharedCluster {
    cluster: &'static TestCluster,
    _use: Use,
}

#[expect(dead_code, reason = "the guards are only held")]
#[derive(Debug)]
enum Use {
    Shared(RwLockReadGuard<'static, ()>),
    Exclusive(RwLockWriteGuard<'static, ()>),
}

impl Deref for SharedCluster {
    type Target = TestCluster;

    fn deref(&self) -> &TestCluster {
        self.cluster
    }
}

fn script() -> PathBuf {
    crate::workspace().join("scripts/kubernetes/cluster")
}

impl TestCluster {
    /// Returns the cluster that all tests of this program share, and that none disturbs meanwhile.
    pub async fn shared() -> SharedCluster {
        SharedCluster { cluster: Self::of_program(), _use: Use::Shared(USES.read().await) }
    }

    /// Returns the cluster for a test that disturbs it: no other test uses it meanwhile.
    pub async fn exclusive() -> SharedCluster {
        SharedCluster { cluster: Self::of_program(), _use: Use::Exclusive(USES.write().await) }
    }

    fn of_program() -> &'static Self {
        static CLUSTER: OnceLock<TestCluster> = OnceLock::new();
        CLUSTER.get_or_init(|| match std::env::var_os("DCP_TEST_CLUSTER") {
            Some(folder) => Self { folder: folder.into(), _server: None },
            None => Self::start(),
        })
    }

    /// Starts a cluster.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start() -> Self {
        let temporary = TempDir::new().expect("the temporary folder is writable");
        let folder = temporary.path().join("cluster");
        let mut server = Command::new(script())
            .arg("serve")
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be run");
        let mut line = String::new();
        let stdout = server.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("its output is text");
        assert_eq!(line, "ready\n", "the cluster did not start; its error is above");
        Self { folder, _server: Some(Server { process: server, _folder: temporary }) }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Returns the address of this machine that the cluster reaches.
    ///
    /// # Panics
    /// If there is no network to the cluster.
    pub fn address_of_machine(&self) -> IpAddr {
        let address = std::fs::read_to_string(self.folder.join("address")).expect("the cluster has started");
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a port is free");
        socket.connect((address.trim(), 443)).expect("there is a route");
        socket.local_addr().expect("it is connected").ip()
    }

    /// Runs a subcommand of the cluster's script.
    ///
    /// # Panics
    /// If it fails.
    pub fn control(&self, arguments: &[&str]) {
        let (verb, rest) = arguments.split_first().expect("there is a subcommand");
        let done = Command::new(script()).arg(verb).arg(&self.folder).args(rest).status();
        assert!(done.expect("the program can be run").success(), "{arguments:?} failed");
    }

    /// Connects to the cluster as its administrator.
    ///
    /// # Panics
    /// If the file is not usable.
    pub async fn client(&self) -> Client {
        connect(&kubeconfig(self.kubeconfig())).await.expect("the kubeconfig is usable")
    }

    /// Returns a backend whose applications are in one namespace, which is created with a service account for drivers.
    ///
    /// # Panics
    /// If the cluster does not respond.
    pub async fn backend(&self, namespace: &str) -> Kubernetes {
        Kubernetes::new(self.prepare(namespace).await, settings(namespace), jiff::Timestamp::now)
    }

    /// Returns a backend that stores the logs of drivers below a URL.
    ///
    /// # Panics
    /// If the cluster does not respond.
    pub async fn backend_with_logs(&self, namespace: &str, logs: &str) -> Kubernetes {
        let client = self.prepare(namespace).await;
        Kubernetes::with_logs(client, settings(namespace), jiff::Timestamp::now, logs)
            .expect("the URL is usable")
    }

    /// Returns the same for the applications of a control plane.
    ///
    /// # Panics
    /// If the cluster does not respond.
    pub async fn backend_of(&self, namespace: &str, control_plane: &str, logs: &str) -> Kubernetes {
        let control_plane = Some(control_plane.to_owned());
        let settings = Settings { control_plane, ..settings(namespace) };
        Kubernetes::with_logs(self.prepare(namespace).await, settings, jiff::Timestamp::now, logs)
            .expect("the URL is usable")
    }

    /// Returns the same with an operator for Spark. The real Kubeflow operator runs; see `tests/kubernetes/cluster/apache.rs`
    /// for that of Apache.
    ///
    /// # Panics
    /// If the cluster does not respond.
    pub async fn backend_with_operator(&self, namespace: &str, operator: Operator) -> Kubernetes {
        match operator {
            Operator::Kubeflow => self.control(&["operator"]),
            Operator::Apache => {
                let path = "tests/golden/kubernetes/crds/sparkapplications.spark.apache.org-v1.yaml";
                let crd = std::fs::read(crate::workspace().join(path)).expect("the CRD can be read");
                let crd = serde_yaml_ng::from_slice::<Value>(&crd).expect("the CRD is YAML");
                let crds = Api::<CustomResourceDefinition>::all(self.client().await);
                ignore_existing(crds.create(&PostParams::default(), &parsed(crd)).await);
                let has_type = async |client: &Client| {
                    let types = client.list_api_group_resources("spark.apache.org/v1").await;
                    types.is_ok_and(|it| it.resources.iter().any(|it| it.name == "sparkapplications"))
                };
                let deadline = Instant::now() + Duration::from_mins(1);
                while !has_type(&self.client().await).await {
                    assert!(Instant::now() < deadline, "the API server does not serve the type");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        let settings = Settings { operator: Some(operator), ..settings(namespace) };
        Kubernetes::new(self.prepare(namespace).await, settings, jiff::Timestamp::now)
    }

    /// Creates a namespace with a service account for drivers.
    async fn prepare(&self, namespace: &str) -> Client {
        let client = self.client().await;
        create_namespace(&client, RECORDS).await;
        create_namespace(&client, namespace).await;
        create::<ServiceAccount>(&client, namespace, service_account()).await;
        create::<Role>(&client, namespace, role()).await;
        create::<RoleBinding>(&client, namespace, role_binding(namespace)).await;
        client
    }
}

/// Returns the credentials of a kubeconfig file.
pub fn kubeconfig(path: PathBuf) -> Credentials {
    Credentials::Kubeconfig { path, context: None }
}

/// Returns the settings of the cluster for one namespace.
pub fn settings(namespace: &str) -> Settings {
    let mut settings = Settings::new("test");
    RECORDS.clone_into(&mut settings.records);
    settings.namespaces = Namespaces { default: Some(namespace.to_owned()), ..Namespaces::default() };
    // The cluster has no name service.
    settings.conf.insert("spark.kubernetes.driver.master".to_owned(), "https://10.96.0.1:443".to_owned());
    settings
}

async fn create_namespace(client: &Client, name: &str) {
    let object = json!({"metadata": {"name": name}});
    ignore_existing(
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &parsed(object)).await,
    );
}

async fn create<K>(client: &Client, namespace: &str, object: Value)
where
    K: Resource<Scope = kube::core::NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    ignore_existing(api.create(&PostParams::default(), &parsed(object)).await);
}

fn service_account() -> Value {
    json!({"metadata": {"name": "spark"}})
}

/// The rights that a driver needs for its executors.
fn role() -> Value {
    json!({"metadata": {"name": "spark"}, "rules": [{
        "apiGroups": [""],
        "resources": ["pods", "services", "configmaps", "persistentvolumeclaims"],
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"],
    }]})
}

fn role_binding(namespace: &str) -> Value {
    json!({
        "metadata": {"name": "spark"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "spark"},
        "subjects": [{"kind": "ServiceAccount", "name": "spark", "namespace": namespace}],
    })
}

/// Parses an object of Kubernetes.
///
/// # Panics
/// If it is none.
pub fn parsed<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).expect("the object is valid")
}

fn ignore_existing<K>(created: kube::Result<K>) {
    match created {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        other => drop(other.expect("the API server responds")),
    }
}

/// Returns the names of the pods of a namespace.
///
/// # Panics
/// If the API server does not respond.
pub async fn pod_names(client: &Client, namespace: &str) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list = pods.list(&ListParams::default()).await.expect("the API server responds");
    list.items.into_iter().filter_map(|pod| pod.metadata.name).collect()
}

/// Returns the pods, config maps, services and events of a namespace, as JSON.
///
/// # Panics
/// If the API server does not respond.
pub async fn objects_as_text(client: &Client, namespace: &str) -> String {
    async fn of<K>(client: &Client, namespace: &str) -> String
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
    {
        let api: Api<K> = Api::namespaced(client.clone(), namespace);
        let list = api.list(&ListParams::default()).await.expect("the API server responds");
        serde_json::to_string(&list.items).expect("objects are JSON")
    }
    [
        of::<Pod>(client, namespace).await,
        of::<ConfigMap>(client, namespace).await,
        of::<Service>(client, namespace).await,
        of::<Event>(client, namespace).await,
    ]
    .concat()
}

/// Returns the path of a kubeconfig that does not lead to a server.
///
/// # Panics
/// If the folder is not writable.
pub fn kubeconfig_of_nobody(folder: &Path) -> PathBuf {
    let path = folder.join("kubeconfig");
    let content = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    std::fs::write(&path, content.to_string()).expect("the folder is writable");
    path
}
