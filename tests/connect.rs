//! A client of Spark Connect, with the calls that tests need.

use std::collections::BTreeMap;

use dcp_gateway::SparkApplication;
use prost::Message;
use serde_json::json;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::cluster::{SPARK_IMAGE, parsed};

/// A session that no client has.
const SESSION: &str = "7d0d9d9e-2f6b-4a5c-9a51-3f3c0f6d2c11";

#[derive(Clone, PartialEq, Message)]
struct UserContext {
    #[prost(string, tag = "1")]
    user_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct ReleaseSessionRequest {
    #[prost(string, tag = "1")]
    session_id: String,
    #[prost(message, optional, tag = "2")]
    user_context: Option<UserContext>,
}

#[derive(Clone, PartialEq, Message)]
struct ReleaseSessionResponse {
    #[prost(string, tag = "1")]
    session_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct ConfigRequest {
    #[prost(string, tag = "1")]
    session_id: String,
    #[prost(message, optional, tag = "2")]
    user_context: Option<UserContext>,
    #[prost(message, optional, tag = "3")]
    operation: Option<Operation>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(message, optional, tag = "4")]
    get_option: Option<Keys>,
    #[prost(message, optional, tag = "5")]
    get_all: Option<Prefix>,
}

#[derive(Clone, PartialEq, Message)]
struct Keys {
    #[prost(string, repeated, tag = "1")]
    keys: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Prefix {
    #[prost(string, optional, tag = "1")]
    prefix: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ConfigResponse {
    #[prost(message, repeated, tag = "2")]
    pairs: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

async fn call<Q, A>(address: &str, token: Option<&str>, method: &str, message: Q) -> Result<A, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("the address is valid");
    let channel = endpoint.connect().await.map_err(|error| Status::from_error(Box::new(error)))?;
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
    let mut request = Request::new(message);
    if let Some(token) = token {
        let header = MetadataValue::try_from(format!("Bearer {token}")).expect("the token is ASCII");
        request.metadata_mut().insert("authorization", header);
    }
    let path = format!("/spark.connect.SparkConnectService/{method}");
    let path = PathAndQuery::try_from(path).expect("the path is valid");
    client.unary(request, path, ProstCodec::<Q, A>::default()).await.map(tonic::Response::into_inner)
}

fn user() -> UserContext {
    UserContext { user_id: "tests".to_owned() }
}

/// Returns a server as an application of Spark for the test cluster, with one executor.
pub fn server(name: &str) -> SparkApplication {
    let conf = json!({
        "spark.kubernetes.container.image": SPARK_IMAGE,
        "spark.kubernetes.container.image.pullPolicy": "Never",
        "spark.kubernetes.driver.request.cores": "50m",
        "spark.kubernetes.executor.request.cores": "50m",
        "spark.driver.memory": "1g",
        "spark.executor.memory": "512m",
        "spark.executor.instances": "1",
    });
    parsed(json!({
        "metadata": {"name": name, "namespace": "sales"},
        "spec": {
            "runtimeVersions": {"sparkVersion": "4.1.1"},
            "mainClass": "org.apache.spark.sql.connect.service.SparkConnectServer",
            "sparkConf": conf,
        },
    }))
}

/// Releases a session that does not exist, which leaves nothing behind.
///
/// # Errors
/// If the server can't be reached, or rejects the call.
///
/// # Panics
/// If the address is none.
pub async fn probe(address: &str, token: Option<&str>) -> Result<(), Status> {
    let request = ReleaseSessionRequest { session_id: SESSION.to_owned(), user_context: Some(user()) };
    call::<_, ReleaseSessionResponse>(address, token, "ReleaseSession", request).await.map(drop)
}

/// Returns the settings that a client can read: those that it names, and all others.
///
/// # Errors
/// If the server can't be reached, or rejects the call.
///
/// # Panics
/// If the address is none.
pub async fn settings(
    address: &str,
    token: Option<&str>,
    named: &[&str],
) -> Result<BTreeMap<String, String>, Status> {
    let keys = Keys { keys: named.iter().map(|&key| key.to_owned()).collect() };
    let operations = [
        Operation { get_option: Some(keys), get_all: None },
        Operation { get_option: None, get_all: Some(Prefix::default()) },
    ];
    let mut all = BTreeMap::new();
    for operation in operations {
        let request = ConfigRequest {
            session_id: SESSION.to_owned(),
            user_context: Some(user()),
            operation: Some(operation),
        };
        let response: ConfigResponse = call(address, token, "Config", request).await?;
        all.extend(response.pairs.into_iter().filter_map(|pair| Some((pair.key, pair.value?))));
    }
    Ok(all)
}
