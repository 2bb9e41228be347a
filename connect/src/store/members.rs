//! The drivers that the pool loop has started, or is about to start.

use dcp_database::{Result, signed};
use jiff::Timestamp;
use sqlx::any::AnyRow;

use super::{Store, rows};
use crate::session::PoolKey;

/// A driver of a pool: a slot of the pool, and an execution once the Runner has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) pool: PoolKey,
    pub(crate) slot: i64,
    pub(crate) nonce: String,
    /// The fingerprint of its job.
    pub(crate) job: String,
    /// The revision of the pool that replaced drivers last.
    pub(crate) build: u64,
    pub(crate) execution: Option<String>,
    pub(crate) is_ending: bool,
    pub(crate) begun: Timestamp,
}

impl Store {
    /// Returns all members of all pools.
    pub(crate) async fn members(&self) -> Result<Vec<Member>> {
        let query = "SELECT scope, domain, pool, slot, nonce, job, execution, is_ending, begun_at, build FROM connect_members \
            ORDER BY scope, domain, pool, slot";
        let rows = self.database.rows(sqlx::query(query)).await?;
        rows.iter().map(|row| self.member(row)).collect()
    }

    fn member(&self, row: &AnyRow) -> Result<Member> {
        let text = |at| self.database.get::<String>(row, at);
        Ok(Member {
            pool: PoolKey { scope: text(0)?, domain: text(1)?, name: text(2)? },
            slot: self.database.get(row, 3)?,
            nonce: text(4)?,
            job: text(5)?,
            execution: Some(text(6)?).filter(|execution| !execution.is_empty()),
            is_ending: self.database.number(row, 7)? != 0,
            begun: rows::time(&self.database, row, 8)?,
            build: self.database.number(row, 9)?,
        })
    }

    /// Stores a member before its submit. Returns false if its slot is taken.
    pub(crate) async fn add_member(&self, member: &Member) -> Result<bool> {
        let query = "INSERT INTO connect_members (scope, domain, pool, slot, nonce, job, execution, is_ending, begun_at, build) \
            VALUES ($1, $2, $3, $4, $5, $6, '', 0, $7, $8) ON CONFLICT DO NOTHING";
        let query = bind(sqlx::query(query), member);
        let query =
            query.bind(member.job.as_str()).bind(member.begun.as_millisecond()).bind(signed(member.build));
        Ok(self.database.execute(query).await? == 1)
    }

    /// Stores the execution of a member.
    pub(crate) async fn set_execution(&self, member: &Member, execution: &str) -> Result<()> {
        let query = "UPDATE connect_members SET execution = $6 \
            WHERE scope = $1 AND domain = $2 AND pool = $3 AND slot = $4 AND nonce = $5";
        self.database.execute(bind(sqlx::query(query), member).bind(execution)).await.map(|_| ())
    }

    /// Stores that the end of a member is requested.
    pub(crate) async fn set_ending(&self, member: &Member) -> Result<()> {
        let query = "UPDATE connect_members SET is_ending = 1 \
            WHERE scope = $1 AND domain = $2 AND pool = $3 AND slot = $4 AND nonce = $5";
        self.database.execute(bind(sqlx::query(query), member)).await.map(|_| ())
    }

    /// Deletes a member whose execution has ended.
    pub(crate) async fn remove_member(&self, member: &Member) -> Result<()> {
        let query = "DELETE FROM connect_members \
            WHERE scope = $1 AND domain = $2 AND pool = $3 AND slot = $4 AND nonce = $5";
        self.database.execute(bind(sqlx::query(query), member)).await.map(|_| ())
    }
}

/// Binds the identity of a member to the first five parameters.
fn bind<'q>(query: super::Query<'q>, member: &'q Member) -> super::Query<'q> {
    super::failures::bind_pool(query, &member.pool).bind(member.slot).bind(member.nonce.as_str())
}
