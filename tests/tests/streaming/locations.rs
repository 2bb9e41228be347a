//! Places that streams read and write: folders of JSON files, topics and tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dcp_tests::kafka::Broker;
use dcp_tests::postgres::{PASSWORD, tcp_database};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::OnceCell;

use crate::driver;

/// Returns the broker that all tests share. Each test has its own topics.
pub(crate) async fn broker() -> &'static Broker {
    static BROKER: OnceCell<Broker> = OnceCell::const_new();
    BROKER.get_or_init(Broker::start).await
}

/// The PostgreSQL database that all tests share. Each test has its own tables.
#[derive(Debug)]
pub(crate) struct Database {
    jdbc: String,
    url: String,
}

impl Database {
    pub(crate) fn jdbc(&self) -> &str {
        &self.jdbc
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("PostgreSQL responds")
    }

    pub(crate) async fn run(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut self.connect().await)
            .await
            .expect(statement);
    }

    /// Returns all rows of a table as JSON.
    async fn rows(&self, table: &str) -> Vec<String> {
        let query = format!("SELECT to_jsonb(it)::text FROM {table} AS it");
        let rows = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut self.connect().await).await;
        rows.expect("the table exists")
    }
}

pub(crate) async fn database() -> &'static Database {
    static DATABASE: OnceCell<Database> = OnceCell::const_new();
    let start = || async {
        let (port, name) = tokio::task::spawn_blocking(tcp_database).await.expect("PostgreSQL starts");
        let jdbc = format!("jdbc:postgresql://127.0.0.1:{port}/{name}");
        // A statement may wait for a lock of a stream that has not ended.
        let options = "options[statement_timeout]=2min";
        Database { jdbc, url: format!("postgres://dcp:{PASSWORD}@127.0.0.1:{port}/{name}?{options}") }
    };
    DATABASE.get_or_init(start).await
}

/// Rows by place: a folder, `topic NAME`, `table NAME` in the database, or `lake.NAME`. Each row is a separate file or
/// message.
pub(crate) type RowsByLocation = BTreeMap<String, Vec<Value>>;

fn topic(location: &str) -> Option<&str> {
    location.strip_prefix("topic ")
}

/// Adds rows to folders and topics.
pub(crate) async fn add_rows(folder: &Path, rows: &RowsByLocation, run: usize) {
    for (location, rows) in rows {
        let texts: Vec<String> = rows.iter().map(Value::to_string).collect();
        if let Some(topic) = topic(location) {
            let messages: Vec<_> = texts.iter().map(|text| (None, text.as_bytes())).collect();
            broker().await.produce(topic, &messages).await;
            continue;
        }
        fs::create_dir_all(folder.join(location)).expect("the folder can be created");
        for (number, text) in texts.iter().enumerate() {
            fs::write(folder.join(location).join(format!("{run}-{number:02}.json")), text)
                .expect("the temporary folder is writable");
        }
    }
}

/// Returns all rows of a place, sorted.
pub(crate) async fn rows(folder: &Path, location: &str) -> Vec<Value> {
    let texts: Vec<String> = match topic(location) {
        _ if location.starts_with("table ") => database().await.rows(&location["table ".len()..]).await,
        _ if location.starts_with("lake.") => {
            driver::rows(&format!("SELECT to_json(struct(*)) FROM {location}")).await
        }
        Some(topic) => {
            let messages = broker().await.consume(topic).await.into_iter();
            messages
                .map(|it| {
                    String::from_utf8(it.value.expect("the message has a value")).expect("the text is UTF-8")
                })
                .collect()
        }
        None => files(&folder.join(location))
            .into_iter()
            .map(|it| fs::read_to_string(it).expect("the text is UTF-8"))
            .collect(),
    };
    let lines = texts.iter().flat_map(|text| text.lines());
    sorted(lines.map(|line| serde_json::from_str(line).expect("the text is JSON")).collect())
}

pub(crate) fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(Value::to_string);
    rows
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        folder.read_dir().into_iter().flatten().map(|entry| entry.expect("the folder can be listed").path());
    entries.filter(|path| path.extension().is_some_and(|it| it == "json")).collect()
}
