//! Settings of every kind of manifest: metadata before the job; resources, retries, placement and pods after it.

use std::fmt::Write as _;

use super::line;
use super::rng::Rng;
use super::words::{COMMENTS, DESCRIPTIONS, OWNERS};
use super::workload::{Kind, Workload};

pub(super) fn head(workload: &Workload, rng: &mut Rng, out: &mut String) {
    if rng.chance(18) {
        out.push_str(rng.pick(COMMENTS));
    }
    line!(out, "apiVersion: dcp/v1\nkind: CoreETL\nmetadata:");
    line!(out, "  name: {}", workload.name);
    line!(out, "  domain: {}", workload.domain);
    line!(out, "  owner: {}", rng.pick(OWNERS));
    if rng.chance(18) {
        line!(out, "  description: {}", rng.pick(DESCRIPTIONS));
    }
    let tier = rng.pick(&["gold", "silver", "bronze"]);
    match rng.below(4) {
        0 => line!(out, "  labels: {{tier: {tier}, cost-center: cc-{}}}", rng.between(100, 999)),
        1 => line!(
            out,
            "  labels:\n    tier: {tier}\n    example.com/data-class: {}",
            rng.pick(&["internal", "public", "pii"])
        ),
        _ => {}
    }
    out.push_str("spec:\n");
    // Kafka packages must match the engine's version, and those of the streams are of 4.1.
    let version = if workload.kind == Kind::Stream { "4.1" } else { rng.pick(&["3.5", "4.0", "4.1", "4.1"]) };
    line!(out, "  engine: {{version: \"{version}\"}}");
}

pub(super) fn tail(workload: &Workload, rng: &mut Rng, out: &mut String) {
    if rng.chance(55) {
        resources(rng, out);
    }
    if rng.chance(15) {
        let (attempts, backoff) = (rng.between(1, 5), rng.pick(&["30s", "1m", "2m"]));
        line!(out, "  retry: {{attempts: {attempts}, backoff: {backoff}, maxBackoff: 15m}}");
    }
    if rng.chance(12) {
        match workload.kind {
            Kind::Stream => line!(out, "  timeouts: {{start: 10m, stop: 2m}}"),
            _ => line!(out, "  timeouts: {{start: 20m, run: {}}}", rng.pick(&["45m", "2h", "6h"])),
        }
    }
    if rng.chance(7) {
        line!(out, "  placement:\n    backends: [{}]", rng.pick(&["kubernetes", "kubernetes, emr"]));
        line!(out, "    clusters: {{tags: {{data: {}}}}}", rng.pick(&["prod", "shared", "pii"]));
    }
    if rng.chance(10) {
        spark(rng, out);
    }
    if rng.chance(5) {
        pods(rng, out);
    }
}

fn resources(rng: &mut Rng, out: &mut String) {
    let (cores, memory) = (rng.between(1, 4), rng.pick(&[2, 4, 8]));
    let heap = rng.pick(&[4, 8, 16]);
    if rng.chance(80) {
        line!(out, "  resources:\n    driver: {{cores: {cores}, memory: {memory}g}}");
        let bounds = rng.chance(60);
        let many = rng.between(2, 40);
        let number = if bounds { format!("min: 1, max: {many}") } else { format!("instances: {many}") };
        line!(out, "    executors: {{cores: {cores}, memory: {heap}g, {number}}}");
    } else {
        line!(out, "  resources:\n    driver:\n      memory: {memory}g");
        line!(out, "    executors:\n      cores: {cores}\n      memory: {heap}g");
        if rng.chance(40) {
            line!(out, "      maxMemory: {}g", heap * 2);
        }
        line!(out, "      min: {}\n      max: {}", rng.between(1, 2), rng.between(4, 60));
        if rng.chance(30) {
            line!(out, "    sizing: {}", rng.pick(&["auto", "dynamic"]));
        }
    }
}

fn spark(rng: &mut Rng, out: &mut String) {
    out.push_str("  spark:\n    conf:\n");
    let settings = [
        ("spark.sql.ansi.enabled", "true"),
        ("spark.sql.session.timeZone", "UTC"),
        ("spark.sql.files.maxPartitionBytes", "256m"),
        ("spark.serializer", "org.apache.spark.serializer.KryoSerializer"),
        ("spark.sql.parquet.compression.codec", "zstd"),
    ];
    let first = rng.below(settings.len());
    for at in 0..rng.between(1, 2) {
        let (key, value) = settings[(first + at) % settings.len()];
        line!(out, "      {key}: {value}");
    }
}

fn pods(rng: &mut Rng, out: &mut String) {
    out.push_str("  pods:\n");
    if rng.chance(60) {
        line!(out, "    driver:\n      serviceAccount: spark-{}", rng.pick(&["batch", "driver", "jobs"]));
        line!(out, "      env:\n        LOG_LEVEL: {}", rng.pick(&["INFO", "WARN"]));
        if rng.chance(50) {
            line!(out, "        DB_URL: {{secret: {{name: warehouse, key: url}}}}");
        }
    }
    line!(out, "    executors:\n      nodeSelector: {{pool: {}}}", rng.pick(&["spot", "memory", "general"]));
    line!(out, "      tolerations:\n        - {{key: spot, operator: Exists, effect: NoSchedule}}");
    if rng.chance(40) {
        out.push_str("      volumes:\n        - name: spark-local-dir-1\n          path: /scratch\n");
        out.push_str("          source: {emptyDir: {sizeLimit: 50Gi}}\n");
    }
}
