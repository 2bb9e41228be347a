//! The caller of a request, and hashes of credentials.

use sha2::{Digest as _, Sha256};

/// The name of the caller, stored as an extension of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub String);

pub(crate) fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}
