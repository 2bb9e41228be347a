//! The calls about sandboxes.

use std::time::Duration;

use dcp_model::manifest::Memory;
use dcp_proto::connect::v1 as proto;
use dcp_proto::connect::v1::sandboxes_server;
use dcp_server::{Caller, ServiceError};
use tonic::{Request, Response};

use super::{GrpcResult, noted, time};
use crate::client::Wanted;
use crate::overview::DOMAIN;
use crate::proxy::Proxy;
use crate::sandboxes::{NewSandbox, Opened, Sandbox, Sandboxes};

#[derive(Debug)]
pub(super) struct SandboxesService(pub(super) Proxy);

#[tonic::async_trait]
impl sandboxes_server::Sandboxes for SandboxesService {
    async fn create_sandbox(
        &self,
        request: Request<proto::CreateSandboxRequest>,
    ) -> GrpcResult<proto::CreateSandboxResponse> {
        noted(&request, &request.get_ref().name);
        let caller = Caller::of(&request)?.clone();
        let created = self.of(&caller).create(new_sandbox(request.into_inner())?).await?;
        Ok(Response::new(proto::CreateSandboxResponse { sandbox: Some(sandbox(created.sandbox)) }))
    }

    async fn open_sandbox(
        &self,
        request: Request<proto::OpenSandboxRequest>,
    ) -> GrpcResult<proto::OpenSandboxResponse> {
        let proto::OpenSandboxRequest { name, domain } = request.get_ref();
        noted(&request, name);
        let Opened { sandbox: opened, is_new_session } =
            self.of(Caller::of(&request)?).open(domain, name).await?;
        Ok(Response::new(proto::OpenSandboxResponse { sandbox: Some(sandbox(opened)), is_new_session }))
    }

    async fn list_sandboxes(
        &self,
        request: Request<proto::ListSandboxesRequest>,
    ) -> GrpcResult<proto::ListSandboxesResponse> {
        let sandboxes = self.of(Caller::of(&request)?).list().await?;
        let sandboxes = sandboxes.into_iter().map(sandbox).collect();
        Ok(Response::new(proto::ListSandboxesResponse { sandboxes }))
    }

    async fn delete_sandbox(
        &self,
        request: Request<proto::DeleteSandboxRequest>,
    ) -> GrpcResult<proto::DeleteSandboxResponse> {
        let proto::DeleteSandboxRequest { name, domain, keep_schema } = request.get_ref();
        noted(&request, name);
        self.of(Caller::of(&request)?).delete(domain, name, *keep_schema).await?;
        Ok(Response::new(proto::DeleteSandboxResponse {}))
    }
}

impl SandboxesService {
    fn of<'a>(&'a self, caller: &'a Caller) -> Sandboxes<'a> {
        Sandboxes { proxy: &self.0, caller }
    }
}

/// Reads a request. An amount of memory that can't be written is rejected, as it could not be asked for.
fn new_sandbox(request: proto::CreateSandboxRequest) -> Result<NewSandbox, ServiceError> {
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let memory = match request.memory_bytes {
        0 => None,
        bytes => Some(Memory::from_bytes(bytes).ok_or_else(|| {
            let message = format!("{bytes} bytes are no amount of memory that a driver can have");
            ServiceError::invalid(DOMAIN, "memory_bytes", message)
        })?),
    };
    let driver = Wanted {
        domain: given(request.domain),
        pool: given(request.pool),
        engine: given(request.engine),
        cores: Some(request.cores).filter(|cores| *cores > 0),
        memory,
    };
    Ok(NewSandbox {
        name: request.name,
        branch: request.branch,
        driver,
        catalog: given(request.catalog),
        ttl: Duration::from_secs(request.ttl_seconds),
    })
}

fn sandbox(sandbox: Sandbox) -> proto::Sandbox {
    proto::Sandbox {
        domain: sandbox.domain,
        name: sandbox.name,
        branch: sandbox.branch,
        pool: sandbox.pool.unwrap_or_default(),
        engine: sandbox.engine.unwrap_or_default(),
        cores: sandbox.cores.unwrap_or_default(),
        memory_bytes: sandbox.memory.map_or(0, Memory::bytes),
        catalog: sandbox.catalog,
        schema: sandbox.schema,
        session_id: sandbox.session_id,
        created: Some(time(sandbox.created)),
        expires: Some(time(sandbox.expires)),
    }
}
