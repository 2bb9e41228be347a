//! Pools and sessions, for people.

use dcp_connect::sandboxes::Sandbox;
use dcp_connect::{DriverCounts, Failure, PoolStatus, SessionStatus};
use jiff::Timestamp;

use super::run::format_duration_short;
use super::{NamedRow, aligned_with_names, sanitize, titled};
use crate::out::{BOLD, ERROR, HELP, Look};

/// Returns a table of pools with their failures. Names are never cut, as commands take them.
pub(crate) fn pools(pools: &[PoolStatus], look: Look, now: Timestamp) -> Vec<String> {
    let head = ["POOL", "STATE", "ENGINE", "SHARE", "SIZE", "READY", "STARTING", "DRAINING", "SESSIONS"];
    let row = |pool: &PoolStatus| {
        let DriverCounts { ready, starting, draining } = pool.drivers;
        [
            sanitize(&format!("{}/{}", pool.domain, pool.name)),
            pool.state.name().to_owned(),
            sanitize(&pool.engine),
            sanitize(&pool.share),
            size(pool),
            ready.to_string(),
            starting.to_string(),
            draining.to_string(),
            pool.sessions.to_string(),
        ]
    };
    let failures = pools.iter().filter_map(|pool| failure(pool, look, now)).flatten();
    table(head.map(str::to_owned), pools.iter().map(row), look).into_iter().chain(failures).collect()
}

/// Returns the cores and the memory of a driver.
fn size(pool: &PoolStatus) -> String {
    let unknown = || "-".to_owned();
    match (pool.cores, pool.memory) {
        (None, None) => unknown(),
        (cores, memory) => {
            let cores = cores.map_or_else(unknown, |cores| cores.to_string());
            format!("{cores}/{}", memory.map_or_else(unknown, |memory| memory.to_string()))
        }
    }
}

/// Describes the failure of a pool, with the way to its cause.
fn failure(pool: &PoolStatus, look: Look, now: Timestamp) -> Option<Vec<String>> {
    let Failure { attempts, at, message, execution, cause: _ } = pool.failure.as_ref()?;
    let name = sanitize(&format!("{}/{}", pool.domain, pool.name));
    let ago = format_duration_short(now.duration_since(*at));
    let failed = match attempts {
        1 => format!("the last driver of {name} failed {ago} ago"),
        times => format!("the last {times} drivers of {name} failed, the last one {ago} ago"),
    };
    let mut lines = vec![titled(0, "failing:", ERROR, &format!("{failed}: {}", sanitize(message)), look)];
    if let Some(execution) = execution {
        lines.push(titled(
            2,
            "help:",
            HELP,
            &format!("`dcp logs {}` has the log", sanitize(execution)),
            look,
        ));
    }
    Some(lines)
}

/// Returns a table of sessions.
pub(crate) fn sessions(sessions: &[SessionStatus], look: Look, now: Timestamp) -> Vec<String> {
    let head = ["SESSION", "POOL", "USER", "AGE", "USED"].map(str::to_owned);
    let row = |session: &SessionStatus| {
        [
            sanitize(&session.session_id),
            sanitize(&format!("{}/{}", session.domain, session.pool)),
            sanitize(&session.user),
            format_duration_short(now.duration_since(session.begun)),
            format!("{} ago", format_duration_short(now.duration_since(session.used))),
        ]
    };
    table(head, sessions.iter().map(row), look)
}

/// Describes a session that was ended.
pub(crate) fn ended(session: &SessionStatus) -> String {
    let SessionStatus { domain, user, session_id, pool, .. } = session;
    sanitize(&format!("ended the session {session_id} of {user} on {domain}/{pool}"))
}

/// Returns a table of sandboxes.
pub(crate) fn sandboxes(sandboxes: &[Sandbox], look: Look, now: Timestamp) -> Vec<String> {
    let head = ["SANDBOX", "DOMAIN", "BRANCH", "EXPIRES", "SCHEMA"].map(str::to_owned);
    let row = |sandbox: &Sandbox| {
        let left = sandbox.expires.duration_since(now);
        let expires = if left.is_positive() {
            format!("in {}", format_duration_short(left))
        } else {
            "expired".to_owned()
        };
        [
            sanitize(&sandbox.name),
            sanitize(&sandbox.domain),
            sanitize(&sandbox.branch),
            expires,
            sanitize(&format!("{}.{}", sandbox.catalog, sandbox.schema)),
        ]
    };
    table(head, sandboxes.iter().map(row), look)
}

/// Returns the lines of a table whose first column is a name.
fn table<const N: usize>(
    head: [String; N],
    rows: impl Iterator<Item = [String; N]>,
    look: Look,
) -> Vec<String> {
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let lines = aligned_with_names(&rows, look.limit()).into_iter().enumerate();
    let lines = lines.flat_map(|(index, NamedRow { name, cells })| {
        let line = cells.join("  ").trim_end().to_owned();
        name.into_iter().chain([if index == 0 { look.paint(BOLD, line) } else { line }])
    });
    lines.collect()
}
