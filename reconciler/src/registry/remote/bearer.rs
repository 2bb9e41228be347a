//! The token of the one who calls.

use std::fmt;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::registry::{Error, Result};

/// Puts the token on every call.
#[derive(Clone)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Bearer {
    pub(super) fn new(token: &str) -> Result<Self> {
        let unusable = |_| {
            Error::Denied("the token has characters that no token has: give it without a line end".to_owned())
        };
        let mut header: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(unusable)?;
        header.set_sensitive(true);
        Ok(Self(header))
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer")
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}
