//! The Gateway as gRPC services, `dcp.gateway.v1`. `dcp_server::serve` serves them.
//!
//! All input has limits. A repeated call is safe, as those of [`Compute`] are.

use std::sync::Arc;
use std::time::Duration;

use dcp_proto::gateway::v1 as proto;
use dcp_proto::gateway::v1::clusters_server::{self, ClustersServer};
use dcp_proto::gateway::v1::gateway_server::{self, GatewayServer};
use dcp_server::policy::{Resource, Role};
use dcp_server::{CallNotes, Caller, ServiceError, Services, offload};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::watch;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Response, Status};

use crate::clusters::{Clusters, Report};
use crate::compute::{Compute, Log};
use crate::error::Result;
use crate::remote::Remote;
use crate::{Name, SparkApplication, wire};

/// Long-lived calls: the changes of all applications.
const STREAMING_CALLS: [&str; 1] = ["/dcp.gateway.v1.Gateway/Watch"];

/// Maximum grace period of a stop.
const MAX_GRACE: Duration = Duration::from_hours(365 * 24);

/// The clusters that a process describes.
#[derive(Debug, Clone)]
pub enum ClusterSource {
    InProcess(Clusters),
    /// Those of a Gateway in another process.
    Remote(Box<Remote>),
    /// The process runs applications on its own machine only.
    None,
}

impl ClusterSource {
    async fn report(&self) -> Result<Report> {
        match self {
            Self::InProcess(clusters) => Ok(clusters.report()),
            Self::Remote(remote) => remote.report().await,
            Self::None => Ok(Report::default()),
        }
    }
}

/// Adds a Gateway to the services. Its watches end once `stopping` is true, so that they delay no shutdown.
pub fn add(services: Services, compute: Arc<dyn Compute>, stopping: watch::Receiver<bool>) -> Services {
    add_guarded(services, compute, stopping, None)
}

/// Does the same, and rejects the calls of Runners whose control plane has another identity: they have another database.
pub fn add_guarded(
    services: Services,
    compute: Arc<dyn Compute>,
    stopping: watch::Receiver<bool>,
    control_plane: Option<String>,
) -> Services {
    let server = GatewayServer::new(GatewayService { compute, stopping })
        .max_decoding_message_size(wire::MAX_REQUEST_BYTES);
    services.streaming(&STREAMING_CALLS).with(InterceptedService::new(
        InterceptedService::new(server, wire::control_plane::Guard(control_plane)),
        authorize,
    ))
}

/// Rejects calls of others than Runners. A Runner has checked who may submit to a domain.
fn authorize(request: Request<()>) -> std::result::Result<Request<()>, Status> {
    let caller = Caller::of(&request)?;
    let authorized = caller.check(Role::Developer, Resource::EVERYTHING);
    if let Err(why) = authorized {
        let why = why.message(caller, Role::Developer, Resource::EVERYTHING);
        return Err(denied(format!("a Gateway is for Runners: {why}")));
    }
    Ok(request)
}

fn denied(message: String) -> Status {
    ServiceError::new(Code::PermissionDenied, wire::error::DOMAIN, "DENIED", message).into()
}

/// Adds the description of clusters to the services.
pub fn add_clusters(services: Services, source: ClusterSource) -> Services {
    services.with(ClustersServer::new(source))
}

#[derive(Debug)]
struct GatewayService {
    compute: Arc<dyn Compute>,
    stopping: watch::Receiver<bool>,
}

type GrpcResult<T> = std::result::Result<Response<T>, Status>;

#[tonic::async_trait]
impl gateway_server::Gateway for GatewayService {
    type WatchStream = BoxStream<'static, std::result::Result<proto::WatchResponse, Status>>;

    async fn validate(
        &self,
        request: Request<proto::ValidateRequest>,
    ) -> GrpcResult<proto::ValidateResponse> {
        let (notes, request) = split(request);
        let (bytes, compute) = (request.application.len(), Arc::clone(&self.compute));
        let check = move || -> Result<(Name, SparkApplication)> {
            let (name, application) = wire::read_application(&request.application)?;
            compute.accepts(&application)?;
            Ok((name, application))
        };
        let (name, application) = offload(bytes, check).await?;
        note(notes.as_ref(), &name);
        self.compute.validate(&application).await?;
        Ok(Response::new(proto::ValidateResponse {}))
    }

    async fn create(&self, request: Request<proto::CreateRequest>) -> GrpcResult<proto::CreateResponse> {
        let (notes, request) = split(request);
        let bytes = request.application.len();
        let (name, application) =
            offload(bytes, move || wire::read_application(&request.application)).await?;
        note(notes.as_ref(), &name);
        self.compute.create(&application).await?;
        Ok(Response::new(proto::CreateResponse {}))
    }

    async fn get(&self, request: Request<proto::GetRequest>) -> GrpcResult<proto::GetResponse> {
        let name = application_name(&request, &request.get_ref().name)?;
        let status = self.compute.get(&name).await?.map(wire::status);
        Ok(Response::new(proto::GetResponse { status }))
    }

    async fn watch(&self, _request: Request<proto::WatchRequest>) -> GrpcResult<Self::WatchStream> {
        let events = self.compute.watch().map(|event| Ok(wire::event(event?)));
        let mut stopping = self.stopping.clone();
        let stopped = async move {
            if stopping.wait_for(|stopping| *stopping).await.is_err() {
                // Nothing will ever stop it.
                std::future::pending::<()>().await;
            }
        };
        Ok(Response::new(events.take_until(Box::pin(stopped)).boxed()))
    }

    async fn delete(&self, request: Request<proto::DeleteRequest>) -> GrpcResult<proto::DeleteResponse> {
        let name = application_name(&request, &request.get_ref().name)?;
        let grace = Duration::from_millis(request.get_ref().grace_millis).min(MAX_GRACE);
        self.compute.delete(&name, grace).await?;
        Ok(Response::new(proto::DeleteResponse {}))
    }

    async fn logs(&self, request: Request<proto::LogsRequest>) -> GrpcResult<proto::LogsResponse> {
        let name = application_name(&request, &request.get_ref().name)?;
        let proto::LogsRequest { name: _, cursor, limit } = request.into_inner();
        let Log { next, bytes } = self.compute.logs(&name, &cursor.parse()?, log_limit(limit)).await?;
        Ok(Response::new(proto::LogsResponse { cursor: next.as_str().to_owned(), data: bytes }))
    }

    async fn tail(&self, request: Request<proto::TailRequest>) -> GrpcResult<proto::TailResponse> {
        let name = application_name(&request, &request.get_ref().name)?;
        let data = self.compute.tail(&name, log_limit(request.get_ref().limit)).await?;
        Ok(Response::new(proto::TailResponse { data }))
    }

    async fn forget(&self, request: Request<proto::ForgetRequest>) -> GrpcResult<proto::ForgetResponse> {
        let name = application_name(&request, &request.get_ref().name)?;
        self.compute.forget(&name).await?;
        Ok(Response::new(proto::ForgetResponse {}))
    }

    async fn capabilities(
        &self,
        _request: Request<proto::CapabilitiesRequest>,
    ) -> GrpcResult<proto::CapabilitiesResponse> {
        self.compute.check().await?;
        Ok(Response::new(wire::capabilities(self.compute.capabilities())))
    }
}

#[tonic::async_trait]
impl clusters_server::Clusters for ClusterSource {
    async fn list(&self, request: Request<proto::ListRequest>) -> GrpcResult<proto::ListResponse> {
        let caller = Caller::of(&request)?;
        caller.require_role().map_err(denied)?;
        let visible = caller.visible();
        let mut report = self.report().await?;
        report.routings.retain(|routing| visible.includes_domain(&routing.domain));
        Ok(Response::new(wire::report(report)))
    }
}

fn log_limit(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX).min(wire::MAX_LOG_BYTES)
}

fn split<T>(request: Request<T>) -> (Option<CallNotes>, T) {
    (request.extensions().get().cloned(), request.into_inner())
}

/// Parses the name of a request's application, and notes it for the log.
fn application_name<T>(request: &Request<T>, name: &str) -> Result<Name> {
    let name = name.parse()?;
    note(request.extensions().get(), &name);
    Ok(name)
}

fn note(notes: Option<&CallNotes>, name: &Name) {
    if let Some(notes) = notes {
        notes.subject(name.as_str());
    }
}
