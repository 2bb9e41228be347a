//! Reads and writes messages in every format.

use std::fs;
use std::path::Path;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::driver;
use crate::locations::{add_rows, broker, rows, sorted};
use crate::plan;

/// Runs a stream from the beginning until it has processed all available data.
async fn run(folder: &Path, sources: &Value, query: &str, sink: &Value) {
    let stream = json!({"sources": sources, "query": query, "sink": sink});
    let primitives = plan::compiled(&stream, &folder.join("checkpoint").display().to_string());
    let (task, conf) = plan::lowered(&primitives);
    let outcome = driver::run(&task, &conf).await;
    assert_eq!(outcome.error, None, "{stream}");
}

/// The row `{"k": "a", "v": 1}`, encoded with [`SCHEMA`].
const AVRO: &[u8] = &[0, 2, b'a', 0, 2];
const SCHEMA: &str = r#"{"type": "record", "name": "it", "fields": [
    {"name": "k", "type": ["string", "null"]}, {"name": "v", "type": ["int", "null"]}]}"#;

/// The name of a case, the settings of its source, its query, a message, and the row that is read.
type ReadingCase = (&'static str, Value, String, &'static [u8], Value);

#[expect(clippy::too_many_lines, reason = "it is one table, with a row for each format")]
fn reading_cases() -> [ReadingCase; 7] {
    let columns = json!({"k": "string", "v": "int"});
    let own = "CAST(_key AS string) AS key, _topic, _partition, _offset, year(_timestamp) > 2000 AS now";
    let with_own = |topic: &str, mut row: Value| {
        let own = json!({"key": "it", "_topic": topic, "_partition": 0, "_offset": 0, "now": true});
        row.as_object_mut()
            .expect("the value is an object")
            .extend(own.as_object().expect("the value is an object").clone());
        row
    };
    let row = json!({"k": "a", "v": 1});
    [
        (
            "json",
            json!({"format": "json", "schema": columns}),
            format!("SELECT k, v, {own} FROM it"),
            br#"{"v": 1, "k": "a", "x": true}"#,
            with_own("read-json", row.clone()),
        ),
        (
            "csv",
            json!({"format": "csv", "schema": columns}),
            format!("SELECT k, v, {own} FROM it"),
            b"a,1",
            with_own("read-csv", row.clone()),
        ),
        (
            "avro",
            json!({"format": "avro", "avroSchema": "local://%DIR%/it.avsc"}),
            format!("SELECT k, v, {own} FROM it"),
            AVRO,
            with_own("read-avro", row),
        ),
        (
            "text",
            json!({"format": "text"}),
            "SELECT value, topic FROM it".to_owned(),
            b"a b",
            json!({"value": "a b", "topic": "read-text"}),
        ),
        (
            "named",
            json!({"format": "text", "schema": {"line": "string"}}),
            format!("SELECT line, {own} FROM it"),
            b"a b",
            with_own("read-named", json!({"line": "a b"})),
        ),
        (
            "raw",
            json!({"format": "raw"}),
            "SELECT hex(value) AS value, partition, offset FROM it".to_owned(),
            b"\xff\x00",
            json!({"value": "FF00", "partition": 0, "offset": 0}),
        ),
        (
            "plain",
            json!({}),
            "SELECT hex(value) AS value, CAST(key AS string) AS key FROM it".to_owned(),
            b"\x01",
            json!({"value": "01", "key": "it"}),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_read_in_every_format() {
    let found = reading_cases().map(async |(name, settings, query, message, expected)| {
        let folder = TempDir::new().expect("the temporary folder is writable");
        let topic = format!("read-{name}");
        broker().await.create_topic(&topic, 1).await;
        broker().await.produce(&topic, &[(Some("it"), message)]).await;
        fs::write(folder.path().join("it.avsc"), SCHEMA).expect("the file can be written");
        let settings = settings.to_string().replace("%DIR%", &folder.path().display().to_string());
        let mut source: Value = serde_json::from_str(&settings).expect("the text is JSON");
        source["topic"] = topic.into();
        source["servers"] = broker().await.address().into();
        let sink = json!({"files": {"path": folder.path().join("out"), "format": "json"}});
        run(folder.path(), &json!({"it": {"kafka": source}}), &query, &sink).await;
        assert_eq!(rows(folder.path(), "out").await, [expected], "{name}");
    });
    join_all(found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_written_in_every_format() {
    type Message = (Option<&'static str>, &'static [u8]);
    let cases: [(&str, Value, &str, Message); 8] = [
        ("json", json!({}), "SELECT k, v FROM it", (None, br#"{"k":"a","v":1}"#)),
        ("keyed", json!({"key": "k"}), "SELECT k, v FROM it", (Some("a"), br#"{"k":"a","v":1}"#)),
        ("csv", json!({"format": "csv", "key": "v"}), "SELECT k, v FROM it", (Some("1"), b"a,1")),
        ("avro", json!({"format": "avro"}), "SELECT k, v FROM it", (None, AVRO)),
        ("text", json!({"format": "text", "key": "k"}), "SELECT k, v FROM it", (Some("a"), b"1")),
        ("own", json!({"format": "text"}), "SELECT k AS key, v FROM it", (Some("a"), b"1")),
        (
            "raw",
            json!({"format": "raw", "key": "v"}),
            "SELECT v, unhex('FF00') AS value FROM it",
            (Some("1"), b"\xff\x00"),
        ),
        // Rows that have a `value` already are messages, and are not encoded.
        ("value", json!({}), "SELECT k AS key, 'x' AS value FROM it", (Some("a"), b"x")),
    ];
    let found = cases.map(async |(name, mut settings, query, (key, value))| {
        let folder = TempDir::new().expect("the temporary folder is writable");
        let topic = format!("write-{name}");
        broker().await.create_topic(&topic, 1).await;
        add_rows(folder.path(), &[("in".to_owned(), vec![json!({"k": "a", "v": 1})])].into(), 0).await;
        let schema = json!({"k": "string", "v": "int"});
        let source = json!({"path": folder.path().join("in"), "format": "json", "schema": schema});
        settings["topic"] = topic.clone().into();
        settings["servers"] = broker().await.address().into();
        run(folder.path(), &json!({"it": {"files": source}}), query, &json!({"kafka": settings})).await;
        let found = broker().await.consume(&topic).await.into_iter().map(|it| (it.key, it.value));
        let expected = (key.map(|it| it.as_bytes().to_vec()), Some(value.to_vec()));
        assert_eq!(found.collect::<Vec<_>>(), [expected], "{name}");
    });
    join_all(found).await;
}

/// Several topics by name and by pattern, and a static topic that is read again for each batch.
#[tokio::test(flavor = "multi_thread")]
async fn several_topics_and_static_topics_are_read() {
    for topic in ["many-1", "many-2", "looked-up"] {
        broker().await.create_topic(topic, 2).await;
        let message = format!(r#"{{"k": "it", "v": "{topic}"}}"#);
        broker().await.produce(topic, &[(None, message.as_bytes())]).await;
    }
    let found =
        [json!({"topics": ["many-1", "many-2"]}), json!({"topicPattern": "many-[0-9]"})].map(async |which| {
            let folder = TempDir::new().expect("the temporary folder is writable");
            let kafka = |mut it: Value, address: &str| {
                it["servers"] = address.into();
                it["schema"] = json!({"k": "string", "v": "string"});
                json!({"kafka": it})
            };
            let address = broker().await.address();
            let looked_up = kafka(json!({"topic": "looked-up", "static": true}), address);
            let sources = json!({"many": kafka(which, address), "known": looked_up});
            let query = "SELECT many.v, known.v AS w FROM many JOIN known ON many.k = known.k";
            let sink = json!({"files": {"path": folder.path().join("out"), "format": "json"}});
            run(folder.path(), &sources, query, &sink).await;
            let expected = ["many-1", "many-2"].map(|topic| json!({"v": topic, "w": "looked-up"}));
            assert_eq!(rows(folder.path(), "out").await, sorted(expected.to_vec()));
        });
    join_all(found).await;
}
