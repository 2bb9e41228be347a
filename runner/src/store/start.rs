//! Starts of attempts within the limits of domains.
//!
//! The executions of a domain that may have a live attempt are counted in the transaction that stores a start, so no
//! counter can differ from the executions. Of several Runners, one counts and writes for a domain at a time. The others
//! don't wait for it, as it may be paused: their starts are reported as full, and retried.

use std::collections::{BTreeSet, HashMap};

use dcp_database::{DedicatedConnection, Transaction};
use sqlx::AssertSqlSafe;

use super::save::{self, Save, update};
use crate::api::Result;

/// The result of a start within a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Stored,
    /// Another writer has changed the execution.
    Changed,
    /// As many executions of the domain run as may at once, or another Runner is about to start one.
    Full,
}

/// A save that gives an execution an attempt, if its domain has fewer running executions than its limit.
#[derive(Debug)]
pub(super) struct LimitedSave {
    pub(super) save: Save,
    pub(super) domain: String,
    pub(super) limit: u32,
}

/// Stores the starts that are within the limits of their domains, in their order.
pub(super) async fn write(database: &mut DedicatedConnection, starts: &[&LimitedSave]) -> Result<Vec<Start>> {
    if starts.is_empty() {
        return Ok(Vec::new());
    }
    let mut transaction = database.write_after_reading().await?;
    let domains: BTreeSet<&str> = starts.iter().map(|start| start.domain.as_str()).collect();
    let domains: Vec<&str> = domains.into_iter().collect();
    let locked = transaction.try_lock(&domains).await?;
    let mut running = running(&mut transaction, &domains).await?;
    running.retain(|domain, _| locked.contains(domain));
    let is_admitted = admit(starts, running);
    let admitted: Vec<&Save> =
        starts.iter().zip(&is_admitted).filter(|(_, is)| **is).map(|(start, _)| &start.save).collect();
    let mut saved = Vec::new().into_iter();
    if !admitted.is_empty() {
        let (query, included) = update(database.database(), &admitted);
        let rows = transaction.rows(query).await?;
        saved = save::saved(&admitted, &included, &rows).into_iter();
    }
    // Even without a write, so that the locks are released now.
    transaction.commit().await?;
    let result = |is_admitted: bool| match is_admitted.then(|| saved.next()).flatten() {
        None => Start::Full,
        Some(true) => Start::Stored,
        Some(false) => Start::Changed,
    };
    Ok(is_admitted.into_iter().map(result).collect())
}

/// Decides which starts are within the limits. `running` has the domains that may be decided about.
fn admit(starts: &[&LimitedSave], mut running: HashMap<String, u64>) -> Vec<bool> {
    let is_admitted = |start: &&LimitedSave| {
        let Some(running) = running.get_mut(&start.domain) else { return false };
        let is_admitted = *running < u64::from(start.limit);
        *running += u64::from(is_admitted);
        is_admitted
    };
    starts.iter().map(is_admitted).collect()
}

/// Counts the executions of each domain that may have a live attempt.
async fn running(transaction: &mut Transaction, domains: &[&str]) -> Result<HashMap<String, u64>> {
    // The phases are those of `Phase::may_be_alive`, written as in the condition of the index.
    let query = format!(
        "SELECT wanted.column1, (SELECT count(*) FROM runner_executions WHERE domain = wanted.column1 \
         AND phase IN ('SUBMITTING', 'PENDING', 'RUNNING', 'CANCELLING')) FROM ({}) AS wanted",
        transaction.database().values(domains.len(), &["TEXT"])
    );
    let query = sqlx::query(AssertSqlSafe(query)).persistent(domains.len() == 1);
    let rows = transaction.rows(domains.iter().fold(query, |query, domain| query.bind(*domain))).await?;
    let database = transaction.database();
    rows.iter().map(|row| Ok((database.get(row, 0)?, database.number(row, 1)?))).collect()
}
