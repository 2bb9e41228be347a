//! Sandboxes of a server.

use dcp_model::manifest::Memory;
use dcp_proto::connect::v1 as proto;
use dcp_proto::connect::v1::sandboxes_client::SandboxesClient;
use dcp_server::client::{AuthenticatedChannel, CallError};
use tonic::Response;

use super::{MAX_RESPONSE_BYTES, Remote, time};
use crate::sandboxes::{NewSandbox, Opened, Sandbox};

impl Remote {
    /// Creates a sandbox, or extends the expiry of the one that exists.
    pub async fn create_sandbox(&self, new: &NewSandbox) -> Result<Sandbox, CallError> {
        let NewSandbox { name, branch, driver, catalog, ttl } = new.clone();
        let request = proto::CreateSandboxRequest {
            name,
            domain: driver.domain.unwrap_or_default(),
            pool: driver.pool.unwrap_or_default(),
            engine: driver.engine.unwrap_or_default(),
            catalog: catalog.unwrap_or_default(),
            branch,
            ttl_seconds: ttl.as_secs(),
            cores: driver.cores.unwrap_or_default(),
            memory_bytes: driver.memory.map_or(0, Memory::bytes),
        };
        let call = || {
            let (mut sandboxes, request) = (self.sandboxes_client(), request.clone());
            async move { sandboxes.create_sandbox(request).await.map(Response::into_inner) }
        };
        self.readable(sandbox(self.0.call(call).await?.sandbox))
    }

    /// Makes the schema of a sandbox the current one of its session.
    pub async fn open_sandbox(&self, domain: Option<&str>, name: &str) -> Result<Opened, CallError> {
        let call = || {
            let mut sandboxes = self.sandboxes_client();
            let (domain, name) = (domain.unwrap_or_default().to_owned(), name.to_owned());
            let request = proto::OpenSandboxRequest { name, domain };
            async move { sandboxes.open_sandbox(request).await.map(Response::into_inner) }
        };
        let proto::OpenSandboxResponse { sandbox: opened, is_new_session } = self.0.call(call).await?;
        self.readable(sandbox(opened).map(|sandbox| Opened { sandbox, is_new_session }))
    }

    /// Lists the caller's sandboxes.
    pub async fn sandboxes(&self) -> Result<Vec<Sandbox>, CallError> {
        let call = || {
            let mut sandboxes = self.sandboxes_client();
            async move { sandboxes.list_sandboxes(proto::ListSandboxesRequest {}).await.map(Response::into_inner) }
        };
        let sandboxes = self.0.call(call).await?.sandboxes;
        sandboxes.into_iter().map(|it| self.readable(sandbox(Some(it)))).collect()
    }

    /// Drops the schema of a sandbox, unless it is kept, and deletes the sandbox.
    pub async fn delete_sandbox(
        &self,
        domain: Option<&str>,
        name: &str,
        keep_schema: bool,
    ) -> Result<(), CallError> {
        let call = || {
            let mut sandboxes = self.sandboxes_client();
            let (domain, name) = (domain.unwrap_or_default().to_owned(), name.to_owned());
            let request = proto::DeleteSandboxRequest { name, domain, keep_schema };
            async move { sandboxes.delete_sandbox(request).await.map(|_| ()) }
        };
        self.0.call(call).await
    }

    fn sandboxes_client(&self) -> SandboxesClient<AuthenticatedChannel> {
        SandboxesClient::new(self.0.channel()).max_decoding_message_size(MAX_RESPONSE_BYTES)
    }
}

fn sandbox(sandbox: Option<proto::Sandbox>) -> Result<Sandbox, &'static str> {
    let sandbox = sandbox.ok_or("a sandbox is missing")?;
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Sandbox {
        domain: sandbox.domain,
        name: sandbox.name,
        branch: sandbox.branch,
        pool: given(sandbox.pool),
        engine: given(sandbox.engine),
        cores: Some(sandbox.cores).filter(|cores| *cores > 0),
        memory: Memory::from_bytes(sandbox.memory_bytes),
        catalog: sandbox.catalog,
        schema: sandbox.schema,
        session_id: sandbox.session_id,
        created: time(sandbox.created)?,
        expires: time(sandbox.expires)?,
    })
}
