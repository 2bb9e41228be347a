//! Any text goes through the whole compiler: it never panics, all places exist, and twice gives the same.
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
    places(&first);
    let again = compile(&files);
    assert_eq!(first.diagnostics, again.diagnostics);
    assert_eq!(format!("{:?}", first.graph), format!("{:?}", again.graph));
    assert_eq!(first.primitives, again.primitives);
    if first.has_errors() {
        assert!(first.primitives.is_empty(), "there are primitives in spite of errors");
    } else {
        assert!(!first.primitives.is_empty(), "there is neither an error nor a primitive");
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

fn places(done: &Compilation) {
    for diagnostic in &done.diagnostics {
        assert!(!diagnostic.message.is_empty(), "{diagnostic:?} says nothing");
        for label in &diagnostic.labels {
            let at = label.span;
            let file = done
                .sources
                .files()
                .get(at.file.0 as usize)
                .expect("the file of a label is among the sources");
            assert!(file.text.get(at.range()).is_some(), "{diagnostic:?} is at no place in {}", file.path);
        }
    }
}
