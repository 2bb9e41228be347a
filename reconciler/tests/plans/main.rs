//! Plans of changes: each case edits a base manifest, and a golden file has the whole plan.
//!
//! `UPDATE_GOLDEN=1 cargo test --workspace --test plans` writes the golden files; read the changes before you commit them.

mod groups;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use dcp_compiler::compile::{Compilation, Compiler, Goal};
use dcp_compiler::place;
use dcp_compiler::project::Project;
use dcp_model::primitive::{Body, Fingerprint, Primitive};
use dcp_reconciler::plan::{Allowed, Class, Context, Inclusion, Plan, Reason, SourceLocation, compare};
use dcp_reconciler::state::{Base, Entry, Scope, State};

const FINE: &str = "writing to a String does not fail";

/// Manifests by path.
type Files = BTreeMap<String, String>;

fn compiled(files: &Files) -> Compilation {
    let project = Project::none();
    let (project_source, project_diagnostics) = (None, Vec::new());
    let compiler = Compiler { project: &project, project_source, project_diagnostics, goal: Goal::Compile };
    let paths: Vec<&String> = files.keys().collect();
    let analyses =
        paths.iter().enumerate().map(|(index, path)| compiler.analyze(index, path, files)).collect();
    let compilation = compiler.link(analyses);
    let errors: Vec<String> =
        compilation.diagnostics.iter().filter(|it| it.is_error()).map(|it| it.message.clone()).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{files:#?}");
    compilation
}

fn state(primitives: &[Primitive]) -> (State, HashMap<Fingerprint, String>) {
    let entry = |it: &Primitive| Entry { fingerprint: it.fingerprint.clone(), revision: 1, serial: 1 };
    let entries = primitives.iter().map(|it| (it.address.clone(), entry(it))).collect();
    let base = Base { lineage: Some("a".to_owned()), serial: 1 };
    let texts = primitives.iter().map(|it| (it.fingerprint.clone(), it.body.canonical())).collect();
    (State { base, entries, ..State::default() }, texts)
}

fn plan(old: &Files, new: &Files) -> Plan {
    plan_against(&compiled(old).primitives, &compiled(new))
}

fn plan_against(applied: &[Primitive], new: &Compilation) -> Plan {
    let (state, texts) = state(applied);
    let place = |domain: &str, name: &str, path: &[&str]| {
        let node = new.graph.nodes.iter().find(|node| node.domain == domain && node.name == name)?;
        let span = place::find(new, &Project::none(), node, path)?;
        let (line, column) = new.sources.position(span.file, span.start);
        Some(SourceLocation { path: new.sources.get(span.file).path.to_string(), line, column })
    };
    let context = Context { scope: Scope::new("shop", None), commit: None, locate: &place };
    let plan = compare(&new.primitives, &state, |_, _| Inclusion::Compared)
        .plan(&texts, &context)
        .expect("it is readable");
    assert_eq!(Plan::read(&plan.save()).as_ref(), Ok(&plan), "what is saved is read again");
    plan
}

fn shown(plan: &Plan) -> String {
    let mut text = String::new();
    for workload in &plan.workloads {
        write!(text, "{} {}", workload.action.name().to_uppercase(), workload.id()).expect(FINE);
        if !Allowed::default().covers(workload) {
            write!(text, " (consent: {:?})", workload.consent).expect(FINE);
        }
        if let Some(renamed) = &workload.renamed {
            write!(text, " ({renamed:?})").expect(FINE);
        }
        text.push('\n');
        for Reason { field, what, old, new, diff, class, why, at } in &workload.reasons {
            let name = match class {
                Class::InPlace => "in place",
                Class::Restart => "restart",
                Class::Unknown => "unknown",
                Class::Reset => "RESET",
            };
            write!(text, "  {name}: {field}").expect(FINE);
            if let Some(what) = what {
                write!(text, " ({what})").expect(FINE);
            }
            if old.is_some() || new.is_some() {
                let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "—".to_owned());
                write!(text, ": {} → {}", side(old), side(new)).expect(FINE);
            }
            if let Some(SourceLocation { path, line, column }) = at {
                write!(text, "  [{path}:{line}:{column}]").expect(FINE);
            }
            writeln!(text, "\n    {why}").expect(FINE);
            let generated = field.starts_with("DAG ");
            for line in diff.iter().flat_map(|diff| diff.lines()).filter(|_| !generated) {
                writeln!(text, "    | {line}").expect(FINE);
            }
        }
    }
    if plan.is_empty() { "nothing to do\n".to_owned() } else { text }
}

/// Replaces texts in a manifest; each must occur exactly once.
fn edited(base: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(base.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "`{from}` in\n{text}");
        text.replacen(from, to, 1)
    })
}

type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

fn check(name: &str, cases: &[Case<'_>]) {
    let mut text = String::new();
    for (title, base, edits) in cases {
        let file = |text: String| Files::from([("it.yaml".to_owned(), text)]);
        let plan = plan(&file((*base).to_owned()), &file(edited(base, edits)));
        writeln!(text, "## {title}\n{}", shown(&plan)).expect(FINE);
    }
    golden(name, &text);
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("it can be written");
        std::fs::write(&path, text).expect("it can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs: UPDATE_GOLDEN=1 writes it", path.display());
}

const STREAM: &str = "\
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

const STATELESS: &str = "\
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

const JOINED: &str = "\
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

const PROGRAM: &str = "\
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

const SERVICE: &str = "\
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

const BATCH: &str = "\
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

#[test]
fn changes_of_a_query_with_state() {
    check(
        "stateful.out",
        &[
            ("nothing", STREAM, &[]),
            (
                "a comment and other line breaks",
                STREAM,
                &[("WHERE NOT c.bot", "-- people only\n          where not c.bot")],
            ),
            ("a filter is added", STREAM, &[("WHERE NOT c.bot", "WHERE NOT c.bot AND s.country = 'US'")]),
            ("a filter is removed", STREAM, &[("        WHERE NOT c.bot\n", "")]),
            (
                "another grouping key",
                STREAM,
                &[("'5 minutes'), s.name\n", "'5 minutes'), s.name, s.country\n")],
            ),
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
                &[
                    ("every: 30s}", "every: 30s}\n      upgrade: {reset: allow}"),
                    ("partitions: 8", "partitions: 16"),
                ],
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
        ],
    );
}

#[test]
fn changes_of_a_query_without_state() {
    check(
        "stateless.out",
        &[
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
            (
                "a setting",
                STATELESS,
                &[("  run:", "  spark: {conf: {spark.sql.ansi.enabled: false}}\n  run:")],
            ),
        ],
    );
}

#[test]
fn changes_of_a_join_of_streams() {
    check(
        "joined.out",
        &[
            ("another type of join", JOINED, &[("JOIN clicked", "LEFT JOIN clicked")]),
            ("another key", JOINED, &[("ON s.ad = c.ad", "ON s.spot = c.ad")]),
            ("another range", JOINED, &[("INTERVAL 1 HOUR", "INTERVAL 2 HOURS")]),
            ("another column", JOINED, &[("SELECT s.ad", "SELECT s.spot, s.ad")]),
            ("the same column of the other", JOINED, &[("SELECT s.ad,", "SELECT c.ad,")]),
            (
                "another column in the condition",
                JOINED,
                &[("ON s.ad = c.ad", "ON s.ad = c.ad AND s.spot > 'a'")],
            ),
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
        ],
    );
}

#[test]
fn changes_of_services_restart_and_never_reset() {
    let program = "jar: {class: org.apache.spark.sql.connect.service.SparkConnectServer}";
    check(
        "services.out",
        &[
            ("another class", SERVICE, &[("SparkConnectServer", "OtherServer")]),
            ("a program of another kind", SERVICE, &[(program, "pyspark: {main: \"s3://code/server.py\"}")]),
            (
                "a setting that fixes the state of queries",
                SERVICE,
                &[("  run:", "  spark: {conf: {spark.sql.shuffle.partitions: 8}}\n  run:")],
            ),
            ("another health", SERVICE, &[("service: {}", "service: {health: {stableAfter: 5s}}")]),
            ("another grace", SERVICE, &[("service: {}", "service: {upgrade: {grace: 5s}}")]),
            ("paused", SERVICE, &[("service: {}", "service: {paused: true}")]),
            ("an owner", SERVICE, &[("a@example.com", "b@example.com")]),
            ("another name", SERVICE, &[("name: connect", "name: sessions")]),
            ("a service becomes manual", SERVICE, &[("service: {}", "manual: {}")]),
            (
                "a manual job becomes a service",
                &SERVICE.replace("service: {}", "manual: {}"),
                &[("manual: {}", "service: {}")],
            ),
            (
                "a continuous program becomes a service",
                PROGRAM,
                &[(
                    "continuous: {checkpoint: \"s3://lake/checkpoints/scores\", stateVersion: 3}",
                    "service: {}",
                )],
            ),
            (
                "a service becomes continuous, and another program",
                SERVICE,
                &[
                    ("service: {}", "continuous: {checkpoint: \"s3://lake/checkpoints/connect\"}"),
                    ("SparkConnectServer", "OtherServer"),
                ],
            ),
        ],
    );
}

#[test]
fn changes_of_programs_and_batch_jobs() {
    check(
        "others.out",
        &[
            ("a program, its state as it was", PROGRAM, &[("scores.py", "scores-2.py")]),
            (
                "a program, its state another",
                PROGRAM,
                &[("scores.py", "scores-2.py"), ("stateVersion: 3", "stateVersion: 4")],
            ),
            (
                "a program that says nothing of its state",
                PROGRAM,
                &[("--fast", "--slow"), (", stateVersion: 3", "")],
            ),
            (
                "paused, and stays so",
                &PROGRAM.replace("stateVersion: 3", "stateVersion: 3, paused: true"),
                &[("scores.py", "scores-2.py")],
            ),
            (
                "a stream after a program",
                PROGRAM,
                &[(
                    "pyspark: {main: \"s3://code/scores.py\", args: [\"--fast\"]}",
                    "jar: {main: \"s3://code/scores.jar\", class: a.B}",
                )],
            ),
            (
                "a schedule after a stream",
                PROGRAM,
                &[(
                    "continuous: {checkpoint: \"s3://lake/checkpoints/scores\", stateVersion: 3}",
                    "schedule: {cron: \"@daily\"}",
                )],
            ),
            ("a batch job's query", BATCH, &[("SELECT id, amount", "SELECT id, amount * 2 AS amount")]),
            ("a batch job's schedule", BATCH, &[("0 2 * * *", "0 3 * * *")]),
            ("an interval after a cron expression", BATCH, &[("cron: \"0 2 * * *\"", "every: 90m")]),
            (
                "runs replace each other",
                BATCH,
                &[("cron: \"0 2 * * *\"", "cron: \"0 2 * * *\", concurrencyPolicy: replace")],
            ),
            (
                "a schedule is suspended",
                BATCH,
                &[("cron: \"0 2 * * *\"", "cron: \"0 2 * * *\", suspended: true")],
            ),
            (
                "a schedule is resumed",
                &BATCH.replace("cron: \"0 2 * * *\"", "cron: \"0 2 * * *\", suspended: true"),
                &[(", suspended: true", "")],
            ),
            (
                "a schedule is resumed and catches up",
                &BATCH.replace(
                    "cron: \"0 2 * * *\"",
                    "cron: \"0 2 * * *\", startDate: 2026-01-01, catchup: true, suspended: true",
                ),
                &[(", suspended: true", "")],
            ),
            ("a batch job's inputs", BATCH, &[("lake.raw.orders", "lake.raw.sales")]),
            (
                "assets after a schedule",
                BATCH,
                &[("schedule: {cron: \"0 2 * * *\"}", "onAssets: {all: [{table: lake.raw.orders}]}")],
            ),
            (
                "a stream after a batch job",
                BATCH,
                &[
                    (
                        "sql:\n      query: |\n        INSERT INTO lake.mart.orders\n        SELECT id, amount FROM lake.raw.orders",
                        "pyspark: {main: a.py}",
                    ),
                    ("schedule: {cron: \"0 2 * * *\"}", "continuous: {checkpoint: \"s3://c/x\"}"),
                ],
            ),
            ("memory of a batch job", BATCH, &[("memory: 4g", "memory: 8g")]),
            ("another name", BATCH, &[("name: orders-daily", "name: orders-nightly")]),
            ("another name of a stream", STREAM, &[("name: clicks, domain", "name: visits, domain")]),
        ],
    );
}

fn job(name: &str, reads: &str, writes: &str) -> (String, String) {
    let text = format!(
        "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{name: {name}, domain: d, owner: a}}\nspec:\n  engine: {{version: \"4.1\"}}\n  \
         job: {{sql: {{query: \"INSERT INTO lake.x.{writes} SELECT * FROM lake.x.{reads}\"}}}}\n  run: {{manual: {{}}}}\n"
    );
    (format!("{name}.yaml"), text)
}

#[test]
fn producers_come_first_and_deletions_last() {
    let chain = || Files::from([job("a", "two", "three"), job("b", "one", "two"), job("c", "zero", "one")]);
    let order = |old: &Files, new: &Files| -> Vec<String> {
        plan(old, new).workloads.iter().map(|it| format!("{} {}", it.action.name(), it.name)).collect()
    };
    assert_eq!(order(&Files::new(), &chain()), ["create c", "create b", "create a"]);
    assert_eq!(order(&chain(), &Files::new()), ["delete a", "delete b", "delete c"]);
    let mut other = Files::from([job("x", "zero", "y")]);
    other.extend([job("c", "zero2", "one")]);
    assert_eq!(order(&chain(), &other), ["update c", "create x", "delete a", "delete b"]);
    // Workloads of a cycle are ordered by name.
    let circle = Files::from([job("p", "one", "two"), job("q", "two", "one")]);
    assert_eq!(order(&Files::new(), &circle), ["create p", "create q"]);
}

#[test]
fn modified_saved_plan_is_rejected() {
    let files = |text: &str| Files::from([("it.yaml".to_owned(), text.to_owned())]);
    let saved = plan(&files(STREAM), &files(&edited(STREAM, &[("partitions: 8", "partitions: 16")]))).save();
    assert!(Plan::read(&saved).is_ok());
    for (from, to) in
        [("\"reset\"", "\"update\""), ("partitions", "Partitions"), ("\"serial\": 1", "\"serial\": 2")]
    {
        assert!(saved.contains(from), "{from}");
        let told = Plan::read(&saved.replacen(from, to, 1)).expect_err("it is no good plan").to_string();
        assert_eq!(told, "it was changed after it was made", "{from}");
    }
    assert!(
        Plan::read("{}").expect_err("it is no good plan").to_string().starts_with("it is no plan of dcp")
    );
    let newer = saved.replacen("\"format\": 1", "\"format\": 2", 1);
    assert!(Plan::read(&newer).expect_err("it is no good plan").to_string().contains("in another way"));
}

/// Returns primitives as an earlier dcp made them, which did not store the ranges of statements.
fn without_statement_ranges(primitives: &[Primitive]) -> Vec<Primitive> {
    let without = |primitive: &Primitive| {
        let mut body = primitive.body.clone();
        if let Body::CoreEtlJob(job) = &mut body {
            job.statements.clear();
        }
        Primitive::new(&primitive.address.domain, &primitive.address.name, body)
    };
    primitives.iter().map(without).collect()
}

#[test]
fn new_statement_ranges_of_the_same_sql_are_a_reason() {
    let (path, text) = job("a", "one", "two");
    let files = Files::from([(path, text.replace("lake.x.one", "lake.x.one; SELECT 1"))]);
    let new = compiled(&files);
    let plan = plan_against(&without_statement_ranges(&new.primitives), &new);
    let [workload] = plan.workloads.as_slice() else { panic!("{plan:?}") };
    let fields: Vec<(&str, Class)> =
        workload.reasons.iter().map(|it| (it.field.as_str(), it.class)).collect();
    assert!(fields.contains(&("job.sql.query", Class::InPlace)), "{fields:?}");
}
