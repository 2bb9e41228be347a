//! The stored audit log. Entries are only added, and removed after their retention time.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use dcp_database::{BatchWriter, Database, GroupCommit, MAX_ROWS, Result, Schema};
use dcp_server::{AuditEntry, AuditLog};
use jiff::{SignedDuration, Timestamp};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

const SCHEMA: Schema = Schema {
    table: "audit_schema",
    migrations: &[include_str!("audit/schema-1.sql"), include_str!("audit/schema-2.sql")],
};

/// Interval at which old entries are removed.
const CLEAN_INTERVAL: Duration = Duration::from_hours(1);

/// The audit log of a database. Clones share its writer.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    writer: GroupCommit<Writer>,
}

/// Selects entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub since: Option<Timestamp>,
    pub caller: Option<String>,
    pub action: Option<String>,
    pub scope: Option<String>,
    pub domain: Option<String>,
    /// Selects refused calls only.
    pub refused: bool,
}

#[derive(Debug)]
struct Writer {
    database: Database,
}

const COLUMNS: &str =
    "at, caller, credential, action, scope, domain, subject, allowed, reason, peer, trace, on_behalf_of";

impl Store {
    /// Opens a file of SQLite. If it is missing, it is created.
    pub async fn sqlite(path: &Path) -> Result<Self> {
        Self::with_database(Database::sqlite(path).await?).await
    }

    /// Connects to PostgreSQL: `postgres://user@host:5432/database`.
    pub async fn postgres(url: &str) -> Result<Self> {
        Self::with_database(Database::postgres(url).await?).await
    }

    async fn with_database(database: Database) -> Result<Self> {
        database.migrate(&SCHEMA).await?;
        let writer = GroupCommit::start(Writer { database: database.single_connection() });
        Ok(Self { database, writer })
    }

    /// Returns entries, the newest first.
    pub async fn list(&self, filter: &Filter, limit: u32) -> Result<Vec<AuditEntry>> {
        let Filter { since, caller, action, scope, domain, refused } = filter;
        let since = since.map(order);
        let conditions = [
            ("id >=", since.as_deref()),
            ("caller =", caller.as_deref()),
            ("action =", action.as_deref()),
            ("scope =", scope.as_deref()),
            ("domain =", domain.as_deref()),
            ("allowed =", refused.then_some(REFUSED)),
        ];
        let mut query = format!("SELECT {COLUMNS} FROM audit_entries WHERE 1 = 1");
        let mut values = Vec::new();
        for (condition, value) in conditions {
            if let Some(value) = value {
                values.push(value);
                query.push_str(&[" AND ", condition, " $", &values.len().to_string()].concat());
            }
        }
        query.push_str(&[" ORDER BY id DESC LIMIT ", &limit.to_string()].concat());
        let query = values.iter().fold(sqlx::query(AssertSqlSafe(query)), |query, value| query.bind(*value));
        let rows = self.database.rows(query).await?;
        rows.iter().map(|row| self.entry(row)).collect()
    }

    /// Removes the entries before a time, and returns their number.
    pub async fn remove_before(&self, at: Timestamp) -> Result<u64> {
        let query = sqlx::query("DELETE FROM audit_entries WHERE id < $1").bind(order(at));
        self.database.execute(query).await
    }

    /// Removes entries after their retention time, until the process ends.
    pub async fn clean(self, retention: Duration, clock: fn() -> Timestamp) {
        let retention = SignedDuration::try_from(retention).unwrap_or(SignedDuration::MAX);
        loop {
            if let Ok(before) = clock().checked_sub(retention) {
                // Entries that can't be removed now are removed the next time.
                let _ = self.remove_before(before).await;
            }
            tokio::time::sleep(CLEAN_INTERVAL).await;
        }
    }

    fn entry(&self, row: &AnyRow) -> Result<AuditEntry> {
        let database = &self.database;
        let at: String = database.get(row, 0)?;
        let at =
            at.parse().map_err(|error| database.corrupt(&format!("an entry has no valid time: {error}")))?;
        let allowed: String = database.get(row, 7)?;
        Ok(AuditEntry {
            at,
            caller: database.get(row, 1)?,
            credential: database.get(row, 2)?,
            action: database.get(row, 3)?,
            scope: database.get(row, 4)?,
            domain: database.get(row, 5)?,
            subject: database.get(row, 6)?,
            is_allowed: allowed == ALLOWED,
            reason: database.get(row, 8)?,
            peer: database.get(row, 9)?,
            trace: database.get(row, 10)?,
            on_behalf_of: database.get(row, 11)?,
        })
    }
}

const ALLOWED: &str = "yes";
const REFUSED: &str = "no";

/// Returns a text that is ordered as times are.
fn order(at: Timestamp) -> String {
    let microseconds = u64::try_from(at.as_microsecond()).unwrap_or_default();
    format!("{microseconds:016x}")
}

#[async_trait]
impl AuditLog for Store {
    async fn record(&self, entry: AuditEntry) -> std::result::Result<(), String> {
        match self.writer.write(entry).await {
            Some(written) => written.map_err(|error| error.to_string()),
            None => Err("the task that writes it has died".to_owned()),
        }
    }
}

#[async_trait]
impl BatchWriter for Writer {
    type Command = AuditEntry;
    type Reply = ();
    type Error = dcp_database::Error;

    async fn write(&mut self, entries: &[AuditEntry]) -> Result<Vec<()>> {
        let mut transaction = self.database.write().await?;
        let rows: Vec<(String, &AuditEntry)> = entries
            .iter()
            .map(|entry| (format!("{}{:016x}", order(entry.at), rand::random::<u64>()), entry))
            .collect();
        for rows in rows.chunks(MAX_ROWS) {
            let into = format!("audit_entries (id, {COLUMNS})");
            transaction
                .insert(&into, 13, "", rows, |query, (id, entry)| {
                    query
                        .bind(id.as_str())
                        .bind(entry.at.to_string())
                        .bind(entry.caller.as_str())
                        .bind(entry.credential.as_str())
                        .bind(entry.action.as_str())
                        .bind(entry.scope.as_deref())
                        .bind(entry.domain.as_deref())
                        .bind(entry.subject.as_deref())
                        .bind(if entry.is_allowed { ALLOWED } else { REFUSED })
                        .bind(entry.reason.as_str())
                        .bind(entry.peer.as_deref())
                        .bind(entry.trace.as_str())
                        .bind(entry.on_behalf_of.as_deref())
                })
                .await?;
        }
        transaction.commit().await?;
        Ok(vec![(); entries.len()])
    }

    fn is_unavailable(error: &dcp_database::Error) -> bool {
        matches!(error, dcp_database::Error::Unavailable(_))
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    fn entry(caller: &str, at: Timestamp, is_allowed: bool) -> AuditEntry {
        AuditEntry {
            at,
            caller: caller.to_owned(),
            credential: "token 1".to_owned(),
            action: "submit".to_owned(),
            scope: Some("shop".to_owned()),
            domain: Some("sales".to_owned()),
            subject: None,
            on_behalf_of: (caller == "bob").then(|| "eve".to_owned()),
            is_allowed,
            reason: "binding 1".to_owned(),
            peer: Some("127.0.0.1".to_owned()),
            trace: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        }
    }

    #[tokio::test]
    async fn entries_are_listed_by_filters_newest_first_and_removed_after_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::sqlite(&folder.path().join("state.db")).await.unwrap();
        let begin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let entries = [
            entry("ada", begin, true),
            entry("bob", begin + 1.minute(), false),
            entry("ada", begin + 2.minutes(), true),
        ];
        for entry in &entries {
            store.record(entry.clone()).await.unwrap();
        }
        // The index of each entry of a list.
        let found = async |filter: Filter| {
            let found = store.list(&filter, 10).await.unwrap();
            found.iter().filter_map(|entry| entries.iter().position(|it| it == entry)).collect::<Vec<_>>()
        };
        assert_eq!(found(Filter::default()).await, [2, 1, 0]);
        let of_ada = Filter { caller: Some("ada".to_owned()), ..Filter::default() };
        assert_eq!(found(of_ada).await, [2, 0]);
        assert_eq!(found(Filter { refused: true, ..Filter::default() }).await, [1]);
        let since = Filter { since: Some(begin + 2.minutes()), ..Filter::default() };
        assert_eq!(found(since).await, [2]);
        let of_domain = Filter { domain: Some("hr".to_owned()), ..Filter::default() };
        assert_eq!(found(of_domain).await, [0_usize; 0]);
        assert_eq!(store.remove_before(begin + 1.minute()).await.unwrap(), 1);
        assert_eq!(found(Filter::default()).await, [2, 1]);
    }
}
