//! Streams to clients: transitions, logs and results.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dcp_gateway::{Cursor, Log, Name};
use dcp_model::secrets;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::Inner;
use crate::api::{Error, LogPart, LogRequest, Record, Result};
use crate::execution::{Attempt, Execution, Id, Phase, Transition};
use crate::results::Format;

/// Interval for polling executions of other Runners, and logs.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Pauses before a log that can't be read is read again.
const LOG_RETRIES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// Maximum length of one part of a log.
const MAX_PART_BYTES: usize = 64 << 10;

impl Inner {
    async fn record(&self, id: &Id) -> Result<Record> {
        self.store.get(id).await?.ok_or_else(|| Error::unknown(id))
    }

    /// Waits until an execution may have changed since a version.
    async fn wait_for_change(&self, id: &Id, version: u64) {
        let task = self.tasks().get(id).cloned();
        let pause = tokio::time::sleep(POLL_INTERVAL);
        match task {
            Some(task) => {
                let mut versions = task.version.subscribe();
                tokio::select! {
                    // `task` keeps the sender alive, so this can't fail. If the task ends, the pause ends the wait.
                    _ = versions.wait_for(|it| *it > version) => {}
                    () = pause => {}
                }
            }
            None => pause.await,
        }
    }
}

pub(super) fn watch(inner: Arc<Inner>, id: Id, from: usize) -> BoxStream<'static, Result<Transition>> {
    /// The record that was read, and the index of the next transition to send.
    struct WatchState {
        inner: Arc<Inner>,
        id: Id,
        next: usize,
        record: Option<Record>,
    }
    let state = WatchState { inner, id, next: from, record: None };
    let steps = stream::try_unfold(state, |mut it| async move {
        loop {
            let record = match it.record.take() {
                Some(record) => record,
                None => it.inner.record(&it.id).await?,
            };
            if let Some(transition) = record.history.get(it.next).cloned() {
                it.next += 1;
                it.record = Some(record);
                return Ok(Some((transition, it)));
            }
            if record.execution.phase.is_final() {
                return Ok(None);
            }
            it.inner.wait_for_change(&it.id, record.version).await;
        }
    });
    steps.boxed()
}

/// The position of a reader in the logs of an execution.
struct LogReader {
    inner: Arc<Inner>,
    id: Id,
    request: LogRequest,
    attempt: Option<u32>,
    after: Cursor,
}

pub(super) fn logs(inner: Arc<Inner>, id: Id, request: LogRequest) -> BoxStream<'static, Result<LogPart>> {
    let (attempt, after) = (request.attempt, request.after.clone());
    let reader = LogReader { inner, id, request, attempt, after };
    stream::try_unfold(reader, |mut it| async move { Ok(it.next().await?.map(|part| (part, it))) }).boxed()
}

impl LogReader {
    async fn next(&mut self) -> Result<Option<LogPart>> {
        loop {
            let record = self.inner.record(&self.id).await?;
            let attempts = &record.execution.attempts;
            let last = record.execution.attempt();
            // A reader that names no attempt begins with the current one, and continues with later ones.
            let number = self.attempt.unwrap_or(last);
            let Some(attempt) = attempts.iter().find(|it| it.number == number) else {
                if self.request.follow && !record.execution.phase.is_final() && number >= last {
                    self.inner.wait_for_change(&self.id, record.version).await;
                    continue;
                }
                if attempts.is_empty() && record.execution.phase.is_final() || self.attempt.is_none() {
                    return Ok(None);
                }
                let message = format!("{} has no attempt {number}: it had {last} so far", self.id);
                return Err(Error::NotFound(message));
            };
            self.attempt = Some(number);
            // Determined before the log is read, because more may be written after the read.
            let is_over = is_over(&record.execution, attempt);
            let Log { next, bytes } = self.read(&record.execution, attempt).await?;
            if !bytes.is_empty() {
                self.after = next.clone();
                return Ok(Some(LogPart { attempt: number, next, bytes: redacted(&bytes) }));
            }
            let pinned = self.request.attempt.is_some();
            if !is_over && self.request.follow {
                tokio::time::sleep(POLL_INTERVAL).await;
            } else if self.request.follow && !pinned && number < last {
                (self.attempt, self.after) = (Some(number + 1), Cursor::default());
            } else if self.request.follow && !pinned && !record.execution.phase.is_final() {
                self.inner.wait_for_change(&self.id, record.version).await;
            } else {
                return Ok(None);
            }
        }
    }

    /// Reads the next part of an attempt's log.
    async fn read(&self, execution: &Execution, attempt: &Attempt) -> Result<Log> {
        let Attempt { number, backend, .. } = attempt;
        let name = execution.name_of(*number).parse::<Name>();
        let (Some(compute), Ok(name)) = (self.inner.compute(*backend), name) else {
            let backend = backend.name();
            return Err(Error::Unavailable(format!(
                "attempt {number} ran on {backend}, which this Runner does not have"
            )));
        };
        let read = || compute.logs(&name, &self.after, MAX_PART_BYTES);
        retry_log(read).await.map_err(|error| match error {
            dcp_gateway::Error::Invalid(message) => Error::Invalid { field: "cursor".to_owned(), message },
            error => Error::Unavailable(error.to_string()),
        })
    }
}

/// Returns a part of a log without what looks like a secret, as a password in a URL. A secret that begins in one part and
/// ends in the next is not recognized.
fn redacted(bytes: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        output.extend_from_slice(secrets::redact(chunk.valid()).as_bytes());
        output.extend_from_slice(chunk.invalid());
    }
    output
}

/// Reads a log again for a few seconds if it can't be read, as a busy node or a kubelet that starts again causes.
pub(super) async fn retry_log<T, F>(read: impl Fn() -> F) -> dcp_gateway::Result<T>
where
    F: Future<Output = dcp_gateway::Result<T>>,
{
    for pause in LOG_RETRIES {
        match read().await {
            Err(dcp_gateway::Error::Unavailable(_)) => tokio::time::sleep(pause).await,
            done => return done,
        }
    }
    read().await
}

/// Returns true if an attempt writes no more logs.
fn is_over(execution: &Execution, attempt: &Attempt) -> bool {
    attempt.end.is_some()
        || execution.phase.is_final()
        || attempt.number < execution.attempt()
        || execution.phase == Phase::Retrying
}

pub(super) fn result(inner: Arc<Inner>, id: Id, format: Format) -> BoxStream<'static, Result<Bytes>> {
    let opened = async move {
        let record = inner.record(&id).await?;
        let phase = record.execution.phase;
        if !phase.is_final() {
            let message = format!("{id} is {}: its result is there once it has succeeded", phase.name());
            return Err(Error::NotNow(message));
        }
        let Some(results) = &inner.options.results else {
            return Err(Error::NotFound("this Runner keeps no results".to_owned()));
        };
        if phase != Phase::Succeeded {
            return Err(Error::NotFound(format!("{id} is {}, and has no result", phase.name())));
        }
        let pieces = results.read(&id, record.execution.attempt(), format).await?;
        Ok(pieces.map_err(Error::from))
    };
    stream::once(opened).try_flatten().boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_log_have_no_secrets() {
        let redact = |text: &[u8]| String::from_utf8_lossy(&redacted(text)).into_owned();
        let plain = "2026-01-01 INFO rows: 10, token bucket of 5 requests\n";
        assert_eq!(redact(plain.as_bytes()), plain);
        for text in [
            "connect to postgres://shop:canary-1f3a@db/shop\n",
            "run --token canary-1f3a --rows 5\n",
            "Authorization: Bearer canary-1f3a0c9d8e7b\n",
            "spark.shop.password=canary-1f3a\n",
        ] {
            let text = redact(text.as_bytes());
            assert!(!text.contains("canary") && text.contains('…') && text.ends_with('\n'), "{text}");
        }
        // Bytes that are no text are kept, and the text beside them is redacted.
        let expected = [&b"\xff password="[..], "…".as_bytes(), b" \xfe\n"].concat();
        assert_eq!(redacted(b"\xff password=canary-1f3a \xfe\n"), expected);
    }
}
