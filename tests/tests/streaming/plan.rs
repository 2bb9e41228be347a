//! Plans of changes, like those of `dcp plan`.

use std::collections::BTreeMap;

use dcp_compiler::diag::Severity;
use dcp_model::manifest::Backend;
use dcp_model::primitive::{Body, Primitive};
use dcp_reconciler::plan::{Context, Inclusion, Workload, compare};
use dcp_reconciler::state::{Base, Entry, Scope, State};
use dcp_runner::execution::{Execution, Id, Policy};
use dcp_runner::lower::{Input, lower};
use dcp_runner::streaming::Streaming;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Compiles a continuous job from the `stream` of a manifest.
pub(crate) fn compiled(stream: &Value, checkpoint: &str) -> Vec<Primitive> {
    let manifest = json!({
        "apiVersion": "dcp/v1",
        "kind": "CoreETL",
        "metadata": {"name": "it", "domain": "tests", "owner": "tests"},
        "spec": {
            "engine": {"version": "4.1"},
            "job": {"stream": stream},
            "run": {"continuous": {"checkpoint": checkpoint}},
        },
    });
    let files = BTreeMap::from([("manifest.yaml".to_owned(), manifest.to_string())]);
    let compiled = dcp_tests::compile(&files, None);
    let wrong: Vec<_> =
        compiled.diagnostics.into_iter().filter(|it| it.severity == Severity::Error).collect();
    assert_eq!(dcp_tests::describe(&compiled.sources, &wrong), "", "{manifest}");
    compiled.primitives
}

pub(crate) fn plan(before: &[Primitive], after: &[Primitive]) -> Workload {
    let entry = |it: &Primitive| Entry { fingerprint: it.fingerprint.clone(), revision: 1, serial: 1 };
    let entries = before.iter().map(|it| (it.address.clone(), entry(it))).collect();
    let texts = before.iter().map(|it| (it.fingerprint.clone(), it.body.canonical())).collect();
    let state =
        State { base: Base { lineage: Some("a".to_owned()), serial: 1 }, entries, ..State::default() };
    let context = Context { scope: Scope::new("tests", None), commit: None, locate: &|_, _, _| None };
    let plan = compare(after, &state, |_, _| Inclusion::Compared).plan(&texts, &context);
    let mut workloads = plan.expect("the plan can be computed").workloads;
    assert_eq!(workloads.len(), 1, "one workload has changed: {workloads:#?}");
    workloads.remove(0)
}

/// Returns the input of the stream's driver: its task, and the settings of its Spark.
pub(crate) fn lowered(primitives: &[Primitive]) -> (String, BTreeMap<String, String>) {
    let (mut job, mut streaming) = (None, None);
    for primitive in primitives {
        match &primitive.body {
            Body::CoreEtlJob(it) => job = Some(&**it),
            Body::ContinuousJob(it) => streaming = Some(Streaming::of(it)),
            Body::Orchestrator(_) | Body::Pool(_) => {}
        }
    }
    let id = Id::parse("a1").expect("the id is valid");
    let input = Input {
        job: job.expect("the manifest has a job"),
        execution: &Execution::new(id, POLICY, Backend::Local, Timestamp::UNIX_EPOCH),
        values: &BTreeMap::new(),
        streaming: streaming.as_ref(),
        results: None,
    };
    let mut spec = lower(&input).expect("the job can be lowered").spec;
    let mut files = spec.config_map_specs.remove(0).data;
    (files.remove("job.json").expect("the application has a task"), spec.spark_conf)
}

const POLICY: Policy = Policy {
    attempts: 1,
    remedies: 0,
    backoff_seconds: 0,
    max_backoff_seconds: 0,
    causes: Vec::new(),
    start_seconds: 600,
    run_seconds: None,
    stop_seconds: 10,
    ttl_seconds: 3600,
};
