//! The audit log: decisions about calls that change something, and refused calls.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use tonic::async_trait;

use crate::policy::{Resource, Role};

/// Stores decisions.
#[async_trait]
pub trait AuditLog: fmt::Debug + Send + Sync {
    /// Stores a decision durably. A call changes something only after that.
    async fn record(&self, entry: AuditEntry) -> Result<(), String>;
}

/// A decision about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub at: Timestamp,
    /// The name of the caller.
    pub caller: String,
    /// The kind of the caller's credential.
    pub credential: String,
    /// What the caller is about to do, such as `submit`.
    pub action: String,
    pub scope: Option<String>,
    pub domain: Option<String>,
    /// What it is about: the id of an execution, or an address.
    pub subject: Option<String>,
    /// The person for whom the caller, a service, acts, as the caller reports it.
    pub on_behalf_of: Option<String>,
    pub is_allowed: bool,
    /// The number of the binding that allows it, from 1, or the reason of the refusal.
    pub reason: String,
    /// The address of the caller; none for a caller at the Unix socket.
    pub peer: Option<String>,
    /// The trace id of the call.
    pub trace: String,
}

/// What a caller is about to do.
#[derive(Debug, Clone, Copy)]
pub struct Act<'a> {
    pub name: &'static str,
    /// The role that it needs.
    pub role: Role,
    pub resource: Resource<'a>,
    pub subject: Option<&'a str>,
    /// The person for whom the caller, a service, acts, as the caller reports it.
    pub on_behalf_of: Option<&'a str>,
}

impl Act<'_> {
    /// Returns an act on everything.
    pub fn new(name: &'static str, role: Role) -> Self {
        Self { name, role, resource: Resource::EVERYTHING, subject: None, on_behalf_of: None }
    }
}

/// The audit log of a server, and the origin of a call.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    pub(crate) log: Arc<dyn AuditLog>,
    pub(crate) clock: fn() -> Timestamp,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) trace: Arc<str>,
}

/// Returns the trace id of a `traceparent` header, or a new one.
pub(crate) fn trace_id(traceparent: Option<&str>) -> Arc<str> {
    let given = traceparent.and_then(|value| value.split('-').nth(1));
    let is_id = |id: &&str| {
        let is_hex = id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        id.len() == 32 && is_hex && id.bytes().any(|byte| byte != b'0')
    };
    match given.filter(is_id) {
        Some(id) => id.into(),
        None => format!("{:032x}", rand::random::<u128>()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_trace_id_is_kept_and_another_one_is_replaced() {
        let valid = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(&*trace_id(Some(&format!("00-{valid}-b7ad6b7169203331-01"))), valid);
        for wrong in
            [None, Some(""), Some("00"), Some("00-x-y-01"), Some("00-00000000000000000000000000000000-a-01")]
        {
            let new = trace_id(wrong);
            assert!(new.len() == 32 && &*new != valid && new.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
}
