//! The policy file, `policy.yaml`: providers that identify callers, the roles of callers, and the limits of domains.
//!
//! The JSON Schema and the decoder are derived from these types. [`Policy`] decides.

mod decision;
mod limits;
mod text;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clusters::{Credentials, FilePath};
use crate::manifest::{Format, KubernetesName, Memory};

pub use decision::{ALL_TARGETS, Area, Decision, Names, Policy, Resource, Rule, Visible};
pub use limits::{Limits, Quota};
pub use text::{CallerName, DomainSelector, IssuerUrl, ScopeSelector};

/// Returns the formats of fields that only this file has.
pub fn formats() -> impl Iterator<Item = &'static Format> {
    text::FORMATS.iter()
}

/// The roles of callers. A caller may do only what a binding allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyFile {
    /// Providers whose access tokens identify callers, by the prefix of the names of their users and groups. A change
    /// takes effect at the next start of a service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = {"format": "kubernetes-name"}))]
    pub issuers: BTreeMap<KubernetesName, Issuer>,
    /// The Kubernetes cluster whose service accounts are callers. A change takes effect at the next start of a service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<ServiceAccounts>,
    /// The client certificates that identify callers. A change takes effect at the next start of a service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
    /// The bindings of roles. Their order does not matter.
    #[schemars(length(min = 1))]
    pub bindings: Vec<Binding>,
    /// The limits of domains. They hold for submits of every caller. No two entries name the same domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<DomainLimits>,
    /// Tests of the bindings. A file with a test that fails is rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<PolicyTest>,
}

/// An `OpenID` provider whose access tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Issuer {
    /// The URL of the issuer, equal to the letter to `iss` in its tokens.
    pub url: IssuerUrl,
    /// The names of this service at the provider. A token has to be for one of them.
    #[schemars(length(min = 1), inner(length(min = 1, max = 255)), extend("uniqueItems" = true))]
    pub audiences: Vec<String>,
    /// The accepted algorithms of signatures. If omitted, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("uniqueItems" = true))]
    pub algorithms: Vec<Algorithm>,
    /// The claim with the name of the user. With `email`, the provider has to have verified the address.
    #[serde(default = "Issuer::default_user")]
    #[schemars(length(min = 1, max = 255))]
    pub user: String,
    /// The claim with the groups of the user. If omitted, users have no groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub groups: Option<String>,
    /// The path of a file with the certificates, in PEM, that verify the provider. If omitted, those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<FilePath>,
    /// The login of people with `dcp login`. If omitted, the provider is for programs that have a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

impl Issuer {
    fn default_user() -> String {
        "sub".to_owned()
    }
}

/// The client of `dcp login` at a provider, and the parameters of its requests. Anybody who reaches the service can read
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// The id of a public client: it has no secret.
    #[schemars(length(min = 1, max = 255))]
    pub client: String,
    /// The scopes to request. With `offline_access`, a login is refreshed until the provider ends it.
    #[serde(default = "Login::default_scopes")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 255)), extend("uniqueItems" = true))]
    pub scopes: Vec<String>,
    /// The parameter `resource` of requests (RFC 8707), for providers that choose the audience by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub resource: Option<String>,
    /// The parameter `audience` of requests, for providers that choose the audience by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub audience: Option<String>,
}

impl Login {
    fn default_scopes() -> Vec<String> {
        vec!["openid".to_owned()]
    }
}

/// An algorithm of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// A cluster whose service accounts are callers. Its API server reviews their tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccounts {
    /// The name of this service in tokens. Tokens for the API server, as every pod has one, are rejected.
    #[schemars(length(min = 1, max = 255))]
    pub audience: String,
    /// The issuer of the cluster's tokens. If omitted, the tokens of all service accounts are reviewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: Option<String>,
    /// The credentials of dcp, whose account needs the cluster role `system:auth-delegator`.
    pub credentials: Credentials,
}

/// Client certificates, which TLS verifies. Their users are `certificate:NAME`, and their groups are
/// `certificate:ORGANIZATION`, for each organization of the subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificates {
    /// The path of a file with the certificates, in PEM, of the authorities that sign client certificates. It is read
    /// again when it changes.
    pub certificate_authority: FilePath,
    /// The part of a certificate that names its user.
    #[serde(default)]
    pub user: CertificateUser,
}

/// The part of a certificate that names its user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CertificateUser {
    /// The common name of the subject.
    #[default]
    CommonName,
    /// The only URI among the alternative names, such as `spiffe://example.com/dcp/runner`.
    Uri,
}

/// A role of users and groups, in scopes and domains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    pub role: Role,
    /// The names of users. `dcp whoami` shows the own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("uniqueItems" = true))]
    pub users: Vec<CallerName>,
    /// The names of groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("uniqueItems" = true))]
    pub groups: Vec<CallerName>,
    /// The scopes: `project/target`, or `project` for a project without targets. `project/*` stands for all scopes of a
    /// project, and `*` for all scopes. Jobs that are not applied belong to no scope, and need `*`.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub scopes: Vec<ScopeSelector>,
    /// The domains; `*` stands for all domains.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub domains: Vec<DomainSelector>,
}

/// The role of a caller. A role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Reads executions, logs, results, applied workloads and their status.
    Viewer,
    /// Runs applied jobs, and cancels, pauses and restarts jobs.
    Operator,
    /// Applies manifests, and runs jobs that are not applied.
    Developer,
    /// Reads the audit log.
    Admin,
}

/// Limits of domains. Each domain of the entry has them for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainLimits {
    /// The domains; `*` stands for each domain. An entry that names a domain decides over `*`, field by field.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub domains: Vec<DomainSelector>,
    /// Maximum number of executions with an attempt that is or may be alive, at all Runners of a database together.
    /// Further executions are queued. Continuous jobs count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub running: Option<u32>,
    /// Maximum number of executions that wait to be started by a Runner. Further submits are rejected. If omitted, that
    /// of `--max-queued-per-domain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queued: Option<u32>,
    /// Maximum number of submits a second at a Runner, and of submits at once. Further submits are rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub submits_per_second: Option<u32>,
    /// Maximum size of all stored results. Once it is reached, submits of jobs with `returnResult` are rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<Memory>,
}

/// A test of the bindings: the highest role of a caller in a scope and a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTest {
    pub user: CallerName,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<CallerName>,
    /// The scope. If omitted, the test is about jobs that are not applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeSelector>,
    /// The domain. If omitted, the test is about all domains together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<DomainSelector>,
    pub role: ExpectedRole,
}

/// The highest role that a test expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ExpectedRole {
    /// No role.
    None,
    Viewer,
    Operator,
    Developer,
    Admin,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Developer, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Developer => "developer",
            Self::Admin => "admin",
        }
    }
}

impl From<ExpectedRole> for Option<Role> {
    fn from(role: ExpectedRole) -> Self {
        match role {
            ExpectedRole::None => None,
            ExpectedRole::Viewer => Some(Role::Viewer),
            ExpectedRole::Operator => Some(Role::Operator),
            ExpectedRole::Developer => Some(Role::Developer),
            ExpectedRole::Admin => Some(Role::Admin),
        }
    }
}

impl PolicyFile {
    /// Returns the rules of the bindings, in their order, and the limits.
    pub fn policy(&self) -> Policy {
        let rule = |binding: &Binding| {
            let texts = |names: &[CallerName]| names.iter().map(|name| name.as_str().to_owned()).collect();
            Rule {
                role: binding.role,
                users: texts(&binding.users),
                groups: texts(&binding.groups),
                area: Area {
                    scopes: names(binding.scopes.iter().map(ScopeSelector::as_str)),
                    domains: names(binding.domains.iter().map(DomainSelector::as_str)),
                },
            }
        };
        Policy { rules: self.bindings.iter().map(rule).collect(), limits: self.limits() }
    }

    /// Returns the limits of all domains.
    fn limits(&self) -> Limits {
        let (mut named, mut others) = (BTreeMap::new(), Quota::default());
        for entry in &self.limits {
            for domain in &entry.domains {
                match domain.as_str() {
                    text::ALL => others = entry.quota(),
                    name => drop(named.insert(name.to_owned(), entry.quota())),
                }
            }
        }
        Limits::new(named, others)
    }
}

impl DomainLimits {
    /// Returns true if the entry limits nothing.
    pub fn is_empty(&self) -> bool {
        self.quota() == Quota::default()
    }

    fn quota(&self) -> Quota {
        let &Self { domains: _, running, queued, submits_per_second, results } = self;
        Quota { running, queued, submits_per_second, results: results.map(Memory::bytes) }
    }
}

impl PolicyTest {
    /// Returns the highest role that a policy gives, if it is not the expected one.
    pub fn failure(&self, policy: &Policy) -> Option<Option<Role>> {
        let groups: Vec<String> = self.groups.iter().map(|group| group.as_str().to_owned()).collect();
        let role = policy.role(self.user.as_str(), &groups, self.resource());
        (role != self.role.into()).then_some(role)
    }

    /// Returns the scope and the domain that the test is about.
    pub fn resource(&self) -> Resource<'_> {
        Resource {
            scope: self.scope.as_ref().map(ScopeSelector::as_str).filter(|it| *it != text::ALL),
            domain: self.domain.as_ref().map(DomainSelector::as_str).filter(|it| *it != text::ALL),
        }
    }
}

fn names<'n>(selectors: impl Iterator<Item = &'n str> + Clone) -> Names {
    match selectors.clone().any(|it| it == text::ALL) {
        true => Names::All,
        false => Names::Only(selectors.map(str::to_owned).collect()),
    }
}
