//! Identifies callers, stores decisions about their calls, and logs people in.
//!
//! [`tokens`] has static tokens, stored as salted hashes in a database; [`oidc`] verifies access tokens of `OpenID`
//! providers, and [`service_accounts`] tokens of Kubernetes service accounts. [`audit`] is the audit log.
//! [`service`] and [`rest`] return the caller of a call, and [`remote`] is their client; [`login`] gets tokens of providers.
//!
//! A verifier identifies a caller, and knows nothing about its rights. Tokens come from anybody who reaches the server, and
//! documents come from providers that may be broken: both are treated as hostile.

pub mod audit;
mod cause;
mod http;
mod jwt;
pub mod login;
pub mod oidc;
mod providers;
pub mod remote;
pub mod rest;
pub mod service;
pub mod service_accounts;
pub mod tokens;
mod whoami;

use std::sync::Arc;

pub use oidc::Oidc;
pub use providers::{ClientSettings, Provider};
pub use service_accounts::ServiceAccounts;
pub use whoami::{RoleBinding, WhoAmI};

/// Receives messages for the operator, such as a provider that can't be reached.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;
