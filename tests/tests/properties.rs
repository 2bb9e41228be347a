//! Properties of all manifests, tested on random ones.

use std::collections::BTreeMap;

use dcp_compiler::compile::{Compilation, Compiler, Goal};
use dcp_compiler::diag::Diagnostic;
use dcp_compiler::project::Project;
use dcp_model::manifest::Backend;
use dcp_model::primitive::{Body, CoreEtlJob, canonical};
use dcp_runner::execution::{Execution, Id, Policy};
use dcp_runner::lower::{Input, lower};
use dcp_tests::{compile, describe, split_files, workspace};
use jiff::Timestamp;
use proptest::prelude::*;

/// Generates manifests, most of them valid.
fn manifest() -> impl Strategy<Value = String> {
    let job = prop_oneof![
        Just("sql: {query: \"INSERT INTO lake.t SELECT a, count(*) AS n FROM lake.s GROUP BY a\"}".to_owned()),
        Just("sql: {query: \"SELECT :day AS day\", parameters: {day: {type: date, run: date}}, returnResult: true}".to_owned()),
        Just("pyspark: {main: jobs/a.py, args: [a, 1, \"${param.p}\"], parameters: {p: 5}}".to_owned()),
        Just("jar: {main: a.jar, class: com.example.A}".to_owned()),
    ];
    let run = prop_oneof![
        Just("manual: {}".to_owned()),
        "[0-9]{1} [0-9]{1} \\* \\* \\*".prop_map(|cron| format!("schedule: {{cron: \"{cron}\"}}")),
        Just("onAssets: {any: [{table: lake.s}]}".to_owned()),
    ];
    let resources = prop_oneof![
        Just(String::new()),
        (1..9u32, 1..5u32).prop_map(|(memory, count)| format!(
            "  resources: {{executors: {{memory: {memory}g, instances: {count}}}}}\n"
        )),
        (0..4u32, 4..9u32).prop_map(|(min, max)| format!(
            "  resources: {{sizing: auto, executors: {{min: {min}, max: {max}}}}}\n"
        )),
    ];
    let text = prop_oneof!["[a-z]{1,12}", "[^\\x00-\\x1f]{1,20}", any::<String>()];
    let workload =
        (job, run).prop_map(|(job, run)| ("CoreETL", format!("  job:\n    {job}\n  run:\n    {run}\n")));
    let kind = prop_oneof![4 => workload, 1 => pool().prop_map(|spec| ("Pool", spec))];
    ("[a-z][a-z0-9-]{0,20}[a-z]", text, kind, resources).prop_map(|(name, text, (kind, spec), resources)| {
        let description = serde_json::to_string(&text).expect("text can be written");
        format!(
            "apiVersion: dcp/v1\nkind: {kind}\nmetadata:\n  name: {name}\n  domain: d\n  owner: o\n  description: {description}\n\
             spec:\n  engine: {{version: \"4.1\"}}\n{spec}{resources}"
        )
    })
}

/// Generates the fields that only pools have.
fn pool() -> impl Strategy<Value = String> {
    let share = prop_oneof![Just("domain"), Just("private")];
    (share, 0..5u32, prop::option::of(0..7u32), 4..9u32, 1..9_999u32).prop_map(
        |(share, min_idle, max_idle, max, seconds)| {
            let max_idle = max_idle.map(|count| format!("maxIdle: {count}, ")).unwrap_or_default();
            format!(
                "  share: {share}\n  drivers: {{minIdle: {min_idle}, {max_idle}max: {max}}}\n  \
                 sessions: {{idleTimeout: {seconds}s}}\n"
            )
        },
    )
}

fn one(text: &str) -> Compilation {
    compile(&BTreeMap::from([("a.yaml".to_owned(), text.to_owned())]), None)
}

fn bytes(compilation: &Compilation) -> Vec<String> {
    compilation
        .primitives
        .iter()
        .map(|primitive| {
            format!("{} {} {}", primitive.address, primitive.fingerprint.as_str(), primitive.body.canonical())
        })
        .collect()
}

/// Checks that every position is within its file, and that all diagnostics can be formatted.
fn check_places(compilation: &Compilation) {
    for label in compilation.diagnostics.iter().flat_map(|diagnostic: &Diagnostic| &diagnostic.labels) {
        let text = &compilation.sources.get(label.span.file).text;
        assert!(
            text.get(label.span.range()).is_some(),
            "{:?} is not within the file of {} bytes",
            label,
            text.len()
        );
    }
    describe(&compilation.sources, &compilation.diagnostics);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn compiling_twice_gives_the_same_bytes(text in manifest()) {
        let (first, second) = (one(&text), one(&text));
        prop_assert_eq!(bytes(&first), bytes(&second));
        prop_assert_eq!(first.diagnostics, second.diagnostics);
    }

    #[test]
    fn the_order_of_files_and_threads_does_not_matter(texts in prop::collection::vec(manifest(), 1..8)) {
        let files: BTreeMap<String, String> = texts.into_iter().enumerate().map(|(at, text)| (format!("{at}.yaml"), text)).collect();
        let project = Project::none();
        let compiler = Compiler { project: &project, project_source: None, project_diagnostics: Vec::new(), goal: Goal::Compile };
        let forwards = files.keys().enumerate().map(|(at, path)| compiler.analyze(at, path, &files)).collect();
        let mut backwards: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = files.keys().enumerate().rev().map(|(at, path)| scope.spawn({
                let (compiler, files) = (&compiler, &files);
                move || compiler.analyze(at, path, files)
            })).collect();
            workers.into_iter().map(|worker| worker.join().expect("analysing does not panic")).collect()
        });
        backwards.reverse();
        let (first, second) = (compiler.link(forwards), compiler.link(backwards));
        prop_assert_eq!(bytes(&first), bytes(&second));
        prop_assert_eq!(first.diagnostics, second.diagnostics);
    }

    #[test]
    fn comments_and_line_ends_do_not_matter(text in manifest()) {
        let commented = text.replace('\n', "\n# a comment\n\n");
        prop_assert_eq!(bytes(&one(&text)), bytes(&one(&commented)));
        let crlf = text.replace('\n', "\r\n");
        prop_assert_eq!(bytes(&one(&text)), bytes(&one(&crlf)));
    }

    #[test]
    fn primitives_round_trip(text in manifest()) {
        for primitive in one(&text).primitives {
            let text = primitive.body.canonical();
            let again = Body::parse(primitive.address.kind, &text).expect("what was written can be read");
            prop_assert_eq!(again.canonical(), text.clone());
            let value: serde_json::Value = serde_json::from_str(&text).expect("canonical text is JSON");
            prop_assert_eq!(canonical(&value), text);
        }
    }

    #[test]
    fn damaged_manifest_causes_no_panic(text in manifest(), cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "\\PC{0,6}|[\\t\\n:{}\\[\\]&*!|>'\"%@`#,-]{0,4}"), 1..4)) {
        let mut damaged = text;
        for (from, length, insert) in cuts {
            let boundaries: Vec<usize> = damaged.char_indices().map(|(at, _)| at).chain([damaged.len()]).collect();
            let from = from.index(boundaries.len());
            let to = (from + length.index(12)).min(boundaries.len() - 1);
            damaged.replace_range(boundaries[from]..boundaries[to], &insert);
        }
        let compilation = one(&damaged);
        check_places(&compilation);
        prop_assert!(compilation.has_errors() || !compilation.primitives.is_empty());
    }

    #[test]
    fn arbitrary_text_causes_no_panic(text in any::<String>()) {
        check_places(&one(&text));
    }
}

/// Writing out the default values changes nothing.
#[test]
fn explicit_defaults_change_nothing() {
    let short = "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {name: a, domain: b, owner: c}\nspec:\n  engine: {version: \"4.1\"}\n  \
                 job: {sql: {query: SELECT 1 AS one}}\n  run: {schedule: {cron: \"@daily\"}}\n";
    let long = short
        .replace("SELECT 1 AS one}", "SELECT 1 AS one, returnResult: false, parameters: {}}")
        .replace(
            "\"@daily\"}",
            "\"@daily\", timezone: UTC, catchup: false, maxActiveRuns: 1, concurrencyPolicy: queue, suspended: false}",
        )
        + "  resources: {sizing: fixed, driver: {cores: 1, memory: 1024m}, executors: {cores: 1, memory: 1g}}\n  \
           retry: {attempts: 3, backoff: 30s, maxBackoff: 600s, remedies: 3}\n  timeouts: {start: 15m, stop: 60s}\n  ttl: 24h\n  \
           placement: {}\n  spark: {}\n  pods: {}\n  lifecycle: {preventDestroy: false}\n  inputs: []\n  outputs: []\n  dependencies: {}\n";
    assert_eq!(bytes(&one(short)), bytes(&one(&long)));
    assert_eq!(one(short).primitives.len(), 2);
}

#[test]
fn golden_primitives_round_trip() {
    for name in ["quickstart", "everything", "streams", "pool"] {
        let text = std::fs::read_to_string(workspace().join(format!("tests/golden/primitives/{name}.yaml")))
            .expect("the case exists");
        let compilation = compile(&split_files(&text), None);
        assert!(!compilation.primitives.is_empty(), "{name} compiles");
        for primitive in &compilation.primitives {
            let text = primitive.body.canonical();
            let again = Body::parse(primitive.address.kind, &text).expect("what was written can be read");
            assert_eq!(again.canonical(), text, "{}", primitive.address);
        }
    }
}

#[test]
fn invalid_manifest_does_not_hide_problems_of_others() {
    let bad = "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {name: a\n";
    let wrong = "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {name: A, domain: b, owner: c}\nspec: {}\n";
    let files = [("1.yaml", bad), ("2.yaml", wrong), ("3.yaml", ""), ("4.yaml", "- x\n"), ("5.yaml", wrong)];
    let compilation = compile(&files.map(|(name, text)| (name.to_owned(), text.to_owned())).into(), None);
    for (name, _) in files {
        let is_reported = compilation
            .diagnostics
            .iter()
            .filter_map(Diagnostic::primary)
            .any(|span| &*compilation.sources.get(span.file).path == name);
        assert!(is_reported, "{name} has no diagnostic");
    }
    assert!(compilation.primitives.is_empty());
}

/// Generates texts with the syntax of template engines.
fn template_like() -> impl Strategy<Value = String> {
    let fragments = [
        "{{APP_ID}}",
        "{{EXECUTOR_ID}}",
        "{{ ds }}",
        "{{",
        "}}",
        "{% raw %}",
        "{%",
        "%}",
        "{# #}",
        "{{#each tasks}}",
        "{{{x}}}",
        "{{> dag.py}}",
        "\"",
        "'",
        "\"\"\"",
        "\\",
        "\n",
        "\"); import os; os.system(\"x\") #",
        "# coding: latin-1",
        "$",
        "x",
        " ",
    ];
    let fragment = proptest::sample::select(fragments.to_vec()).prop_map(str::to_owned);
    let text = proptest::collection::vec(prop_oneof![4 => fragment, 1 => "[ -~]{0,12}"], 1..6);
    // dcp replaces its own references.
    text.prop_map(|parts| parts.concat()).prop_filter("has a reference", |text| !text.contains("${"))
}

/// Returns the text of the DAG without the job's fingerprint, and the job.
fn with_annotation(text: &str) -> (String, CoreEtlJob) {
    let quoted = serde_json::to_string(text).expect("a text is JSON");
    let manifest = format!(
        "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{name: a, domain: b, owner: c, annotations: {{note: {quoted}}}}}\n\
         spec:\n  engine: {{version: \"4.1\"}}\n  job: {{sql: {{query: SELECT 1 AS one}}}}\n  run: {{manual: {{}}}}\n"
    );
    let compilation = compile(&split_files(&manifest), None);
    assert_eq!(describe(&compilation.sources, &compilation.diagnostics), "", "{manifest}");
    let (mut dag, mut job, mut fingerprint) = (None, None, String::new());
    for primitive in compilation.primitives {
        match primitive.body {
            Body::CoreEtlJob(it) => {
                primitive.fingerprint.as_str().clone_into(&mut fingerprint);
                job = Some(*it);
            }
            Body::Orchestrator(it) => dag = Some(it.content),
            Body::ContinuousJob(_) | Body::Pool(_) => {}
        }
    }
    let (dag, job) = (dag.expect("the manifest has a DAG"), job.expect("the manifest has a job"));
    (dag.replace(&fingerprint, "all of it").replace(&fingerprint[..12], "a part of it"), job)
}

proptest! {
    #[test]
    fn annotation_reaches_pods_unchanged_and_not_the_dag(text in template_like()) {
        let (dag, job) = with_annotation(&text);
        prop_assert_eq!(dag, with_annotation("plain").0);
        let execution = Execution::new(
            Id::parse("a1").expect("the id is valid"), Policy::of(&job, None), Backend::Local, Timestamp::UNIX_EPOCH,
        );
        let values = BTreeMap::new();
        let input = Input { job: &job, execution: &execution, values: &values, streaming: None, results: None };
        let spec = lower(&input).expect("the job can be lowered").spec;
        for (role, pod) in [("driver", &spec.driver_spec), ("executor", &spec.executor_spec)] {
            let template = pod.pod_template_spec["metadata"]["annotations"]["note"].as_str();
            let setting = spec.spark_conf.get(&format!("spark.kubernetes.{role}.annotation.note")).map(String::as_str);
            let replaced = text.contains("{{APP_ID}}") || text.contains("{{EXECUTOR_ID}}");
            let expected = if replaced { (None, Some(text.as_str())) } else { (Some(text.as_str()), None) };
            prop_assert_eq!((template, setting), expected);
        }
    }
}
