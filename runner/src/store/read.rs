//! Queries of the tables, and the conversion of their rows.

use std::collections::HashMap;
use std::fmt::Write as _;

use dcp_database::{Database, Transaction, parameter_table};
use dcp_model::primitive::Fingerprint;
use dcp_server::policy::{ALL_TARGETS, Area, Names, Visible};
use jiff::Timestamp;
use serde::Deserialize;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::fence::Lease;
use crate::api::{Filter, Holder, Record, Result};
use crate::execution::{Execution, Id, Phase, Transition};
use crate::progress::Progress;
use crate::request::{CanonicalJob, Request};
use crate::sizing::Measured;

const WRITES: &str = "writing to a String does not fail";

const COLUMNS: &str = "request, state, version, owner";

pub(super) async fn by_token(database: &Database, token: &str) -> Result<Option<Record>> {
    let query = format!("SELECT {COLUMNS} FROM runner_executions WHERE token = $1");
    let rows = database.rows(sqlx::query(AssertSqlSafe(query)).bind(token)).await?;
    rows.first().map(|row| record(database, row)).transpose()
}

pub(super) async fn list(
    database: &Database,
    filter: &Filter,
    before: Option<&Id>,
    limit: u32,
) -> Result<Vec<Record>> {
    let mut query = format!("SELECT {COLUMNS} FROM runner_executions WHERE 1 = 1");
    let conditions = [
        ("id <", before.map(Id::as_str)),
        ("scope =", filter.scope.as_deref()),
        ("domain =", filter.domain.as_deref()),
        ("name =", filter.name.as_deref()),
    ];
    let mut values = Values::default();
    for (condition, value) in conditions {
        if let Some(value) = value {
            write!(query, " AND {condition} {}", values.add(value)).expect(WRITES);
        }
    }
    if !filter.phases.is_empty() {
        let phases = filter.phases.iter().map(|phase| phase.name());
        write!(query, " AND phase IN ({})", values.add_all(phases)).expect(WRITES);
    }
    if let Visible::Only(areas) = &filter.visible {
        write!(query, " AND ({})", is_visible(areas, &mut values)).expect(WRITES);
    }
    write!(query, " ORDER BY id DESC LIMIT {limit}").expect(WRITES);
    let query = values.0.iter().fold(sqlx::query(AssertSqlSafe(query)), Query::bind);
    let rows = database.rows(query).await?;
    rows.iter().map(|row| record(database, row)).collect()
}

/// The values that a query binds.
#[derive(Default)]
struct Values(Vec<String>);

impl Values {
    /// Adds a value, and returns its place in the query.
    fn add(&mut self, value: impl Into<String>) -> String {
        self.0.push(value.into());
        format!("${}", self.0.len())
    }

    fn add_all<'v>(&mut self, values: impl Iterator<Item = &'v str>) -> String {
        values.map(|value| self.add(value)).collect::<Vec<_>>().join(",")
    }
}

/// Returns the condition for executions in one of these areas.
fn is_visible(areas: &[Area], values: &mut Values) -> String {
    let of_area = |Area { scopes, domains }: &Area| {
        let (scopes, domains) = (has_scope(scopes, values), has_domain(domains, values));
        format!("({scopes} AND {domains})")
    };
    let conditions: Vec<String> = areas.iter().map(of_area).collect();
    if conditions.is_empty() { NEVER.to_owned() } else { conditions.join(" OR ") }
}

fn has_scope(scopes: &Names, values: &mut Values) -> String {
    let Names::Only(names) = scopes else { return ALWAYS.to_owned() };
    let condition = |name: &String| match name.strip_suffix(ALL_TARGETS) {
        // Names of projects have no wildcards of LIKE.
        Some(project) => {
            format!("scope = {} OR scope LIKE {}", values.add(project), values.add(format!("{project}/%")))
        }
        None => format!("scope = {}", values.add(name)),
    };
    let conditions: Vec<String> = names.iter().map(condition).collect();
    if conditions.is_empty() { NEVER.to_owned() } else { format!("({})", conditions.join(" OR ")) }
}

fn has_domain(domains: &Names, values: &mut Values) -> String {
    match domains {
        Names::All => ALWAYS.to_owned(),
        Names::Only(names) if names.is_empty() => NEVER.to_owned(),
        Names::Only(names) => {
            format!("domain IN ({})", values.add_all(names.iter().map(String::as_str)))
        }
    }
}

const ALWAYS: &str = "1 = 1";
const NEVER: &str = "1 = 0";

pub(super) async fn holders(database: &Database, after: &str, limit: u32) -> Result<Vec<Holder>> {
    let (domain, key) = Holder::parse_position(after)?;
    let query = format!(
        "SELECT exclusive, runner_executions.id, scope, domain, name, phase, version, progress \
         FROM runner_executions LEFT JOIN runner_progress ON runner_progress.id = runner_executions.id \
         WHERE ended IS NULL AND exclusive IS NOT NULL AND (domain, exclusive) > ($1, $2) \
         ORDER BY domain, exclusive LIMIT {limit}"
    );
    let rows = database.rows(sqlx::query(AssertSqlSafe(query)).bind(domain).bind(key)).await?;
    let holder = |row: &AnyRow| {
        Ok(Holder {
            key: database.get(row, 0)?,
            id: id(database, row, 1)?,
            scope: database.get(row, 2)?,
            domain: database.get(row, 3)?,
            name: database.get(row, 4)?,
            phase: phase(database, row, 5)?,
            version: database.number(row, 6)?,
            progress: progress_at(database, row, 7)?,
        })
    };
    rows.iter().map(holder).collect()
}

/// Returns the last stored progress of an execution.
pub(super) async fn progress(database: &Database, id: &Id) -> Result<Option<Progress>> {
    let query = sqlx::query("SELECT progress FROM runner_progress WHERE id = $1").bind(id.as_str());
    let rows = database.rows(query).await?;
    rows.first().map_or(Ok(None), |row| progress_at(database, row, 0))
}

fn progress_at(database: &Database, row: &AnyRow, column: usize) -> Result<Option<Progress>> {
    let text: Option<&str> = database.get(row, column)?;
    // Progress in the format of another dcp is ignored, and soon overwritten.
    Ok(text.and_then(|text| serde_json::from_str(text).ok()).flatten())
}

pub(super) async fn job(database: &Database, job: &Fingerprint) -> Result<CanonicalJob> {
    let query = sqlx::query("SELECT body FROM runner_jobs WHERE job = $1").bind(job.as_str());
    let rows = database.rows(query).await?;
    match rows.first() {
        Some(row) => Ok(CanonicalJob::new(database.json(row, 0)?)),
        None => Err(database.corrupt(&format!("the job {} is not there", job.short())).into()),
    }
}

pub(super) async fn measured(database: &Database, request: &Request, limit: u32) -> Result<Vec<Measured>> {
    let query = format!(
        "SELECT measured FROM runner_executions WHERE domain = $1 AND name = $2 AND coalesce(scope, '') = $3 \
         AND measured IS NOT NULL ORDER BY id DESC LIMIT {limit}"
    );
    let query = sqlx::query(AssertSqlSafe(query)).bind(request.domain.as_str()).bind(request.name.as_str());
    let rows = database.rows(query.bind(request.scope.as_deref().unwrap_or_default())).await?;
    // Measurements in the format of another dcp are ignored.
    let one = |row: &AnyRow| Ok(database.json::<Measured>(row, 0).ok());
    rows.iter().filter_map(|row| one(row).transpose()).collect()
}

pub(super) async fn owned(database: &Database, owner: &str) -> Result<Vec<(Id, u64, Phase)>> {
    let query =
        "SELECT id, version, phase FROM runner_executions WHERE owner = $1 AND ended IS NULL ORDER BY id";
    let rows = database.rows(sqlx::query(query).bind(owner)).await?;
    let one = |row: &AnyRow| Ok((id(database, row, 0)?, database.number(row, 1)?, phase(database, row, 2)?));
    rows.iter().map(one).collect()
}

fn phase(database: &Database, row: &AnyRow, column: usize) -> Result<Phase> {
    let name: &str = database.get(row, column)?;
    let known = Phase::ALL.into_iter().find(|it| it.name() == name);
    Ok(known.ok_or_else(|| database.corrupt(&format!("`{name}` is no phase")))?)
}

pub(super) async fn to_clean(database: &Database, now: Timestamp, limit: u32) -> Result<Vec<Record>> {
    let query = format!("SELECT {COLUMNS} FROM runner_executions WHERE clean_at <= $1 LIMIT {limit}");
    let rows = database.rows(sqlx::query(AssertSqlSafe(query)).bind(now.as_millisecond())).await?;
    rows.iter().map(|row| record(database, row)).collect()
}

/// Returns executions by their tokens.
pub(super) async fn tokens(
    transaction: &mut Transaction,
    tokens: &[&str],
) -> Result<HashMap<String, Record>> {
    let query = format!(
        "SELECT token, {COLUMNS} FROM {} JOIN runner_executions ON token = column1",
        parameter_table(1, tokens.len())
    );
    let rows = transaction.rows(each(&query, tokens)).await?;
    let database = transaction.database();
    let entry = |row: &AnyRow| Ok((database.get(row, 0)?, record_at(database, row, 1)?));
    rows.iter().map(entry).collect()
}

/// Returns the live executions that hold keys, by their domains and keys.
pub(super) async fn key_holders(
    transaction: &mut Transaction,
    keys: &[(&str, &str)],
) -> Result<HashMap<(String, String), Id>> {
    let query = format!(
        "SELECT domain, exclusive, id FROM ({}) AS wanted JOIN runner_executions \
         ON domain = column1 AND exclusive = column2 AND ended IS NULL AND exclusive IS NOT NULL",
        transaction.database().values(keys.len(), &["TEXT", "TEXT"])
    );
    let query = sqlx::query(AssertSqlSafe(query)).persistent(keys.len() == 1);
    let query = keys.iter().fold(query, |query, (domain, key)| query.bind(*domain).bind(*key));
    let rows = transaction.rows(query).await?;
    let database = transaction.database();
    let holder = |row: &AnyRow| Ok(((database.get(row, 0)?, database.get(row, 1)?), id(database, row, 2)?));
    rows.iter().map(holder).collect()
}

/// Returns the number of bytes of all stored results of a domain.
pub(super) async fn result_bytes(database: &Database, domain: &str) -> Result<u64> {
    let query = "SELECT CAST(coalesce(sum(result_bytes), 0) AS BIGINT) FROM runner_executions \
        WHERE domain = $1 AND result_bytes IS NOT NULL";
    let rows = database.rows(sqlx::query(query).bind(domain)).await?;
    rows.first().map_or(Ok(0), |row| Ok(database.number(row, 0)?))
}

pub(super) async fn fences(transaction: &mut Transaction, leases: &[&str]) -> Result<HashMap<String, Lease>> {
    let wanted = parameter_table(1, leases.len());
    let query =
        format!("SELECT lease, epoch, created_by FROM {wanted} JOIN runner_fences ON lease = column1");
    let rows = transaction.rows(each(&query, leases)).await?;
    let database = transaction.database();
    let lease = |row: &AnyRow| {
        let (newest, created_by) = (database.number(row, 1)?, database.get(row, 2)?);
        Ok((database.get(row, 0)?, Lease { newest, created_by }))
    };
    rows.iter().map(lease).collect()
}

pub(super) fn each<'q>(query: &str, values: &[&'q str]) -> Query<'q, Any, AnyArguments> {
    let query = sqlx::query(AssertSqlSafe(query.to_owned())).persistent(values.len() == 1);
    values.iter().fold(query, |query, value| query.bind(*value))
}

fn record(database: &Database, row: &AnyRow) -> Result<Record> {
    record_at(database, row, 0)
}

/// The stored state of an execution beside its request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    execution: Execution,
    #[serde(default)]
    history: Vec<Transition>,
}

/// Reads an execution from the columns that start at `at`.
pub(super) fn record_at(database: &Database, row: &AnyRow, at: usize) -> Result<Record> {
    let State { execution, history } = database.json(row, at + 1)?;
    Ok(Record {
        request: database.json(row, at)?,
        execution,
        history,
        version: database.number(row, at + 2)?,
        owner: database.get(row, at + 3)?,
        progress: None,
    })
}

pub(super) fn id(database: &Database, row: &AnyRow, column: usize) -> Result<Id> {
    let text: &str = database.get(row, column)?;
    Id::parse(text).ok_or_else(|| database.corrupt(&format!("`{text}` is no id of an execution")).into())
}
