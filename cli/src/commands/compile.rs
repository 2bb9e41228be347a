//! `dcp compile`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use dcp_compiler::compile::Goal;
use dcp_model::primitive::{Body, Primitive};
use dcp_workspace::project::{Request, Workspace};
use serde::Serialize;
use serde_json::Value;

use crate::args::Compile;
use crate::failure::{Failure, Verdict};
use crate::out::{Console, GOOD};
use crate::progress::ReadProgress;
use crate::render::{self, Report, format_count};
use crate::write::folder::{Change, Folder};

/// A primitive as a JSON document.
#[derive(Serialize)]
struct Written<'a> {
    address: String,
    fingerprint: &'a str,
    body: Value,
}

pub(super) fn run(args: &Compile, project: Option<&Path>, console: &mut Console) -> Result<Verdict, Failure> {
    let Compile { selection, out, deny_warnings } = args;
    let home = Workspace::find(project, &selection.paths)?;
    let listener = ReadProgress::new(console.watched());
    let on_file = |files| listener.file(files);
    let request = Request {
        paths: &selection.paths,
        target: selection.target.as_deref(),
        goal: Goal::Compile,
        on_file: Some(&on_file),
    };
    let outcome = home.compile(request)?;
    drop(listener);
    let report = Report { outcome: &outcome, root: &home.root, quiet: true, deny_warnings: *deny_warnings };
    render::write_found(&report, console.err.look, &mut console.err)?;
    if report.failed() {
        writeln!(console.err, "nothing was written")?;
        return Ok(Verdict::Errors);
    }
    let files = files(&outcome.compilation.primitives)?;
    let Change { written, unchanged, removed } = Folder::open(out)?.replace(&files)?;
    if console.quiet {
        return Ok(Verdict::Success);
    }
    let look = console.out.look;
    let done = match (written, removed) {
        (0, 0) => format!("nothing has changed: {} in `{}`", format_count(unchanged, "file"), out.display()),
        _ => format!(
            "{} written to `{}`, {unchanged} unchanged, {removed} removed",
            format_count(written, "file"),
            out.display()
        ),
    };
    writeln!(console.out, "{}", look.paint(GOOD, done))?;
    Ok(Verdict::Success)
}

/// Returns every file, by its path in the folder.
fn files(primitives: &[Primitive]) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let mut files = BTreeMap::new();
    let mut add = |path: String, content: Vec<u8>| match files.insert(path.clone(), content) {
        None => Ok(()),
        Some(_) => Err(Failure::new(format!("two primitives would be written to `{path}`"))
            .help("give one of their manifests another name")),
    };
    for primitive in primitives {
        add(format!("{}.json", primitive.address), json(primitive)?)?;
        if let Body::Orchestrator(orchestrator) = &primitive.body {
            add(format!("dags/{}", orchestrator.file), orchestrator.content.clone().into_bytes())?;
        }
    }
    Ok(files)
}

fn json(primitive: &Primitive) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::new(format!("`{}` can't be written as JSON: {error}", primitive.address));
    let written = Written {
        address: primitive.address.to_string(),
        fingerprint: primitive.fingerprint.as_str(),
        // The canonical text has sorted keys, and parsing preserves their order.
        body: serde_json::from_str(&primitive.body.canonical()).map_err(failed)?,
    };
    let mut text = serde_json::to_vec_pretty(&written).map_err(failed)?;
    text.push(b'\n');
    Ok(text)
}
