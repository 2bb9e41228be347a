//! Measures the cost of many stored executions that have ended: memory of the Runner that serves them, and time to find
//! some of them.

use std::sync::Arc;
use std::time::Duration;

use dcp_runner::api::{Filter, Runner as _};
use dcp_runner::execution::{Id, Phase};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::calls::{Times, rate};
use super::load::{self, Load};
use super::plain_inserts::PlainInserts;
use super::server::Server;
use super::{CLIENTS, Result, now};

/// Rows per transaction.
const BATCH: u32 = 10_000;
/// The default page size.
const PAGE: u32 = 50;

pub(super) async fn measure(database: &str, count: u32, time: Duration) -> Result<Value> {
    let load = Arc::new(Load::new());
    let mut inserts = PlainInserts::open(database, &load).await?;
    let empty = Server::start(database)?;
    empty.client()?.list(&Filter::default(), None, PAGE).await?;
    let before = empty.memory()?;
    drop(empty);
    let ids = fill(&mut inserts, &load, count).await?;
    inserts.finish_bulk_load().await?;

    let server = Server::start(database)?;
    let client = server.client()?;
    let mut found = Map::new();
    for (name, filter) in filters(&load) {
        let list = async || {
            client.list(&filter, None, PAGE).await?;
            Ok(())
        };
        found.insert(format!("list_{name}"), Times::measure(time, list).await?.percentile(50).into());
    }
    let check = async || {
        client.check(load::random_element(&ids)).await?;
        Ok(())
    };
    let check = Times::measure(time, check).await?;
    let clients = Arc::new((0..CLIENTS).map(|_| server.client()).collect::<Result<Vec<_>>>()?);
    let submitting = Arc::clone(&load);
    let submit = move |client: usize| {
        let (clients, submit) = (Arc::clone(&clients), submitting.submit());
        async move { super::expect_new(&clients[client].submit(submit).await?) }
    };
    // Measure memory before the submits, because it never shrinks.
    found.insert("memory".to_owned(), server.memory()?.into());
    found.insert("submits".to_owned(), rate(CLIENTS, time, submit).await?.into());
    found.insert("check".to_owned(), check.percentile(50).into());
    found.insert("check_p99".to_owned(), check.percentile(99).into());
    found.insert("memory_of_none".to_owned(), before.into());
    found.insert("count".to_owned(), json!(count));
    Ok(found.into())
}

/// Returns the filters to measure, by name.
fn filters(load: &Load) -> [(&'static str, Filter); 6] {
    let metadata = &load.jobs()[42].job().metadata;
    let (domain, name) = (Some(metadata.domain.to_string()), Some(metadata.name.to_string()));
    let phases = |phases: &[Phase]| Filter { phases: phases.to_vec(), ..Filter::default() };
    [
        ("all", Filter::default()),
        ("domain", Filter { domain: domain.clone(), ..Filter::default() }),
        ("workload", Filter { domain, name, ..Filter::default() }),
        ("failed", phases(&[Phase::Failed])),
        ("ended", phases(&[Phase::Succeeded, Phase::Failed, Phase::Cancelled])),
        ("live", Filter { phases: dcp_runner::api::live(), ..Filter::default() }),
    ]
}

/// Writes executions that ended in the last twenty days, the oldest first, and returns some of their ids.
async fn fill(inserts: &mut PlainInserts, load: &Load, count: u32) -> Result<Vec<Id>> {
    inserts.disable_durability().await?;
    let begun = now().checked_sub(SignedDuration::from_hours(20 * 24))?;
    let pause = SignedDuration::from_hours(20 * 24).checked_div(i32::try_from(count)?).unwrap_or_default();
    let mut ids = Vec::new();
    for first in (0..count).step_by(BATCH as usize) {
        let numbers = first..count.min(first + BATCH);
        let at =
            |number: u32| begun.checked_add(pause.saturating_mul(i32::try_from(number).unwrap_or(i32::MAX)));
        let records =
            numbers.map(|number| Ok(load.finished(at(number)?, number))).collect::<Result<Vec<_>>>()?;
        inserts.write(&records).await?;
        ids.extend(records.iter().step_by(100).map(|record| record.id().clone()));
    }
    Ok(ids)
}
