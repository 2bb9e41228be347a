//! The events of one watch call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, timeout_at};

use super::Error;
use crate::server::{Change, Scope};
use crate::world::{State, World};

type Sender = UnboundedSender<Result<Bytes, Error>>;

/// Time after which a Gateway has read an event, unless it has closed the watch.
const READING_TIME: Duration = Duration::from_millis(1);

/// The next part of a watch.
enum Part {
    Lines(Vec<Value>),
    /// The last line of the watch.
    Last(Value),
    Cut,
}

/// Sends the events after a version, until the watch ends.
pub(super) async fn send(
    world: World,
    instance: u64,
    scope: Scope,
    mut version: u64,
    duration: Duration,
    sender: Sender,
) {
    let deadline = Instant::now() + duration;
    let changes = world.with(|state| Arc::clone(&state.server.changed));
    loop {
        let lag = world.with(|state| {
            let is_long = state.random.chance(state.rates.stalls);
            Duration::from_millis(if is_long { state.random.between(1000, 20_000) } else { 5 })
        });
        sleep(lag).await;
        if sender.is_closed() {
            return;
        }
        let is_changed = changes.notified();
        let part = world.with(|state| next(state, &scope, &mut version));
        if !send_part(&world, instance, &sender, part).await {
            return;
        }
        let goes_on = async {
            tokio::select! {
                biased;
                () = sender.closed() => false,
                () = is_changed => true,
            }
        };
        if !timeout_at(deadline, goes_on).await.unwrap_or(false) {
            return;
        }
    }
}

/// Sends a part of a watch. Returns false if it was the last one.
async fn send_part(world: &World, instance: u64, sender: &Sender, part: Part) -> bool {
    match part {
        Part::Lines(lines) => {
            let is_sent = lines.iter().all(|line| sender.send(Ok(text(line))).is_ok());
            sleep(READING_TIME).await;
            if is_sent && !sender.is_closed() {
                let seen = lines.iter().map(|line| &line["object"]);
                world.with(|state| seen.for_each(|object| state.checks.delivered(instance, object)));
            }
            is_sent
        }
        Part::Last(line) => {
            let _ = sender.send(Ok(text(&line)));
            false
        }
        Part::Cut => {
            let _ = sender.send(Err("the connection is cut".into()));
            false
        }
    }
}

fn next(state: &mut State, scope: &Scope, version: &mut u64) -> Part {
    if state.random.chance(state.rates.watches) {
        return if state.random.chance(500) { Part::Cut } else { Part::Last(expired()) };
    }
    if *version < state.server.compacted {
        return Part::Last(expired());
    }
    let first = state.server.events.partition_point(|event| event.version <= *version);
    let events = state.server.events[first..].iter();
    let events: Vec<_> = events.filter(|event| scope.has(&event.key, &event.object)).cloned().collect();
    let mut lines = Vec::new();
    for event in events {
        let kind = match event.change {
            Change::Added => "ADDED",
            Change::Modified => "MODIFIED",
            Change::Deleted => "DELETED",
        };
        lines.push(json!({"type": kind, "object": &*event.object}));
    }
    *version = state.server.version;
    if lines.is_empty() && state.random.chance(200) {
        let metadata = json!({"resourceVersion": version.to_string()});
        let object =
            json!({"kind": scope.kind.name(), "apiVersion": scope.kind.api_version(), "metadata": metadata});
        lines.push(json!({"type": "BOOKMARK", "object": object}));
    }
    Part::Lines(lines)
}

fn expired() -> Value {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410,
    });
    json!({"type": "ERROR", "object": status})
}

fn text(line: &Value) -> Bytes {
    Bytes::from(format!("{line}\n"))
}
