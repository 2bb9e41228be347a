//! The Spark Connect servers in a namespace that are no drivers of pools: drivers of Spark applications, and the servers of
//! `SparkConnect` resources of the Kubeflow operator.

mod pods;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _, future};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};

use super::client::root_cause;
use super::watch::WATCH_SECONDS;
use crate::error::{Error, Result};
use pods::{Found, find};

/// One run of a server's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectServer {
    /// The name and the UID of its pod.
    pub pod: String,
    pub uid: String,
    /// The number of earlier runs in the same pod.
    pub restarts: i32,
    pub address: SocketAddr,
    /// The version of Spark, if a label has it.
    pub version: Option<String>,
    pub started: Timestamp,
    pub is_ready: bool,
}

/// An event of the servers of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// A server runs. An earlier one of the same pod has ended.
    Running(ConnectServer),
    /// The pod with this UID has no server that runs.
    Ended(String),
    /// All servers that run were reported once.
    Listed,
}

/// Lists the servers whose pods have these labels, and watches them. The stream ends with an error if this fails, and without one
/// if events may have been lost.
pub fn connect_servers(
    client: Client,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> BoxStream<'static, Result<ServerEvent>> {
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let config = watcher::Config::default().labels(&labels.join(",")).timeout(WATCH_SECONDS);
    let events = watcher(Api::<Pod>::namespaced(client, namespace), config);
    let namespace = namespace.to_owned();
    let is_complete = |event: &watcher::Result<Event<Pod>>| !matches!(event, Err(watcher::Error::WatchError(status)) if status.code == 410);
    let events = events.take_while(move |event| future::ready(is_complete(event)));
    let events = events.map_err(move |error| failed(&namespace, &error));
    events.try_filter_map(|event| future::ok(server_event(event))).boxed()
}

fn server_event(event: Event<Pod>) -> Option<ServerEvent> {
    let pod = match event {
        Event::Init => return None,
        Event::InitDone => return Some(ServerEvent::Listed),
        Event::Delete(pod) => return pod.metadata.uid.map(ServerEvent::Ended),
        Event::InitApply(pod) | Event::Apply(pod) => pod,
    };
    // A pod that shows nothing of its server concludes nothing.
    match find(&pod)? {
        Found::Running(server) => Some(ServerEvent::Running(server)),
        Found::Ended => pod.metadata.uid.map(ServerEvent::Ended),
    }
}

/// Translates an error of a watch, with the right that is missing if one is.
fn failed(namespace: &str, error: &watcher::Error) -> Error {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    };
    let why = match status {
        Some(status) if status.code == 403 => {
            format!("{}; give the account the verbs `list` and `watch` of `pods` there", status.message)
        }
        Some(status) => status.message.clone(),
        None => root_cause(error),
    };
    Error::Unavailable(format!("the pods of the namespace `{namespace}` can't be watched: {why}"))
}
