//! The questions to a cluster. Objects are created as a dry run only: the API server validates and drops them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SubjectAccessReview};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::PostParams;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::client::{is_missing, root_cause};
use super::super::facts::shortened;
use super::super::permissions::{OF_DRIVERS, Permission, Scope, of_dcp, of_pools};
use super::super::{Settings, labels};
use super::Namespaces;

/// Maximum number of concurrent questions.
const MAX_CONCURRENT: usize = 8;
/// Name of the objects of dry runs.
const DRY_RUN: &str = "dcp-doctor";

type Result<T> = std::result::Result<T, String>;

/// The version of an API server, and the duration of its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) text: String,
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) after: Duration,
}

/// A verb for a resource, in a namespace or in all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Access {
    pub(super) namespace: Option<String>,
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    pub(super) verb: &'static str,
}

/// The result of a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DryRun {
    Accepted,
    NoNamespace,
    NoAccount,
    /// Admission rejects the object.
    Rejected(String),
    /// dcp may not create such an object.
    Forbidden,
}

/// The permissions of a driver's service account that are missing; none if dcp may not ask for them.
pub(super) type OfAccount = Option<BTreeSet<Access>>;

/// The responses of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The name of dcp on the cluster.
    pub(super) user: Option<String>,
    /// The permissions that dcp lacks.
    pub(super) denied: BTreeSet<Access>,
    /// The permissions for Spark Connect pools that dcp lacks.
    pub(super) denied_for_pools: BTreeSet<Access>,
    /// A dry run of a config map in each namespace.
    pub(super) namespaces: BTreeMap<String, DryRun>,
    /// A dry run of a driver with each service account, and the permissions that the account lacks.
    pub(super) accounts: BTreeMap<(String, String), (DryRun, OfAccount)>,
    /// The API groups of operators and queues, with their versions.
    pub(super) apis: BTreeMap<String, Vec<String>>,
}

fn unresponsive(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => shortened(&status.message),
        other => shortened(&root_cause(other)),
    }
}

pub(super) async fn version(client: &Client) -> Result<Version> {
    let begin = Instant::now();
    let info = client.apiserver_version().await.map_err(|error| unresponsive(&error))?;
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
    Ok(Version {
        major: number(&info.major),
        minor: number(&info.minor),
        text: info.git_version.trim_start_matches('v').to_owned(),
        after: begin.elapsed(),
    })
}

/// Returns the name of dcp on the cluster, if the cluster tells it.
pub(super) async fn user(client: &Client) -> Option<String> {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
    let request = http::Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews");
    let request = request.header("Content-Type", "application/json").body(body.into_bytes()).ok()?;
    let response: Value = client.request(request).await.ok()?;
    response["status"]["userInfo"]["username"].as_str().map(str::to_owned)
}

/// Asks for everything that a report needs. Fails if the cluster does not respond.
pub(super) async fn facts(client: &Client, settings: &Settings, namespaces: &Namespaces) -> Result<Facts> {
    let denied_of = async |permissions| denied(client, permissions, namespaces).await;
    let denied = denied_of(of_dcp(settings.operator)).await?;
    let denied_for_pools = denied_of(of_pools(settings.operator).to_vec()).await?;
    let all = namespaces.of_domains.iter().chain([&namespaces.records]);
    let dry_runs = futures_util::stream::iter(all.map(|namespace| async move {
        let configs: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let config = json!({"metadata": {"name": DRY_RUN}});
        Ok::<_, String>((namespace.clone(), dry_run(&configs, config).await?))
    }));
    let dry_runs: BTreeMap<String, DryRun> = dry_runs.buffer_unordered(MAX_CONCURRENT).try_collect().await?;
    let mut accounts = BTreeMap::new();
    for namespace in &namespaces.of_domains {
        if dry_runs.get(namespace) == Some(&DryRun::NoNamespace) {
            continue;
        }
        for account in [&settings.service_account].into_iter().chain(&settings.service_accounts) {
            let found = self::account(client, namespace, account).await?;
            accounts.insert((namespace.clone(), account.clone()), found);
        }
    }
    let (user, apis) = (user(client).await, apis(client).await);
    Ok(Facts { user, denied, denied_for_pools, namespaces: dry_runs, accounts, apis })
}

/// Returns those of some permissions that dcp lacks.
async fn denied(
    client: &Client,
    permissions: Vec<Permission>,
    namespaces: &Namespaces,
) -> Result<BTreeSet<Access>> {
    let scopes = |scope: Scope| -> Vec<Option<&String>> {
        match scope {
            Scope::Records => vec![Some(&namespaces.records)],
            Scope::Domains => namespaces.of_domains.iter().map(Some).collect(),
            Scope::Cluster if namespaces.are_open => vec![None],
            Scope::Cluster => Vec::new(),
        }
    };
    let needed = permissions.into_iter().flat_map(|permission| {
        scopes(permission.scope).into_iter().flat_map(move |namespace| accesses(permission, namespace))
    });
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let denied = futures_util::stream::iter(needed.map(|access| {
        let reviews = reviews.clone();
        async move {
            let review = json!({"spec": {"resourceAttributes": attributes(&access)}});
            let review = create(&reviews, review, false).await.map_err(|error| unresponsive(&error))?;
            let is_allowed = review.status.is_some_and(|status| status.allowed);
            Ok::<_, String>((!is_allowed).then_some(access))
        }
    }));
    denied.buffer_unordered(MAX_CONCURRENT).try_filter_map(|access| async { Ok(access) }).try_collect().await
}

/// Tries to create a driver's pod with a service account, and asks for the permissions of the account.
async fn account(client: &Client, namespace: &str, account: &str) -> Result<(DryRun, OfAccount)> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let found = dry_run(&pods, driver(account)).await?;
    if found == DryRun::NoAccount {
        return Ok((found, None));
    }
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let needed = OF_DRIVERS.iter().flat_map(|permission| accesses(*permission, Some(namespace)));
    let denied = futures_util::stream::iter(needed.map(|access| {
        let reviews = reviews.clone();
        async move {
            let spec = json!({
                "user": format!("system:serviceaccount:{namespace}:{account}"),
                "groups": [
                    "system:serviceaccounts",
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated",
                ],
                "resourceAttributes": attributes(&access),
            });
            match create(&reviews, json!({"spec": spec}), false).await {
                Ok(review) => Ok(Some((access, review.status.is_some_and(|status| status.allowed)))),
                Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
                Err(error) => Err(unresponsive(&error)),
            }
        }
    }));
    let answers: Vec<Option<(Access, bool)>> = denied.buffer_unordered(MAX_CONCURRENT).try_collect().await?;
    let answers: Option<Vec<(Access, bool)>> = answers.into_iter().collect();
    let denied = |answers: Vec<(Access, bool)>| {
        answers.into_iter().filter(|(_, is_allowed)| !is_allowed).map(|(access, _)| access).collect()
    };
    Ok((found, answers.map(denied)))
}

/// Returns a pod like that of a driver. It is gated: it could not start even if the API server stored it.
fn driver(account: &str) -> Value {
    json!({
        "metadata": {"name": DRY_RUN},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": account,
            "schedulingGates": [{"name": labels::GATE}],
            "containers": [{
                "name": labels::DRIVER_CONTAINER,
                "image": "spark",
                "resources": {"requests": {"cpu": "1", "memory": "1408Mi"}, "limits": {"memory": "1408Mi"}},
            }],
        },
    })
}

fn accesses<'a>(
    permission: Permission,
    namespace: Option<impl AsRef<str> + 'a>,
) -> impl Iterator<Item = Access> + 'a {
    let Permission { group, resource, verbs, .. } = permission;
    verbs.iter().map(move |&verb| {
        let namespace = namespace.as_ref().map(|it| it.as_ref().to_owned());
        Access { namespace, group, resource, verb }
    })
}

fn attributes(access: &Access) -> Value {
    let Access { namespace, group, resource, verb } = access;
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    json!({
        "namespace": namespace,
        "group": group,
        "resource": resource,
        "subresource": subresource,
        "verb": verb,
    })
}

async fn create<K>(api: &Api<K>, object: Value, dry_run: bool) -> kube::Result<K>
where
    K: Resource + Serialize + DeserializeOwned + Clone + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    api.create(&PostParams { dry_run, ..PostParams::default() }, &object).await
}

async fn dry_run<K>(api: &Api<K>, object: Value) -> Result<DryRun>
where
    K: Resource + Serialize + DeserializeOwned + Clone + std::fmt::Debug,
{
    match create(api, object, true).await {
        Ok(_) => Ok(DryRun::Accepted),
        Err(error) if is_missing(&error) => Ok(DryRun::NoNamespace),
        Err(kube::Error::Api(status)) if matches!(status.code, 400..=499) => {
            Ok(rejection(status.code, &status.message))
        }
        Err(error) => Err(unresponsive(&error)),
    }
}

/// Translates the message by which an API server rejects an object.
pub(super) fn rejection(code: u16, message: &str) -> DryRun {
    match message {
        // The name exists, and the object would have been accepted.
        _ if code == 409 => DryRun::Accepted,
        _ if message.contains("error looking up service account") => DryRun::NoAccount,
        _ if code == 403 && message.contains(" cannot create resource ") => DryRun::Forbidden,
        _ => DryRun::Rejected(shortened(message)),
    }
}

/// Returns the API groups of operators and queues. A cluster that does not list its groups has none.
async fn apis(client: &Client) -> BTreeMap<String, Vec<String>> {
    const GROUPS: &[&str] =
        &["spark.apache.org", "sparkoperator.k8s.io", "kueue.x-k8s.io", "scheduling.volcano.sh"];
    let groups = client.list_api_groups().await.map(|list| list.groups).unwrap_or_default();
    let of_interest = groups.into_iter().filter(|group| GROUPS.contains(&group.name.as_str()));
    of_interest.map(|group| (group.name, group.versions.into_iter().map(|it| it.version).collect())).collect()
}
