//! Treatment of each manifest field by every backend.

use std::collections::BTreeSet;

use dcp_gateway::fields::{Fields, Treatment};
use dcp_gateway::kubernetes::{Kubernetes, Settings, connect};
use dcp_gateway::local::fields::FIELDS;
use dcp_gateway::{Compute as _, Error, SparkApplication};
use dcp_model::manifest::Backend;
use dcp_runner::execution::{Execution, Id};
use dcp_runner::lower::{Input, lower};
use dcp_runner::machine::{Event, apply_event};
use dcp_tests::cluster::{kubeconfig, kubeconfig_of_nobody};
use dcp_tests::fake_spark::FakeSpark;
use jiff::Timestamp;
use serde_json::Value;

use crate::local::SUPERVISOR;
use crate::spark::POLICY;

/// Returns the paths of all fields of a manifest; those in `spec` lack that prefix.
fn fields() -> BTreeSet<String> {
    let text = dcp_compiler::schema::CORE_ETL.text();
    let schema: Value = serde_json::from_str(text.as_str()).expect("the schema is JSON");
    let mut found = BTreeSet::new();
    walk(&schema, &schema, "", &[], &mut found);
    let of_manifest = found.iter().filter(|path| path.starts_with("metadata.") || path.starts_with("spec."));
    of_manifest.map(|path| path.strip_prefix("spec.").unwrap_or(path).to_owned()).collect()
}

fn walk(schema: &Value, node: &Value, path: &str, within: &[&str], found: &mut BTreeSet<String>) {
    if let Some(name) = node["$ref"].as_str() {
        let to = schema.pointer(&name[1..]).expect("the reference resolves");
        if !within.contains(&name) {
            walk(schema, to, path, &[within, &[name]].concat(), found);
        }
        return;
    }
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let below = node["properties"].as_object().into_iter().flatten().map(|(name, one)| (join(name), one));
    let each =
        ["items", "additionalProperties"].into_iter().map(|key| &node[key]).filter(|it| it.is_object());
    let choices = ["anyOf", "oneOf"].into_iter().flat_map(|key| node[key].as_array().into_iter().flatten());
    let all: Vec<(String, &Value)> = below
        .chain(each.map(|one| (join("*"), one)))
        .chain(choices.map(|one| (path.to_owned(), one)))
        .collect();
    if all.is_empty() {
        found.insert(path.to_owned());
    }
    for (path, one) in all {
        walk(schema, one, &path, within, found);
    }
}

/// The table of every backend.
const BACKENDS: [(&str, &Fields); 2] = [
    ("local", &dcp_gateway::local::fields::FIELDS),
    ("kubernetes", &dcp_gateway::kubernetes::fields::FIELDS),
];

#[test]
fn every_field_of_the_manifest_has_a_treatment_by_every_backend() {
    let fields = fields();
    assert!(fields.len() > 150 && fields.contains("job.stream.sources.*.kafka.topic"), "{fields:#?}");
    for (backend, table) in BACKENDS {
        // A list of strings is one field.
        let is_known = |path: &String| {
            table.treatment(path).or_else(|| table.treatment(path.strip_suffix(".*")?)).is_some()
        };
        let missing: Vec<_> = fields.iter().filter(|path| !is_known(path)).collect();
        assert!(missing.is_empty(), "the table of {backend} has no row for {missing:#?}");
        let is_field = |pattern: &str| {
            let matches = |path: &String| {
                Fields::matches(pattern, path)
                    || path.strip_suffix(".*").is_some_and(|list| Fields::matches(pattern, list))
            };
            fields.iter().any(matches)
        };
        let patterns = table.rows().flat_map(|(.., patterns)| patterns.iter().copied());
        let unused: Vec<_> = patterns.filter(|pattern| !is_field(pattern)).collect();
        assert!(unused.is_empty(), "the table of {backend} has rows for no field: {unused:#?}");
    }
}

/// Each field that the backend rejects, with manifest lines that set it.
const REFUSED: [(&str, &str); 9] = [
    ("placement.regions", "  placement: {regions: [eu-central-1]}\n"),
    ("placement.clusters.names", "  placement: {clusters: {names: [main]}}\n"),
    ("placement.clusters.tags.**", "  placement: {clusters: {tags: {data: prod}}}\n"),
    ("spark.configMap", "  spark: {configMap: settings}\n"),
    ("spark.hadoopConfigMap", "  spark: {hadoopConfigMap: settings}\n"),
    ("pods.driver.secrets.**", "  pods: {driver: {secrets: [{name: s, path: /etc/s}]}}\n"),
    ("pods.driver.configMaps.**", "  pods: {driver: {configMaps: [{name: m, path: /etc/m}]}}\n"),
    (
        "pods.driver.volumes.**",
        "  pods: {driver: {volumes: [{name: data, path: /data, source: {emptyDir: {}}}]}}\n",
    ),
    ("pods.driver.envFrom.**", "  pods: {driver: {envFrom: [{configMap: m}]}}\n"),
];

fn accepts(lines: &str) -> Result<(), Error> {
    let fake_spark = FakeSpark::with_version("4.1.1", "echo never");
    fake_spark.local_backend(SUPERVISOR).accepts(&application(lines))
}

/// Returns the application of a manifest with lines in its `spec`.
fn application(lines: &str) -> SparkApplication {
    let job = if lines.contains("  job: ") { "" } else { "  job: {sql: {query: SELECT 1}}\n" };
    let job = dcp_tests::job(&format!("{lines}{job}"));
    let id = Id::parse("a1").expect("the id is valid");
    let mut execution = Execution::new(id, POLICY, Backend::Local, Timestamp::UNIX_EPOCH);
    apply_event(&mut execution, Event::Stepped, Timestamp::UNIX_EPOCH);
    let values = std::collections::BTreeMap::new();
    let input = Input { job: &job, execution: &execution, values: &values, streaming: None, results: None };
    lower(&input).expect("the job can be lowered")
}

#[test]
fn unsupported_fields_are_rejected_by_name() {
    let rows = FIELDS.rows().filter(|(treatment, ..)| *treatment == Treatment::Rejects);
    let refused: BTreeSet<&str> = rows.flat_map(|(.., patterns)| patterns.iter().copied()).collect();
    assert_eq!(refused, REFUSED.iter().map(|(pattern, _)| *pattern).collect());
    for (pattern, lines) in REFUSED {
        let Err(Error::Field { field, reason }) = accepts(lines) else { panic!("{pattern} is accepted") };
        assert_eq!(field, pattern.trim_end_matches(".**"));
        assert!(reason.starts_with("`local` "), "{reason}");
    }
    let claim = "onDemandClaim: {storageClass: fast, sizeLimit: 10g}";
    let Err(Error::Field { field, reason }) =
        accepts(&format!("  pods: {{driver: {{volumes: [{{name: data, path: /data, {claim}}}]}}}}\n"))
    else {
        panic!("a claim is accepted")
    };
    assert_eq!(field, "pods.driver.volumes");
    assert!(reason.starts_with("`local` mounts nothing"), "{reason}");
    for source in ["source: {emptyDir: {}}", claim] {
        let scratch = format!("{{name: spark-local-dir-1, path: /tmp/x, {source}}}");
        accepts(&format!("  pods: {{driver: {{volumes: [{scratch}]}}}}\n"))
            .expect("the volume is for scratch data");
    }
    accepts("  placement: {backends: [emr, local], emr: {releaseLabel: emr-7.6.0-latest}}\n")
        .expect("the settings are of another backend");
}

/// Each field that `kubernetes` rejects, with manifest lines that set it.
const REJECTED_BY_KUBERNETES: [(&str, &str); 2] = [
    (
        "resources.executors.memoryLimit",
        "  resources: {executors: {memory: 1g, memoryOverhead: 512m, memoryLimit: 4g}}\n",
    ),
    (
        "job.pyspark.environment.packages",
        "  job: {pyspark: {main: \"local:///main.py\", environment: {packages: [\"six==1.16.0\"]}}}\n",
    ),
];

#[tokio::test]
async fn fields_that_kubernetes_rejects_are_named() {
    let table = &dcp_gateway::kubernetes::fields::FIELDS;
    let rows = table.rows().filter(|(treatment, ..)| *treatment == Treatment::Rejects);
    let rejected: BTreeSet<&str> = rows.flat_map(|(.., patterns)| patterns.iter().copied()).collect();
    assert_eq!(rejected, REJECTED_BY_KUBERNETES.iter().map(|(pattern, _)| *pattern).collect());
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let credentials = kubeconfig(kubeconfig_of_nobody(folder.path()));
    let client = connect(&credentials).await.expect("the file is valid");
    let backend = Kubernetes::new(client, Settings::new("main"), Timestamp::now);
    backend.accepts(&application("")).expect("the job has no such field");
    for (pattern, lines) in REJECTED_BY_KUBERNETES {
        let Err(Error::Field { field, .. }) = backend.accepts(&application(lines)) else {
            panic!("{pattern} is accepted")
        };
        assert_eq!(field, pattern);
    }
}
