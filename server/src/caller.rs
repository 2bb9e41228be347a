//! The caller of a request, and what it may do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use tonic::{Request, Status};

use crate::audit::{Act, Audit, AuditEntry};
use crate::policy::{Decision, Policy, Resource, Role, Rule, Visible};
use crate::rejection::Rejection;

/// The caller of a request, stored as an extension of the request.
#[derive(Debug, Clone)]
pub struct Caller {
    pub name: Arc<str>,
    pub groups: Arc<[String]>,
    pub credential: Credential,
    /// None for callers who may do everything.
    policy: Option<Arc<Policy>>,
    /// None if decisions about the caller are not recorded.
    audit: Option<Audit>,
    /// None for callers whose credential does not end.
    recheck: Option<Recheck>,
    /// The time at which the credential expires, if it does.
    expires: Option<Timestamp>,
}

/// Time before its expiry after which a credential is no longer checked.
const EXPIRY_MARGIN: SignedDuration = SignedDuration::from_mins(1);
/// Interval at which a long call checks that its caller still may make it.
const RECHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Identifies the caller of a call again, with the current policy.
#[derive(Clone)]
pub(crate) struct Recheck(
    pub(crate) Arc<dyn Fn() -> BoxFuture<'static, Result<Caller, Rejection>> + Send + Sync>,
);

impl fmt::Debug for Recheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recheck")
    }
}

impl Eq for Caller {}

/// Callers are equal if they have the same rights, from any place.
impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        let key = |caller: &Self| {
            (caller.name.clone(), caller.groups.clone(), caller.credential.clone(), caller.policy.clone())
        };
        key(self) == key(other)
    }
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
    /// The decision can't be recorded. A retry is safe.
    Unavailable(String),
}

impl Caller {
    /// Creates a caller who may do what a policy allows, and nothing without one.
    pub fn new(name: &str, groups: Vec<String>, credential: Credential) -> Self {
        let policy = Some(Arc::default());
        let (name, groups) = (name.into(), groups.into());
        Self { name, groups, credential, policy, audit: None, recheck: None, expires: None }
    }

    /// Creates a caller who may do everything.
    pub fn unrestricted(name: &str, credential: Credential) -> Self {
        let (name, groups) = (name.into(), Arc::new([]));
        Self { name, groups, credential, policy: None, audit: None, recheck: None, expires: None }
    }

    /// Returns the caller of a credential that expires.
    #[must_use]
    pub fn until(self, expires: Option<Timestamp>) -> Self {
        Self { expires, ..self }
    }

    /// Returns true if the credential has expired, or is about to. Clocks may differ, so it can be rejected already.
    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires.duration_since(now) <= EXPIRY_MARGIN)
    }

    /// Returns the caller with the rights that a policy gives. An unrestricted caller stays so.
    #[must_use]
    pub fn with_policy(self, policy: &Arc<Policy>) -> Self {
        let policy = self.policy.map(|_| Arc::clone(policy));
        Self { policy, ..self }
    }

    /// Returns the caller of a gRPC request.
    pub fn of<T>(request: &Request<T>) -> Result<&Self, Status> {
        let caller = request.extensions().get::<Self>();
        caller.ok_or_else(|| Status::internal("the server did not identify the caller"))
    }

    /// Decides if the caller may do what needs a role. The decision is not recorded.
    pub fn check(&self, needed: Role, resource: Resource<'_>) -> Result<(), Denied> {
        let Some(policy) = &self.policy else { return Ok(()) };
        self.result(policy.decide(&self.name, &self.groups, needed, resource), needed, resource)
    }

    fn result(&self, decision: Decision, needed: Role, resource: Resource<'_>) -> Result<(), Denied> {
        match decision {
            Decision::Allowed(_) => Ok(()),
            Decision::Hidden => Err(Denied::Hidden),
            Decision::Forbidden => Err(Denied::Forbidden(forbidden(&self.name, needed, resource))),
        }
    }

    #[must_use]
    pub(crate) fn with_audit(self, audit: Option<Audit>) -> Self {
        Self { audit, ..self }
    }

    #[must_use]
    pub(crate) fn with_recheck(self, recheck: Recheck) -> Self {
        Self { recheck: Some(recheck), ..self }
    }

    /// Waits until the caller may not do any more what needs a role, and returns the reason: the credential was revoked,
    /// or the policy has changed. If that can't be determined, it goes on waiting. A credential that expires ends
    /// nothing, as a client can't renew that of a call.
    pub async fn lost(self, needed: Role, resource: Resource<'_>) -> String {
        let Some(Recheck(identify)) = &self.recheck else { return std::future::pending().await };
        loop {
            tokio::time::sleep(RECHECK_INTERVAL).await;
            match identify().await {
                Ok(caller) => {
                    if let Err(denied) = caller.check(needed, resource) {
                        return denied.message(&caller, needed, resource);
                    }
                }
                Err(Rejection::Invalid(why)) => return why,
                Err(Rejection::Unavailable(_)) => {}
            }
        }
    }

    /// Decides if the caller may do something. A decision about a change, or a refusal, is recorded first.
    pub async fn authorize(&self, act: Act<'_>) -> Result<(), Denied> {
        let Some(policy) = &self.policy else { return Ok(()) };
        let decision = policy.decide(&self.name, &self.groups, act.role, act.resource);
        if act.role > Role::Viewer || !matches!(decision, Decision::Allowed(_)) {
            self.record(act, decision).await?;
        }
        self.result(decision, act.role, act.resource)
    }

    async fn record(&self, act: Act<'_>, decision: Decision) -> Result<(), Denied> {
        let Some(Audit { log, clock, peer, trace }) = &self.audit else { return Ok(()) };
        let reason = match decision {
            Decision::Allowed(index) => format!("binding {}", index + 1),
            Decision::Forbidden => format!("needs the role `{}`", act.role.as_str()),
            Decision::Hidden => "no role".to_owned(),
        };
        let entry = AuditEntry {
            at: clock(),
            caller: self.name.to_string(),
            credential: self.credential.to_string(),
            action: act.name.to_owned(),
            scope: act.resource.scope.map(str::to_owned),
            domain: act.resource.domain.map(str::to_owned),
            subject: act.subject.map(str::to_owned),
            on_behalf_of: act.on_behalf_of.map(str::to_owned),
            is_allowed: matches!(decision, Decision::Allowed(_)),
            reason,
            peer: peer.map(|peer| peer.to_string()),
            trace: trace.to_string(),
        };
        log.record(entry).await.map_err(|why| {
            Denied::Unavailable(format!(
                "the audit log can't be written, and nothing happens without it: {why}"
            ))
        })
    }

    /// Returns true for a caller who may do everything, without a policy.
    pub fn is_unrestricted(&self) -> bool {
        self.policy.is_none()
    }

    /// Returns the rules of the policy that apply to the caller; none for a caller who may do everything.
    pub fn rules(&self) -> Vec<&Rule> {
        let policy = self.policy.as_deref().into_iter();
        policy.flat_map(|policy| policy.rules_of(&self.name, &self.groups)).collect()
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
            Self::Forbidden(message) | Self::Unavailable(message) => message,
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
