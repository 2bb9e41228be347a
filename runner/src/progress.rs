//! The status of a running stream's queries, read from the events that Spark writes to its log for any program.

mod events;
mod follow;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use follow::Follower;

/// The status of a stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Number of running queries.
    pub queries: u32,
    /// Each query has a time of its last batch or idle trigger; this is the oldest of them, and none if a query has no
    /// such time yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_activity: Option<Timestamp>,
    /// Batches finished and rows read since the driver started.
    pub batches: u64,
    pub rows: u64,
    /// Recent input rate and processing rate, in rows per second.
    pub input_rate: f64,
    pub processing_rate: f64,
    /// Recent batch duration of the slowest query.
    pub batch_millis: u64,
    /// Lag: records of topics that were not read yet; none if no source reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
    /// Rows of state, and the memory that they use.
    pub state_rows: u64,
    pub state_bytes: u64,
}

/// Maximum number of queries of one driver that are tracked.
const MAX_QUERIES: usize = 100;

/// The queries of a driver, by the ids of their runs.
#[derive(Debug, Default)]
struct Queries {
    running: BTreeMap<String, Query>,
    batches: u64,
    rows: u64,
}

/// The last known status of a query.
#[derive(Debug, Default)]
struct Query {
    last_activity: Option<Timestamp>,
    batch: Option<i64>,
    input_rate: f64,
    processing_rate: f64,
    batch_millis: Option<f64>,
    lag: Option<u64>,
    watermark: Option<Timestamp>,
    state_rows: u64,
    state_bytes: u64,
}

/// Weight of the last batch in the moving average of the batch duration.
const SMOOTHING_WEIGHT: f64 = 0.3;

impl Queries {
    /// Applies a line of the log; most lines are irrelevant.
    fn apply_line(&mut self, line: &[u8]) {
        let Some(event) = events::parse(line) else { return };
        match event {
            events::Event::Started { run } => {
                if self.running.len() < MAX_QUERIES {
                    self.running.entry(run).or_default();
                }
            }
            events::Event::Idle { run, at } => {
                if let Some(query) = self.query_mut(run) {
                    query.last_activity = query.last_activity.max(Some(at));
                    (query.input_rate, query.processing_rate) = (0.0, 0.0);
                }
            }
            events::Event::Progressed(it) => {
                let batch = it.number;
                let Some(query) = self.query_mut(it.run) else { return };
                query.last_activity = query.last_activity.max(Some(it.at));
                query.watermark = it.watermark.or(query.watermark);
                (query.input_rate, query.processing_rate, query.lag) =
                    (it.input_rate, it.processing_rate, it.lag);
                (query.state_rows, query.state_bytes) = (it.state_rows, it.state_bytes);
                let is_new_batch = query.batch.replace(batch) != Some(batch);
                if is_new_batch {
                    let before = query.batch_millis.unwrap_or(it.millis);
                    query.batch_millis = Some(before + SMOOTHING_WEIGHT * (it.millis - before));
                    self.batches = self.batches.saturating_add(1);
                    self.rows = self.rows.saturating_add(it.rows);
                }
            }
            events::Event::Ended { run } => {
                self.running.remove(&run);
            }
        }
    }

    /// Returns the query of a run, and adds it if it is unknown: its start may be in a removed part of the log.
    fn query_mut(&mut self, run: String) -> Option<&mut Query> {
        if !self.running.contains_key(&run) && self.running.len() >= MAX_QUERIES {
            return None;
        }
        Some(self.running.entry(run).or_default())
    }

    fn progress(&self) -> Progress {
        let all = || self.running.values();
        let sum = |of: fn(&Query) -> u64| all().map(of).fold(0, u64::saturating_add);
        let millis = all().filter_map(|it| it.batch_millis).fold(0.0, f64::max);
        Progress {
            queries: u32::try_from(self.running.len()).unwrap_or(u32::MAX),
            // The oldest time counts, so that other queries do not hide a stalled one.
            last_activity: all().map(|it| it.last_activity).min().flatten(),
            batches: self.batches,
            rows: self.rows,
            input_rate: all().map(|it| it.input_rate).fold(0.0, |sum, it| sum + it),
            processing_rate: all().map(|it| it.processing_rate).fold(0.0, |sum, it| sum + it),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is never negative"
            )]
            batch_millis: millis.round() as u64,
            lag: all().filter_map(|it| it.lag).reduce(u64::saturating_add),
            watermark: all().filter_map(|it| it.watermark).min(),
            state_rows: sum(|it| it.state_rows),
            state_bytes: sum(|it| it.state_bytes),
        }
    }
}

#[cfg(test)]
mod tests;
