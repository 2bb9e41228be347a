//! The bearer token of a caller.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::CallError;

/// Adds the token, if there is one, to every call. Clones share it.
#[derive(Clone)]
pub struct Bearer(Arc<RwLock<Option<MetadataValue<Ascii>>>>);

impl Bearer {
    pub(super) fn new(token: &str) -> Result<Self, CallError> {
        Ok(Self(Arc::new(RwLock::new(header(token)?))))
    }

    /// Replaces the token for the next calls.
    pub(super) fn set(&self, token: &str) -> Result<(), CallError> {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = header(token)?;
        Ok(())
    }
}

fn header(token: &str) -> Result<Option<MetadataValue<Ascii>>, CallError> {
    let unusable = |_| {
        CallError::Denied("the token has characters that no token has: give it without a line end".to_owned())
    };
    if token.is_empty() {
        return Ok(None);
    }
    let mut header: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(unusable)?;
    header.set_sensitive(true);
    Ok(Some(header))
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer")
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        if let Some(token) = &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}
