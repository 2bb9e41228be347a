//! What a Runner does for others, in this process or by a network.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::execution::{Execution, Id, Phase, Transition};
use crate::progress::Progress;
use crate::request::{Request, Submit};
use crate::results::Format;

pub use crate::error::{Error, Result};

/// All that is kept of an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub request: Request,
    pub execution: Execution,
    /// Every step from one phase to another, the first one first.
    pub history: Vec<Transition>,
    /// Counts the writes.
    pub version: u64,
    /// The Runner that takes care of it.
    pub owner: String,
    /// How its queries are, as far as its backend tells: that is not written with the rest.
    pub progress: Option<Progress>,
}

impl Record {
    pub fn id(&self) -> &Id {
        &self.execution.id
    }
}

/// What came of a submit.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    pub record: Record,
    /// False where there was one by this token already.
    pub fresh: bool,
}

/// Which executions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub scope: Option<String>,
    pub domain: Option<String>,
    pub name: Option<String>,
    /// Of any, where it is empty.
    pub phases: Vec<Phase>,
}

/// A live execution that holds an exclusive key: little of it, as there may be very many.
#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    pub key: String,
    pub id: Id,
    /// Where its job was applied; none where it came along.
    pub scope: Option<String>,
    pub domain: String,
    pub name: String,
    pub phase: Phase,
    /// Another one wherever anything of it has changed, but for its progress.
    pub version: u64,
    pub progress: Option<Progress>,
}

/// A part of what drivers wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPart {
    pub attempt: u32,
    /// Where it begins in the attempt's log.
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// Which logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// The last one, where there is none.
    pub attempt: Option<u32>,
    pub offset: u64,
    /// Goes on for as long as the execution does, through all further attempts.
    pub follow: bool,
}

/// A Runner. All of its forms pass one suite, in `tests/tests/runner`.
#[async_trait]
pub trait Runner: fmt::Debug + Send + Sync {
    /// Keeps what is to be run, then runs it. Once this has returned, it is never forgotten before its time.
    async fn submit(&self, submit: Submit) -> Result<Submitted>;

    async fn check(&self, id: &Id) -> Result<Record>;

    /// Has it stop. Returns at once: it has stopped when its phase says so.
    async fn cancel(&self, id: &Id, by: &str) -> Result<Record>;

    /// The newest first, from before an id on.
    async fn list(&self, filter: &Filter, before: Option<&Id>, limit: u32) -> Result<Vec<Record>>;

    /// The live executions that hold keys, in the order of these, from after a key on.
    async fn holders(&self, after: &str, limit: u32) -> Result<Vec<Holder>>;

    /// Its steps from the n-th on, until it has ended.
    fn watch(&self, id: &Id, from: usize) -> BoxStream<'static, Result<Transition>>;

    fn logs(&self, id: &Id, request: LogRequest) -> BoxStream<'static, Result<LogPart>>;

    /// The rows that its SQL returned.
    fn result(&self, id: &Id, format: Format) -> BoxStream<'static, Result<Bytes>>;
}

/// All live executions that hold keys.
pub async fn all_holders(runner: &dyn Runner) -> Result<Vec<Holder>> {
    const PAGE: u32 = 1000;
    let mut all: Vec<Holder> = Vec::new();
    loop {
        let after = all.last().map(|it| it.key.clone()).unwrap_or_default();
        let page = runner.holders(&after, PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

/// The phases that nothing is final in.
pub fn live() -> Vec<Phase> {
    Phase::ALL.into_iter().filter(|phase| !phase.is_final()).collect()
}
