//! Pools and sessions, for people.

use dcp_connect::sandboxes::Sandbox;
use dcp_connect::{DriverCounts, PoolStatus, SessionStatus};
use jiff::Timestamp;

use super::run::format_duration_short;
use super::{NamedRow, aligned_with_names, sanitize};
use crate::out::{BOLD, Look};

/// Returns a table of pools. Names are never cut, as commands take them.
pub(crate) fn pools(pools: &[PoolStatus], look: Look) -> Vec<String> {
    let head = ["POOL", "ENGINE", "SHARE", "READY", "STARTING", "DRAINING", "SESSIONS"].map(str::to_owned);
    let row = |pool: &PoolStatus| {
        let DriverCounts { ready, starting, draining } = pool.drivers;
        [
            sanitize(&format!("{}/{}", pool.domain, pool.name)),
            sanitize(&pool.engine),
            sanitize(&pool.share),
            ready.to_string(),
            starting.to_string(),
            draining.to_string(),
            pool.sessions.to_string(),
        ]
    };
    table(head, pools.iter().map(row), look)
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
