//! Where streams read and write: folders of JSON files, and topics.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dcp_tests::kafka::Broker;
use serde_json::Value;
use tokio::sync::OnceCell;

/// One broker for all; a topic belongs to one test.
pub(crate) async fn broker() -> &'static Broker {
    static BROKER: OnceCell<Broker> = OnceCell::const_new();
    BROKER.get_or_init(Broker::start).await
}

/// Rows by the place where they are: a folder, or `topic: NAME`. Each row has a file, or a message, of its own.
pub(crate) type Rows = BTreeMap<String, Vec<Value>>;

fn topic(place: &str) -> Option<&str> {
    place.strip_prefix("topic ")
}

/// Adds rows.
pub(crate) async fn add(folder: &Path, rows: &Rows, run: usize) {
    for (place, rows) in rows {
        let texts: Vec<String> = rows.iter().map(Value::to_string).collect();
        if let Some(topic) = topic(place) {
            let messages: Vec<_> = texts.iter().map(|text| (None, text.as_bytes())).collect();
            broker().await.produce(topic, &messages).await;
            continue;
        }
        fs::create_dir_all(folder.join(place)).expect("it can be made");
        for (number, text) in texts.iter().enumerate() {
            fs::write(folder.join(place).join(format!("{run}-{number:02}.json")), text)
                .expect("there is room");
        }
    }
}

/// All rows that are there, in order.
pub(crate) async fn rows(folder: &Path, place: &str) -> Vec<Value> {
    let texts: Vec<String> = match topic(place) {
        Some(topic) => {
            let messages = broker().await.consume(topic).await.into_iter();
            messages.map(|it| String::from_utf8(it.value.expect("it has one")).expect("it is text")).collect()
        }
        None => files(&folder.join(place))
            .into_iter()
            .map(|it| fs::read_to_string(it).expect("it is text"))
            .collect(),
    };
    let lines = texts.iter().flat_map(|text| text.lines());
    sorted(lines.map(|line| serde_json::from_str(line).expect("it is JSON")).collect())
}

pub(crate) fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(Value::to_string);
    rows
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().map(|entry| entry.expect("it can be read").path());
    entries.filter(|path| path.extension().is_some_and(|it| it == "json")).collect()
}
