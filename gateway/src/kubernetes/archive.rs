//! Logs of drivers in an object store, where they outlive the pods.
//!
//! While a driver runs, its new lines are copied from time to time, each time to a new object. The name of an object has
//! the positions of its first and its last line, and its content follows from the name: several Gateways may copy the
//! same lines, and a reader skips the lines that it has. A pod that is about to be deleted is followed to its end.

mod chunk;
mod copy;

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use dcp_objects::Objects;
use futures_util::TryStreamExt as _;
use kube::Client;
use tokio::sync::Semaphore;

use super::lines::Position;
use crate::Name;
use crate::compute::Log;
use crate::error::{Error, Result};
use chunk::Chunk;

pub(super) use copy::run;

/// Maximum number of hours of a log, and of objects of one hour.
const MAX_NAMES: usize = 100_000;
/// Maximum size of an object that is read. Copies are smaller, unless a line is longer.
const MAX_OBJECT_BYTES: usize = 80 << 20;
/// Maximum number of objects that are read for the end of a log.
const MAX_TAIL_OBJECTS: usize = 1000;
/// Maximum number of concurrent copies, and of logs that are followed.
const MAX_COPIES: usize = 8;
const MAX_FOLLOWED: usize = 64;

/// The logs of the drivers of one cluster.
pub(super) struct Archive {
    objects: Objects,
    cluster: String,
    client: Client,
    states: Mutex<HashMap<Name, State>>,
    /// The object that was read last: readers take it in parts.
    last: Mutex<Option<(String, Bytes)>>,
    /// The operation that failed last, with the cause; none if it has succeeded since.
    problem: Mutex<Option<(Operation, String)>>,
    copies: Semaphore,
    followed: Semaphore,
}

/// An operation on the objects of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    List,
    Write,
}

/// The state of the copy of one log.
#[derive(Debug, Clone, Default)]
struct State {
    /// The position up to which the log is stored; none if it was not looked up yet.
    end: Option<Position>,
    is_complete: bool,
    is_busy: bool,
    copied: Option<Instant>,
    /// A copy was tried after the end of the driver.
    is_end_tried: bool,
}

impl Archive {
    pub(super) fn new(objects: Objects, cluster: String, client: Client) -> Self {
        Self {
            objects,
            cluster,
            client,
            states: Mutex::default(),
            last: Mutex::default(),
            problem: Mutex::default(),
            copies: Semaphore::new(MAX_COPIES),
            followed: Semaphore::new(MAX_FOLLOWED),
        }
    }

    fn states(&self) -> MutexGuard<'_, HashMap<Name, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the position up to which this process knows a log to be stored.
    pub(super) fn known_end(&self, name: &Name) -> Option<Position> {
        self.states().get(name)?.end
    }

    pub(super) fn remove(&self, name: &Name) {
        self.states().remove(name);
    }

    /// Returns the cause why logs are not stored.
    pub(super) fn problem(&self) -> Option<String> {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        problem.as_ref().map(|(_, cause)| cause.clone())
    }

    /// Notes the result of an operation. The cause is without the name of the object, so that it is one for all logs.
    fn note_result<T>(&self, operation: Operation, result: &dcp_objects::Result<T>) {
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) => _ = problem.take_if(|(failed, _)| *failed == operation),
            Err(error) if error.is_not_found() && operation == Operation::List => {}
            Err(dcp_objects::Error::Failed { operation: what, cause, .. }) => {
                let help = cause.help().map(|help| format!(": {help}")).unwrap_or_default();
                *problem = Some((operation, format!("objects can't be {what}: {cause}{help}")));
            }
            Err(error @ dcp_objects::Error::Path(_)) => *problem = Some((operation, error.to_string())),
        }
    }

    fn failed(&self, error: &dcp_objects::Error) -> Error {
        Error::Unavailable(format!("the logs of the cluster `{}`: {error}", self.cluster))
    }

    async fn names(&self, below: &str) -> Result<Vec<String>> {
        let listed = self.objects.names(below).await;
        self.note_result(Operation::List, &listed);
        match listed {
            Ok(mut names) => {
                names.truncate(MAX_NAMES);
                names.sort_unstable();
                Ok(names)
            }
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Returns the objects of one hour of a log, in order.
    async fn chunks(&self, name: &Name, hour: &str) -> Result<Vec<Chunk>> {
        let names = self.names(&format!("{name}/{hour}")).await?;
        let mut chunks: Vec<Chunk> = names.iter().filter_map(|name| Chunk::parse(name)).collect();
        chunks.sort_unstable();
        Ok(chunks)
    }

    /// Returns the position up to which a log is stored.
    async fn end(&self, name: &Name) -> Result<Position> {
        let Some(last) = self.names(name.as_str()).await?.pop() else { return Ok(Position::default()) };
        let ends = self.chunks(name, &last).await?.into_iter().map(|chunk| chunk.end);
        Ok(ends.max().unwrap_or_default())
    }

    async fn text(&self, path: String) -> Result<Bytes> {
        let known = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, text)) = known.filter(|(last, _)| *last == path) {
            return Ok(text);
        }
        let mut parts = self.objects.read(&path).await.map_err(|error| self.failed(&error))?;
        let mut text = Vec::new();
        while let Some(part) = parts.try_next().await.map_err(|error| self.failed(&error))? {
            text.extend_from_slice(&part);
            if text.len() > MAX_OBJECT_BYTES {
                return Err(Error::Unavailable(format!("the object `{path}` of a log is too large")));
            }
        }
        let text = Bytes::from(text);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((path, text.clone()));
        Ok(text)
    }

    /// Returns at most `limit` bytes of a log after a position.
    pub(super) async fn read(&self, name: &Name, mut position: Position, limit: usize) -> Result<Log> {
        let hours = self.names(name.as_str()).await?;
        let own = chunk::hour(position);
        for hour in hours.iter().filter(|hour| **hour >= own) {
            for chunk in self.chunks(name, hour).await? {
                if chunk.end <= position {
                    continue;
                }
                let text = self.text(chunk.path(name)).await?;
                let log = position.take_from(chunk.start, &text, limit, false);
                if !log.bytes.is_empty() {
                    return Ok(log);
                }
                position = Position::parse(&log.next)?;
            }
        }
        Ok(Log { next: position.cursor(), bytes: Vec::new() })
    }

    /// Returns at most the last `limit` bytes of a log.
    pub(super) async fn tail(&self, name: &Name, limit: usize) -> Result<Vec<u8>> {
        let (mut texts, mut bytes) = (VecDeque::new(), Vec::new());
        for hour in self.names(name.as_str()).await?.iter().rev() {
            for chunk in self.chunks(name, hour).await?.into_iter().rev() {
                texts.push_front((chunk.start, self.text(chunk.path(name)).await?));
                bytes = joined(&texts)?;
                let size: usize = texts.iter().map(|(_, text)| text.len()).sum();
                if bytes.len() >= limit || size >= MAX_OBJECT_BYTES || texts.len() >= MAX_TAIL_OBJECTS {
                    return Ok(bytes.split_off(bytes.len().saturating_sub(limit)));
                }
            }
        }
        Ok(bytes)
    }
}

/// Returns the lines of texts, each with the position at which it begins. They may overlap.
fn joined(texts: &VecDeque<(Position, Bytes)>) -> Result<Vec<u8>> {
    let (mut bytes, mut position) = (Vec::new(), Position::default());
    for (start, text) in texts {
        let log = position.take_from(*start, text, usize::MAX, false);
        bytes.extend(log.bytes);
        position = Position::parse(&log.next)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
