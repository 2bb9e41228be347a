//! Checks the documented properties of the corpus.

use std::collections::{BTreeMap, BTreeSet};

use dcp_bench::corpus::{self, PROJECT, SEED};
use dcp_bench::validate::{self, Threads};
use dcp_compiler::diag::Severity;
use dcp_compiler::sql;

#[test]
fn corpus_is_valid() {
    let project = validate::read_project(PROJECT).expect("the project file is good");
    let compiler = validate::compiler(&project, PROJECT);
    for seed in [SEED, 1] {
        let files: BTreeMap<String, String> =
            (0..300).map(|index| corpus::manifest(seed, index)).map(|file| (file.path, file.text)).collect();
        let paths: Vec<String> = files.keys().cloned().collect();
        let done = validate::run(&compiler, &files, &paths, Threads::All);
        let found: Vec<_> =
            done.diagnostics.iter().filter(|found| found.severity != Severity::Note).collect();
        assert!(found.is_empty(), "{found:#?}");
        assert_eq!(done.manifests.count(), 300, "two files have the same path");

        let jobs: BTreeSet<&str> = done.graph.nodes.iter().map(|node| node.job.name()).collect();
        assert_eq!(jobs, BTreeSet::from(["jar", "pyspark", "sql", "stream"]));
        let runs: BTreeSet<&str> = done.graph.nodes.iter().map(|node| node.run.name()).collect();
        assert_eq!(runs, BTreeSet::from(["continuous", "manual", "onAssets", "schedule"]));
        assert!(
            done.graph.edges.len() > 200,
            "few workloads read outputs of others: {}",
            done.graph.edges.len()
        );
    }
}

#[test]
fn sql_of_the_corpus_is_parsed() {
    let is_parsed = |text: &str| {
        let parsed = dcp_compiler::yaml::parse(dcp_compiler::source::FileId(0), text);
        let root = parsed.documents[0].root();
        let query = ["sql", "stream"].into_iter().find_map(|kind| root.find(["spec", "job", kind, "query"]));
        query.is_none_or(|query| {
            let reading = sql::read(query.as_str().expect("a query is text"), sql::Detail::Shape);
            matches!(reading, sql::Reading::Known(_))
        })
    };
    for index in 0..300 {
        let file = corpus::manifest(SEED, index);
        assert!(is_parsed(&file.text), "{}", file.text);
    }
}

#[test]
fn manifests_have_a_realistic_length() {
    let bytes: usize = (0..2000).map(|index| corpus::manifest(SEED, index).text.len()).sum();
    assert!((900..=960).contains(&(bytes / 2000)), "{} bytes on average", bytes / 2000);
}

#[test]
fn same_seed_gives_the_same_manifest() {
    for index in [0, 17, 99_999] {
        assert_eq!(corpus::manifest(SEED, index), corpus::manifest(SEED, index));
    }
    assert_ne!(corpus::manifest(SEED, 17).text, corpus::manifest(SEED + 1, 17).text);
}
