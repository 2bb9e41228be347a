//! Rows as types.

use dcp_database::{Database, Result};
use jiff::Timestamp;
use sqlx::any::AnyRow;

use crate::session::{
    Driver, DriverState, Pool, PoolKey, SessionKey, Share, Size, StoredDriver, StoredSession,
};

/// The columns of a driver.
pub(super) const DRIVER: &str = "id, scope, domain, pool, address, engine, share, max_sessions, started_at, seen_at, state, \
    owner, live, total, opened_at, cores, memory";

pub(super) fn pool(database: &Database, row: &AnyRow) -> Result<Pool> {
    let text = |at| database.get::<String>(row, at);
    let key = PoolKey { scope: text(0)?, domain: text(1)?, name: text(2)? };
    Ok(Pool {
        key,
        engine: text(3)?,
        share: share(database, row, 4)?,
        size: size(database, row, 6)?,
        starts: database.number(row, 5)? != 0,
        min_idle: database.number(row, 8)?,
        revision: database.number(row, 9)?,
    })
}

pub(super) fn driver(database: &Database, row: &AnyRow) -> Result<StoredDriver> {
    let text = |at| database.get::<String>(row, at);
    let driver = Driver {
        id: text(0)?,
        pool: PoolKey { scope: text(1)?, domain: text(2)?, name: text(3)? },
        address: text(4)?,
        engine: text(5)?,
        share: share(database, row, 6)?,
        size: size(database, row, 15)?,
        max_sessions: database.number(row, 7)?,
        started: time(database, row, 8)?,
    };
    let state = match database.get::<&str>(row, 10)? {
        "starting" => DriverState::Starting,
        "open" => DriverState::Open,
        "draining" => DriverState::Draining,
        "gone" => DriverState::Gone,
        other => return Err(database.corrupt(&format!("`{other}` is no state of a driver"))),
    };
    Ok(StoredDriver {
        driver,
        seen: time(database, row, 9)?,
        state,
        opened: Some(time(database, row, 14)?).filter(|at| *at != Timestamp::UNIX_EPOCH),
        owner: Some(text(11)?).filter(|owner| !owner.is_empty()),
        live: database.number(row, 12)?,
        total: database.number(row, 13)?,
    })
}

pub(super) fn session(database: &Database, row: &AnyRow) -> Result<StoredSession> {
    Ok(StoredSession {
        driver: database.get(row, 0)?,
        bound: time(database, row, 1)?,
        used: time(database, row, 2)?,
        ended: Some(time(database, row, 3)?).filter(|at| *at != Timestamp::UNIX_EPOCH),
    })
}

pub(super) fn session_key(database: &Database, row: &AnyRow) -> Result<SessionKey> {
    Ok(SessionKey {
        domain: database.get(row, 0)?,
        user: database.get(row, 1)?,
        session: database.get(row, 2)?,
    })
}

fn share(database: &Database, row: &AnyRow, column: usize) -> Result<Share> {
    match database.get::<&str>(row, column)? {
        "private" => Ok(Share::Private),
        "domain" => Ok(Share::Domain),
        other => Err(database.corrupt(&format!("`{other}` is no share level"))),
    }
}

/// Reads a size from two columns.
fn size(database: &Database, row: &AnyRow, column: usize) -> Result<Size> {
    let known = |at| Ok(Some(database.number(row, at)?).filter(|number| *number > 0));
    Ok(Size { cores: known(column)?, memory: known(column + 1)? })
}

pub(super) fn time(database: &Database, row: &AnyRow, column: usize) -> Result<Timestamp> {
    let at: i64 = database.get(row, column)?;
    Timestamp::from_millisecond(at).map_err(|_| database.corrupt(&format!("{at} is no time")))
}
