//! Reads the log of a pod.

use futures_util::AsyncReadExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;

use super::client::{failed, is_missing};
use super::facts::PodFacts;
use super::lines::error_in;
use crate::error::{Error, Result};

/// Maximum number of bytes that one call reads from a cluster.
pub(super) const MAX_READ_BYTES: usize = 64 << 20;

/// Reads lines of the log of a driver, each with its timestamp. Returns nothing if its pod does not exist any more.
pub(super) async fn read_pod(
    pods: &Api<Pod>,
    driver: &PodFacts,
    of: LogParams,
    cluster: &str,
) -> Result<Option<Vec<u8>>> {
    let limit = of.limit_bytes.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let LogParams { container, timestamps, .. } = params(&driver.container);
    match read_all(pods, &driver.name, &LogParams { container, timestamps, ..of }).await {
        Ok(text) => match error_in(&text).filter(|_| text.len() < limit) {
            None => Ok(Some(text)),
            Some(message) => Err(unreadable(cluster, &message)),
        },
        // A kubelet that was started again may not know its pods yet.
        Err(error) if is_missing(&error) => {
            let found = pods.get_opt(&driver.name).await;
            match found.map_err(|error| failed(cluster, "the driver's pod can't be read", &error))? {
                None => Ok(None),
                Some(_) => Err(failed(cluster, "the log can't be read", &error)),
            }
        }
        // The kubelet calls all of its own errors invalid requests.
        Err(kube::Error::Api(status)) if status.code == 400 => Err(unreadable(cluster, &status.message)),
        Err(error) => Err(failed(cluster, "the log can't be read", &error)),
    }
}

pub(super) fn params(container: &str) -> LogParams {
    LogParams { container: Some(container.to_owned()), timestamps: true, ..LogParams::default() }
}

fn unreadable(cluster: &str, message: &str) -> Error {
    Error::Unavailable(format!("cluster `{cluster}`: the log can't be read: {message}"))
}

/// Reads the log of a pod. It need not be text, and may end within a character.
async fn read_all(pods: &Api<Pod>, pod: &str, params: &LogParams) -> kube::Result<Vec<u8>> {
    let stream = pods.log_stream(pod, params).await?;
    let mut bytes = Vec::new();
    stream.take(MAX_READ_BYTES as u64).read_to_end(&mut bytes).await.map_err(kube::Error::ReadEvents)?;
    Ok(bytes)
}
