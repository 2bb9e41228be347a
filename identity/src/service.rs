//! The protocol `dcp.identity.v1`, which every part of dcp serves.

use dcp_proto::identity::v1 as proto;
use dcp_proto::identity::v1::identity_server::{Identity, IdentityServer};
use dcp_proto::identity::v1::logins_server::{Logins, LoginsServer};
use dcp_server::{Caller, Services};
use tonic::{Request, Response, Status};

use crate::providers::{ClientSettings, Provider};
use crate::whoami::WhoAmI;

/// Requests have no fields.
const MAX_REQUEST_BYTES: usize = 1 << 10;

/// Adds the protocol. `providers` are public: callers without a token can list them.
pub fn add(services: Services, providers: Vec<Provider>) -> Services {
    let identity = IdentityServer::new(IdentityService).max_decoding_message_size(MAX_REQUEST_BYTES);
    let response = proto::ListResponse { providers: providers.into_iter().map(to_proto).collect() };
    let logins = LoginsServer::new(LoginsService(response)).max_decoding_message_size(MAX_REQUEST_BYTES);
    services.with(identity).with_public(logins)
}

#[derive(Debug)]
struct IdentityService;

#[tonic::async_trait]
impl Identity for IdentityService {
    async fn who_am_i(
        &self,
        request: Request<proto::WhoAmIRequest>,
    ) -> Result<Response<proto::WhoAmIResponse>, Status> {
        let who = WhoAmI::from(Caller::of(&request)?);
        Ok(Response::new(who.into()))
    }
}

#[derive(Debug)]
struct LoginsService(proto::ListResponse);

#[tonic::async_trait]
impl Logins for LoginsService {
    async fn list(&self, _: Request<proto::ListRequest>) -> Result<Response<proto::ListResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}

fn to_proto(provider: Provider) -> proto::Provider {
    let Provider { name, url, audience, login } = provider;
    let login = login.map(|ClientSettings { client, scopes, resource, audience }| proto::ClientSettings {
        client,
        scopes,
        resource,
        audience,
    });
    proto::Provider { name, url, audience, login }
}
