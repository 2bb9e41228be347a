//! Identifies callers.
//!
//! [`tokens`] has static tokens, stored as salted hashes in a database.

pub mod tokens;
