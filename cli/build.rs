//! Puts the pages of `docs/diagnostics` into the binary, for `dcp explain`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    // The folder of this run: clones that share a target folder also share the compiled script.
    let project =
        env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| io::Error::other("cargo sets the folder"))?;
    let folder = Path::new(&project).join("../docs/diagnostics");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut pages: Vec<(String, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let code = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if code.starts_with("DCP") && path.extension().is_some_and(|extension| extension == "md") {
            pages.push((code.to_owned(), path.canonicalize()?));
        }
    }
    pages.sort();
    let mut table = String::from("pub(super) static PAGES: &[(&str, &str)] = &[\n");
    for (code, path) in pages {
        let path = path.display().to_string();
        writeln!(table, "    ({code:?}, include_str!({path:?})),").map_err(io::Error::other)?;
    }
    table.push_str("];\n");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("pages.rs"), table)
}
