//! The service that forwards calls of Spark Connect.
//!
//! A call passes these steps: its first message is read; its session is found, or bound to a driver; its user is set; and the rest,
//! in both directions, is forwarded as it is. A call that is given up by its client is given up at the driver.

mod binder;
mod forward;
mod incoming;
mod method;
mod outgoing;
mod probe;
mod sessions;
mod upstream;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dcp_gateway::secrets::SecretValue;
use dcp_model::manifest::Memory;
use dcp_server::policy::{Resource, Role};
use dcp_server::{CallNotes, Caller};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;

use crate::client::Wanted;
use crate::directory::Directory;
use crate::failure::{Handle, invalid_handle};
use crate::route;
use crate::session::{PoolKey, SessionKey, Size};
use crate::store::Store;
use crate::wire::frame::{self, Frames};
use crate::wire::request;

use forward::Forwarded;
use method::Method;
use probe::Probes;
use sessions::{Named, Sessions};
use upstream::Upstreams;

/// The role that may use drivers of a domain: they run any program as the domain's account.
pub(crate) const ROLE: Role = Role::Developer;
/// Interval at which the use of sessions is stored.
const TOUCH_INTERVAL: Duration = Duration::from_secs(20);

/// Interval at which drivers that start are probed.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// Returns the token of a driver, by its id; none for a driver that needs none.
pub type DriverTokens = Arc<dyn Fn(&str) -> Option<SecretValue> + Send + Sync>;

/// The proxy. Clones share everything.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    store: Store,
    directory: Directory,
    tokens: DriverTokens,
    sessions: Sessions,
    upstreams: Upstreams,
    probes: Probes,
    clock: fn() -> Timestamp,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("store", &self.0.store).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts a proxy.
    pub async fn start(
        store: Store,
        tokens: DriverTokens,
        clock: fn() -> Timestamp,
    ) -> dcp_database::Result<Self> {
        let directory = Directory::start(store.clone()).await?;
        let (sessions, upstreams, probes) = (Sessions::new(), Upstreams::default(), Probes::default());
        let inner = Arc::new(Inner { store, directory, tokens, sessions, upstreams, probes, clock });
        let of_task = Arc::downgrade(&inner);
        tokio::spawn(async move {
            let mut touched = Instant::now();
            loop {
                sleep(PROBE_INTERVAL).await;
                let Some(inner) = of_task.upgrade() else { return };
                inner.probe_starting();
                if touched.elapsed() >= TOUCH_INTERVAL {
                    touched = Instant::now();
                    inner.maintain().await;
                }
            }
        });
        Ok(Self(inner))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    /// Returns the domain of a new session, and checks that the caller may use such a pool of it.
    pub(crate) async fn domain(&self, caller: &Caller, wanted: &Wanted) -> Result<String, Status> {
        self.0.usable_domain(caller, &asked(wanted)).await
    }

    /// Returns whether a driver takes a new session of a user now.
    pub(crate) fn has_driver(&self, wanted: &Wanted, user: &str) -> bool {
        let snapshot = self.0.directory.snapshot();
        let of = (wanted.domain.as_deref().unwrap_or_default(), user, "");
        let found = route::route(&asked(wanted), of, snapshot.pools.iter(), snapshot.drivers());
        found.is_some_and(|found| !found.drivers.is_empty())
    }

    /// Records that a session has ended.
    pub(crate) async fn end(&self, key: &SessionKey) -> dcp_database::Result<()> {
        self.0.sessions.set_ended(key);
        self.0.store.end(key, self.now()).await.map(|_| ())
    }

    /// Stores the use of sessions since the last time, as when the proxy ends.
    pub async fn flush(&self) {
        self.0.maintain().await;
    }
}

impl Inner {
    async fn maintain(&self) {
        // If this fails, a session may count as unused for a little longer than it is.
        let _ = self.store.touch(&self.sessions.take_used(), (self.clock)()).await;
        let snapshot = self.directory.snapshot();
        self.upstreams.retain(|id| snapshot.driver(id).is_some());
    }

    async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (mut parts, body) = request.into_parts();
        let caller = parts.extensions.remove::<Caller>();
        let caller = caller.ok_or_else(|| Status::internal("the server did not identify the caller"))?;
        let method = Method::of(parts.uri.path());
        let asked = route::Request::read(&parts.headers).map_err(Status::invalid_argument)?;
        let mut frames = Frames::new(body);
        let Some(mut first) = frames.next().await? else {
            return Err(Status::invalid_argument("the call has no message"));
        };
        let message = frame::message(&first);
        let id = request::session_id(message).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let id = id.unwrap_or_default().to_owned();
        if !request::is_uuid(&id) {
            return Err(invalid_handle(&id, Handle::Format));
        }
        let may_reconnect = method == Method::ReleaseSession && request::allows_reconnect(message);
        if let Some(notes) = parts.extensions.get::<CallNotes>() {
            notes.subject(id.as_str());
        }
        let named = Named { domain: asked.domain.clone(), user: caller.name.to_string(), session: id };
        let session = match self.sessions.get(&named) {
            Some(session) => session,
            None => match self.find_or_bind(&caller, &asked, named.clone(), method).await? {
                Some(session) => session,
                None => return forward::released(&named.session),
            },
        };
        if session.has_ended() {
            return Err(invalid_handle(&session.key.session, Handle::Closed));
        }
        request::set_user(&mut first, &caller.name);
        let forwarded = Forwarded { parts, first: first.freeze(), frames, method, may_reconnect };
        self.forward(&caller, &session, &asked, forwarded).await
    }
}

fn asked(wanted: &Wanted) -> route::Request {
    let Wanted { domain, pool, engine, cores, memory } = wanted.clone();
    let size = Size { cores: cores.map(u64::from), memory: memory.map(Memory::bytes) };
    route::Request { domain, pool, engine, size }
}

/// Checks that a caller may use the drivers of a pool.
fn check_role(caller: &Caller, pool: &PoolKey) -> Result<(), Status> {
    let resource = resource(pool);
    let denied = caller.check(ROLE, resource).err();
    denied.map_or(Ok(()), |denied| Err(Status::permission_denied(denied.message(caller, ROLE, resource))))
}

/// Returns the resource of a pool, whose role a caller needs. A driver that dcp did not start belongs to its domain alone.
pub(crate) fn resource(pool: &PoolKey) -> Resource<'_> {
    Resource::of(Some(pool.scope.as_str()).filter(|scope| !scope.is_empty()), &pool.domain)
}

impl NamedService for Proxy {
    const NAME: &'static str = "spark.connect.SparkConnectService";
}

impl tower_service::Service<Request<Body>> for Proxy {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        let called = async move {
            let response = inner.call(request).await;
            Ok(response.unwrap_or_else(Status::into_http))
        };
        called.boxed()
    }
}

/// The proxy as it is used in this process, by a caller that was identified.
#[derive(Debug, Clone)]
pub struct CallerProxy {
    proxy: Proxy,
    caller: Caller,
}

impl CallerProxy {
    pub fn new(proxy: Proxy, caller: Caller) -> Self {
        Self { proxy, caller }
    }
}

impl tower_service::Service<Request<Body>> for CallerProxy {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.proxy.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.extensions_mut().insert(self.caller.clone());
        self.proxy.call(request)
    }
}
