//! What is told of each call, and how many there may be at once. What was sent is told to nobody.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http_body::{Frame, SizeHint};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::codegen::{Bytes, Service, StdError};
use tonic::server::NamedService;
use tonic::{Code, Status};

use crate::registry::{Error, Scope};
use crate::wire::status;

/// A call that has ended.
#[derive(Debug, Clone)]
pub struct Call {
    pub at: Timestamp,
    pub method: String,
    /// The holder of the token, where it was a good one.
    pub by: Option<String>,
    pub scope: Option<Scope>,
    /// gRPC's name for how it ended.
    pub code: String,
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

/// What those who handle a call learn of it, as an extension of its request.
#[derive(Debug, Clone, Default)]
pub(super) struct Noted(Arc<Mutex<(Option<String>, Option<Scope>)>>);

impl Noted {
    pub(super) fn by(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(name.to_owned());
    }

    pub(super) fn scope(&self, scope: &Scope) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(scope.clone());
    }
}

/// A service whose calls are counted and told of.
#[derive(Debug, Clone)]
pub(super) struct Logged<S> {
    pub(super) inner: S,
    /// A permit for each call that there may be at once.
    pub(super) room: Arc<Semaphore>,
    pub(super) log: Option<Log>,
    pub(super) clock: fn() -> Timestamp,
}

impl<S: NamedService> NamedService for Logged<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<Body>> for Logged<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        let mut entry = Entry {
            at: (self.clock)(),
            method: method.chars().take(64).collect(),
            noted: Noted::default(),
            code: Code::Cancelled,
            since: Instant::now(),
            log: self.log.clone(),
        };
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            entry.code = Code::Unavailable;
            let busy =
                Error::Unavailable("as many calls are under way as there may be; try again".to_owned());
            return Box::pin(async move {
                drop(entry);
                Ok(status::of(&busy).into_http())
            });
        };
        request.extensions_mut().insert(entry.noted.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            entry.see(response.headers());
            Ok(response.map(|inner| Body::new(Told { inner: Body::new(inner), entry, _permit: permit })))
        })
    }
}

/// A line of the log, told when nothing more comes of the call, or whoever called went away.
struct Entry {
    at: Timestamp,
    method: String,
    noted: Noted,
    code: Code,
    since: Instant,
    log: Option<Log>,
}

impl Entry {
    /// How a call ended stands in the last headers of its answer.
    fn see(&mut self, headers: &HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.code = status.code();
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(Log(tell)) = &self.log else { return };
        let (by, scope) = std::mem::take(&mut *self.noted.0.lock().unwrap_or_else(PoisonError::into_inner));
        let (at, method) = (self.at, std::mem::take(&mut self.method));
        tell(&Call { at, method, by, scope, code: format!("{:?}", self.code), took: self.since.elapsed() });
    }
}

/// An answer, for as long as it is sent.
struct Told {
    inner: Body,
    entry: Entry,
    _permit: OwnedSemaphorePermit,
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(Some(trailers))) = frame.as_ref().map(|it| it.as_ref().map(Frame::trailers_ref)) {
            self.entry.see(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
