//! The log of calls. It never has the content of requests.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::usage::AdmittedCall;

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
        self.0.lock().unwrap_or_else(PoisonError::into_inner).subject = Some(subject.into());
    }

    pub(crate) fn by(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by = Some(name.to_owned());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallResult {
    Grpc(Code),
    Http(StatusCode),
}

/// An entry of the log, written when the response is complete or the caller has disconnected.
pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    pub(crate) service: &'static str,
    pub(crate) method: String,
    pub(crate) notes: CallNotes,
    pub(crate) log: Option<Log>,
    started: Instant,
    result: CallResult,
}

impl Entry {
    pub(crate) fn new(at: Timestamp, service: &'static str, method: String, log: Option<Log>) -> Self {
        let (started, result) = (Instant::now(), CallResult::Grpc(Code::Cancelled));
        Self { at, service, method, notes: CallNotes::default(), log, started, result }
    }

    /// Reads the result of a gRPC call from headers or trailers.
    fn read_grpc_status(&mut self, headers: &HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.result = CallResult::Grpc(status.code());
        }
    }

    /// Follows a response until it is sent. The permit in `guard` is released then.
    pub(crate) fn follow<B>(
        mut self,
        response: Response<B>,
        http_method: &Method,
        guard: Option<CallGuard>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<tonic::codegen::StdError>,
    {
        self.read_grpc_status(response.headers());
        let status_at_end = (self.service == HTTP).then(|| response.status());
        let length =
            response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        // A response to HEAD has no body.
        let bytes_left = if *http_method == Method::HEAD { Some(0) } else { length };
        response.map(|inner| {
            let mut body =
                LoggedBody { inner: Body::new(inner), entry: self, status_at_end, bytes_left, _guard: guard };
            body.set_result_if_complete();
            Body::new(body)
        })
    }
}

/// The service name of calls that are not gRPC.
pub(crate) const HTTP: &str = "http";

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(Log(write)) = &self.log else { return };
        let Notes { by, subject } =
            std::mem::take(&mut *self.notes.0.lock().unwrap_or_else(PoisonError::into_inner));
        let (code, is_success) = match self.result {
            CallResult::Grpc(code) => (format!("{code:?}"), code == Code::Ok),
            CallResult::Http(status) => {
                (status.as_u16().to_string(), !status.is_client_error() && !status.is_server_error())
            }
        };
        let (at, service, method) = (self.at, self.service, std::mem::take(&mut self.method));
        write(&Call { at, service, method, by, subject, code, is_success, took: self.started.elapsed() });
    }
}

/// The permits of an admitted call, held until its response is sent.
pub(crate) struct CallGuard {
    pub(crate) _permit: OwnedSemaphorePermit,
    pub(crate) _call: AdmittedCall,
}

/// A body, and a guard that is held until the body is sent.
pub(crate) struct GuardedBody<H> {
    pub(crate) inner: Body,
    pub(crate) _guard: H,
}

impl<H: Unpin> http_body::Body for GuardedBody<H> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A response body whose end is logged.
struct LoggedBody {
    inner: Body,
    entry: Entry,
    /// The result once the whole body is sent, if the head of the response has it.
    status_at_end: Option<StatusCode>,
    /// The bytes left to send, if their number is known.
    bytes_left: Option<u64>,
    _guard: Option<CallGuard>,
}

impl LoggedBody {
    /// Sets the result at the end of the body: hyper does not poll a body that is known to be complete.
    fn set_result_if_complete(&mut self) {
        if (self.inner.is_end_stream() || self.bytes_left == Some(0))
            && let Some(status) = self.status_at_end
        {
            self.entry.result = CallResult::Http(status);
        }
    }
}

impl http_body::Body for LoggedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            None => self.bytes_left = Some(0),
            Some(Ok(frame)) => {
                let sent = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.bytes_left = self.bytes_left.map(|bytes_left| bytes_left.saturating_sub(sent));
                if let Some(trailers) = frame.trailers_ref() {
                    self.entry.read_grpc_status(trailers);
                }
            }
            Some(Err(_)) => self.status_at_end = None,
        }
        self.set_result_if_complete();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
