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
    pub last: Option<Timestamp>,
    /// Batches finished and rows read since the driver started.
    pub batches: u64,
    pub rows: u64,
    /// Recent input rate and processing rate, in rows per second.
    pub input_rate: f64,
    pub rate: f64,
    /// Recent batch duration of the slowest query.
    pub batch_millis: u64,
    /// Lag: records of topics that were not read yet; none if no source reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
    /// Rows of state, and the memory that they use.
    pub state_rows: u64,
    pub state_bytes: u64,
}

/// Maximum number of queries of one driver that are tracked.
const QUERIES: usize = 100;

/// The queries of a driver, by the ids of their runs.
#[derive(Debug, Default)]
struct Queries {
    now: BTreeMap<String, Query>,
    batches: u64,
    rows: u64,
}

/// The last known status of a query.
#[derive(Debug, Default)]
struct Query {
    last: Option<Timestamp>,
    batch: Option<i64>,
    input_rate: f64,
    rate: f64,
    batch_millis: Option<f64>,
    behind: Option<u64>,
    watermark: Option<Timestamp>,
    state_rows: u64,
    state_bytes: u64,
}

/// Weight of the last batch in the moving average of the batch duration.
const WEIGHT: f64 = 0.3;

impl Queries {
    /// Applies a line of the log; most lines are irrelevant.
    fn take(&mut self, line: &[u8]) {
        let Some(event) = events::read(line) else { return };
        match event {
            events::Event::Started { run } => {
                if self.now.len() < QUERIES {
                    self.now.entry(run).or_default();
                }
            }
            events::Event::Idle { run, at } => {
                if let Some(query) = self.of(run) {
                    query.last = query.last.max(Some(at));
                    (query.input_rate, query.rate) = (0.0, 0.0);
                }
            }
            events::Event::Progressed(it) => {
                let batch = it.number;
                let Some(query) = self.of(it.run) else { return };
                query.last = query.last.max(Some(it.at));
                query.watermark = it.watermark.or(query.watermark);
                (query.input_rate, query.rate, query.behind) = (it.input_rate, it.rate, it.behind);
                (query.state_rows, query.state_bytes) = (it.state_rows, it.state_bytes);
                let is_another = query.batch.replace(batch) != Some(batch);
                if is_another {
                    let before = query.batch_millis.unwrap_or(it.millis);
                    query.batch_millis = Some(before + WEIGHT * (it.millis - before));
                    self.batches = self.batches.saturating_add(1);
                    self.rows = self.rows.saturating_add(it.rows);
                }
            }
            events::Event::Ended { run } => {
                self.now.remove(&run);
            }
        }
    }

    /// Returns the query of a run, and adds it if it is unknown: its start may be in a removed part of the log.
    fn of(&mut self, run: String) -> Option<&mut Query> {
        if !self.now.contains_key(&run) && self.now.len() >= QUERIES {
            return None;
        }
        Some(self.now.entry(run).or_default())
    }

    fn progress(&self) -> Progress {
        let all = || self.now.values();
        let sum = |of: fn(&Query) -> u64| all().map(of).fold(0, u64::saturating_add);
        let millis = all().filter_map(|it| it.batch_millis).fold(0.0, f64::max);
        Progress {
            queries: u32::try_from(self.now.len()).unwrap_or(u32::MAX),
            // The oldest time counts, so that other queries do not hide a stalled one.
            last: all().map(|it| it.last).min().flatten(),
            batches: self.batches,
            rows: self.rows,
            input_rate: all().map(|it| it.input_rate).fold(0.0, |sum, it| sum + it),
            rate: all().map(|it| it.rate).fold(0.0, |sum, it| sum + it),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is never negative"
            )]
            batch_millis: millis.round() as u64,
            behind: all().filter_map(|it| it.behind).reduce(u64::saturating_add),
            watermark: all().filter_map(|it| it.watermark).min(),
            state_rows: sum(|it| it.state_rows),
            state_bytes: sum(|it| it.state_bytes),
        }
    }
}

#[cfg(test)]
mod tests;
