//! The domains of checkpoints. A location belongs to the first domain that used it, so that a stream of another domain
//! can neither write there nor keep the stream of its owner from running.

use std::collections::{BTreeMap, HashMap};

use dcp_database::{Transaction, parameter_table};
use sqlx::AssertSqlSafe;

use super::read;
use crate::api::{Error, Result};
use crate::request::Request;

/// Checks that the checkpoint of a request, if it has one, belongs to its domain or to none.
pub(super) fn check(request: &Request, domains: &HashMap<String, String>) -> Result<()> {
    let Some(location) = request.checkpoint() else { return Ok(()) };
    match domains.get(location) {
        Some(domain) if *domain != request.domain => Err(Error::NotNow(format!(
            "the checkpoint `{location}` belongs to another domain, whose stream used it first: use another location; \
             docs/access.md says how an operator moves a checkpoint to another domain"
        ))),
        _ => Ok(()),
    }
}

/// Returns the domains of locations that have one.
pub(super) async fn domains(
    transaction: &mut Transaction,
    locations: &[&str],
) -> Result<HashMap<String, String>> {
    let query = format!(
        "SELECT location, domain FROM {} JOIN runner_checkpoints ON location = column1",
        parameter_table(1, locations.len())
    );
    let rows = transaction.rows(read::each(&query, locations)).await?;
    let database = transaction.database();
    rows.iter().map(|row| Ok((database.get(row, 0)?, database.get(row, 1)?))).collect()
}

/// Records the domains of locations that had none before. Returns false if another writer recorded one meanwhile.
pub(super) async fn record(
    transaction: &mut Transaction,
    before: &HashMap<String, String>,
    after: &HashMap<String, String>,
) -> Result<bool> {
    // In one order for all batches, so that no two wait for each other.
    let new: BTreeMap<&String, &String> =
        after.iter().filter(|(location, _)| !before.contains_key(*location)).collect();
    if new.is_empty() {
        return Ok(true);
    }
    let statement = format!(
        "INSERT INTO runner_checkpoints (location, domain) {} ON CONFLICT (location) DO NOTHING",
        transaction.database().values(new.len(), &["", ""])
    );
    let query = sqlx::query(AssertSqlSafe(statement)).persistent(new.len() == 1);
    let query = new
        .iter()
        .fold(query, |query, (location, domain)| query.bind(location.as_str()).bind(domain.as_str()));
    Ok(transaction.execute(query).await? == new.len() as u64)
}
