//! Manifests that the cases edit.

pub(crate) const STREAM: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: clicks, domain: logistics, owner: a@example.com}
spec:
  engine: {version: \"4.1\"}
  job:
    stream:
      sources:
        clicks: {kafka: {servers: \"k:9092\", topic: clicks, schema: {store: string, bot: boolean, n: long, ts: timestamp}}}
        stores: {table: lake.ref.stores}
      watermark: {source: clicks, column: ts, delay: 10m}
      query: |
        SELECT window(c.ts, '5 minutes') AS w, s.name, count(*) AS n
        FROM clicks c JOIN stores s ON c.store = s.id
        WHERE NOT c.bot
        GROUP BY window(c.ts, '5 minutes'), s.name
      sink: {kafka: {servers: \"k:9092\", topic: out}}
      outputMode: append
      state: {partitions: 8}
  run:
    continuous:
      trigger: {every: 30s}
      checkpoint: s3://lake/checkpoints/clicks
  resources:
    executors: {cores: 2, memory: 4g, instances: 2}
";

pub(crate) const STATELESS: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: copy, domain: logistics, owner: a@example.com}
spec:
  engine: {version: \"4.1\"}
  job:
    stream:
      sources:
        events: {files: {path: \"s3://lake/in\", format: json, schema: {id: long, ts: timestamp}, maxFilesPerTrigger: 10}}
      query: SELECT id, ts FROM events WHERE id > 0
      sink: {files: {path: \"s3://lake/out\", format: parquet}}
  run:
    continuous: {checkpoint: \"s3://lake/checkpoints/copy\"}
";

pub(crate) const JOINED: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: matched, domain: ads, owner: a@example.com}
spec:
  engine: {version: \"4.1\"}
  job:
    stream:
      sources:
        shown: {kafka: {servers: \"k:9092\", topic: shown, schema: {ad: string, spot: string, at: timestamp}}}
        clicked: {kafka: {servers: \"k:9092\", topic: clicked, schema: {ad: string, at: timestamp}}}
      watermark:
        - {source: shown, column: at, delay: 10m}
        - {source: clicked, column: at, delay: 10m}
      query: |
        SELECT s.ad, s.at AS shown_at, c.at AS clicked_at
        FROM shown s JOIN clicked c
          ON s.ad = c.ad AND c.at >= s.at AND c.at <= s.at + INTERVAL 1 HOUR
      sink: {kafka: {servers: \"k:9092\", topic: matched}}
  run:
    continuous: {checkpoint: \"s3://lake/checkpoints/matched\"}
";

pub(crate) const PROGRAM: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: scores, domain: payments, owner: a@example.com}
spec:
  engine: {version: \"4.1\"}
  job:
    pyspark: {main: \"s3://code/scores.py\", args: [\"--fast\"]}
  run:
    continuous: {checkpoint: \"s3://lake/checkpoints/scores\", stateVersion: 3}
";

pub(crate) const SERVICE: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: connect, domain: payments, owner: a@example.com}
spec:
  engine: {version: \"4.1\"}
  job:
    jar: {class: org.apache.spark.sql.connect.service.SparkConnectServer}
  run:
    service: {}
";

pub(crate) const BATCH: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: orders-daily, domain: logistics, owner: a@example.com}
spec:
  engine: {version: \"4.1\"}
  job:
    sql:
      query: |
        INSERT INTO lake.mart.orders
        SELECT id, amount FROM lake.raw.orders
  run:
    schedule: {cron: \"0 2 * * *\"}
  resources:
    executors: {cores: 2, memory: 4g, instances: 2}
";
