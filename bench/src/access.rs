//! Measures what authorization adds to a call, and the latency of a caller while others send hostile calls.

mod hostile;
mod server;

use std::collections::BTreeMap;
use std::time::Duration;

use dcp_runner::api::{Filter, Runner as _};
use dcp_runner::execution::Id;
use dcp_runner::remote::Remote;
use serde_json::{Value, json};

use crate::runner::{Load, Result, Times};
use hostile::Hostile;
use server::Server;

pub use server::serve;

/// Size and duration of the measurement.
#[derive(Debug)]
pub struct Options {
    pub rounds: usize,
    /// Duration of each measurement in each round.
    pub time: Duration,
}

/// Number of stored executions, one of which each call reads.
const EXECUTIONS: usize = 100;

/// Runs all measurements, and returns them as JSON.
pub async fn measure(options: &Options) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("runs.db"))?;
    let (open, guarded) = (server.open_client()?, server.guarded_client()?);
    let load = Load::new();
    for _ in 0..EXECUTIONS {
        open.submit(load.submit()).await?;
    }
    let ids: Vec<Id> =
        open.list(&Filter::default(), None, 1_000).await?.iter().map(|it| it.id().clone()).collect();
    let mut found: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..options.rounds {
        // The two take turns within a round, so that a disturbance affects both.
        let calls = check(&open, &ids, options.time).await?;
        found.entry("open").or_default().push(calls.percentile(50));
        let calls = check(&guarded, &ids, options.time).await?;
        found.entry("guarded").or_default().push(calls.percentile(50));
    }
    let mut under_load = BTreeMap::new();
    let alone = check(&guarded, &ids, options.time * 2).await?;
    under_load
        .insert("alone", json!({"median": alone.percentile(50), "p99": alone.percentile(99), "calls": 0.0}));
    for hostile in Hostile::ALL {
        let running = hostile.start(&server.guarded_url).await?;
        let calls = check(&guarded, &ids, options.time * 2).await;
        let sent = running.stop().await;
        let calls = calls?;
        let figures = json!({"median": calls.percentile(50), "p99": calls.percentile(99), "calls": sent});
        under_load.insert(hostile.name(), figures);
    }
    Ok(json!({"bindings": server::BINDINGS, "authorization": found, "load": under_load}))
}

async fn check(client: &Remote, ids: &[Id], time: Duration) -> Result<Times> {
    let mut next = ids.iter().cycle();
    Times::measure(time, async || {
        client.check(next.next().ok_or("there are no executions")?).await?;
        Ok(())
    })
    .await
}
