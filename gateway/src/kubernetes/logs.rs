//! Logs of drivers: of their pods, and those that are stored.

use kube::api::LogParams;

use super::cluster::Cluster;
use super::facts::PodFacts;
use super::lines::Position;
use super::pod_log::{MAX_READ_BYTES, read_pod};
use crate::Name;
use crate::compute::{Cursor, Log};
use crate::error::Result;

/// Maximum number of lines of the end of a log.
const MAX_TAIL_LINES: i64 = 10_000;
/// The length of a timestamp before a line, and more.
const LINE_OVERHEAD_BYTES: usize = 64;

impl Cluster {
    pub(super) async fn read_log(&self, name: &Name, after: &Cursor, limit: usize) -> Result<Log> {
        let position = Position::parse(after)?;
        let Some(archive) = &self.archive else {
            let log = self.read_log_of_pod(name, position, limit).await?;
            return Ok(log.unwrap_or_else(|| Log { next: after.clone(), bytes: Vec::new() }));
        };
        // A pod may not have its first lines any more.
        let is_stored = archive.known_end(name).map_or(after.is_start(), |end| position < end);
        if is_stored
            && let Ok(log) = archive.read(name, position, limit).await
            && !log.bytes.is_empty()
        {
            return Ok(log);
        }
        match self.read_log_of_pod(name, position, limit).await? {
            Some(log) => Ok(log),
            None => archive.read(name, position, limit).await,
        }
    }

    /// Reads the stored log of a driver, without a call to the cluster.
    pub(super) async fn read_stored_log(&self, name: &Name, after: &Cursor, limit: usize) -> Result<Log> {
        match &self.archive {
            Some(archive) => archive.read(name, Position::parse(after)?, limit).await,
            None => Ok(Log { next: after.clone(), bytes: Vec::new() }),
        }
    }

    /// Reads the log of a driver that has a pod with a log.
    async fn read_log_of_pod(&self, name: &Name, position: Position, limit: usize) -> Result<Option<Log>> {
        let mut size = limit.saturating_add(LINE_OVERHEAD_BYTES);
        loop {
            let limit_bytes = i64::try_from(size).ok();
            let params = LogParams { since_time: position.since(), limit_bytes, ..LogParams::default() };
            let Some(text) = self.log(name, params).await? else { return Ok(None) };
            let is_cut = text.len() >= size;
            let log = position.take(&text, limit, is_cut);
            // Everything may have been returned before.
            if !log.bytes.is_empty() || !is_cut || size >= MAX_READ_BYTES {
                return Ok(Some(log));
            }
            size = size.saturating_mul(4).min(MAX_READ_BYTES);
        }
    }

    pub(super) async fn tail(&self, name: &Name, limit: usize) -> Result<Vec<u8>> {
        let params = LogParams {
            tail_lines: Some(MAX_TAIL_LINES),
            limit_bytes: i64::try_from(MAX_READ_BYTES).ok(),
            ..LogParams::default()
        };
        match (self.log(name, params).await?, &self.archive) {
            (Some(text), _) => {
                let mut bytes = Position::default().take(&text, usize::MAX, false).bytes;
                Ok(bytes.split_off(bytes.len().saturating_sub(limit)))
            }
            (None, Some(archive)) => archive.tail(name, limit).await,
            (None, None) => Ok(Vec::new()),
        }
    }

    /// Reads lines of the log of a driver, each with its timestamp. Returns nothing if the driver has not started, or if
    /// its pod does not exist any more.
    async fn log(&self, name: &Name, params: LogParams) -> Result<Option<Vec<u8>>> {
        let Some(record) = self.record(name).await? else { return Ok(None) };
        if record.namespace.is_empty() {
            return Ok(None);
        }
        let pods = self.pods(&record.namespace);
        let found = pods.get_opt(&record.driver_pod()).await;
        let found = found.map_err(|error| self.failed("the driver's pod can't be read", &error))?;
        match found.as_ref().and_then(PodFacts::new).filter(|driver| driver.has_log) {
            Some(driver) => read_pod(&pods, &driver, params, &self.settings.name).await,
            None => Ok(None),
        }
    }
}
