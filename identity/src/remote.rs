//! The identity of a caller, and the providers of a server, over gRPC.

use dcp_proto::identity::v1 as proto;
use dcp_proto::identity::v1::identity_client::IdentityClient;
use dcp_proto::identity::v1::logins_client::LoginsClient;
use dcp_server::client::{CallError, Client, Options, Service};
use tonic::Response;

use crate::providers::{ClientSettings, Provider};
use crate::whoami::WhoAmI;

const SERVICE: Service = Service { name: "server of dcp", domain: "dcp.identity.v1" };

/// Returns the caller that the token of the options identifies.
pub async fn who_am_i(options: Options) -> Result<WhoAmI, CallError> {
    let client = Client::new(options, SERVICE)?;
    let call = || {
        let mut identity = IdentityClient::new(client.channel());
        async move { identity.who_am_i(proto::WhoAmIRequest {}).await.map(Response::into_inner) }
    };
    client.call(call).await.map(WhoAmI::from)
}

/// Lists the providers that issue tokens for a server. The call needs no token.
pub async fn providers(options: Options) -> Result<Vec<Provider>, CallError> {
    let client = Client::new(options, SERVICE)?;
    let call = || {
        let mut logins = LoginsClient::new(client.channel());
        async move { logins.list(proto::ListRequest {}).await.map(Response::into_inner) }
    };
    let response = client.call(call).await?;
    Ok(response.providers.into_iter().map(from_proto).collect())
}

fn from_proto(provider: proto::Provider) -> Provider {
    let proto::Provider { name, url, audience, login } = provider;
    let login = login.map(|proto::ClientSettings { client, scopes, resource, audience }| ClientSettings {
        client,
        scopes,
        resource,
        audience,
    });
    Provider { name, url, audience, login }
}
