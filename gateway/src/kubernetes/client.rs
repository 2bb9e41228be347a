//! The connection to a cluster, and its errors.

use std::path::PathBuf;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;

use super::retry::WhileBusy;
use crate::error::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time without a byte of a response. A watch is ended by the server before; see `watch`.
const READ_TIMEOUT: Duration = Duration::from_secs(40);
/// Number of requests that wait for the connection. Others wait before they enter this queue.
const QUEUED_REQUESTS: usize = 1024;

/// The credentials of dcp on a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A kubeconfig file, with its current context or a named one.
    Kubeconfig { path: PathBuf, context: Option<String> },
    /// A context of the user's kubeconfig files: those in `KUBECONFIG`, or `~/.kube/config`.
    Context(String),
    /// The current context of the user's kubeconfig files, or else the service account of dcp's own pod.
    Inferred,
    /// The service account of dcp's own pod.
    InCluster,
    /// A file with a token, which is read again when it has changed.
    Server { url: String, token_file: PathBuf, certificate_authority: Option<PathBuf> },
}

/// Connects to a cluster. The connection is made with the first call.
pub async fn connect(credentials: &Credentials) -> Result<Client> {
    let invalid = |error: &dyn std::fmt::Display| match credentials {
        Credentials::Kubeconfig { path, .. } => {
            Error::Invalid(format!("the kubeconfig `{}` is not usable: {error}", path.display()))
        }
        Credentials::Context(name) => {
            Error::Invalid(format!("the context `{name}` of the kubeconfig is not usable: {error}"))
        }
        Credentials::Inferred => Error::Invalid(format!(
            "there is no usable kubeconfig, and dcp does not run in a cluster: {error}"
        )),
        Credentials::InCluster => Error::Invalid(format!("dcp does not run in a cluster: {error}")),
        Credentials::Server { url, .. } => {
            Error::Invalid(format!("the API server `{url}` is not usable: {error}"))
        }
    };
    let config = match credentials {
        Credentials::Kubeconfig { path, context } => {
            if !path.exists() {
                return Err(invalid(&"the file does not exist"));
            }
            let file = Kubeconfig::read_from(path).map_err(|error| invalid(&error))?;
            of_context(file, context.as_deref()).await.map_err(|error| invalid(&error))?
        }
        Credentials::Context(name) => {
            let file = Kubeconfig::read().map_err(|error| invalid(&error))?;
            of_context(file, Some(name)).await.map_err(|error| invalid(&error))?
        }
        Credentials::Inferred => Config::infer().await.map_err(|error| invalid(&error))?,
        Credentials::InCluster => Config::incluster().map_err(|error| invalid(&error))?,
        Credentials::Server { url, token_file, certificate_authority } => {
            let url = url.parse().map_err(|error: http::uri::InvalidUri| invalid(&error))?;
            let mut config = Config::new(url);
            config.auth_info.token_file = Some(token_file.to_string_lossy().into_owned());
            config.root_cert_file.clone_from(certificate_authority);
            config
        }
    };
    client(config).map_err(|error| invalid(&error))
}

/// Returns a client with the timeouts and repetitions of dcp.
fn client(mut config: Config) -> kube::Result<Client> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    // The repetitions of the library may wait for hours.
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config)?.with_layer(&BufferLayer::new(QUEUED_REQUESTS));
    Ok(builder.with_layer(&RetryLayer::new(WhileBusy::default())).build())
}

/// Returns the configuration of a context of a kubeconfig.
async fn of_context(file: Kubeconfig, context: Option<&str>) -> std::result::Result<Config, String> {
    check_context(&file, context)?;
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(file, &options).await.map_err(|error| error.to_string())
}

/// Checks that a kubeconfig file has a context.
fn check_context(file: &Kubeconfig, context: Option<&str>) -> std::result::Result<(), String> {
    let names: Vec<&str> = file.contexts.iter().map(|context| context.name.as_str()).collect();
    match context.or(file.current_context.as_deref()) {
        Some(name) if names.contains(&name) => Ok(()),
        Some(name) => Err(format!("it has no context `{name}`; it has {}", names.join(", "))),
        None => Err(format!("it names no current context; give `context`: one of {}", names.join(", "))),
    }
}

/// Returns true if an object of this name exists already, or was changed by another client meanwhile.
pub(super) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

pub(super) fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Returns the quota that keeps an object from being created, with its numbers.
pub(super) fn exceeded_quota(error: &kube::Error) -> Option<&str> {
    let kube::Error::Api(status) = error else { return None };
    let (_, quota) = status.message.split_once("exceeded quota: ").filter(|_| status.code == 403)?;
    Some(quota)
}

/// Translates an error of a cluster.
pub(super) fn failed(cluster: &str, what: &str, error: &kube::Error) -> Error {
    match error {
        kube::Error::Api(status) => {
            let message = format!("cluster `{cluster}`: {what}: {}", status.message);
            match status.code {
                // A quota, a missing permission and a missing namespace can be mended while the Runner retries.
                400 | 422 => Error::Invalid(message),
                _ => Error::Unavailable(message),
            }
        }
        other => Error::Unavailable(format!("cluster `{cluster}` does not respond: {}", root_cause(other))),
    }
}

/// Returns the innermost error: the outer ones only say that a request failed.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |source| source.source());
    sources.last().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::Api;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const BUSY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n";

    #[tokio::test]
    async fn call_to_a_server_that_asks_for_a_long_pause_fails_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(BUSY).await;
            }
        });
        let token_file = tempfile::NamedTempFile::new().expect("the temporary folder is writable");
        let token_file = token_file.path().to_owned();
        let credentials = Credentials::Server { url, token_file, certificate_authority: None };
        let pods: Api<Pod> = Api::namespaced(connect(&credentials).await.expect("the URL is valid"), "sales");
        let response = tokio::time::timeout(Duration::from_secs(20), pods.get("one")).await;
        let error = response.expect("it does not wait").expect_err("the server is busy");
        assert!(matches!(failed("main", "it can't be read", &error), Error::Unavailable(_)), "{error:?}");
    }
}
