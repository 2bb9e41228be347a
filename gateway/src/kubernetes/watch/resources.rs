//! Watches the custom resources of operators. Applications without one are watched also if this fails.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use kube::api::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};

use super::{Input, WATCH_SECONDS, Watch, failed, keep_going};
use crate::error::Result;
use crate::kubernetes::labels;
use crate::kubernetes::operator::Operator;
use crate::kubernetes::resource::{Resource, ResourceFacts};
use crate::kubernetes::submit::api;

/// Wait before custom resources are listed again whose type the cluster does not have, or that dcp may not read.
const RETRY: Duration = Duration::from_secs(10);

/// The custom resources of an operator in one of the scopes of pods.
pub(super) type Source = (Operator, usize);

impl Watch {
    /// Watches the custom resources of an operator, unless they are watched.
    pub(super) fn watch_resources(&mut self, operator: Operator) {
        if !self.operators.insert(operator) {
            return;
        }
        let cluster = &self.cluster;
        let failed = failed(&cluster.settings.name);
        for (scope, namespace) in self.scopes.iter().enumerate() {
            let api = api(cluster.client.clone(), operator, namespace.as_deref());
            let config = watcher::Config::default().labels(labels::APPLICATION).timeout(WATCH_SECONDS);
            let events = keep_going(skip_unavailable(watcher(api, config)));
            let input = move |event| Input::Resource((operator, scope), event);
            self.inputs.push(events.map_ok(input).map_err(failed.clone()).boxed());
        }
    }

    pub(super) async fn handle_resource(
        &mut self,
        source: Source,
        event: Event<DynamicObject>,
    ) -> Result<()> {
        let (operator, scope) = source;
        let (resource, name) = match event {
            Event::Init => {
                let known = self.cluster.store.with_resource(operator, self.scopes[scope].as_deref());
                self.unconfirmed.insert(source, known);
                return Ok(());
            }
            Event::InitDone => {
                for name in self.unconfirmed.remove(&source).unwrap_or_default() {
                    self.cluster.store.change(&name, |pods| pods.resource.update(Resource::Missing));
                    self.report(&name).await?;
                }
                return Ok(());
            }
            Event::Apply(object) | Event::InitApply(object) => {
                let Some(facts) = ResourceFacts::new(operator, &object) else { return Ok(()) };
                if let Some(unconfirmed) = self.unconfirmed.get_mut(&source) {
                    unconfirmed.remove(&facts.application);
                }
                let name = facts.application.clone();
                (Resource::Present(facts), name)
            }
            Event::Delete(object) => {
                let Some(facts) = ResourceFacts::new(operator, &object) else { return Ok(()) };
                (Resource::Missing, facts.application)
            }
        };
        self.cluster.store.change(&name, |pods| pods.resource.update(resource));
        self.report(&name).await
    }
}

/// Waits where the type does not exist, or dcp lacks the right to read it. A submit reports this.
fn skip_unavailable<K: Send + 'static>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send {
    events.filter_map(|event| async {
        let error = match &event {
            Err(
                watcher::Error::InitialListFailed(error)
                | watcher::Error::WatchStartFailed(error)
                | watcher::Error::WatchFailed(error),
            ) => Some(error),
            _ => None,
        };
        let is_unavailable = matches!(
            error, Some(kube::Error::Api(status)) if matches!(status.code, 403 | 404)
        );
        if is_unavailable {
            tokio::time::sleep(RETRY).await;
            return None;
        }
        Some(event)
    })
}
