//! The caller of a request, and what it may do.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tonic::{Request, Status};

use crate::policy::{Decision, Policy, Resource, Role, Visible};

/// The caller of a request, stored as an extension of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub name: Arc<str>,
    pub groups: Arc<[String]>,
    pub credential: Credential,
    /// None for callers who may do everything.
    policy: Option<Arc<Policy>>,
}

/// The kind of credential that identified a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A process of this user, or of root, at the Unix socket.
    Process,
    /// A static token, with its name.
    Token(Arc<str>),
    /// The session of a browser.
    Session,
    /// A token of an `OpenID` provider, with the provider's name.
    Oidc(Arc<str>),
    /// A token of a Kubernetes service account.
    ServiceAccount,
    /// A client certificate.
    Certificate,
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process => f.write_str("process"),
            Self::Token(name) => write!(f, "token {name}"),
            Self::Session => f.write_str("session"),
            Self::Oidc(issuer) => write!(f, "oidc {issuer}"),
            Self::ServiceAccount => f.write_str("service account"),
            Self::Certificate => f.write_str("certificate"),
        }
    }
}

/// The reason why a caller may not do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// The caller may not learn that the resource exists. The answer is the same as if it did not.
    Hidden,
    /// The caller may read the resource. The message tells the role that is missing.
    Forbidden(String),
}

impl Caller {
    /// Creates a caller who may do what a policy allows, and nothing without one.
    pub fn new(name: &str, groups: Vec<String>, credential: Credential) -> Self {
        let policy = Some(Arc::default());
        Self { name: name.into(), groups: groups.into(), credential, policy }
    }

    /// Creates a caller who may do everything.
    pub fn unrestricted(name: &str, credential: Credential) -> Self {
        Self { name: name.into(), groups: Arc::new([]), credential, policy: None }
    }

    /// Returns the caller with the rights that a policy gives. An unrestricted caller stays so.
    #[must_use]
    pub(crate) fn with_policy(self, policy: &Arc<Policy>) -> Self {
        let policy = self.policy.map(|_| Arc::clone(policy));
        Self { policy, ..self }
    }

    /// Returns the caller of a gRPC request.
    pub fn of<T>(request: &Request<T>) -> Result<&Self, Status> {
        let caller = request.extensions().get::<Self>();
        caller.ok_or_else(|| Status::internal("the server did not identify the caller"))
    }

    /// Decides if the caller may do what needs a role.
    pub fn authorize(&self, needed: Role, resource: Resource<'_>) -> Result<(), Denied> {
        let Some(policy) = &self.policy else { return Ok(()) };
        match policy.decide(&self.name, &self.groups, needed, resource) {
            Decision::Allowed(_) => Ok(()),
            Decision::Hidden => Err(Denied::Hidden),
            Decision::Forbidden => Err(Denied::Forbidden(forbidden(&self.name, needed, resource))),
        }
    }

    /// Returns true for a caller who may do everything, without a policy.
    pub fn is_unrestricted(&self) -> bool {
        self.policy.is_none()
    }

    /// Checks that the caller has a role somewhere.
    pub fn require_role(&self) -> Result<(), String> {
        match self.visible() {
            Visible::Only(areas) if areas.is_empty() => {
                Err(format!("`{}` has no role; ask an admin for a binding in the policy", self.name))
            }
            _ => Ok(()),
        }
    }

    /// Returns the resources that the caller may read.
    pub fn visible(&self) -> Visible {
        self.policy.as_ref().map_or(Visible::All, |policy| policy.visible(&self.name, &self.groups))
    }
}

impl Denied {
    /// Returns the message for a caller from whom nothing has to be hidden, as it named the resource itself.
    pub fn message(self, caller: &Caller, needed: Role, resource: Resource<'_>) -> String {
        match self {
            Self::Hidden => forbidden(&caller.name, needed, resource),
            Self::Forbidden(message) => message,
        }
    }
}

fn forbidden(name: &str, needed: Role, resource: Resource<'_>) -> String {
    let scope = resource.scope.map_or("all scopes".to_owned(), |scope| format!("the scope `{scope}`"));
    let domain = resource.domain.map_or("all domains".to_owned(), |domain| format!("the domain `{domain}`"));
    format!(
        "`{name}` needs the role `{}` for {domain} in {scope}; ask an admin for a binding in the policy",
        needed.as_str()
    )
}

pub(crate) fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}
