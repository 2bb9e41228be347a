//! What is told of each call. What was sent is told to nobody.

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

use crate::usage::InUse;

/// A call that has ended.
#[derive(Debug, Clone)]
pub struct Call {
    pub at: Timestamp,
    /// The gRPC service, or `http`.
    pub service: &'static str,
    /// The gRPC method's name, or HTTP's method and the path, without a query.
    pub method: String,
    /// The one who called, where that is known.
    pub by: Option<String>,
    /// What the call was about, where whoever answered it said so.
    pub subject: Option<String>,
    /// How it ended, by gRPC's name or by HTTP's number; `Cancelled` where whoever called went away.
    pub code: String,
    /// Whether that is a good end.
    pub good: bool,
    pub took: Duration,
}

/// Who is told of calls.
#[derive(Clone)]
pub struct Log(Arc<dyn Fn(&Call) + Send + Sync>);

impl Log {
    pub fn new(tell: impl Fn(&Call) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

/// What those who answer a call say of it for the log, as an extension of its request.
#[derive(Debug, Clone, Default)]
pub struct Noted(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    by: Option<String>,
    subject: Option<String>,
}

impl Noted {
    /// What the call is about.
    pub fn subject(&self, subject: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).subject = Some(subject.into());
    }

    pub(crate) fn by(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by = Some(name.to_owned());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Grpc(Code),
    Http(StatusCode),
}

/// A line of the log, told when nothing more comes of the call, or whoever called went away.
pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    pub(crate) service: &'static str,
    pub(crate) method: String,
    pub(crate) noted: Noted,
    pub(crate) log: Option<Log>,
    since: Instant,
    ended: Ended,
}

impl Entry {
    pub(crate) fn new(at: Timestamp, service: &'static str, method: String, log: Option<Log>) -> Self {
        let (since, ended) = (Instant::now(), Ended::Grpc(Code::Cancelled));
        Self { at, service, method, noted: Noted::default(), log, since, ended }
    }

    /// How a gRPC call ended stands in the last headers of its answer.
    fn see(&mut self, headers: &HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.ended = Ended::Grpc(status.code());
        }
    }

    /// Follows an answer until it is sent. What is held for the call is held for as long.
    pub(crate) fn follow<B>(
        mut self,
        response: Response<B>,
        asked: &Method,
        held: Option<Held>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<tonic::codegen::StdError>,
    {
        self.see(response.headers());
        let then = (self.service == HTTP).then(|| response.status());
        let length =
            response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        // Of an answer to HEAD, nothing but the head is sent.
        let left = if *asked == Method::HEAD { Some(0) } else { length };
        response.map(|inner| {
            let mut told = Told { inner: Body::new(inner), entry: self, then, left, _held: held };
            told.look();
            Body::new(told)
        })
    }
}

/// What stands for a service's name where a call is not gRPC.
pub(crate) const HTTP: &str = "http";

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(Log(tell)) = &self.log else { return };
        let Notes { by, subject } =
            std::mem::take(&mut *self.noted.0.lock().unwrap_or_else(PoisonError::into_inner));
        let (code, good) = match self.ended {
            Ended::Grpc(code) => (format!("{code:?}"), code == Code::Ok),
            Ended::Http(status) => {
                (status.as_u16().to_string(), !status.is_client_error() && !status.is_server_error())
            }
        };
        let (at, service, method) = (self.at, self.service, std::mem::take(&mut self.method));
        tell(&Call { at, service, method, by, subject, code, good, took: self.since.elapsed() });
    }
}

/// What an admitted call holds until its answer is sent.
pub(crate) struct Held {
    pub(crate) _permit: OwnedSemaphorePermit,
    pub(crate) _in_use: InUse,
}

/// A body, and what is held until it is sent.
pub(crate) struct Holding<H> {
    pub(crate) inner: Body,
    pub(crate) _held: H,
}

impl<H: Unpin> http_body::Body for Holding<H> {
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

/// An answer, for as long as it is sent.
struct Told {
    inner: Body,
    entry: Entry,
    /// How the call has ended once all is sent, where the answer's head says it.
    then: Option<StatusCode>,
    /// The bytes that are still to be sent, where they were counted before.
    left: Option<u64>,
    _held: Option<Held>,
}

impl Told {
    /// Nobody asks for the end of a body that can be seen to be at its end.
    fn look(&mut self) {
        if (self.inner.is_end_stream() || self.left == Some(0))
            && let Some(status) = self.then
        {
            self.entry.ended = Ended::Http(status);
        }
    }
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            None => self.left = Some(0),
            Some(Ok(frame)) => {
                let sent = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.left = self.left.map(|left| left.saturating_sub(sent));
                if let Some(trailers) = frame.trailers_ref() {
                    self.entry.see(trailers);
                }
            }
            Some(Err(_)) => self.then = None,
        }
        self.look();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
