//! Compares the output for `NAME.in.yaml` with `NAME.out.yaml`. `UPDATE_GOLDEN=1 cargo test fmt` updates the output
//! files.

use std::path::{Path, PathBuf};

use dcp_compiler::source::FileId;
use dcp_compiler::yaml::fmt::{Formatted, try_format};

fn formatted(source: &str) -> Result<String, String> {
    match try_format(FileId(0), source) {
        Ok(Formatted::Text(text)) => Ok(text),
        Ok(Formatted::Discarded) => Err("would be damaged, and is kept".to_owned()),
        Err(diagnostics) => Err(format!("can't be read: {diagnostics:?}")),
    }
}

#[test]
fn formatted_files_match_the_golden_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fmt");
    let mut inputs: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.retain(|path| path.to_string_lossy().ends_with(".in.yaml"));
    inputs.sort();
    assert!(inputs.len() > 10, "the golden files are gone");
    let wrong: Vec<String> = inputs
        .iter()
        .filter_map(|input| check(input).err().map(|problem| format!("{}: {problem}", input.display())))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(input: &Path) -> Result<(), String> {
    let golden = PathBuf::from(input.to_string_lossy().replace(".in.yaml", ".out.yaml"));
    let text = formatted(&std::fs::read_to_string(input).map_err(|error| error.to_string())?)?;
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).map_err(|error| error.to_string())?;
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    match formatted(&text) {
        _ if text != expected => Err(format!("differs from its golden file; formatted:\n{text}")),
        Ok(again) if again != text => Err(format!("is formatted once more:\n{again}")),
        outcome => outcome.map(drop),
    }
}
