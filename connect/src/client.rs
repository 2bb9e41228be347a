//! A client of Spark Connect for SQL, for `dcp sql` and for REST.
//!
//! A query is reattachable: if its stream ends early, the client goes on after the last response that it has. A query whose
//! connection breaks before the first response is sent again only if the server does not know it.

mod arguments;
mod execution;
mod messages;
mod rows;

use std::time::Duration;

use bytes::Bytes;
use dcp_model::manifest::Memory;
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;
use tower::util::{BoxCloneSyncService, ServiceExt as _};
use tower::{BoxError, Service};

use crate::route::{CORES, DOMAIN, ENGINE, MEMORY, POOL};
use crate::wire::request::random_uuid;
use messages::{
    ConfigOperation, ConfigRequest, ConfigSet, Ignored, InterruptRequest, KeyValue, ReleaseSessionRequest,
};

pub use arguments::Arguments;
pub use execution::Batches;
pub use rows::{ArrowStream, Cell, Column, Rows, Schema};

/// The name of the client, for the driver's web interface.
const CLIENT: &str = "dcp";
/// Maximum number of retries, and the first and the longest pause before one.
const MAX_RETRIES: u32 = 30;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// Maximum size of a response: that of Spark's servers.
const MAX_MESSAGE: usize = crate::wire::frame::MAX_MESSAGE;

/// The driver that a client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub domain: Option<String>,
    pub pool: Option<String>,
    pub engine: Option<String>,
    /// The minimum of cores.
    pub cores: Option<u32>,
    /// The minimum of memory.
    pub memory: Option<Memory>,
}

/// A session. Each has temporary views and settings of its own.
#[derive(Debug, Clone)]
pub struct Session {
    service: AnyService,
    id: String,
    wanted: Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>,
}

/// A channel, or a proxy in this process.
type AnyService = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Status>;

impl Session {
    /// Creates a session with a new id. The first call begins it.
    pub fn new<S, B>(service: S, wanted: &Wanted) -> Result<Self, String>
    where
        S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (cores, memory) = (wanted.cores.map(|it| it.to_string()), wanted.memory.map(|it| it.to_string()));
        let Wanted { domain, pool, engine, .. } = wanted;
        let named = [(DOMAIN, domain), (POOL, pool), (ENGINE, engine), (CORES, &cores), (MEMORY, &memory)];
        let mut headers = Vec::new();
        for (key, value) in named {
            let Some(value) = value else { continue };
            let header = value.parse().map_err(|_| format!("`{value}` can't be a `{key}`"))?;
            headers.push((MetadataKey::from_static(key), header));
        }
        let service = service
            .map_response(|response| response.map(Body::new))
            .map_err(|error| Status::from_error(error.into()));
        let service = BoxCloneSyncService::new(service);
        Ok(Self { service, id: random_uuid(), wanted: headers })
    }

    /// Returns the session of another id, which may exist.
    #[must_use]
    pub fn with_id(self, id: String) -> Self {
        Self { id, ..self }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Executes a statement. Returns the rows of its result, in the format of Arrow. At most `limit` rows are fetched.
    pub async fn execute(&self, sql: &str, limit: Option<u32>) -> Result<Batches, Status> {
        self.execute_with(sql, &Arguments::default(), limit).await
    }

    /// Executes a statement with the values of its parameters.
    pub async fn execute_with(
        &self,
        sql: &str,
        arguments: &Arguments,
        limit: Option<u32>,
    ) -> Result<Batches, Status> {
        execution::execute(self, sql, arguments, limit).await
    }

    /// Sets settings of the session.
    pub async fn configure(&self, settings: &[(String, String)]) -> Result<(), Status> {
        let pair =
            |(key, value): &(String, String)| KeyValue { key: key.clone(), value: Some(value.clone()) };
        let set = ConfigSet { pairs: settings.iter().map(pair).collect() };
        let operation = Some(ConfigOperation { set: Some(set) });
        self.unary("Config", &ConfigRequest { session_id: self.id.clone(), operation }).await
    }

    /// Cancels all queries of the session.
    pub async fn interrupt(&self) -> Result<(), Status> {
        self.unary("Interrupt", &InterruptRequest { session_id: self.id.clone(), interrupt_type: 1 }).await
    }

    /// Ends the session.
    pub async fn release(&self) -> Result<(), Status> {
        self.unary("ReleaseSession", &ReleaseSessionRequest { session_id: self.id.clone() }).await
    }

    /// Ends the session, in one attempt.
    pub(crate) async fn try_release(&self) -> Result<(), Status> {
        self.try_unary("ReleaseSession", ReleaseSessionRequest { session_id: self.id.clone() }).await
    }

    async fn unary<M: prost::Message + Clone + 'static>(
        &self,
        method: &str,
        message: &M,
    ) -> Result<(), Status> {
        let mut retries = Retries::default();
        loop {
            match self.try_unary(method, message.clone()).await {
                Ok(()) => return Ok(()),
                Err(status) => retries.wait(status).await?,
            }
        }
    }

    async fn try_unary<M: prost::Message + 'static>(&self, method: &str, message: M) -> Result<(), Status> {
        let mut client = self.client().await?;
        let codec = ProstCodec::<M, Ignored>::default();
        client.unary(self.request(message), path(method), codec).await.map(|_| ())
    }

    async fn client(&self) -> Result<Grpc<AnyService>, Status> {
        let client = Grpc::new(self.service.clone()).max_decoding_message_size(MAX_MESSAGE);
        let mut client = client.max_encoding_message_size(MAX_MESSAGE);
        let ready = client.ready().await;
        ready.map_err(|error| {
            Status::unavailable(format!("the proxy can't be reached: {}", error.message()))
        })?;
        Ok(client)
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        for (key, value) in &self.wanted {
            request.metadata_mut().insert(key.clone(), value.clone());
        }
        request
    }
}

fn path(method: &str) -> PathAndQuery {
    PathAndQuery::try_from(format!("/spark.connect.SparkConnectService/{method}"))
        .expect("names of methods are letters")
}

/// The retries of one call.
#[derive(Debug, Default)]
struct Retries(u32);

impl Retries {
    /// Waits before a retry. Returns the status if a retry can't help.
    async fn wait(&mut self, status: Status) -> Result<(), Status> {
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
        if (status.code() != Code::Unavailable && asked.is_none()) || self.0 >= MAX_RETRIES {
            return Err(status);
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.0.min(10)).min(MAX_PAUSE);
        self.0 += 1;
        tokio::time::sleep(pause.max(asked.unwrap_or_default().min(MAX_PAUSE))).await;
        Ok(())
    }
}
