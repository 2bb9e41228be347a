//! A client of the protocol `dcp.connect.v1`.

mod sandboxes;

use dcp_model::manifest::Memory;
use dcp_proto::connect::v1 as proto;
use dcp_proto::connect::v1::connect_client::ConnectClient;
use dcp_server::client::{AuthenticatedChannel, CallError, Client, Options, Service};
use jiff::Timestamp;
use tonic::Response;

use crate::overview::{DOMAIN, DriverCounts, Failure, PoolState, PoolStatus, SessionStatus};

/// The service, for the messages of clients.
pub const SERVICE: Service = Service { name: "proxy for Spark Connect", domain: DOMAIN };
/// Maximum size of a response: 10,000 sessions.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// The proxy of a server.
#[derive(Debug, Clone)]
pub struct Remote(Client);

impl Remote {
    pub fn new(options: Options) -> Result<Self, CallError> {
        Client::new(options, SERVICE).map(Self)
    }

    /// Lists pools, of one domain or of all.
    pub async fn pools(&self, domain: Option<&str>) -> Result<Vec<PoolStatus>, CallError> {
        let domain = domain.unwrap_or_default();
        let call = || {
            let (mut connect, domain) = (self.connect(), domain.to_owned());
            async move { connect.list_pools(proto::ListPoolsRequest { domain }).await.map(Response::into_inner) }
        };
        let pools = self.0.call(call).await?.pools;
        pools.into_iter().map(|it| self.readable(pool(it))).collect()
    }

    /// Lists the sessions of the caller; with `all`, those of others too.
    pub async fn sessions(&self, domain: Option<&str>, all: bool) -> Result<Vec<SessionStatus>, CallError> {
        let domain = domain.unwrap_or_default();
        let call = || {
            let (mut connect, domain) = (self.connect(), domain.to_owned());
            let request = proto::ListSessionsRequest { domain, all };
            async move { connect.list_sessions(request).await.map(Response::into_inner) }
        };
        let sessions = self.0.call(call).await?.sessions;
        sessions.into_iter().map(|it| self.readable(session(it))).collect()
    }

    /// Ends a session of an id, of a user and in a domain if several have it. Returns it.
    pub async fn end_session(
        &self,
        id: &str,
        domain: Option<&str>,
        user: Option<&str>,
    ) -> Result<SessionStatus, CallError> {
        let request = proto::EndSessionRequest {
            session_id: id.to_owned(),
            domain: domain.unwrap_or_default().to_owned(),
            user: user.unwrap_or_default().to_owned(),
        };
        let call = || {
            let (mut connect, request) = (self.connect(), request.clone());
            async move { connect.end_session(request).await.map(Response::into_inner) }
        };
        let ended = self.0.call(call).await?.session;
        self.readable(ended.ok_or("a session is missing").and_then(session))
    }

    fn connect(&self) -> ConnectClient<AuthenticatedChannel> {
        ConnectClient::new(self.0.channel()).max_decoding_message_size(MAX_RESPONSE_BYTES)
    }

    fn readable<T>(&self, read: Result<T, &'static str>) -> Result<T, CallError> {
        read.map_err(|what| CallError::Invalid(self.0.unreadable(what)))
    }
}

fn pool(pool: proto::Pool) -> Result<PoolStatus, &'static str> {
    let proto::Drivers { ready, starting, draining } = pool.drivers.unwrap_or_default();
    Ok(PoolStatus {
        scope: pool.scope,
        domain: pool.domain,
        name: pool.name,
        engine: pool.engine,
        share: pool.share,
        cores: Some(pool.cores).filter(|cores| *cores > 0),
        memory: Memory::from_bytes(pool.memory_bytes),
        revision: pool.revision,
        min_idle: pool.min_idle,
        state: PoolState::parse(&pool.state).ok_or("a state of a pool is unknown")?,
        drivers: DriverCounts { ready, starting, draining },
        sessions: pool.sessions,
        users: pool.users,
        failure: pool.failure.map(pool_failure).transpose()?,
    })
}

fn pool_failure(failure: proto::PoolFailure) -> Result<Failure, &'static str> {
    let proto::PoolFailure { attempts, at, cause, message, execution } = failure;
    let execution = Some(execution).filter(|execution| !execution.is_empty());
    Ok(Failure { attempts, at: time(at)?, cause, message, execution })
}

fn session(session: proto::Session) -> Result<SessionStatus, &'static str> {
    let proto::Session { domain, user, session_id, driver, pool, begun, used } = session;
    let (begun, used) = (time(begun)?, time(used)?);
    Ok(SessionStatus { domain, user, session_id, driver, pool, begun, used })
}

fn time(at: Option<prost_types::Timestamp>) -> Result<Timestamp, &'static str> {
    let at = at.ok_or("a time is missing")?;
    Timestamp::new(at.seconds, at.nanos).map_err(|_| "a time is out of its range")
}
