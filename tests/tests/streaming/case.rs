//! A change of a stream: the plan's prediction, and Spark's behaviour.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dcp_model::primitive::{Body, Fingerprint, Kind, Primitive};
use dcp_reconciler::plan::Class;
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::driver::{self, Outcome};
use crate::locations::{self, RowsByLocation};
use crate::plan;

/// A file of `cases/`. YAML anchors that its cases use are in `shared`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "shared")]
    _shared: Value,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    title: String,
    /// The number of partitions of each topic to create.
    #[serde(default)]
    topics: BTreeMap<String, i32>,
    /// The columns of each database table to create.
    #[serde(default)]
    tables: BTreeMap<String, String>,
    /// The columns of each Iceberg table to create in the catalog `lake`.
    #[serde(default)]
    lake: BTreeMap<String, String>,
    /// `job.stream` of the manifest before the change.
    stream: Value,
    /// A merge patch that turns the body of the first `CoreEtlJob` into what an earlier release compiled.
    #[serde(default)]
    compiled_before: Value,
    /// A merge patch of `stream`; `null` removes a field.
    change: Value,
    /// The expected action, with `, perhaps` if the plan can't know whether Spark accepts the change.
    plan: String,
    /// The expected reasons of the most severe class: `what` of each, or its field if it has none.
    because: Vec<String>,
    before: Run,
    after: Run,
}

/// A start of the stream, which ends once it has processed all available data.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Run {
    /// Rows to add before the start.
    #[serde(rename = "in")]
    input: RowsByLocation,
    /// The number of rows of each batch that is not empty.
    batches: Option<Vec<u64>>,
    /// All rows after the end.
    out: RowsByLocation,
    /// Values in the progress of the last batch, by JSON pointer.
    says: BTreeMap<String, Value>,
    /// A part of Spark's error, if the stream must fail.
    refuses: Option<String>,
}

fn folder() -> PathBuf {
    dcp_tests::workspace().join("tests/tests/streaming/cases")
}

/// Returns the sorted names of all files of cases.
pub(crate) fn files() -> Vec<String> {
    let entries = folder()
        .read_dir()
        .expect("the folder exists")
        .map(|entry| entry.expect("the folder can be listed").path());
    let mut names: Vec<String> =
        entries.map(|path| path.file_stem().expect("the file has a name").display().to_string()).collect();
    names.sort_unstable();
    names
}

/// Runs all cases of a file, and panics with all differences.
pub(crate) async fn check(name: &str) {
    let path = folder().join(format!("{name}.yaml"));
    let text = fs::read_to_string(&path).expect("the file can be read");
    let text = if text.contains("%KAFKA%") {
        text.replace("%KAFKA%", locations::broker().await.address())
    } else {
        text
    };
    let text = if text.contains("%JDBC%") {
        text.replace("%JDBC%", locations::database().await.jdbc())
    } else {
        text
    };
    let file: File = serde_yaml_ng::from_str(&text).expect("the file has cases");
    let found = (0..file.cases.len()).map(|index| {
        let text = text.clone();
        async move {
            let project = TempDir::new().expect("the temporary folder is writable");
            let text = text.replace("%DIR%", &project.path().display().to_string());
            let mut file: File = serde_yaml_ng::from_str(&text).expect("the file has cases");
            let case = file.cases.swap_remove(index);
            let found = case.problems(project.path()).await;
            found.into_iter().map(|it| format!("{}: {it}", case.title)).collect::<Vec<_>>()
        }
    });
    let wrong = join_all(found).await.concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

impl Case {
    async fn problems(&self, project: &Path) -> Vec<String> {
        let checkpoint = project.join("checkpoint").display().to_string();
        let mut before = plan::compiled(&self.stream, &checkpoint);
        if !self.compiled_before.is_null() {
            before = before.into_iter().map(|it| with_older_body(it, &self.compiled_before)).collect();
        }
        let mut changed = self.stream.clone();
        merge(&mut changed, &self.change);
        let after = plan::compiled(&changed, &checkpoint);
        let mut problems: Vec<String> = self.plan_difference(&before, &after).into_iter().collect();
        for (table, columns) in &self.tables {
            locations::database().await.run(&format!("CREATE TABLE {table} ({columns})")).await;
        }
        for (table, columns) in &self.lake {
            driver::rows(&format!("CREATE TABLE lake.{table} ({columns}) USING iceberg")).await;
        }
        for (topic, partitions) in &self.topics {
            locations::broker().await.create_topic(topic, *partitions).await;
        }
        for (number, (run, primitives)) in
            [(&self.before, before), (&self.after, after)].into_iter().enumerate()
        {
            problems.extend(run.problems(project, number, &primitives).await);
        }
        problems
    }

    fn plan_difference(&self, before: &[Primitive], after: &[Primitive]) -> Option<String> {
        let workload = plan::plan(before, after);
        let most_severe = workload.reasons.iter().map(|it| it.class).max();
        let because = workload.reasons.iter().filter(|it| Some(it.class) == most_severe);
        let because: Vec<&String> = because.map(|it| it.what.as_ref().unwrap_or(&it.field)).collect();
        let unknown = if most_severe == Some(Class::Unknown) { ", perhaps" } else { "" };
        let actual = (format!("{}{unknown}", workload.action.name()), because);
        let right = actual.0 == self.plan && actual.1.iter().copied().eq(&self.because);
        (!right).then(|| format!("the plan says {actual:?}"))
    }
}

impl Run {
    async fn problems(&self, project: &Path, number: usize, primitives: &[Primitive]) -> Vec<String> {
        locations::add_rows(project, &self.input, number).await;
        let (task, conf) = plan::lowered(primitives);
        let deadline = Instant::now() + Duration::from_mins(1);
        let outcome = loop {
            let outcome = driver::run(&task, &conf).await;
            // A source that generates rows may not have generated any yet.
            let again = self.input.is_empty() && outcome.error.is_none() && outcome.batches().is_empty();
            if !again || Instant::now() > deadline {
                break outcome;
            }
        };
        let mut problems = self.differences(&outcome);
        for (location, expected) in &self.out {
            let found = locations::rows(project, location).await;
            if found != locations::sorted(expected.clone()) {
                let found: Vec<String> = found.iter().map(Value::to_string).collect();
                problems.push(format!("{location} has\n  {}", found.join("\n  ")));
            }
        }
        problems.iter().map(|it| format!("run {number}: {it}")).collect()
    }

    fn differences(&self, outcome: &Outcome) -> Vec<String> {
        let mut problems = Vec::new();
        match (&self.refuses, &outcome.error) {
            (None, None) => {}
            (Some(expected), Some(error)) if error.contains(expected) => {}
            (_, None) => problems.push("Spark accepts the change".to_owned()),
            (_, Some(error)) => problems.push(format!("Spark fails: {error}")),
        }
        let batches = outcome.batches();
        if self.refuses.is_none() && batches.is_empty() {
            problems.push("the stream read no rows".to_owned());
        }
        if self.batches.as_ref().is_some_and(|expected| *expected != batches) {
            problems.push(format!("the batches have {batches:?} rows"));
        }
        let last = outcome.progress.last().unwrap_or(&Value::Null);
        for (pointer, expected) in &self.says {
            let found = last.pointer(pointer).unwrap_or(&Value::Null);
            if found != expected {
                problems.push(format!("the progress has {found} at {pointer}"));
            }
        }
        problems
    }
}

/// Applies a merge patch to a job, and returns other primitives unchanged.
fn with_older_body(primitive: Primitive, patch: &Value) -> Primitive {
    if primitive.address.kind != Kind::CoreEtlJob {
        return primitive;
    }
    let mut body: Value = serde_json::from_str(&primitive.body.canonical()).expect("canonical text is JSON");
    merge(&mut body, patch);
    let body = Body::parse(Kind::CoreEtlJob, &body.to_string()).expect("the patch gives a job");
    Primitive { fingerprint: Fingerprint::of(&body.canonical()), body, ..primitive }
}

/// Applies a merge patch (RFC 7396).
fn merge(into: &mut Value, patch: &Value) {
    let (Value::Object(fields), true) = (patch, into.is_object()) else {
        into.clone_from(patch);
        return;
    };
    let into = into.as_object_mut().expect("the value is an object");
    for (key, value) in fields {
        if value.is_null() {
            into.remove(key);
        } else {
            merge(into.entry(key).or_insert_with(|| Value::Object(serde_json::Map::new())), value);
        }
    }
}
