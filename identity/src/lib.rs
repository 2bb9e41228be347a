//! Identifies callers, and stores decisions about their calls.
//!
//! [`tokens`] has static tokens, stored as salted hashes in a database; [`oidc`] verifies access tokens of `OpenID`
//! providers, and [`service_accounts`] tokens of Kubernetes service accounts. [`audit`] is the audit log.
//!
//! A verifier identifies a caller, and knows nothing about its rights. Tokens come from anybody who reaches the server, and
//! documents come from providers that may be broken: both are treated as hostile.

pub mod audit;
mod cause;
mod jwt;
pub mod oidc;
pub mod service_accounts;
pub mod tokens;

use std::sync::Arc;

pub use oidc::Oidc;
pub use service_accounts::ServiceAccounts;

/// Receives messages for the operator, such as a provider that can't be reached.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;
