//! Copies lines from pods to the archive.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::AsyncReadExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::chunk::Chunk;
use super::{Archive, Operation, State};
use crate::Name;
use crate::error::{Error, Result};
use crate::kubernetes::facts::PodFacts;
use crate::kubernetes::lines::{Lines, Position};
use crate::kubernetes::pod_log::{self, MAX_READ_BYTES};

/// Interval for copying the log of a running driver. A pod that vanishes at once loses the lines of this time.
const INTERVAL: Duration = Duration::from_secs(30);
/// Interval for finding drivers whose logs are due.
const TICK: Duration = Duration::from_secs(1);
/// Size of a copy.
const COPY_BYTES: usize = 1 << 20;
/// Maximum time without a copy of the lines of a log that is followed.
const FLUSH: Duration = Duration::from_secs(2);
/// Maximum time until the deletion of a pod goes on without its log.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// The right to copy one log, which one task of this process has at a time.
struct Busy<'a> {
    archive: &'a Archive,
    name: Name,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(state) = self.archive.states().get_mut(&self.name) {
            state.is_busy = false;
        }
    }
}

/// The reason why a log was not copied.
#[derive(Debug)]
pub(in crate::kubernetes) enum Failure {
    /// It can't be read.
    Log,
    Store(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// Copies the logs of the drivers of a cluster, until it returns none because the cluster is not used any more.
pub(in crate::kubernetes) async fn run(archive: Arc<Archive>, drivers: impl Fn() -> Option<Vec<PodFacts>>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::time::sleep(TICK).await;
        while tasks.try_join_next().is_some() {}
        let Some(drivers) = drivers() else { return };
        archive.keep_states(&drivers);
        for driver in drivers.into_iter().filter(|driver| archive.is_due(driver)) {
            let archive = Arc::clone(&archive);
            tasks.spawn(async move {
                // The next interval repeats what failed.
                let _ = if driver.is_deleting && driver.end.is_none() {
                    archive.follow(&driver, None).await
                } else {
                    archive.copy(&driver).await.map(drop)
                };
            });
        }
    }
}

impl Archive {
    /// Removes the states of applications that have no pods any more.
    fn keep_states(&self, drivers: &[PodFacts]) {
        let names: HashSet<&Name> = drivers.iter().map(|driver| &driver.application).collect();
        self.states().retain(|name, state| state.is_busy || names.contains(name));
    }

    fn is_due(&self, driver: &PodFacts) -> bool {
        let mut states = self.states();
        let state = states.entry(driver.application.clone()).or_default();
        let is_old = state.copied.is_none_or(|copied| copied.elapsed() >= INTERVAL);
        // The last copy of a log does not wait, unless one has failed.
        let is_new_end = driver.end.is_some() && !state.is_end_tried;
        let is_vanishing = driver.is_deleting && driver.end.is_none();
        let is_due = !state.is_busy && !state.is_complete && (is_old || is_new_end || is_vanishing);
        if is_due {
            (state.copied, state.is_end_tried) = (Some(Instant::now()), driver.end.is_some());
        }
        is_due
    }

    /// Takes the right to copy a log; none if another task has it, or if the log is complete.
    fn begin(&self, driver: &PodFacts) -> Option<(Busy<'_>, State)> {
        let mut states = self.states();
        let state = states.entry(driver.application.clone()).or_default();
        if state.is_busy || state.is_complete {
            return None;
        }
        state.is_busy = true;
        Some((Busy { archive: self, name: driver.application.clone() }, state.clone()))
    }

    async fn first_position(&self, name: &Name, state: &State) -> Result<Position> {
        let position = match state.end {
            Some(position) => position,
            None => self.end(name).await?,
        };
        self.note_end(name, position);
        Ok(position)
    }

    fn note_end(&self, name: &Name, end: Position) {
        self.states().entry(name.clone()).or_default().end = Some(end);
    }

    pub(super) async fn store(
        &self,
        name: &Name,
        start: Position,
        end: Position,
        text: Vec<u8>,
    ) -> Result<()> {
        let path = Chunk { start, end }.path(name);
        let written = self.objects.write(&path, text.into()).await;
        self.note_result(Operation::Write, &written);
        written.map_err(|error| self.failed(&error))?;
        self.note_end(name, end);
        Ok(())
    }

    /// Copies the lines that a driver has written since the last copy. Returns false if another task copies them.
    pub(in crate::kubernetes) async fn copy(&self, driver: &PodFacts) -> std::result::Result<bool, Failure> {
        let Some((busy, state)) = self.begin(driver) else {
            return Ok(self.is_complete(&driver.application));
        };
        let _permit = self.copies.acquire().await;
        let name = &driver.application;
        let mut position = self.first_position(name, &state).await?;
        let mut is_looked_up = state.end.is_none();
        while let Some(lines) = self.next_lines(driver, position).await? {
            // Another Gateway may have copied them.
            let stored = if is_looked_up { position } else { self.end(name).await? };
            is_looked_up = true;
            if stored > position {
                position = stored;
                self.note_end(name, position);
                continue;
            }
            self.store(name, position, lines.end, lines.text).await?;
            position = lines.end;
        }
        if driver.end.is_some() {
            self.states().entry(name.clone()).or_default().is_complete = true;
        }
        drop(busy);
        Ok(true)
    }

    /// Reads the next lines of a driver; none if there are none, or if its pod is gone.
    async fn next_lines(
        &self,
        driver: &PodFacts,
        position: Position,
    ) -> std::result::Result<Option<Lines>, Failure> {
        let pods = Api::namespaced(self.client.clone(), &driver.namespace);
        let mut size = COPY_BYTES;
        loop {
            let limit_bytes = i64::try_from(size).ok();
            let params = LogParams { since_time: position.since(), limit_bytes, ..LogParams::default() };
            let read = pod_log::read_pod(&pods, driver, params, &self.cluster).await;
            let Some(text) = read.map_err(|_| Failure::Log)? else { return Ok(None) };
            let (is_cut, is_longest) = (text.len() >= size, size >= MAX_READ_BYTES);
            let is_over = if is_cut { is_longest } else { driver.end.is_some() };
            let lines = position.lines_from(Position::default(), &text, is_over);
            if !lines.text.is_empty() {
                return Ok(Some(lines));
            }
            if !is_cut || is_longest {
                return Ok(None);
            }
            // A second may have many lines, and a line many bytes.
            size = size.saturating_mul(4).min(MAX_READ_BYTES);
        }
    }

    /// Copies the rest of a log before its pod is deleted. Fails if it can't be stored; a log that can't be read any more
    /// is as it is.
    pub(in crate::kubernetes) async fn finish(&self, driver: &PodFacts) -> Result<()> {
        match self.copy(driver).await {
            Ok(true) | Err(Failure::Log) => Ok(()),
            Ok(false) => {
                let message = format!("the log of `{}` is being stored", driver.application);
                Err(Error::Unavailable(message))
            }
            Err(Failure::Store(error)) => Err(error),
        }
    }

    fn is_complete(&self, name: &Name) -> bool {
        self.states().get(name).is_some_and(|state| state.is_complete)
    }

    /// Starts to follow the log of a driver that is about to be deleted, and returns once its lines arrive.
    pub(in crate::kubernetes) async fn follow_before_deletion(self: &Arc<Self>, driver: &PodFacts) {
        let (opened, is_open) = oneshot::channel();
        let (archive, driver) = (Arc::clone(self), driver.clone());
        tokio::spawn(async move { archive.follow(&driver, Some(opened)).await });
        let _ = tokio::time::timeout(OPEN_TIMEOUT, is_open).await;
    }

    /// Copies the lines of a driver until its container has ended.
    async fn follow(
        &self,
        driver: &PodFacts,
        opened: Option<oneshot::Sender<()>>,
    ) -> std::result::Result<(), Failure> {
        let Ok(_permit) = self.followed.try_acquire() else { return self.copy(driver).await.map(drop) };
        let Some((_busy, state)) = self.begin(driver) else { return Ok(()) };
        let name = &driver.application;
        let mut position = self.first_position(name, &state).await?;
        let params =
            LogParams { follow: true, since_time: position.since(), ..pod_log::params(&driver.container) };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &driver.namespace);
        let stream = pods.log_stream(&driver.name, &params).await.map_err(|_| Failure::Log)?;
        opened.map(|opened| opened.send(()));
        let mut stream = std::pin::pin!(stream);
        let (mut text, mut base) = (Vec::new(), Position::default());
        loop {
            let is_open = read_for_a_while(&mut stream, &mut text).await;
            // A broken connection may have cut the last line.
            let is_whole = matches!(is_open, Ok(false)) || text.len() >= MAX_READ_BYTES;
            let lines = position.lines_from(base, &text, is_whole);
            if !lines.text.is_empty() {
                self.store(name, position, lines.end, lines.text).await?;
                position = lines.end;
            }
            text.drain(..lines.length);
            base = lines.base;
            if !is_open.map_err(|_| Failure::Log)? {
                return Ok(());
            }
        }
    }
}

/// Reads from a stream until there is enough for a copy, or some time has passed. Returns false at its end.
async fn read_for_a_while(
    stream: &mut (impl futures_util::AsyncRead + Unpin),
    text: &mut Vec<u8>,
) -> std::io::Result<bool> {
    let mut part = vec![0; 64 << 10];
    let flush = tokio::time::sleep(FLUSH);
    tokio::pin!(flush);
    loop {
        let length = tokio::select! {
            read = stream.read(&mut part) => read?,
            () = &mut flush => return Ok(true),
        };
        text.extend_from_slice(&part[..length]);
        if length == 0 || text.len() >= COPY_BYTES {
            return Ok(length > 0);
        }
    }
}
