//! Plans of declarative streams.

use crate::manifests::{JOINED, STATELESS, STREAM};
use crate::{Case, check};

/// Edits of a stream whose query keeps state.
const WITH_STATE: &[Case<'static>] = &[
    ("nothing", STREAM, &[]),
    (
        "a comment and other line breaks",
        STREAM,
        &[("WHERE NOT c.bot", "-- people only\n          where not c.bot")],
    ),
    ("a filter is added", STREAM, &[("WHERE NOT c.bot", "WHERE NOT c.bot AND s.country = 'US'")]),
    ("a filter is removed", STREAM, &[("        WHERE NOT c.bot\n", "")]),
    ("another grouping key", STREAM, &[("'5 minutes'), s.name\n", "'5 minutes'), s.name, s.country\n")]),
    (
        "another window",
        STREAM,
        &[
            ("SELECT window(c.ts, '5 minutes')", "SELECT window(c.ts, '1 hour')"),
            ("BY window(c.ts, '5 minutes')", "BY window(c.ts, '1 hour')"),
        ],
    ),
    ("an aggregate more", STREAM, &[("count(*) AS n", "count(*) AS n, sum(c.n) AS total")]),
    ("an alias", STREAM, &[("count(*) AS n", "count(*) AS clicks")]),
    ("another watermark", STREAM, &[("delay: 10m", "delay: 20m")]),
    ("another output mode", STREAM, &[("outputMode: append", "outputMode: update")]),
    ("another topic to read", STREAM, &[("topic: clicks", "topic: clicks2")]),
    (
        "other servers to read",
        STREAM,
        &[("servers: \"k:9092\", topic: clicks", "servers: \"k2:9092\", topic: clicks")],
    ),
    ("a rate limit", STREAM, &[("topic: clicks", "topic: clicks, maxOffsetsPerTrigger: 100")]),
    ("a column more in a source", STREAM, &[("bot: boolean", "bot: boolean, ip: string")]),
    ("another static table", STREAM, &[("lake.ref.stores", "lake.ref.shops")]),
    (
        "a static table read as a stream",
        STREAM,
        &[("{table: lake.ref.stores}", "{table: {name: lake.ref.stores, stream: true}}")],
    ),
    ("another topic to write", STREAM, &[("topic: out", "topic: out2")]),
    (
        "files after Kafka",
        STREAM,
        &[(
            "{kafka: {servers: \"k:9092\", topic: out}}",
            "{files: {path: \"s3://lake/out\", format: parquet}}",
        )],
    ),
    ("other partitions of the state", STREAM, &[("partitions: 8", "partitions: 16")]),
    ("another state store", STREAM, &[("partitions: 8", "partitions: 8, store: rocksdb")]),
    ("another trigger", STREAM, &[("every: 30s", "every: 1m")]),
    ("another checkpoint", STREAM, &[("checkpoints/clicks", "checkpoints/clicks-2")]),
    ("paused", STREAM, &[("every: 30s}", "every: 30s}\n      paused: true")]),
    ("more memory", STREAM, &[("memory: 4g", "memory: 8g")]),
    ("another owner", STREAM, &[("a@example.com", "b@example.com")]),
    ("a label", STREAM, &[("owner: a@example.com", "owner: a@example.com, labels: {tier: gold}")]),
    ("a policy", STREAM, &[("every: 30s}", "every: 30s}\n      upgrade: {onUnhealthy: keep}")]),
    (
        "a setting",
        STREAM,
        &[("  resources:", "  spark: {conf: {spark.sql.ansi.enabled: false}}\n  resources:")],
    ),
    (
        "what costs nothing and what costs all",
        STREAM,
        &[
            ("a@example.com", "b@example.com"),
            ("'5 minutes'), s.name\n", "'5 minutes'), s.id\n"),
            ("s.name, count", "s.id, count"),
        ],
    ),
    (
        "a reset that the manifest allows",
        STREAM,
        &[("every: 30s}", "every: 30s}\n      upgrade: {reset: allow}"), ("partitions: 8", "partitions: 16")],
    ),
    (
        "a reset that nothing allows",
        STREAM,
        &[
            ("  resources:", "  lifecycle: {preventDestroy: true}\n  resources:"),
            ("partitions: 8", "partitions: 16"),
        ],
    ),
    ("SQL that can't be read", STREAM, &[("WHERE NOT c.bot", "WHERE NOT c.bot |> SELECT 1")]),
];

/// Edits of a stream whose query keeps no state.
const WITHOUT_STATE: &[Case<'static>] = &[
    ("another column", STATELESS, &[("SELECT id, ts", "SELECT id, ts, id + 1 AS next")]),
    ("another schema", STATELESS, &[("id: long", "id: long, more: string")]),
    ("another format of a source", STATELESS, &[("format: json", "format: parquet")]),
    ("another path to read", STATELESS, &[("s3://lake/in", "s3://lake/in2")]),
    ("another path to write", STATELESS, &[("s3://lake/out", "s3://lake/out2")]),
    (
        "Kafka after files",
        STATELESS,
        &[(
            "{files: {path: \"s3://lake/out\", format: parquet}}",
            "{kafka: {servers: \"k:9092\", topic: out}}",
        )],
    ),
    ("another rate", STATELESS, &[("maxFilesPerTrigger: 10", "maxFilesPerTrigger: 20")]),
    (
        "another kind of source",
        STATELESS,
        &[(
            "{files: {path: \"s3://lake/in\", format: json, schema: {id: long, ts: timestamp}, maxFilesPerTrigger: 10}}",
            "{kafka: {servers: \"k:9092\", topic: in, schema: {id: long, ts: timestamp}}}",
        )],
    ),
    (
        "a source under another name",
        STATELESS,
        &[("        events:", "        happened:"), ("FROM events", "FROM happened")],
    ),
    (
        "deduplication",
        STATELESS,
        &[(
            "      sink:",
            "      watermark: {source: events, column: ts, delay: 1h}\n      deduplicate: [{source: events, columns: [id]}]\n      sink:",
        )],
    ),
    ("a setting", STATELESS, &[("  run:", "  spark: {conf: {spark.sql.ansi.enabled: false}}\n  run:")]),
];

/// Edits of a stream that joins two sources.
const JOINS: &[Case<'static>] = &[
    ("another type of join", JOINED, &[("JOIN clicked", "LEFT JOIN clicked")]),
    ("another key", JOINED, &[("ON s.ad = c.ad", "ON s.spot = c.ad")]),
    ("another range", JOINED, &[("INTERVAL 1 HOUR", "INTERVAL 2 HOURS")]),
    ("another column", JOINED, &[("SELECT s.ad", "SELECT s.spot, s.ad")]),
    ("the same column of the other", JOINED, &[("SELECT s.ad,", "SELECT c.ad,")]),
    ("another column in the condition", JOINED, &[("ON s.ad = c.ad", "ON s.ad = c.ad AND s.spot > 'a'")]),
    ("an alias", JOINED, &[("AS shown_at", "AS seen_at")]),
    (
        "the sources in another order",
        JOINED,
        &[("FROM shown s JOIN clicked c", "FROM clicked c JOIN shown s")],
    ),
    (
        "a source less",
        JOINED,
        &[
            (
                "        clicked: {kafka: {servers: \"k:9092\", topic: clicked, schema: {ad: string, at: timestamp}}}\n",
                "",
            ),
            ("        - {source: clicked, column: at, delay: 10m}\n", ""),
            (", c.at AS clicked_at\n", "\n"),
            (
                " s JOIN clicked c\n          ON s.ad = c.ad AND c.at >= s.at AND c.at <= s.at + INTERVAL 1 HOUR",
                " s",
            ),
        ],
    ),
];

#[test]
fn changes_of_a_query_with_state() {
    check("stateful.out", WITH_STATE);
}

#[test]
fn changes_of_a_query_without_state() {
    check("stateless.out", WITHOUT_STATE);
}

#[test]
fn changes_of_a_join_of_streams() {
    check("joined.out", JOINS);
}
