//! The protocol `dcp.connect.v1`, which the proxy serves beside Spark Connect.

mod sandboxes;

use dcp_model::manifest::Memory;
use dcp_proto::connect::v1 as proto;
use dcp_proto::connect::v1::connect_server::{Connect, ConnectServer};
use dcp_proto::connect::v1::sandboxes_server::SandboxesServer;
use dcp_server::{CallNotes, Caller, Services};
use jiff::Timestamp;
use tonic::{Request, Response, Status};

use crate::ending::{Ending, Named};
use crate::overview::{DriverCounts, Failure, Overview, PoolStatus, SessionStatus};
use crate::proxy::Proxy;
use sandboxes::SandboxesService;

/// Requests have names only.
const MAX_REQUEST_BYTES: usize = 16 << 10;

/// Adds the protocol.
pub fn add(services: Services, proxy: Proxy) -> Services {
    let sandboxes = SandboxesServer::new(SandboxesService(proxy.clone()));
    let connect = ConnectServer::new(ConnectService(proxy)).max_decoding_message_size(MAX_REQUEST_BYTES);
    services.with(connect).with(sandboxes.max_decoding_message_size(MAX_REQUEST_BYTES))
}

#[derive(Debug)]
struct ConnectService(Proxy);

type GrpcResult<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Connect for ConnectService {
    async fn list_pools(
        &self,
        request: Request<proto::ListPoolsRequest>,
    ) -> GrpcResult<proto::ListPoolsResponse> {
        let domain = noted(&request, &request.get_ref().domain);
        let overview = Overview { store: self.0.store(), caller: Caller::of(&request)? };
        let pools = overview.pools(domain).await?;
        Ok(Response::new(proto::ListPoolsResponse { pools: pools.into_iter().map(pool).collect() }))
    }

    async fn list_sessions(
        &self,
        request: Request<proto::ListSessionsRequest>,
    ) -> GrpcResult<proto::ListSessionsResponse> {
        let proto::ListSessionsRequest { domain, all } = request.get_ref();
        let domain = noted(&request, domain);
        let overview = Overview { store: self.0.store(), caller: Caller::of(&request)? };
        let sessions = overview.sessions(domain, *all).await?;
        let sessions = sessions.into_iter().map(session).collect();
        Ok(Response::new(proto::ListSessionsResponse { sessions }))
    }

    async fn end_session(
        &self,
        request: Request<proto::EndSessionRequest>,
    ) -> GrpcResult<proto::EndSessionResponse> {
        let proto::EndSessionRequest { session_id, domain, user } = request.get_ref();
        noted(&request, session_id);
        let named = Named { id: session_id, domain: given(domain), user: given(user) };
        let ended = Ending { proxy: &self.0, caller: Caller::of(&request)? }.end(named).await?;
        Ok(Response::new(proto::EndSessionResponse { session: Some(session(ended)) }))
    }
}

/// Returns a field that may be left out.
fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// Notes the subject of a request for the log. Returns none if it is empty.
fn noted<'a, T>(request: &Request<T>, subject: &'a str) -> Option<&'a str> {
    let subject = given(subject)?;
    if let Some(notes) = request.extensions().get::<CallNotes>() {
        notes.subject(subject);
    }
    Some(subject)
}

fn pool(pool: PoolStatus) -> proto::Pool {
    let DriverCounts { ready, starting, draining } = pool.drivers;
    proto::Pool {
        scope: pool.scope,
        domain: pool.domain,
        name: pool.name,
        engine: pool.engine,
        share: pool.share,
        cores: pool.cores.unwrap_or_default(),
        memory_bytes: pool.memory.map_or(0, Memory::bytes),
        revision: pool.revision,
        min_idle: pool.min_idle,
        drivers: Some(proto::Drivers { ready, starting, draining }),
        sessions: pool.sessions,
        state: pool.state.name().to_owned(),
        failure: pool.failure.map(pool_failure),
        users: pool.users,
    }
}

fn pool_failure(failure: Failure) -> proto::PoolFailure {
    let Failure { attempts, at, cause, message, execution } = failure;
    let execution = execution.unwrap_or_default();
    proto::PoolFailure { attempts, at: Some(time(at)), cause, message, execution }
}

fn session(session: SessionStatus) -> proto::Session {
    let SessionStatus { domain, user, session_id, driver, pool, begun, used } = session;
    proto::Session {
        domain,
        user,
        session_id,
        driver,
        pool,
        begun: Some(time(begun)),
        used: Some(time(used)),
    }
}

fn time(at: Timestamp) -> prost_types::Timestamp {
    let nanosecond = at.as_nanosecond();
    prost_types::Timestamp {
        seconds: i64::try_from(nanosecond.div_euclid(1_000_000_000)).unwrap_or_default(),
        nanos: i32::try_from(nanosecond.rem_euclid(1_000_000_000)).unwrap_or_default(),
    }
}
