//! The pairs in this folder: `NAME.in.yaml` and what becomes of it. `UPDATE_GOLDEN=1 cargo test fmt` writes them anew.

use std::path::{Path, PathBuf};

use dcp_compiler::source::FileId;
use dcp_compiler::yaml::fmt::{Formatted, attempt};

fn formatted(name: &str, source: &str) -> String {
    match attempt(FileId(0), source) {
        Ok(Formatted::Text(text)) => text,
        Ok(Formatted::Kept) => panic!("{name} would have been damaged"),
        Err(diagnostics) => panic!("{name} can't be read: {diagnostics:?}"),
    }
}

#[test]
fn files_are_formatted_as_the_golden_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fmt");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut inputs: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.retain(|path| path.to_string_lossy().ends_with(".in.yaml"));
    inputs.sort();
    assert!(inputs.len() > 10, "the golden files are gone");
    for input in inputs {
        let name = input.to_string_lossy().replace(".in.yaml", "");
        let golden = PathBuf::from(format!("{name}.out.yaml"));
        let text = formatted(&name, &std::fs::read_to_string(&input).unwrap());
        assert_eq!(formatted(&name, &text), text, "{name} is not at rest");
        if update {
            std::fs::write(&golden, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(text == expected, "{name} differs from its golden file; formatted:\n{text}");
    }
}
