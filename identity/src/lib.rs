//! Identifies callers, and stores decisions about their calls.
//!
//! [`tokens`] has static tokens, stored as salted hashes in a database. [`audit`] is the audit log.

pub mod audit;
pub mod tokens;
