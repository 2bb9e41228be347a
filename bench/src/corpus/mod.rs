//! Generates manifests that resemble those of an organisation of many teams. Each manifest is valid and writes its own
//! table; many read tables of others.
//!
//! The same seed gives the same bytes, and a smaller corpus is a prefix of a larger one.

mod batch;
mod rng;
mod settings;
mod sql;
mod stream;
mod words;
mod workload;

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use rng::Rng;
use workload::{Kind, Workload};

/// The seed of the published measurements.
pub const SEED: u64 = 7;

/// The project file of a corpus. Its manifests use the variable.
pub const PROJECT: &str = "\
project: corpus
manifests: [manifests]
variables:
  kafka: kafka-1.example.com:9092,kafka-2.example.com:9092
";

/// A file of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path relative to the corpus, with `/` as separator.
    pub path: String,
    pub text: String,
}

/// Returns the manifest at `index` of the corpus of `seed`.
pub fn manifest(seed: u64, index: usize) -> File {
    let workload = Workload::new(seed, index);
    let mut rng = Rng::new(seed, index as u64 * 2 + 1);
    let mut text = String::with_capacity(1200);
    settings::head(&workload, &mut rng, &mut text);
    match workload.kind {
        Kind::Sql => batch::sql(&workload, &mut rng, &mut text),
        Kind::Pyspark => batch::pyspark(&workload, &mut rng, &mut text),
        Kind::Jar => batch::jar(&workload, &mut rng, &mut text),
        Kind::Stream => stream::stream(&workload, &mut rng, &mut text),
    }
    settings::tail(&workload, &mut rng, &mut text);
    File { path: format!("manifests/{}/{}.yaml", workload.domain, workload.name), text }
}

fn write_file(path: &Path, text: &str) -> io::Result<()> {
    match std::fs::write(path, text) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(path.parent().unwrap_or(path))?;
            std::fs::write(path, text)
        }
        done => done,
    }
}

/// Writes a corpus into a folder, and returns the total size of its manifests in bytes.
pub fn write(out: &Path, count: usize, seed: u64) -> io::Result<usize> {
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join(dcp_compiler::project::FILE_NAME), PROJECT)?;
    let mut bytes = 0;
    for index in 0..count {
        let file = manifest(seed, index);
        write_file(&out.join(&file.path), &file.text)?;
        // Validation requires that programs of the project exist.
        let program = file.text.lines().find_map(|line| line.trim().strip_prefix("main: jobs/"));
        if let Some(program) = program {
            write_file(&out.join("jobs").join(program), "")?;
        }
        bytes += file.text.len();
    }
    Ok(bytes)
}

/// Appends a formatted line.
macro_rules! line {
    ($out:expr, $($arg:tt)+) => {{
        writeln!($out, $($arg)+).expect("writing into a String does not fail");
    }};
}
use line;

/// Appends text, and indents each line that is not empty.
fn indented(out: &mut String, indent: usize, text: &str) {
    for line in text.lines() {
        if line.is_empty() {
            out.push('\n');
        } else {
            line!(out, "{:indent$}{line}", "");
        }
    }
}
