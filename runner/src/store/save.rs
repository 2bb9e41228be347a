//! Writes of executions in place of the versions that they were made from.

use std::collections::HashSet;

use dcp_database::{Database, is_worth_caching, signed};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row as _};

use super::{SaveExtras, json};
use crate::api::Record;
use crate::execution::{Execution, Id, Phase, Transition};

/// An execution to write in place of its version.
#[derive(Debug)]
pub(super) struct Save {
    id: Id,
    version: u64,
    phase: Phase,
    ended: Option<Timestamp>,
    clean_at: Option<Timestamp>,
    state: String,
    measured: Option<String>,
    result_bytes: Option<u64>,
}

impl Save {
    pub(super) fn of(record: &Record, extras: &SaveExtras) -> Self {
        Self {
            id: record.id().clone(),
            version: record.version,
            phase: record.execution.phase,
            ended: record.execution.ended,
            clean_at: extras.clean_at,
            state: state(record),
            measured: extras.measured.as_ref().map(json),
            result_bytes: extras.result_bytes,
        }
    }
}

/// Column types of an update.
const UPDATE_TYPES: [&str; 8] = ["TEXT", "BIGINT", "TEXT", "BIGINT", "BIGINT", "TEXT", "TEXT", "BIGINT"];

/// Updates the executions whose version is unchanged, and returns their ids. Of several saves of one execution, only
/// the first is included. Membership is not checked: a takeover changes the version, and the owner stays the same.
pub(super) fn update<'q>(
    database: &Database,
    saves: &[&'q Save],
) -> (Query<'q, Any, AnyArguments>, Vec<bool>) {
    let mut ids = HashSet::new();
    let included: Vec<bool> = saves.iter().map(|save| ids.insert(&save.id)).collect();
    let values = database.values(ids.len(), &UPDATE_TYPES);
    let statement = format!(
        "UPDATE runner_executions SET phase = save.column3, version = runner_executions.version + 1, \
         ended = save.column4, clean_at = save.column5, state = save.column6, \
         measured = coalesce(save.column7, measured), result_bytes = save.column8 FROM ({values}) AS save \
         WHERE id = save.column1 AND version = save.column2 RETURNING id"
    );
    let query = sqlx::query(AssertSqlSafe(statement)).persistent(is_worth_caching(ids.len()));
    let of = saves.iter().zip(&included).filter(|(_, is)| **is);
    let query = of.fold(query, |query, (save, _)| {
        let query = query.bind(save.id.as_str()).bind(signed(save.version));
        let query = query.bind(save.phase.name());
        let query = query.bind(save.ended.map(Timestamp::as_millisecond));
        let query = query.bind(save.clean_at.map(Timestamp::as_millisecond));
        let query = query.bind(save.state.as_str()).bind(save.measured.as_deref());
        query.bind(save.result_bytes.map(signed))
    });
    (query, included)
}

/// Returns for each save whether it was written, by the returned ids.
pub(super) fn saved(saves: &[&Save], included: &[bool], rows: &[AnyRow]) -> Vec<bool> {
    let written: HashSet<&str> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    saves
        .iter()
        .zip(included)
        .map(|(save, included)| *included && written.contains(save.id.as_str()))
        .collect()
}

/// The stored state of an execution beside its request; `read::State` reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    execution: &'a Execution,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    history: &'a [Transition],
}

pub(super) fn state(record: &Record) -> String {
    json(&State { execution: &record.execution, history: &record.history })
}
