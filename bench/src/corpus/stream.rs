//! Declarative streams: from Kafka or files, with watermarks, windows and joins.

use std::fmt::Write as _;

use super::rng::Rng;
use super::words::Entity;
use super::workload::{Output, Workload};
use super::{batch, indented, line};

pub(super) fn stream(workload: &Workload, rng: &mut Rng, out: &mut String) {
    out.push_str("  job:\n    stream:\n");
    let mut stream = Stream { workload, rng, out, stateful: true, update: false };
    match stream.rng.below(5) {
        0 => stream.windows(),
        1 => stream.windows_with_table(),
        2 => stream.filter(),
        3 => stream.two_streams(),
        _ => stream.files(),
    }
    stream.sink();
    if stream.update {
        stream.out.push_str("      outputMode: update\n");
    }
    if stream.stateful {
        let partitions = stream.rng.pick(&[8, 16, 32, 64]);
        line!(stream.out, "      state: {{partitions: {partitions}, store: rocksdb}}");
    }
    run(workload, rng, out);
}

struct Stream<'a> {
    workload: &'a Workload,
    rng: &'a mut Rng,
    out: &'a mut String,
    stateful: bool,
    update: bool,
}

impl Stream<'_> {
    fn kafka(&mut self, name: &str, columns: &str) {
        let (domain, noun) = (self.workload.domain, self.workload.entity.name);
        line!(self.out, "        {name}:\n          kafka:\n            servers: ${{var.kafka}}");
        line!(self.out, "            topic: raw.{domain}.{noun}-{name}");
        line!(self.out, "            schema: {{{columns}}}");
        if self.rng.chance(40) {
            line!(self.out, "            maxOffsetsPerTrigger: {}", self.rng.between(1, 50) * 10_000);
        }
    }

    fn columns(&self) -> String {
        let Entity { id, time, dimensions: [a, b, _], measures: [m, _], .. } = self.workload.entity;
        format!("{id}: string, {time}: timestamp, {a}: string, {b}: string, {m}: double")
    }

    fn watermark(&mut self, source: &str) {
        let (time, delay) = (self.workload.entity.time, self.rng.pick(&["5m", "10m", "1h"]));
        line!(self.out, "      watermark: {{source: {source}, column: {time}, delay: {delay}}}");
    }

    fn query(&mut self, text: &str) {
        self.out.push_str("      query: |\n");
        indented(self.out, 8, text);
    }

    fn windows(&mut self) {
        let Entity { time, dimensions: [a, ..], measures: [m, _], .. } = self.workload.entity;
        let columns = self.columns();
        self.out.push_str("      sources:\n");
        self.kafka("events", &columns);
        self.watermark("events");
        let window = self.rng.pick(&["'5 minutes'", "'1 hour'", "'10 minutes', '5 minutes'"]);
        self.update = self.rng.chance(40) && matches!(self.workload.output, Output::Topic(_));
        self.query(&format!(
            "\
SELECT window({time}, {window}).start AS since, {a}, count(*) AS n, sum({m}) AS {m}
FROM events
GROUP BY window({time}, {window}), {a}
"
        ));
    }

    fn windows_with_table(&mut self) {
        let Entity { time, dimensions: [a, b, _], measures: [m, _], .. } = self.workload.entity;
        let columns = self.columns();
        self.out.push_str("      sources:\n");
        self.kafka("events", &columns);
        let table = self.workload.some_table(self.rng);
        line!(self.out, "        names: {{table: {table}}}");
        self.watermark("events");
        self.query(&format!(
            "\
SELECT window(e.{time}, '15 minutes') AS w, d.name, max(e.{m}) AS peak
FROM events e JOIN names d ON e.{a} = d.id
WHERE e.{b} <> 'test'
GROUP BY window(e.{time}, '15 minutes'), d.name
"
        ));
    }

    fn filter(&mut self) {
        let Entity { id, time, dimensions: [a, b, _], measures: [m, _], .. } = self.workload.entity;
        let columns = self.columns();
        self.out.push_str("      sources:\n");
        self.kafka("events", &columns);
        self.stateful = false;
        let least = self.rng.between(0, 100);
        self.query(&format!(
            "\
SELECT {id}, {time}, upper({a}) AS {a}, round({m}, 2) AS {m}
FROM events
WHERE {b} IS NOT NULL AND {m} >= {least}
"
        ));
    }

    fn two_streams(&mut self) {
        let Entity { id, time, dimensions: [a, ..], measures: [m, _], .. } = self.workload.entity;
        let columns = self.columns();
        self.out.push_str("      sources:\n");
        self.kafka("sent", &columns);
        self.kafka("seen", &format!("{id}: string, {time}: timestamp, device: string"));
        line!(self.out, "      watermark:\n        - {{source: sent, column: {time}, delay: 10m}}");
        line!(self.out, "        - {{source: seen, column: {time}, delay: 20m}}");
        let join = self.rng.pick(&["JOIN", "LEFT JOIN"]);
        self.query(&format!(
            "\
SELECT s.{id}, s.{time} AS sent_at, t.{time} AS seen_at, s.{a}, t.device AS seen_on, s.{m}
FROM sent s {join} seen t
  ON s.{id} = t.{id} AND t.{time} BETWEEN s.{time} AND s.{time} + INTERVAL 1 HOUR
"
        ));
    }

    fn files(&mut self) {
        let Entity { id, time, dimensions: [a, b, _], measures: [m, _], .. } = self.workload.entity;
        let Workload { domain, name, .. } = self.workload;
        let columns = self.columns();
        line!(self.out, "      sources:\n        landing:\n          files:");
        line!(self.out, "            path: s3://landing/{domain}/{name}\n            format: json");
        line!(self.out, "            schema: {{{columns}}}\n            maxFilesPerTrigger: 100");
        self.watermark("landing");
        line!(self.out, "      deduplicate: [{{source: landing, columns: [{id}]}}]");
        self.query(&format!(
            "\
SELECT {id}, {time}, {a}, {b}, CAST({m} AS decimal(18, 2)) AS {m}, to_date({time}) AS day
FROM landing
"
        ));
    }

    fn sink(&mut self) {
        match &self.workload.output {
            Output::Table(table) => line!(self.out, "      sink: {{table: {table}}}"),
            Output::Topic(topic) => {
                line!(self.out, "      sink:\n        kafka:\n          servers: ${{var.kafka}}");
                line!(self.out, "          topic: {topic}");
            }
            Output::Path(path) => line!(self.out, "      sink: {{files: {{path: {path}, format: parquet}}}}"),
        }
    }
}

fn run(workload: &Workload, rng: &mut Rng, out: &mut String) {
    let checkpoint = format!("s3://lake/checkpoints/{}/{}", workload.domain, workload.name);
    if rng.chance(15) {
        line!(out, "      checkpoint: {checkpoint}");
        return batch::schedule(rng, out);
    }
    line!(out, "  run:\n    continuous:\n      checkpoint: {checkpoint}");
    if rng.chance(70) {
        line!(out, "      trigger: {{every: {}}}", rng.pick(&["10s", "30s", "1m", "5m"]));
    }
    if rng.chance(40) {
        line!(out, "      health: {{progressWithin: {}}}", rng.pick(&["5m", "15m"]));
    }
    if rng.chance(20) {
        out.push_str("      upgrade: {onUnhealthy: rollback}\n");
    }
}
