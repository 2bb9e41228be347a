//! The clusters of a file, as one backend. The file is read again when it has changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcp_gateway::ConnectKey;
use dcp_gateway::clusters::{Bindings, Clusters, Member, OrphanAction, Orphans, Properties};
use dcp_gateway::kubernetes::{self, Allow, ConnectFrom, Kubernetes, Namespaces, Queue, QueueKind, Settings};
use dcp_model::clusters::{self as model, Cluster};
use dcp_model::manifest::KubernetesName;
use dcp_workspace::project::Outcome;
use jiff::Timestamp;

use crate::failure::Failure;
use crate::operator_file::{self, CHECK_INTERVAL, load, print, unusable};
use crate::out::Console;
use crate::service_log;

/// The only kind that the file has, as its diagnostics hold.
pub(crate) const KIND: &str = "kubernetes";

/// A file of clusters, with the backends that were made of it.
#[derive(Debug)]
pub(crate) struct ClustersFile {
    path: PathBuf,
    /// The only cluster of the file to use.
    only: Option<String>,
    /// The identity of the control plane.
    control_plane: String,
    /// The key for drivers of Spark Connect pools.
    connect_key: Option<ConnectKey>,
    text: Vec<u8>,
    /// The backend of each cluster, with the declaration that it was made of.
    backends: BTreeMap<String, (Cluster, Arc<Kubernetes>)>,
}

impl ClustersFile {
    /// Reads a file, and connects to its clusters. Prints the diagnostics of the file.
    pub(crate) async fn open(
        path: &Path,
        only: Option<&str>,
        bindings: Arc<dyn Bindings>,
        connect_key: Option<ConnectKey>,
        console: &mut Console,
    ) -> Result<(Self, Clusters), Failure> {
        let text = load(path).map_err(|error| Failure::at(path, "read", &error))?;
        let (declared, outcome) = read(path, &text)?;
        print(&outcome, console)?;
        let declared = declared.ok_or_else(|| unusable(path))?;
        let only = only.map(str::to_owned);
        let control_plane = identity(&*bindings).await?;
        let (path, backends) = (path.to_owned(), BTreeMap::new());
        let mut file = Self { path, only, control_plane, connect_key, text, backends };
        let members = file.connect(&declared).await?;
        let clusters = Clusters::new(members, bindings, Timestamp::now, log);
        Ok((file, clusters))
    }

    /// Applies changes of the file until the process ends. A file with errors changes nothing.
    pub(crate) async fn follow(mut self, clusters: Clusters) {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            let text = match load(&self.path) {
                Ok(text) if text != self.text => text,
                // An editor may be about to write it.
                _ => continue,
            };
            match self.reload(&text, &clusters).await {
                Ok(()) => log(&format!("`{}` was read again", self.path.display())),
                Err(failure) => log(&format!(
                    "`{}` has changed, and the old content stays in force: {}",
                    self.path.display(),
                    failure.message()
                )),
            }
            self.text = text;
        }
    }

    async fn reload(&mut self, text: &[u8], clusters: &Clusters) -> Result<(), Failure> {
        let declared = operator_file::changed(read(&self.path, text)?)?;
        clusters.replace(self.connect(&declared).await?);
        Ok(())
    }

    /// Returns the members. A cluster whose declaration has not changed keeps its connection.
    async fn connect(&mut self, declared: &model::Clusters) -> Result<BTreeMap<String, Member>, Failure> {
        if let Some(only) = &self.only {
            find(declared, only, &self.path)?;
        }
        let mut backends = BTreeMap::new();
        let is_used = |name: &str| self.only.as_ref().is_none_or(|only| only == name);
        for (name, cluster) in declared.clusters.iter().filter(|(name, _)| is_used(name.as_str())) {
            let known =
                self.backends.get(name.as_str()).filter(|(declared, _)| is_same_access(declared, cluster));
            let backend = match known {
                Some((_, backend)) => Arc::clone(backend),
                None => {
                    let own = (Some(self.control_plane.clone()), self.connect_key.clone());
                    Arc::new(backend(name.as_str(), cluster, &self.path, own).await?)
                }
            };
            backends.insert(name.to_string(), (cluster.clone(), backend));
        }
        self.backends = backends;
        let member = |(name, (cluster, backend)): (&String, &(Cluster, Arc<Kubernetes>))| {
            let (kind, compute) = (KIND, Arc::clone(backend) as _);
            (
                name.clone(),
                Member { kind, properties: properties(cluster), orphans: orphans(cluster), compute },
            )
        };
        Ok(self.backends.iter().map(member).collect())
    }
}

/// Connects to one cluster of a file. Prints the diagnostics of a file that can't be used.
pub(crate) async fn open_one(
    path: &Path,
    name: &str,
    console: &mut Console,
) -> Result<(Kubernetes, Cluster), Failure> {
    let text = load(path).map_err(|error| Failure::at(path, "read", &error))?;
    let (declared, outcome) = read(path, &text)?;
    let Some(declared) = declared else {
        print(&outcome, console)?;
        return Err(unusable(path));
    };
    let cluster = find(&declared, name, path)?;
    Ok((backend(name, cluster, path, (None, None)).await?, cluster.clone()))
}

fn find<'d>(declared: &'d model::Clusters, name: &str, path: &Path) -> Result<&'d Cluster, Failure> {
    let found = declared.clusters.iter().find(|(known, _)| known.as_str() == name);
    found.map(|(_, cluster)| cluster).ok_or_else(|| {
        let names: Vec<&str> = declared.clusters.keys().map(KubernetesName::as_str).collect();
        Failure::usage(format!("`{}` has no cluster `{name}`", path.display()))
            .help(format!("it has {}", names.join(", ")))
    })
}

/// Returns the identity of a control plane.
pub(crate) async fn identity(bindings: &dyn Bindings) -> Result<String, Failure> {
    bindings.identity().await.map_err(|error| Failure::new(error.to_string()))
}

/// Connects to a cluster of a file. `control_plane` is the identity of its applications, and the key is for drivers of
/// Spark Connect pools.
async fn backend(
    name: &str,
    cluster: &Cluster,
    path: &Path,
    (control_plane, connect_key): (Option<String>, Option<ConnectKey>),
) -> Result<Kubernetes, Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let client = kubernetes::connect(&credentials(&cluster.credentials, folder)).await;
    let client = client.map_err(|error| Failure::new(format!("cluster `{name}`: {error}")))?;
    let settings = Settings { control_plane, connect_key, ..settings(name, cluster) };
    match &cluster.logs {
        Some(logs) => Kubernetes::with_logs(client, settings, Timestamp::now, logs.as_str())
            .map_err(|error| Failure::new(format!("cluster `{name}`: logs: {error}"))),
        None => Ok(Kubernetes::new(client, settings, Timestamp::now)),
    }
}

/// Reads the text of a file of clusters.
fn read(path: &Path, text: &[u8]) -> Result<(Option<model::Clusters>, Outcome), Failure> {
    operator_file::read(path, text, dcp_compiler::clusters::read)
}

/// Returns true if two declarations differ only in what decides about new applications.
fn is_same_access(a: &Cluster, b: &Cluster) -> bool {
    let access = |cluster: &Cluster| Cluster {
        region: None,
        tags: BTreeMap::new(),
        weight: 1,
        capacity: model::Capacity::default(),
        orphans: model::Orphans::default(),
        domains: Vec::new(),
        ..cluster.clone()
    };
    access(a) == access(b)
}

pub(crate) fn credentials(declared: &model::Credentials, folder: &Path) -> kubernetes::Credentials {
    match declared {
        model::Credentials::Kubeconfig { path, context } => {
            kubernetes::Credentials::Kubeconfig { path: path.resolve(folder), context: context.clone() }
        }
        model::Credentials::InCluster => kubernetes::Credentials::InCluster,
        model::Credentials::Server { url, token_file, certificate_authority } => {
            kubernetes::Credentials::Server {
                url: url.to_string(),
                token_file: token_file.resolve(folder),
                certificate_authority: certificate_authority.as_ref().map(|path| path.resolve(folder)),
            }
        }
    }
}

fn settings(name: &str, cluster: &Cluster) -> Settings {
    let mut settings = Settings::new(name);
    settings.records = cluster.records.to_string();
    let of_domains = cluster.namespaces.domains.iter();
    settings.namespaces = Namespaces {
        default: cluster.namespaces.of_others.as_ref().map(ToString::to_string),
        of_domains: of_domains
            .map(|(domain, namespace)| (domain.to_string(), namespace.to_string()))
            .collect(),
    };
    settings.service_account = cluster.service_account.to_string();
    settings.service_accounts = cluster.service_accounts.iter().map(ToString::to_string).collect();
    let conf = cluster.settings.iter();
    settings.conf = conf.map(|(key, value)| (key.clone(), value.as_str().to_owned())).collect();
    settings.queue = cluster.queue.as_ref().map(|queue| Queue {
        kind: match queue.kind {
            model::QueueKind::Kueue => QueueKind::Kueue,
            model::QueueKind::Yunikorn => QueueKind::Yunikorn,
        },
        name: queue.name.to_string(),
    });
    settings.event_logs = cluster.event_logs.as_ref().map(ToString::to_string);
    let model::Allow { host_paths, host_network, privileged, node_names } = &cluster.allow;
    settings.allow = Allow {
        host_paths: host_paths.iter().map(ToString::to_string).collect(),
        host_network: *host_network,
        privileged: *privileged,
        node_names: *node_names,
    };
    let model::ConnectFrom { namespace, cidrs } = &cluster.connect.from;
    settings.connect_from = ConnectFrom {
        namespace: namespace.as_ref().map(ToString::to_string),
        cidrs: cidrs.iter().map(ToString::to_string).collect(),
    };
    settings.operator = match cluster.operator {
        model::Operator::Native => None,
        model::Operator::Kubeflow => Some(kubernetes::Operator::Kubeflow),
        model::Operator::Apache => Some(kubernetes::Operator::Apache),
    };
    settings
}

fn orphans(cluster: &Cluster) -> Orphans {
    let action = match cluster.orphans {
        model::Orphans::End => OrphanAction::End,
        model::Orphans::Report => OrphanAction::Report,
    };
    Orphans { action, ..Orphans::default() }
}

fn properties(cluster: &Cluster) -> Properties {
    let tags = cluster.tags.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    let domains = cluster.allowed_domains();
    Properties {
        region: cluster.region.as_ref().map(ToString::to_string),
        tags: tags.collect(),
        weight: cluster.weight,
        capacity: cluster.capacity.applications,
        domains: domains.map(|domains| domains.into_iter().map(ToString::to_string).collect()),
    }
}

pub(crate) fn log(text: &str) {
    service_log::write("the Gateway", text);
}
