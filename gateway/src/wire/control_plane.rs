//! The identity of the control plane in the metadata of calls: a Gateway with another database than its Runner knows none
//! of the Runner's applications, and could start them again.

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::error::{Error, Result};

const KEY: &str = "dcp-control-plane";

/// Adds the identity of a Runner, if it is known, to every call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller(Option<MetadataValue<Ascii>>);

impl Caller {
    pub(crate) fn new(control_plane: &str) -> Result<Self> {
        let invalid = |_| Error::Invalid(format!("`{control_plane}` is no identity of a control plane"));
        control_plane.parse().map(|it| Self(Some(it))).map_err(invalid)
    }
}

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        if let Some(own) = &self.0 {
            request.metadata_mut().insert(KEY, own.clone());
        }
        Ok(request)
    }
}

/// Rejects the calls of Runners of other control planes, if the own identity is known. Runners of older versions send
/// none.
#[derive(Debug, Clone)]
pub(crate) struct Guard(pub(crate) Option<String>);

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> std::result::Result<Request<()>, Status> {
        let theirs = request.metadata().get(KEY).map(MetadataValue::as_bytes);
        match (theirs, &self.0) {
            (Some(theirs), Some(own)) if theirs != own.as_bytes() => {
                let theirs = String::from_utf8_lossy(theirs);
                // A correct address or database helps, so an application must not fail for it.
                Err(Status::from(Error::Unavailable(format!(
                    "the Gateway has the database of the control plane `{own}`, and the Runner that of `{theirs}`: give both \
                     the same `--database`, or the Runner another `--gateway`"
                ))))
            }
            _ => Ok(request),
        }
    }
}
