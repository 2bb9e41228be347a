//! Checks that the compiler never panics, reports only existing positions, and is deterministic.
#![no_main]

use std::collections::BTreeMap;

use dcp_compiler::compile::{Compilation, Compiler, Goal};
use dcp_compiler::project::Project;
use libfuzzer_sys::fuzz_target;

const QUERY: &str = "SELECT a, count(*) AS n FROM events GROUP BY a";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let files: BTreeMap<String, String> = [("manifests/a.yaml", text), ("query.sql", QUERY)]
        .into_iter()
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .collect();
    let first = compile(&files);
    check_positions(&first);
    let again = compile(&files);
    assert_eq!(first.diagnostics, again.diagnostics);
    assert_eq!(format!("{:?}", first.graph), format!("{:?}", again.graph));
    assert_eq!(first.primitives, again.primitives);
    if first.has_errors() {
        assert!(first.primitives.is_empty(), "a manifest with errors has primitives");
    } else {
        assert!(!first.primitives.is_empty(), "a manifest without errors has no primitives");
    }
});

fn compile(files: &BTreeMap<String, String>) -> Compilation {
    let project = Project::none();
    let compiler = Compiler {
        project: &project,
        project_source: None,
        project_diagnostics: Vec::new(),
        goal: Goal::Compile,
    };
    compiler.link(vec![compiler.analyze(0, "manifests/a.yaml", files)])
}

fn check_positions(done: &Compilation) {
    for diagnostic in &done.diagnostics {
        assert!(!diagnostic.message.is_empty(), "{diagnostic:?} has no message");
        for label in &diagnostic.labels {
            let at = label.span;
            let file = done
                .sources
                .files()
                .get(at.file.0 as usize)
                .expect("the file of a label is among the sources");
            assert!(file.text.get(at.range()).is_some(), "{diagnostic:?} is outside of {}", file.path);
        }
    }
}
