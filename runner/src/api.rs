//! The interface of a Runner, for callers in this process and across the network.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use dcp_server::policy::Visible;
use futures_util::stream::BoxStream;

use crate::execution::{Execution, Id, Phase, Transition};
use crate::progress::Progress;
use crate::request::{MAX_KEY_BYTES, MAX_NAME_BYTES, Request, Submit};
use crate::results::Format;

pub use crate::error::{Error, Result};
pub use dcp_gateway::Cursor;

/// An execution as it is stored, and its progress.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub request: Request,
    pub execution: Execution,
    /// All transitions between phases, the oldest first.
    pub history: Vec<Transition>,
    /// Incremented by each write.
    pub version: u64,
    /// The Runner that drives the execution.
    pub owner: String,
    /// Status of its queries, if its backend reports it. It is stored apart from the other fields.
    pub progress: Option<Progress>,
}

impl Record {
    pub fn id(&self) -> &Id {
        &self.execution.id
    }
}

/// The result of a submit.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    pub record: Record,
    /// False if an execution with this token existed already.
    pub fresh: bool,
}

/// Selects executions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub scope: Option<String>,
    pub domain: Option<String>,
    pub name: Option<String>,
    /// Selects executions in any phase if it is empty.
    pub phases: Vec<Phase>,
    /// The executions that the caller may read. It is not sent: a server sets it by its policy.
    pub visible: Visible,
}

/// A live execution that holds an exclusive key. It has few fields, because there may be very many.
#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    pub key: String,
    pub id: Id,
    /// Scope to which its job was applied; none if the job was submitted inline.
    pub scope: Option<String>,
    pub domain: String,
    pub name: String,
    pub phase: Phase,
    /// Changes with every change of the execution except its progress.
    pub version: u64,
    pub progress: Option<Progress>,
}

/// Maximum length of a position, in bytes.
pub(crate) const MAX_POSITION_BYTES: usize = MAX_NAME_BYTES + 1 + MAX_KEY_BYTES;

impl Holder {
    /// Returns the position after which a page continues. Neither domains nor keys have control characters.
    pub fn position(&self) -> String {
        format!("{}\n{}", self.domain, self.key)
    }

    /// Returns the domain and the key of a position. The empty position is before all holders.
    pub(crate) fn parse_position(position: &str) -> Result<(&str, &str)> {
        if position.is_empty() {
            return Ok(("", ""));
        }
        position.split_once('\n').ok_or_else(|| Error::Invalid {
            field: "after".to_owned(),
            message: "`after` has to be the `next` of an earlier answer".to_owned(),
        })
    }
}

/// A part of a driver's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPart {
    pub attempt: u32,
    /// The position after this part in the attempt's log.
    pub next: Cursor,
    pub bytes: Vec<u8>,
}

/// Selects logs of an execution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// The attempt; the current one if none is given.
    pub attempt: Option<u32>,
    /// The position in the attempt's log after which to start.
    pub after: Cursor,
    /// Continues until the execution has ended, through all further attempts.
    pub follow: bool,
}

/// A Runner. All implementations pass one suite, in `tests/tests/runner`.
#[async_trait]
pub trait Runner: fmt::Debug + Send + Sync {
    /// Stores an execution, then runs it. After this returns, the execution is kept at least until its retention time
    /// ends.
    async fn submit(&self, submit: Submit) -> Result<Submitted>;

    async fn check(&self, id: &Id) -> Result<Record>;

    /// Requests a stop and returns at once. The phase shows when the execution has stopped.
    async fn cancel(&self, id: &Id, by: &str) -> Result<Record>;

    /// Returns executions older than `before`, the newest first.
    async fn list(&self, filter: &Filter, before: Option<&Id>, limit: u32) -> Result<Vec<Record>>;

    /// Returns the live executions with keys after a [position](Holder::position), in the order of domains and keys.
    async fn holders(&self, after: &str, limit: u32) -> Result<Vec<Holder>>;

    /// Streams the transitions of an execution, starting at index `from`, until it has ended.
    fn watch(&self, id: &Id, from: usize) -> BoxStream<'static, Result<Transition>>;

    fn logs(&self, id: &Id, request: LogRequest) -> BoxStream<'static, Result<LogPart>>;

    /// Streams the rows that the SQL of an execution returned.
    fn result(&self, id: &Id, format: Format) -> BoxStream<'static, Result<Bytes>>;
}

/// Returns all live executions that hold keys.
pub async fn all_holders(runner: &dyn Runner) -> Result<Vec<Holder>> {
    const PAGE: u32 = 1000;
    let mut all: Vec<Holder> = Vec::new();
    loop {
        let after = all.last().map(Holder::position).unwrap_or_default();
        let page = runner.holders(&after, PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

/// Returns all phases that are not final.
pub fn live() -> Vec<Phase> {
    Phase::ALL.into_iter().filter(|phase| !phase.is_final()).collect()
}
