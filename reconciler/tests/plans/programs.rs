//! Plans of services, programs and batch jobs.

use crate::manifests::{BATCH, PROGRAM, SERVICE, STREAM};
use crate::{Case, check};

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

/// Edits of a continuous program.
const PROGRAMS: &[Case<'static>] = &[
    ("a program, its state as it was", PROGRAM, &[("scores.py", "scores-2.py")]),
    (
        "a program, its state another",
        PROGRAM,
        &[("scores.py", "scores-2.py"), ("stateVersion: 3", "stateVersion: 4")],
    ),
    ("a program that says nothing of its state", PROGRAM, &[("--fast", "--slow"), (", stateVersion: 3", "")]),
];

/// Edits that make a continuous program a job of another kind.
const KINDS_OF_PROGRAMS: &[Case<'static>] = &[
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
];

/// Edits of the query and the schedule of a batch job.
const BATCH_JOBS: &[Case<'static>] = &[
    ("a batch job's query", BATCH, &[("SELECT id, amount", "SELECT id, amount * 2 AS amount")]),
    ("a batch job's schedule", BATCH, &[("0 2 * * *", "0 3 * * *")]),
    ("an interval after a cron expression", BATCH, &[("cron: \"0 2 * * *\"", "every: 90m")]),
    (
        "runs replace each other",
        BATCH,
        &[("cron: \"0 2 * * *\"", "cron: \"0 2 * * *\", concurrencyPolicy: replace")],
    ),
    ("a schedule is suspended", BATCH, &[("cron: \"0 2 * * *\"", "cron: \"0 2 * * *\", suspended: true")]),
];

/// Edits of other fields of a batch job, and of names.
const OTHERS: &[Case<'static>] = &[
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
];

#[test]
fn changes_of_programs_and_batch_jobs() {
    const RESUME: &[(&str, &str)] = &[(", suspended: true", "")];
    let cron = "cron: \"0 2 * * *\"";
    let paused = PROGRAM.replace("stateVersion: 3", "stateVersion: 3, paused: true");
    let suspended = BATCH.replace(cron, &format!("{cron}, suspended: true"));
    let catching_up =
        BATCH.replace(cron, &format!("{cron}, startDate: 2026-01-01, catchup: true, suspended: true"));
    let paused: &[Case<'_>] = &[("paused, and stays so", &paused, &[("scores.py", "scores-2.py")])];
    let suspended: &[Case<'_>] = &[
        ("a schedule is resumed", &suspended, RESUME),
        ("a schedule is resumed and catches up", &catching_up, RESUME),
    ];
    check("others.out", &[PROGRAMS, paused, KINDS_OF_PROGRAMS, BATCH_JOBS, suspended, OTHERS].concat());
}
