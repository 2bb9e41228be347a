//! The calls about sandboxes.

use std::time::Duration;

use dcp_proto::connect::v1 as proto;
use dcp_proto::connect::v1::sandboxes_server;
use dcp_server::Caller;
use tonic::{Request, Response};

use super::{GrpcResult, noted, time};
use crate::client::Wanted;
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
        let proto::CreateSandboxRequest { name, domain, pool, engine, catalog, branch, ttl_seconds } =
            request.into_inner();
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let driver =
            Wanted { domain: given(domain), pool: given(pool), engine: given(engine), ..Wanted::default() };
        let new = NewSandbox {
            name,
            branch,
            driver,
            catalog: given(catalog),
            ttl: Duration::from_secs(ttl_seconds),
        };
        let created = self.of(&caller).create(new).await?;
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

fn sandbox(sandbox: Sandbox) -> proto::Sandbox {
    let Sandbox { domain, name, branch, pool, engine, catalog, schema, session_id, created, expires } =
        sandbox;
    let (pool, engine) = (pool.unwrap_or_default(), engine.unwrap_or_default());
    let (created, expires) = (Some(time(created)), Some(time(expires)));
    proto::Sandbox { domain, name, branch, pool, engine, catalog, schema, session_id, created, expires }
}
