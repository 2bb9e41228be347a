//! The permissions that dcp and drivers need on a cluster. The documents, the manifest of `dcp doctor` and the tests
//! read these tables.

use super::operator::Operator;

/// The place of a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// The namespace of dcp's records.
    Records,
    /// The namespace of each domain.
    Domains,
    /// All namespaces, if those of domains are not known in advance.
    Cluster,
}

/// Verbs for one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Permission {
    pub(super) scope: Scope,
    pub(super) group: &'static str,
    /// The resource, with a subresource after a slash.
    pub(super) resource: &'static str,
    pub(super) verbs: &'static [&'static str],
}

const fn core(scope: Scope, resource: &'static str, verbs: &'static [&'static str]) -> Permission {
    Permission { scope, group: "", resource, verbs }
}

/// The permissions of dcp on every cluster: the calls of [`Cluster`](super::cluster::Cluster) and of the watch.
const OF_DCP: &[Permission] = &[
    core(Scope::Records, "configmaps", &["get", "list", "watch", "create", "update", "delete"]),
    core(Scope::Domains, "pods", &["get", "list", "watch", "create", "patch", "delete"]),
    core(Scope::Domains, "pods/log", &["get"]),
    core(Scope::Domains, "events", &["list"]),
    core(Scope::Domains, "configmaps", &["get", "create"]),
    core(Scope::Domains, "services", &["get", "create"]),
    Permission {
        scope: Scope::Domains,
        group: "policy",
        resource: "poddisruptionbudgets",
        verbs: &["get", "create"],
    },
    core(Scope::Cluster, "pods", &["list", "watch"]),
];

const fn resources(scope: Scope, group: &'static str, verbs: &'static [&'static str]) -> Permission {
    Permission { scope, group, resource: "sparkapplications", verbs }
}

const KUBEFLOW: &str = "sparkoperator.k8s.io";
const APACHE: &str = "spark.apache.org";
const OF_RESOURCES: &[&str] = &["get", "list", "watch", "create", "delete"];

/// Returns the permissions of dcp on a cluster with an operator, or without one.
pub(super) fn of_dcp(operator: Option<Operator>) -> Vec<Permission> {
    let of_operator = match operator {
        None => &[][..],
        Some(Operator::Kubeflow) => &[
            resources(Scope::Domains, KUBEFLOW, OF_RESOURCES),
            resources(Scope::Cluster, KUBEFLOW, &["list", "watch"]),
        ],
        Some(Operator::Apache) => &[
            resources(Scope::Domains, APACHE, OF_RESOURCES),
            resources(Scope::Cluster, APACHE, &["list", "watch"]),
        ],
    };
    [OF_DCP, of_operator].concat()
}

/// Returns the further permissions of dcp for drivers of Spark Connect pools, which no operator runs. The metadata of
/// secrets is read, and never their content.
pub(super) fn of_pools(operator: Option<Operator>) -> &'static [Permission] {
    const OF_POOLS: &[Permission] = &[
        core(Scope::Domains, "secrets", &["get", "create"]),
        Permission {
            scope: Scope::Domains,
            group: "networking.k8s.io",
            resource: "networkpolicies",
            verbs: &["get", "create"],
        },
    ];
    if operator.is_none() { OF_POOLS } else { &[] }
}

const ALL_VERBS: &[&str] =
    &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// The permissions of the service accounts of drivers, which manage the pods of executors.
pub(super) const OF_DRIVERS: &[Permission] = &[
    core(Scope::Domains, "pods", ALL_VERBS),
    core(Scope::Domains, "configmaps", ALL_VERBS),
    core(Scope::Domains, "services", ALL_VERBS),
    core(Scope::Domains, "persistentvolumeclaims", ALL_VERBS),
];
