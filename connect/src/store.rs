//! Pools, drivers and sessions, in the database of the control plane.
//!
//! Three writers share the tables. Sources report drivers, proxies bind sessions to drivers, and the pool loop
//! drains drivers and removes those that are gone. A session has one row, which names one driver and never another one. A driver
//! takes a session only by an update of its row that requires it to be open, so no session is bound to a driver that is drained or
//! given up at the same time.

mod failures;
pub(crate) mod members;
mod rows;
pub mod sandboxes;

use std::path::Path;

use dcp_database::{Database, Result, Schema, Transaction, signed};

pub use dcp_database::Error;
use jiff::Timestamp;
use sqlx::any::AnyRow;

use crate::session::{Driver, Pool, PoolKey, SessionKey, Size, StoredDriver, StoredSession};

const SCHEMA: Schema = Schema { table: "connect_schema", migrations: &[include_str!("store/schema-1.sql")] };

/// Maximum number of sessions in one statement.
const MAX_SESSIONS: usize = 200;

/// The result of an attempt to bind a session to a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// The session is bound to the driver.
    New,
    /// The session was bound before.
    Existing(StoredSession),
    /// The driver takes no session of this user: it is full, drained, gone, or another user's.
    Refused,
}

/// The stored pools, drivers and sessions. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens a file of SQLite. It is created if it is missing.
    pub async fn sqlite(path: &Path) -> Result<Self> {
        Self::with_database(Database::sqlite(path).await?).await
    }

    /// Connects to PostgreSQL: `postgres://user@host:5432/database`.
    pub async fn postgres(url: &str) -> Result<Self> {
        Self::with_database(Database::postgres(url).await?).await
    }

    async fn with_database(database: Database) -> Result<Self> {
        database.migrate(&SCHEMA).await?;
        Ok(Self { database })
    }

    pub async fn answers(&self) -> bool {
        self.database.answers().await
    }

    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Returns all pools.
    pub async fn pools(&self) -> Result<Vec<Pool>> {
        let query = "SELECT scope, domain, name, engine, share, starts, cores, memory, min_idle, revision \
            FROM connect_pools ORDER BY scope, domain, name";
        let rows = self.database.rows(sqlx::query(query)).await?;
        rows.iter().map(|row| rows::pool(&self.database, row)).collect()
    }

    /// Replaces all pools of the given kind: those that start drivers, or those that don't.
    pub async fn set_pools(&self, starts: bool, pools: &[Pool]) -> Result<()> {
        let mut transaction = self.database.write().await?;
        let query = sqlx::query("DELETE FROM connect_pools WHERE starts = $1").bind(i64::from(starts));
        transaction.execute(query).await?;
        for pool in pools {
            let query = "INSERT INTO connect_pools (scope, domain, name, engine, share, starts, cores, memory, min_idle, \
                revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING";
            let PoolKey { scope, domain, name } = &pool.key;
            let query = sqlx::query(query).bind(scope.as_str()).bind(domain.as_str()).bind(name.as_str());
            let query = query.bind(pool.engine.as_str()).bind(pool.share.name()).bind(i64::from(starts));
            let query = bind_size(query, pool.size).bind(signed(pool.min_idle)).bind(signed(pool.revision));
            transaction.execute(query).await?;
        }
        transaction.commit().await
    }

    /// Returns all drivers that are not gone.
    pub async fn drivers(&self) -> Result<Vec<StoredDriver>> {
        let query = format!("SELECT {} FROM connect_drivers WHERE state <> 'gone' ORDER BY id", rows::DRIVER);
        let rows = self.database.rows(sqlx::query(sqlx::AssertSqlSafe(query))).await?;
        rows.iter().map(|row| rows::driver(&self.database, row)).collect()
    }

    /// Returns a driver, also one that is gone.
    pub async fn driver(&self, id: &str) -> Result<Option<StoredDriver>> {
        let query = format!("SELECT {} FROM connect_drivers WHERE id = $1", rows::DRIVER);
        let rows = self.database.rows(sqlx::query(sqlx::AssertSqlSafe(query)).bind(id)).await?;
        rows.first().map(|row| rows::driver(&self.database, row)).transpose()
    }

    /// Stores what the source of a driver reports at a time. A driver that is drained or gone stays so, and one that had a user
    /// serves no other one.
    pub async fn report(&self, driver: &Driver, at: Timestamp) -> Result<()> {
        let query = "INSERT INTO connect_drivers (id, scope, domain, pool, address, engine, share, max_sessions, started_at, \
            seen_at, state, owner, live, total, opened_at, cores, memory) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'starting', '', 0, 0, 0, $11, $12) \
            ON CONFLICT (id) DO UPDATE SET address = excluded.address, \
            share = CASE WHEN connect_drivers.owner = '' AND excluded.share = 'domain' THEN 'domain' \
            ELSE connect_drivers.share END, max_sessions = excluded.max_sessions, seen_at = excluded.seen_at, \
            cores = CASE WHEN connect_drivers.scope = '' THEN excluded.cores ELSE connect_drivers.cores END, \
            memory = CASE WHEN connect_drivers.scope = '' THEN excluded.memory ELSE connect_drivers.memory END";
        let Driver { id, pool, address, engine, share, size, max_sessions, started } = driver;
        let query = sqlx::query(query).bind(id.as_str()).bind(pool.scope.as_str()).bind(pool.domain.as_str());
        let query = query.bind(pool.name.as_str()).bind(address.as_str()).bind(engine.as_str());
        let query = query.bind(share.name()).bind(signed(*max_sessions)).bind(started.as_millisecond());
        let query = bind_size(query.bind(at.as_millisecond()), *size);
        self.database.execute(query).await.map(|_| ())
    }

    /// Records that a driver that was starting answers.
    pub async fn set_open(&self, id: &str, at: Timestamp) -> Result<()> {
        let query =
            "UPDATE connect_drivers SET state = 'open', opened_at = $2 WHERE id = $1 AND state = 'starting'";
        self.database.execute(sqlx::query(query).bind(id).bind(at.as_millisecond())).await.map(|_| ())
    }

    /// Has a driver take no new session. With `if_unused`, only if it has no session. Returns true if the driver takes none from
    /// now on.
    pub async fn drain(&self, id: &str, if_unused: bool) -> Result<bool> {
        let query = "UPDATE connect_drivers SET state = 'draining' WHERE id = $1 AND state <> 'gone' AND (live = 0 OR $2 = 0)";
        let query = sqlx::query(query).bind(id).bind(i64::from(if_unused));
        Ok(self.database.execute(query).await? > 0)
    }

    /// Has a driver that is drained take new sessions again, once it has answered.
    pub async fn reopen(&self, id: &str) -> Result<()> {
        let query = "UPDATE connect_drivers SET state = CASE WHEN opened_at = 0 THEN 'starting' ELSE 'open' END \
            WHERE id = $1 AND state = 'draining'";
        self.database.execute(sqlx::query(query).bind(id)).await.map(|_| ())
    }

    /// Records that a driver has ended, and its sessions with it.
    pub async fn set_gone(&self, id: &str) -> Result<()> {
        let query = "UPDATE connect_drivers SET state = 'gone' WHERE id = $1 AND state <> 'gone'";
        self.database.execute(sqlx::query(query).bind(id)).await.map(|_| ())
    }

    /// Returns a session and the state of its driver.
    pub async fn session(&self, key: &SessionKey) -> Result<Option<StoredSession>> {
        let query = "SELECT driver, bound_at, used_at, ended_at FROM connect_sessions \
            WHERE domain = $1 AND user_name = $2 AND session = $3";
        let rows = self.database.rows(bind_key(sqlx::query(query), key)).await?;
        rows.first().map(|row| rows::session(&self.database, row)).transpose()
    }

    /// Returns a session of a user, in a domain or in the only one that has it. If several have it, the one that was used last
    /// counts.
    pub(crate) async fn find(
        &self,
        domain: Option<&str>,
        user: &str,
        session: &str,
    ) -> Result<Option<(SessionKey, StoredSession)>> {
        let query = "SELECT driver, bound_at, used_at, ended_at, domain FROM connect_sessions \
            WHERE user_name = $1 AND session = $2 AND ($3 = '' OR domain = $3) ORDER BY used_at DESC LIMIT 1";
        let query = sqlx::query(query).bind(user).bind(session).bind(domain.unwrap_or_default());
        let rows = self.database.rows(query).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let domain = self.database.get(row, 4)?;
        let key = SessionKey { domain, user: user.to_owned(), session: session.to_owned() };
        Ok(Some((key, rows::session(&self.database, row)?)))
    }

    /// Returns the sessions of an id that have not ended: those of different users and domains.
    pub(crate) async fn sessions_of(&self, session: &str) -> Result<Vec<(SessionKey, StoredSession)>> {
        let query = "SELECT driver, bound_at, used_at, ended_at, domain, user_name, session FROM connect_sessions \
            WHERE session = $1 AND ended_at = 0 ORDER BY domain, user_name LIMIT 1000";
        let rows = self.database.rows(sqlx::query(query).bind(session)).await?;
        rows.iter().map(|row| self.keyed_session(row)).collect()
    }

    fn keyed_session(&self, row: &AnyRow) -> Result<(SessionKey, StoredSession)> {
        let key = |at| self.database.get::<String>(row, at);
        let key = SessionKey { domain: key(4)?, user: key(5)?, session: key(6)? };
        Ok((key, rows::session(&self.database, row)?))
    }

    /// Binds a session that a driver has cloned from another one. The driver has it already, so it may exceed its maximum.
    pub(crate) async fn bind_clone(&self, key: &SessionKey, driver: &str, at: Timestamp) -> Result<()> {
        let mut transaction = self.database.write().await?;
        let query = "UPDATE connect_drivers SET live = live + 1, total = total + 1 WHERE id = $1";
        transaction.execute(sqlx::query(query).bind(driver)).await?;
        if self.insert(&mut transaction, key, driver, at).await? {
            transaction.commit().await?;
        }
        Ok(())
    }

    /// Inserts a session. Returns false if there is one.
    async fn insert(
        &self,
        transaction: &mut Transaction,
        key: &SessionKey,
        driver: &str,
        at: Timestamp,
    ) -> Result<bool> {
        let query = "INSERT INTO connect_sessions (domain, user_name, session, driver, bound_at, used_at, ended_at) \
            VALUES ($1, $2, $3, $4, $5, $5, 0) ON CONFLICT DO NOTHING";
        let query = bind_key(sqlx::query(query), key).bind(driver).bind(at.as_millisecond());
        Ok(transaction.execute(query).await? == 1)
    }

    /// Binds a session to a driver for ever, unless it is bound already.
    pub async fn bind(&self, key: &SessionKey, driver: &str, at: Timestamp) -> Result<Bound> {
        let mut transaction = self.database.write().await?;
        let is_taken = self.take(&mut transaction, key, driver).await?;
        if is_taken && self.insert(&mut transaction, key, driver, at).await? {
            let query = "DELETE FROM connect_demand WHERE domain = $1 AND user_name = $2 AND session = $3";
            transaction.execute(bind_key(sqlx::query(query), key)).await?;
            transaction.commit().await?;
            return Ok(Bound::New);
        }
        // Dropping the transaction gives the driver's place back.
        drop(transaction);
        Ok(self.session(key).await?.map_or(Bound::Refused, Bound::Existing))
    }

    /// Counts a session of a driver, if the driver takes it.
    async fn take(&self, transaction: &mut Transaction, key: &SessionKey, driver: &str) -> Result<bool> {
        let query = "UPDATE connect_drivers SET live = live + 1, total = total + 1, \
            owner = CASE WHEN share = 'private' THEN $1 ELSE owner END \
            WHERE id = $2 AND domain = $3 AND state = 'open' AND live < max_sessions \
            AND (share = 'domain' OR owner = '' OR owner = $1)";
        let query = sqlx::query(query).bind(key.user.as_str()).bind(driver).bind(key.domain.as_str());
        Ok(transaction.execute(query).await? == 1)
    }

    /// Records that sessions are used.
    pub async fn touch(&self, keys: &[SessionKey], at: Timestamp) -> Result<()> {
        for keys in keys.chunks(MAX_SESSIONS) {
            let mut transaction = self.database.write().await?;
            for key in keys {
                let query = "UPDATE connect_sessions SET used_at = $4 \
                    WHERE domain = $1 AND user_name = $2 AND session = $3 AND used_at < $4";
                transaction.execute(bind_key(sqlx::query(query), key).bind(at.as_millisecond())).await?;
            }
            transaction.commit().await?;
        }
        Ok(())
    }

    /// Records the end of a session. Returns false if it had ended, or is not known.
    pub async fn end(&self, key: &SessionKey, at: Timestamp) -> Result<bool> {
        self.end_if_unused(key, at, at).await
    }

    /// Records the end of a session that was not used since a time.
    async fn end_if_unused(&self, key: &SessionKey, since: Timestamp, at: Timestamp) -> Result<bool> {
        let mut transaction = self.database.write().await?;
        let query = "UPDATE connect_sessions SET ended_at = $4 \
            WHERE domain = $1 AND user_name = $2 AND session = $3 AND ended_at = 0 AND used_at <= $5";
        let query = bind_key(sqlx::query(query), key).bind(at.as_millisecond()).bind(since.as_millisecond());
        if transaction.execute(query).await? == 0 {
            return Ok(false);
        }
        let query = "UPDATE connect_drivers SET live = live - 1 WHERE id = (SELECT driver FROM connect_sessions \
            WHERE domain = $1 AND user_name = $2 AND session = $3)";
        transaction.execute(bind_key(sqlx::query(query), key)).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Ends the sessions of a driver that were not used since a time. Returns their number.
    pub async fn expire(&self, driver: &str, unused_since: Timestamp, at: Timestamp) -> Result<u64> {
        let query = "SELECT domain, user_name, session FROM connect_sessions \
            WHERE driver = $1 AND ended_at = 0 AND used_at <= $2 ORDER BY used_at LIMIT 1000";
        let query = sqlx::query(query).bind(driver).bind(unused_since.as_millisecond());
        let mut ended = 0;
        for row in self.database.rows(query).await? {
            let key = rows::session_key(&self.database, &row)?;
            ended += u64::from(self.end_if_unused(&key, unused_since, at).await?);
        }
        Ok(ended)
    }

    /// Returns the sessions that have not ended, of one domain or of all, and of one user or of all.
    pub async fn sessions(
        &self,
        domain: Option<&str>,
        user: Option<&str>,
    ) -> Result<Vec<(SessionKey, StoredSession)>> {
        let query = "SELECT driver, bound_at, used_at, ended_at, domain, user_name, session FROM connect_sessions \
            WHERE ended_at = 0 AND ($1 = '' OR domain = $1) AND ($2 = '' OR user_name = $2) \
            ORDER BY domain, user_name, bound_at LIMIT 10000";
        let query = sqlx::query(query).bind(domain.unwrap_or_default()).bind(user.unwrap_or_default());
        let rows = self.database.rows(query).await?;
        rows.iter().map(|row| self.keyed_session(row)).collect()
    }

    /// Returns the number of users with sessions, of each pool that has any.
    pub(crate) async fn users(&self) -> Result<Vec<(PoolKey, u64)>> {
        let query = "SELECT scope, connect_drivers.domain, pool, COUNT(DISTINCT user_name) \
            FROM connect_sessions JOIN connect_drivers ON id = driver WHERE ended_at = 0 AND state <> 'gone' \
            GROUP BY scope, connect_drivers.domain, pool";
        let rows = self.database.rows(sqlx::query(query)).await?;
        rows.iter()
            .map(|row| {
                let text = |at| self.database.get::<String>(row, at);
                let key = PoolKey { scope: text(0)?, domain: text(1)?, name: text(2)? };
                Ok((key, self.database.number(row, 3)?))
            })
            .collect()
    }

    /// Records that a session waits for a driver of a pool.
    pub async fn want(&self, key: &SessionKey, pool: &PoolKey, at: Timestamp) -> Result<()> {
        let query = "INSERT INTO connect_demand (domain, user_name, session, scope, pool, asked_at) \
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (domain, user_name, session) \
            DO UPDATE SET scope = excluded.scope, pool = excluded.pool, asked_at = excluded.asked_at";
        let query = bind_key(sqlx::query(query), key).bind(pool.scope.as_str()).bind(pool.name.as_str());
        self.database.execute(query.bind(at.as_millisecond())).await.map(|_| ())
    }

    /// Returns the number of sessions and of users that waited for each pool since a time.
    pub async fn demand(&self, since: Timestamp) -> Result<Vec<(PoolKey, Demand)>> {
        let query = "SELECT scope, domain, pool, COUNT(*), COUNT(DISTINCT user_name) FROM connect_demand \
            WHERE asked_at >= $1 GROUP BY scope, domain, pool ORDER BY scope, domain, pool";
        let rows = self.database.rows(sqlx::query(query).bind(since.as_millisecond())).await?;
        rows.iter()
            .map(|row| {
                let text = |at| self.database.get::<String>(row, at);
                let key = PoolKey { scope: text(0)?, domain: text(1)?, name: text(2)? };
                let (sessions, users) = (self.database.number(row, 3)?, self.database.number(row, 4)?);
                Ok((key, Demand { sessions, users }))
            })
            .collect()
    }

    /// Forgets demands, ended sessions and drivers that are gone, if they are older than a time.
    pub async fn forget(&self, before: Timestamp) -> Result<()> {
        let before = before.as_millisecond();
        for query in [
            "DELETE FROM connect_demand WHERE asked_at < $1",
            "DELETE FROM connect_sessions WHERE used_at < $1 AND (ended_at > 0 OR driver IN \
                (SELECT id FROM connect_drivers WHERE state = 'gone'))",
            "DELETE FROM connect_drivers WHERE state = 'gone' AND seen_at < $1 AND NOT EXISTS \
                (SELECT 1 FROM connect_sessions WHERE connect_sessions.driver = connect_drivers.id)",
        ] {
            self.database.execute(sqlx::query(query).bind(before)).await?;
        }
        Ok(())
    }
}

/// The sessions that wait for a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    pub sessions: u64,
    pub users: u64,
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

/// Binds a size to two parameters.
fn bind_size(query: Query<'_>, size: Size) -> Query<'_> {
    query.bind(signed(size.cores.unwrap_or_default())).bind(signed(size.memory.unwrap_or_default()))
}

/// Binds a key to the first three parameters.
fn bind_key<'q>(query: Query<'q>, key: &'q SessionKey) -> Query<'q> {
    query.bind(key.domain.as_str()).bind(key.user.as_str()).bind(key.session.as_str())
}
