//! How the queries of a running stream are, as Spark itself tells: by the events that it writes to its log, whatever
//! the program is.

mod events;
mod follow;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use follow::Follower;

/// How a stream is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// The queries that run.
    pub queries: u32,
    /// When the last of them to do so has last finished a batch, or found nothing to read; none where one has not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// The batches that were finished since the driver started, and the rows that were read.
    pub batches: u64,
    pub rows: u64,
    /// Rows that came in a second, and those that can be taken in one, as of late.
    pub input_rate: f64,
    pub rate: f64,
    /// How long a batch takes, as of late.
    pub batch_millis: u64,
    /// The records of topics that are there and not read; none where no source tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
    /// The rows that are kept as state, and the memory that they take.
    pub state_rows: u64,
    pub state_bytes: u64,
}

/// More queries than this of one driver are not told apart.
const QUERIES: usize = 100;

/// The queries of a driver, by their runs.
#[derive(Debug, Default)]
struct Queries {
    now: BTreeMap<String, Query>,
    batches: u64,
    rows: u64,
}

/// A query, as it was last heard of.
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

/// How much the last batch counts for what a batch takes as of late.
const WEIGHT: f64 = 0.3;

impl Queries {
    /// Takes in a line of the log; most are of no interest.
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

    /// The query of a run. What it was before may stand in a part of the log that is gone.
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
            // One that stands still is not made up for by another that does not.
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
