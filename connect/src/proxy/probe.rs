//! Finds out which drivers that start are ready, and executes a first query there.
//!
//! A JVM that has executed nothing takes seconds for its first query. The proxy has it executed before a session is bound to the
//! driver.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use dcp_gateway::secrets::SecretValue;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;

use super::method::Method;
use super::outgoing::Outgoing;
use super::{Inner, Proxy, forward};
use crate::client::{Session, Wanted};
use crate::session::{DriverState, SessionKey, StoredDriver};
use crate::wire::frame::Frames;
use crate::wire::request;

/// Maximum time of an answer, and of the first query.
const TIMEOUT: Duration = Duration::from_secs(5);
const WARM_UP_TIMEOUT: Duration = Duration::from_mins(2);
/// The user of the proxy's own sessions.
const USER: &str = "dcp:proxy";
/// A query with an aggregate, a shuffle and a sort.
const WARM_UP: &str =
    "SELECT id % 3 AS k, count(*), max(CAST(id AS STRING)) FROM range(100) GROUP BY 1 ORDER BY 1";

/// The drivers that are being probed.
#[derive(Debug, Default)]
pub(super) struct Probes(Mutex<HashSet<String>>);

/// A driver that is being probed, until this is dropped.
struct Probed {
    inner: Arc<Inner>,
    id: String,
}

impl Probes {
    fn ids(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Probed {
    fn drop(&mut self) {
        self.inner.probes.ids().remove(&self.id);
    }
}

impl Inner {
    /// Probes the drivers that start, and records those that are ready.
    pub(super) fn probe_starting(self: &Arc<Self>) {
        let snapshot = self.directory.snapshot();
        for stored in snapshot.drivers().filter(|it| it.state == DriverState::Starting) {
            let id = stored.driver.id.clone();
            if !self.probes.ids().insert(id.clone()) {
                continue;
            }
            let (probed, stored) = (Probed { inner: Arc::clone(self), id }, stored.clone());
            tokio::spawn(async move { probed.inner.probe(&stored).await });
        }
    }

    async fn probe(self: &Arc<Self>, stored: &StoredDriver) {
        let service =
            DriverService { inner: Arc::clone(self), stored: stored.clone(), user: USER.to_owned() };
        let Ok(session) = Session::new(service, &Wanted::default()) else { return };
        // Releasing a session that does not exist succeeds, and leaves nothing.
        if !matches!(timeout(TIMEOUT, session.try_release()).await, Ok(Ok(()))) {
            return;
        }
        // A driver that can't execute it is ready all the same: the error of a query says more than a session that waits.
        let _ = timeout(WARM_UP_TIMEOUT, warm_up(&session)).await;
        let _ = timeout(TIMEOUT, session.try_release()).await;
        // If this fails, the next probe records it.
        let _ = self.store.set_open(&stored.driver.id, (self.clock)()).await;
    }
}

impl Proxy {
    /// Ends a session at its driver, in the name of its user.
    pub(crate) async fn release(&self, stored: &StoredDriver, key: &SessionKey) -> Result<(), Status> {
        let inner = Arc::clone(&self.0);
        let service = DriverService { inner, stored: stored.clone(), user: key.user.clone() };
        let session = Session::new(service, &Wanted::default()).map_err(Status::internal)?;
        session.with_id(key.session.clone()).try_release().await
    }
}

async fn warm_up(session: &Session) -> Result<(), Status> {
    let mut batches = session.execute(WARM_UP, None).await?;
    while batches.next().await?.is_some() {}
    Ok(())
}

/// Calls of the proxy itself to one driver.
#[derive(Clone)]
struct DriverService {
    inner: Arc<Inner>,
    stored: StoredDriver,
    user: String,
}

impl DriverService {
    async fn send(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let mut frames = Frames::new(body);
        let first = frames.next().await?;
        let mut first = first.ok_or_else(|| Status::internal("the call has no message"))?;
        request::set_user(&mut first, &self.user);
        let token = (self.inner.tokens)(&self.stored.driver.id);
        let token = token.as_ref().map(SecretValue::expose);
        let body = Outgoing::new(first.freeze(), frames, &self.user, "");
        let address = &self.stored.driver.address;
        let request = forward::upstream_request(parts, address, token, Method::Other, body)?;
        Ok(self.inner.send(&self.stored, request).await?.map(Body::new))
    }
}

impl tower_service::Service<Request<Body>> for DriverService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let sent = self.clone().send(request);
        async move { Ok(sent.await.unwrap_or_else(Status::into_http)) }.boxed()
    }
}
