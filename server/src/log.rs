//! The log of calls. It never has the content of requests.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// A call that has ended.
#[derive(Debug, Clone)]
pub struct Call {
    pub at: Timestamp,
    /// The gRPC service, or `http`.
    pub service: &'static str,
    /// The gRPC method's name, or HTTP's method and the path, without a query.
    pub method: String,
    /// The caller, if known.
    pub by: Option<String>,
    /// The subject of the call, if its handler noted one.
    pub subject: Option<String>,
    /// Its result: gRPC's name or HTTP's code; `Cancelled` if the caller disconnected.
    pub code: String,
    /// True if the result is a success.
    pub is_success: bool,
    pub took: Duration,
}

/// A receiver of log entries.
#[derive(Clone)]
pub struct Log(Arc<dyn Fn(&Call) + Send + Sync>);

impl Log {
    pub fn new(write: impl Fn(&Call) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    pub(crate) fn write(&self, call: &Call) {
        (self.0)(call);
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

/// A handler's notes about a call for the log, as an extension of the request.
#[derive(Debug, Clone, Default)]
pub struct CallNotes(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    by: Option<String>,
    subject: Option<String>,
}

impl CallNotes {
    /// Sets the subject of the call.
    pub fn subject(&self, subject: impl Into<String>) {
        self.notes().subject = Some(subject.into());
    }

    /// Sets the caller.
    pub(crate) fn by(&self, name: &str) {
        self.notes().by = Some(name.to_owned());
    }

    /// Takes the caller and the subject.
    pub(crate) fn take(&self) -> (Option<String>, Option<String>) {
        let Notes { by, subject } = std::mem::take(&mut *self.notes());
        (by, subject)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
