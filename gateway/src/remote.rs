//! A Gateway in another process, over gRPC.
//!
//! No call is retried here: the Runner retries, and it alone. A call that fails for any other reason than the Gateway's
//! own verdict concludes nothing about an application.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dcp_proto::gateway::v1 as proto;
use dcp_proto::gateway::v1::clusters_client::ClustersClient;
use dcp_proto::gateway::v1::gateway_client::GatewayClient;
use dcp_server::client::{AuthenticatedChannel, CallError, Client, Service};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::Semaphore;
use tonic::Status as GrpcStatus;
use tonic::service::interceptor::InterceptedService;

pub use dcp_server::client::Options;

use crate::clusters::Report;
use crate::compute::{Capabilities, Compute, Cursor, Log};
use crate::error::{Error, Result};
use crate::wire::control_plane::Caller;
use crate::wire::{self, error};
use crate::{Name, SparkApplication, Status, WatchEvent};

const SERVICE: Service = Service { name: "Gateway", domain: error::DOMAIN };

/// Maximum number of concurrent calls; further ones wait here. A Gateway rejects calls beyond its own limit, and a Runner
/// that starts asks for all its applications at once.
const MAX_CALLS: usize = 64;

/// The generated client, with the identity of the Runner.
type Stub = GatewayClient<InterceptedService<AuthenticatedChannel, Caller>>;

/// A client of a Gateway. It sends nothing before the first call.
#[derive(Debug, Clone)]
pub struct Remote {
    client: Client,
    gateway: Stub,
    clusters: ClustersClient<AuthenticatedChannel>,
    capabilities: Capabilities,
    /// Permits for concurrent calls.
    permits: Arc<Semaphore>,
}

fn failed(fault: CallError) -> Error {
    match fault {
        CallError::Rejected(error) => error::read(*error),
        // Another address, another token or another version may help, so an application must not fail for it.
        CallError::Invalid(why) | CallError::Denied(why) | CallError::Unavailable(why) => {
            Error::Unavailable(why)
        }
    }
}

fn stub(client: &Client, caller: Caller) -> Stub {
    GatewayClient::new(InterceptedService::new(client.channel(), caller))
        .max_decoding_message_size(wire::MAX_RESPONSE_BYTES)
        .max_encoding_message_size(wire::MAX_REQUEST_BYTES)
}

type GrpcResult<T> = std::result::Result<tonic::Response<T>, GrpcStatus>;

impl Remote {
    /// Creates a client. `capabilities` are those that the caller expects of the Gateway;
    /// [`check`](Compute::check) compares them with its own.
    pub fn new(options: Options, capabilities: Capabilities) -> Result<Self> {
        let options = Options { retry_for: Duration::ZERO, ..options };
        let client = Client::new(options, SERVICE).map_err(|error| match error {
            CallError::Invalid(why) | CallError::Denied(why) => Error::Invalid(why),
            other => failed(other),
        })?;
        let gateway = stub(&client, Caller::default());
        let clusters =
            ClustersClient::new(client.channel()).max_decoding_message_size(wire::MAX_RESPONSE_BYTES);
        let permits = Arc::new(Semaphore::new(MAX_CALLS));
        Ok(Self { client, gateway, clusters, capabilities, permits })
    }

    /// Adds the identity of the caller's control plane to all calls. A Gateway of another one rejects them.
    pub fn with_control_plane(self, control_plane: &str) -> Result<Self> {
        let gateway = stub(&self.client, Caller::new(control_plane)?);
        Ok(Self { gateway, ..self })
    }

    /// Returns the clusters of the Gateway, and its latest choices.
    pub async fn report(&self) -> Result<Report> {
        let list = || async { self.clusters.clone().list(proto::ListRequest {}).await };
        let response = self.client.call(list).await.map_err(failed)?.into_inner();
        wire::read_report(response).map_err(|what| self.unreadable(what))
    }

    async fn call<T, F>(&self, call: impl Fn(Stub) -> F + Send + Sync) -> Result<T>
    where
        F: Future<Output = GrpcResult<T>> + Send,
    {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let response = self.client.call(|| call(self.gateway.clone())).await;
        Ok(response.map_err(failed)?.into_inner())
    }

    fn unreadable(&self, what: impl std::fmt::Display) -> Error {
        Error::Unavailable(self.client.unreadable(what))
    }

    /// Checks that the Gateway has the expected abilities.
    fn compare(&self, response: &proto::CapabilitiesResponse) -> Result<()> {
        let names = self.capabilities.abilities.iter().map(|ability| wire::ability_name(*ability));
        let missing: Vec<_> = names.filter(|name| !response.abilities.iter().any(|it| it == name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (url, missing) = (self.client.url(), missing.join(", "));
        Err(Error::Unavailable(format!(
            "the Gateway at `{url}` lacks abilities of this dcp ({missing}): see that both are of one version"
        )))
    }

    /// Opens a watch. It ends when the connection is lost.
    async fn events(&self) -> Result<BoxStream<'static, Result<WatchEvent>>> {
        let opened =
            self.call(|mut gateway| async move { gateway.watch(proto::WatchRequest {}).await }).await?;
        let remote = self.clone();
        let read = move |event: std::result::Result<proto::WatchResponse, GrpcStatus>| match event {
            Ok(event) => wire::read_event(event).map_err(|what| remote.unreadable(what)),
            Err(status) => Err(failed(remote.client.call_error(&status))),
        };
        Ok(opened.map(read).boxed())
    }
}

#[async_trait]
impl Compute for Remote {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Checks only what needs no network; [`validate`](Compute::validate) asks the Gateway.
    fn accepts(&self, application: &SparkApplication) -> Result<()> {
        application.metadata.name.parse::<Name>()?;
        wire::application(application).map(drop)
    }

    async fn validate(&self, application: &SparkApplication) -> Result<()> {
        let request = proto::ValidateRequest { application: wire::application(application)? };
        self.call(|mut gateway| {
            let request = request.clone();
            async move { gateway.validate(request).await }
        })
        .await
        .map(drop)
    }

    async fn check(&self) -> Result<()> {
        let request = proto::CapabilitiesRequest {};
        let response = self.call(|mut gateway| async move { gateway.capabilities(request).await }).await?;
        self.compare(&response)
    }

    async fn create(&self, application: &SparkApplication) -> Result<()> {
        let request = proto::CreateRequest { application: wire::application(application)? };
        self.call(|mut gateway| {
            let request = request.clone();
            async move { gateway.create(request).await }
        })
        .await
        .map(drop)
    }

    async fn get(&self, name: &Name) -> Result<Option<Status>> {
        let request = proto::GetRequest { name: name.to_string() };
        let response = self
            .call(|mut gateway| {
                let request = request.clone();
                async move { gateway.get(request).await }
            })
            .await?;
        response.status.map(wire::read_status).transpose().map_err(|what| self.unreadable(what))
    }

    fn watch(&self) -> BoxStream<'static, Result<WatchEvent>> {
        let remote = self.clone();
        let opened = stream::once(async move { remote.events().await });
        opened
            .flat_map(|opened| match opened {
                Ok(events) => events,
                Err(error) => stream::once(async { Err(error) }).boxed(),
            })
            .boxed()
    }

    async fn delete(&self, name: &Name, grace: Duration) -> Result<()> {
        let grace_millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let request = proto::DeleteRequest { name: name.to_string(), grace_millis };
        self.call(|mut gateway| {
            let request = request.clone();
            async move { gateway.delete(request).await }
        })
        .await
        .map(drop)
    }

    async fn logs(&self, name: &Name, after: &Cursor, limit: usize) -> Result<Log> {
        let (name, cursor) = (name.to_string(), after.as_str().to_owned());
        let request = proto::LogsRequest { name, cursor, limit: limit as u64 };
        let proto::LogsResponse { cursor, data } = self
            .call(|mut gateway| {
                let request = request.clone();
                async move { gateway.logs(request).await }
            })
            .await?;
        Ok(Log { next: cursor.parse().map_err(|error| self.unreadable(error))?, bytes: data })
    }

    async fn tail(&self, name: &Name, limit: usize) -> Result<Vec<u8>> {
        let request = proto::TailRequest { name: name.to_string(), limit: limit as u64 };
        let response = self
            .call(|mut gateway| {
                let request = request.clone();
                async move { gateway.tail(request).await }
            })
            .await?;
        Ok(response.data)
    }

    async fn forget(&self, name: &Name) -> Result<()> {
        let request = proto::ForgetRequest { name: name.to_string() };
        self.call(|mut gateway| {
            let request = request.clone();
            async move { gateway.forget(request).await }
        })
        .await
        .map(drop)
    }
}
