//! Verifiers of callers' tokens: access tokens of `OpenID` providers, and tokens of Kubernetes service accounts.
//!
//! A verifier says who a caller is, and nothing about its rights. Tokens come from anybody who reaches the server, and
//! documents come from providers that may be broken: both are treated as hostile.

mod cause;
mod jwt;
pub mod oidc;
pub mod service_accounts;

use std::sync::Arc;

pub use oidc::Oidc;
pub use service_accounts::ServiceAccounts;

/// Receives messages for the operator, such as a provider that can't be reached.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;
