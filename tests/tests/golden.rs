//! Golden tests. Each diagnostics case is a manifest with the expected diagnostics at its end, after `#~`.
//!
//! To add a case, add a file. `UPDATE_GOLDEN=1 cargo test -p dcp-tests --test golden` writes the results; read them
//! before you commit them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use dcp_compiler::compile::{Analysis, Compilation, Compiler, Goal, Stored};
use dcp_compiler::diag::Code;
use dcp_compiler::project::{FILE_NAME, Project};
use dcp_model::manifest::{Backend, ParameterType, ScalarOr, TypedParameter};
use dcp_model::primitive::{Body, ContinuousJob, CoreEtlJob, Primitive};
use dcp_runner::execution::{Execution, Id, Policy};
use dcp_runner::lower::{Input, lower};
use dcp_runner::machine::{Event, apply_event};
use dcp_runner::parameters::values;
use dcp_runner::streaming::Streaming;
use dcp_tests::{compile, describe, split_files, update_golden, workspace};

/// Returns the cases of a folder of `tests/golden`.
fn cases(folder: &str) -> Vec<PathBuf> {
    let folder = workspace().join("tests/golden").join(folder);
    let mut cases = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder exists") {
            let path = entry.expect("the folder can be listed").path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "yaml") => cases.push(path),
                false => {}
            }
        }
    }
    cases.sort();
    assert!(!cases.is_empty(), "there are no cases");
    cases
}

/// Compares a result with a golden file, or updates the file. Returns a description of the difference, if there is one.
fn compare(path: &Path, expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    if update_golden() {
        std::fs::write(path, found).expect("the golden file can be written");
        return None;
    }
    Some(format!("{}\n--- expected\n{expected}\n--- found\n{found}", path.display()))
}

fn finish(failures: &[String]) {
    assert!(failures.is_empty(), "{} cases differ:\n\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn diagnostics_match_the_cases() {
    let mut failures = Vec::new();
    for path in cases("diagnostics") {
        let text = std::fs::read_to_string(&path).expect("a case can be read");
        let input = match text.find("\n#~") {
            Some(at) => &text[..=at],
            None => &text,
        };
        let compilation = compile(&split_files(input), None);
        let described = describe(&compilation.sources, &compilation.diagnostics);
        let expectation: String = match described.as_str() {
            "" => "#~ nothing to say\n".to_owned(),
            lines => format!("#~ {}\n", lines.trim_end().replace('\n', "\n#~ ")),
        };
        failures.extend(compare(&path, &text, &format!("{input}{expectation}")));
    }
    finish(&failures);
}

#[test]
fn primitives_and_dags_match_the_cases() {
    let mut failures = Vec::new();
    for path in cases("primitives") {
        let text = std::fs::read_to_string(&path).expect("a case can be read");
        let compilation = compile(&split_files(&text), None);
        let mut found = describe(&compilation.sources, &compilation.diagnostics);
        for primitive in &compilation.primitives {
            let body: serde_json::Value =
                serde_json::from_str(&primitive.body.canonical()).expect("canonical text is JSON");
            let mut body = body;
            let content = body.as_object_mut().and_then(|body| body.remove("content"));
            let pretty = serde_json::to_string_pretty(&body).expect("JSON can be written");
            writeln!(found, "=== {}\n{pretty}", primitive.address)
                .expect("writing to a String does not fail");
            if let (Body::Orchestrator(orchestrator), Some(_)) = (&primitive.body, content) {
                write!(found, "--- {}\n{}", orchestrator.file, orchestrator.content)
                    .expect("writing to a String does not fail");
            }
        }
        let output = path.with_extension("out");
        let expected = std::fs::read_to_string(&output).unwrap_or_default();
        failures.extend(compare(&output, &expected, &found));
    }
    finish(&failures);
}

/// Returns the analysis of a file after it was stored; none if it can't be stored.
fn stored_and_restored(
    compiler: &Compiler<'_>,
    index: usize,
    path: &str,
    files: &BTreeMap<String, String>,
) -> Option<Analysis> {
    // Analyse at another index than the one that is restored.
    let elsewhere = index + 1000;
    let analysis = compiler.analyze(elsewhere, path, files);
    let stored = Stored::of(elsewhere, &analysis)?;
    let text = serde_json::to_string(&stored).expect("the file can be written");
    let stored: Stored = serde_json::from_str(&text).expect("the analysis can be read");
    Some(stored.restore(index, path).expect("the analysis is consistent"))
}

/// Returns the paths of the files of a compilation.
fn paths(compilation: &Compilation) -> Vec<&str> {
    compilation.sources.files().iter().map(|file| &*file.path).collect()
}

/// All kinds of jobs and of runs.
const KINDS: [&str; 10] =
    ["continuous", "jar", "manual", "onAssets", "pool", "pyspark", "schedule", "service", "sql", "stream"];

#[test]
fn stored_analyses_link_like_fresh_ones() {
    let project = Project::none();
    let compiler = Compiler {
        project: &project,
        project_source: None,
        project_diagnostics: Vec::new(),
        goal: Goal::Validate,
    };
    let mut kinds = BTreeSet::new();
    for path in cases("primitives").into_iter().chain(cases("diagnostics")) {
        let text = std::fs::read_to_string(&path).expect("a case can be read");
        let files = split_files(&text);
        let manifests: Vec<&String> = files
            .keys()
            .filter(|name| *name != FILE_NAME && Path::new(name).extension().is_some_and(|it| it == "yaml"))
            .collect();
        let analyze = |index: usize| compiler.analyze(index, manifests[index], &files);
        let stored = |index: usize| stored_and_restored(&compiler, index, manifests[index], &files);
        let fresh = compiler.link((0..manifests.len()).map(analyze).collect());
        let restored = (0..manifests.len()).map(|index| stored(index).unwrap_or_else(|| analyze(index)));
        let restored = compiler.link(restored.collect());
        assert_eq!(format!("{:?}", restored.graph), format!("{:?}", fresh.graph), "{}", path.display());
        assert_eq!(
            format!("{:?}", restored.diagnostics),
            format!("{:?}", fresh.diagnostics),
            "{}",
            path.display()
        );
        assert_eq!(paths(&restored), paths(&fresh));
        let nodes = (0..manifests.len()).filter(|index| stored(*index).is_some());
        let nodes = nodes
            .flat_map(|index| fresh.graph.nodes.iter().filter(move |it| it.at.file.0 as usize == index + 1));
        kinds.extend(nodes.flat_map(|node| [node.job.name(), node.run.name()]));
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), KINDS);
}

/// Returns a value for each parameter without a default.
fn given(job: &CoreEtlJob) -> BTreeMap<String, String> {
    let none = BTreeMap::new();
    let parameters = job.job.parameters().unwrap_or(&none).iter();
    let missing = parameters.filter_map(|(name, parameter)| {
        let ScalarOr::Map(TypedParameter { kind, default: None, .. }) = parameter else { return None };
        let value = match kind {
            ParameterType::String => "some text",
            ParameterType::Integer => "-7",
            ParameterType::Number => "1.50",
            ParameterType::Boolean => "true",
            ParameterType::Date => "2026-01-31",
            ParameterType::Timestamp => "2026-01-31T12:00:00Z",
        };
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    missing.collect()
}

/// Formats the first attempt of a job as the backend receives it, without dcp's own programs.
fn application(job: &CoreEtlJob, continuous: Option<&ContinuousJob>) -> String {
    let values = match values(job, &given(job), "run-1") {
        Ok(values) => values,
        Err(problems) => return format!("{problems:#?}\n"),
    };
    let streaming = continuous.map(Streaming::of);
    let policy = Policy::of(job, streaming.as_ref());
    let id = Id::parse("a1").expect("the id is valid");
    let mut execution = Execution::new(id, policy, Backend::Local, jiff::Timestamp::UNIX_EPOCH);
    apply_event(&mut execution, Event::Stepped, jiff::Timestamp::UNIX_EPOCH);
    let input = Input {
        job,
        execution: &execution,
        values: &values,
        streaming: streaming.as_ref(),
        results: Some("s3://results/a1"),
    };
    match lower(&input) {
        Ok(mut application) => {
            for map in &mut application.spec.config_map_specs {
                map.data.retain(|name, _| Path::new(name).extension().is_none_or(|it| it != "py"));
            }
            format!(
                "{}\n",
                serde_json::to_string_pretty(&application).expect("the application is plain data")
            )
        }
        Err(unfit) => format!("{unfit}\n"),
    }
}

#[test]
fn applications_match_the_cases() {
    let mut failures = Vec::new();
    for path in cases("primitives") {
        let text = std::fs::read_to_string(&path).expect("a case can be read");
        let compilation = compile(&split_files(&text), None);
        let mut found = String::new();
        for primitive in &compilation.primitives {
            let Body::CoreEtlJob(job) = &primitive.body else { continue };
            let of_same = |other: &&Primitive| {
                (&other.address.domain, &other.address.name)
                    == (&primitive.address.domain, &primitive.address.name)
            };
            let continuous =
                compilation.primitives.iter().filter(of_same).find_map(|other| match &other.body {
                    Body::ContinuousJob(continuous) => Some(&**continuous),
                    _ => None,
                });
            writeln!(found, "=== {}\n{}", primitive.address, application(job, continuous).trim_end())
                .expect("writing to a String does not fail");
        }
        let output = path.with_extension("app");
        let expected = std::fs::read_to_string(&output).unwrap_or_default();
        failures.extend(compare(&output, &expected, &found));
    }
    finish(&failures);
}

#[test]
fn only_jobs_of_pools_are_marked_as_their_drivers() {
    let mut job =
        dcp_tests::job("  job: {jar: {class: org.apache.spark.sql.connect.service.SparkConnectServer}}\n");
    // The compiler rejects it, and a Runner may get jobs from elsewhere.
    let value = serde_json::from_value(serde_json::json!("true")).expect("a text is a value");
    job.spark.conf.insert("spark.dcp.connect".to_owned(), value);
    let marks = |job: &CoreEtlJob| application(job, None).matches("\"spark.dcp.connect\": \"true\"").count();
    assert_eq!(marks(&job), 0, "a manifest can't mark its job");
    job.connect = true;
    assert_eq!(marks(&job), 1);
}

#[test]
fn examples_have_no_diagnostics() {
    let root = workspace().join("examples");
    let mut projects = 0;
    for entry in std::fs::read_dir(&root).expect("the folder exists") {
        let folder = entry.expect("the folder can be listed").path();
        if !folder.join("dcp.yaml").exists() {
            continue;
        }
        projects += 1;
        let mut files = std::collections::BTreeMap::new();
        let mut folders = vec![folder.clone()];
        while let Some(at) = folders.pop() {
            for entry in std::fs::read_dir(&at).expect("the folder can be read") {
                let path = entry.expect("the folder can be listed").path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(text) = std::fs::read_to_string(&path) {
                    let name = path
                        .strip_prefix(&folder)
                        .expect("the file is below the folder")
                        .to_string_lossy()
                        .into_owned();
                    files.insert(name, text);
                }
            }
        }
        let compilation = compile(&files, None);
        assert_eq!(describe(&compilation.sources, &compilation.diagnostics), "", "{}", folder.display());
        assert!(!compilation.primitives.is_empty(), "{} has no manifests", folder.display());
    }
    assert!(projects > 0, "there are no example projects");
}

#[test]
fn every_code_has_a_case() {
    let mut seen = BTreeSet::new();
    for path in cases("diagnostics") {
        let text = std::fs::read_to_string(&path).expect("a case can be read");
        let expectations = text.lines().filter_map(|line| line.strip_prefix("#~ "));
        seen.extend(expectations.filter_map(|line| Code::parse(line.split([' ', ':']).nth(1)?)));
    }
    // Tests of the command line cover diagnostics of the file system.
    let elsewhere = [Code::TOO_LARGE, Code::OUTSIDE_PROJECT];
    let missing: Vec<String> = Code::all()
        .iter()
        .filter(|info| !seen.contains(&info.code) && !elsewhere.contains(&info.code))
        .map(|info| format!("{} {}", info.code, info.title))
        .collect();
    assert!(missing.is_empty(), "no case in tests/golden/diagnostics shows these:\n{}", missing.join("\n"));
}
