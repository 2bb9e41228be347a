//! One cluster by its name: of a file of clusters, or a context of the user's kubeconfig.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcp_compiler::clusters::FILE_NAME;
use dcp_gateway::ConnectKey;
use dcp_gateway::clusters::{Bindings, Clusters, Member, Orphans, Properties};
use dcp_gateway::kubernetes::doctor::{Domains, Report, State};
use dcp_gateway::kubernetes::{self, Credentials, Kubernetes, Settings};
use dcp_model::manifest::KubernetesName;
use dcp_workspace::project::Workspace;
use jiff::Timestamp;

use crate::clusters;
use crate::failure::Failure;
use crate::out::Console;

/// The clusters of a Runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// All clusters of a file.
    All(PathBuf),
    /// One cluster of a file.
    One { file: PathBuf, name: String },
    /// A context of the user's kubeconfig, with the defaults of all settings.
    Context(String),
}

impl Choice {
    /// Returns the clusters that arguments name. A cluster without a file is one of the project's file, or else a
    /// context.
    pub(crate) fn new(home: &Workspace, file: Option<&Path>, name: Option<&str>) -> Option<Self> {
        let of_project = || Some(home.root.join(FILE_NAME)).filter(|path| path.exists());
        match (file, name) {
            (None, None) => None,
            (Some(file), None) => Some(Self::All(file.to_owned())),
            (file, Some(name)) => Some(match file.map(Path::to_owned).or_else(of_project) {
                Some(file) => Self::One { file, name: name.to_owned() },
                None => Self::Context(name.to_owned()),
            }),
        }
    }
}

/// A cluster with a connection.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) name: String,
    pub(crate) backend: Kubernetes,
    /// The domains that its declaration lists.
    pub(crate) domains: Domains,
    /// The origin of its declaration, for people.
    pub(crate) origin: String,
    /// The namespaces, for people.
    pub(crate) namespaces: String,
}

/// Connects to the only cluster of a choice; returns nothing if the choice has all clusters of a file.
pub(crate) async fn open(choice: &Choice, console: &mut Console) -> Result<Option<Opened>, Failure> {
    match choice {
        Choice::All(_) => Ok(None),
        Choice::One { file, name } => {
            let (backend, declared) = clusters::open_one(file, name, console).await?;
            let of_others = declared.namespaces.of_others.as_ref().map(ToString::to_string);
            let listed = declared.namespaces.domains.values().map(ToString::to_string);
            let namespaces: BTreeSet<String> = listed.chain(of_others).collect();
            Ok(Some(Opened {
                name: name.clone(),
                backend,
                domains: Domains {
                    listed: declared.domains.iter().map(ToString::to_string).collect(),
                    ..Domains::default()
                },
                origin: format!("`{}`", file.display()),
                namespaces: described(&declared.records.to_string(), &namespaces),
            }))
        }
        Choice::Context(name) => {
            let settings = Settings::new(name.as_str());
            let namespaces = settings.namespaces.default.iter().cloned().collect();
            Ok(Some(Opened {
                name: name.clone(),
                namespaces: described(&settings.records, &namespaces),
                backend: context(name, settings).await?,
                domains: Domains::default(),
                origin: "a context of your kubeconfig".to_owned(),
            }))
        }
    }
}

fn described(records: &str, namespaces: &BTreeSet<String>) -> String {
    let namespaces: Vec<String> = namespaces.iter().map(|namespace| format!("`{namespace}`")).collect();
    format!("records in `{records}`, applications in {}", namespaces.join(", "))
}

async fn context(name: &str, settings: Settings) -> Result<Kubernetes, Failure> {
    if KubernetesName::parse(name).is_err() {
        let help = format!(
            "give the cluster a name in `{FILE_NAME}`:\nclusters:\n  main:\n    kind: kubernetes\n    credentials: \
             {{kubeconfig: PATH, context: {name:?}}}"
        );
        return Err(Failure::usage(format!("the context `{name}` can't be the name of a cluster")).help(help));
    }
    let client = kubernetes::connect(&Credentials::Context(name.to_owned())).await;
    let client = client.map_err(|error| {
        Failure::new(format!("there is no `{FILE_NAME}` with a cluster `{name}`, and {error}"))
            .help("name the file with `--clusters FILE`")
    })?;
    Ok(Kubernetes::new(client, settings, Timestamp::now))
}

/// Returns a context as the only cluster of a Runner.
pub(crate) async fn of_context(
    name: &str,
    bindings: Arc<dyn Bindings>,
    connect_key: Option<ConnectKey>,
) -> Result<Clusters, Failure> {
    let control_plane = Some(clusters::identity(&*bindings).await?);
    let backend = context(name, Settings { control_plane, connect_key, ..Settings::new(name) }).await?;
    let properties =
        Properties { region: None, tags: BTreeMap::new(), weight: 1, capacity: None, domains: None };
    let orphans = Orphans::default();
    let member = Member { kind: clusters::KIND, properties, orphans, compute: Arc::new(backend) };
    Ok(Clusters::new(BTreeMap::from([(name.to_owned(), member)]), bindings, Timestamp::now, clusters::log))
}

/// Checks the cluster of `dcp up`, and describes it in a line. Fails if it does not respond.
pub(crate) async fn introduce(opened: &Opened) -> Result<(String, Option<String>), Failure> {
    let Opened { name, backend, domains, origin, namespaces } = opened;
    let Report { version, findings } = backend.doctor(domains).await;
    let mut failed = findings.into_iter().filter(|finding| finding.state == State::Failed);
    let Some(version) = version else {
        let text = failed.next().map_or("does not respond".to_owned(), |finding| finding.text);
        return Err(Failure::new(format!("the API server of the cluster `{name}` {text}"))
            .help(format!("check the cluster: dcp doctor --cluster {name}")));
    };
    let line = format!("cluster `{name}` of {origin}: Kubernetes {version}, {namespaces}");
    let warning = failed.next().map(|first| {
        let more = match failed.count() {
            0 => String::new(),
            count => format!(", and {count} more"),
        };
        format!("{}: {}{more}; see dcp doctor --cluster {name}", first.subject, first.text)
    });
    Ok((line, warning))
}
