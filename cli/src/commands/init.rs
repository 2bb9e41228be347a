//! `dcp init`

use std::fs;
use std::io::Write as _;
use std::path::Path;

use dcp_compiler::schema::{MANIFEST, PROJECT};
use dcp_model::manifest::Name;
use dcp_workspace::FOLDER;

use crate::args::Init;
use crate::failure::{Failure, Verdict};
use crate::out::{BOLD, Console, DIM, GOOD};
use crate::write;

const PROJECT_FILE: &str = include_str!("init/dcp.yaml");
const BATCH: &str = include_str!("init/orders-daily.yaml");
const STREAM: &str = include_str!("init/ticks-per-minute.yaml");
/// Git ignores everything but the schemas, as dcp's other files belong to this machine.
const GITIGNORE: &str = "*\n!.gitignore\n!schemas/\n!schemas/*\n";

pub(super) fn run(args: &Init, console: &mut Console) -> Result<Verdict, Failure> {
    let Init { folder, name } = args;
    let name = match name {
        Some(name) => Name::parse(name)
            .map_err(|why| Failure::usage(format!("`{name}` is no name: {}", why.message)))?,
        None => name_of(folder)?,
    };
    let files = [
        ("dcp.yaml", PROJECT_FILE.replace("PROJECT", name.as_str())),
        ("manifests/orders-daily.yaml", BATCH.to_owned()),
        ("manifests/ticks-per-minute.yaml", STREAM.to_owned()),
        (".dcp/.gitignore", GITIGNORE.to_owned()),
        (".dcp/schemas/manifest.json", MANIFEST.text()),
        (".dcp/schemas/project.json", PROJECT.text()),
    ];
    let there = |path: &&str| folder.join(path).symlink_metadata().is_ok();
    let there: Vec<&str> = files.iter().map(|(path, _)| *path).filter(there).collect();
    if let Some((first, others)) = there.split_first() {
        let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        let message = format!("`{}` has `{first}`{others} of the files that would be made", folder.display());
        return Err(Failure::new(message)
            .help("name another folder: nothing is overwritten, and nothing was written"));
    }
    for (path, content) in &files {
        let path = folder.join(path);
        let above = path.parent().unwrap_or(folder);
        let is_private = path.starts_with(folder.join(FOLDER));
        let made = if is_private {
            dcp_workspace::private::dcp_folder(folder)
                .and_then(|_| dcp_workspace::private::create_folder(above))
        } else {
            fs::create_dir_all(above)
        };
        made.map_err(|error| Failure::at(above, "made a folder", &error))?;
        let replace = if is_private { write::replace_private } else { write::replace };
        replace(&path, content.as_bytes()).map_err(|error| Failure::at(&path, "written", &error))?;
    }
    if !console.quiet {
        print_summary(folder, name.as_str(), console)?;
    }
    Ok(Verdict::Success)
}

fn print_summary(folder: &Path, name: &str, console: &mut Console) -> Result<(), Failure> {
    let look = console.out.look;
    let out = &mut console.out;
    writeln!(
        out,
        "{}",
        look.paint(GOOD, format_args!("made the project `{name}` in `{}`", folder.display()))
    )?;
    for (path, what) in [
        ("dcp.yaml", "the project, its targets and variables"),
        ("manifests/orders-daily.yaml", "a SQL job that runs every night"),
        ("manifests/ticks-per-minute.yaml", "a stream that always runs"),
        (".dcp/schemas/", "what editors check and complete manifests by"),
    ] {
        writeln!(out, "  {path:33} {}", look.paint(DIM, what))?;
    }
    writeln!(out, "\n{}", look.paint(BOLD, "next:"))?;
    if folder != Path::new(".") {
        writeln!(out, "  cd {}", folder.display())?;
    }
    for (command, what) in [
        ("dcp validate", "check everything"),
        ("dcp run manifests/orders-daily.yaml", "run a job on this machine"),
        ("dcp plan", "see what an apply would do"),
        ("dcp apply", "do it"),
        ("dcp up", "keep the stream running, until Ctrl-C"),
        ("dcp doctor", "see what this machine lacks"),
    ] {
        writeln!(out, "  {command:36} {}", look.paint(DIM, what))?;
    }
    Ok(())
}

/// Derives the project's name from the folder's.
fn name_of(folder: &Path) -> Result<Name, Failure> {
    let full = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let full = full.canonicalize().unwrap_or(full);
    let last = full.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let parts = last.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    let name = parts.collect::<Vec<_>>().join("-");
    Name::parse(&name).map_err(|_| {
        Failure::usage(format!("no name for the project can be made of `{last}`"))
            .help("give it one by `--name`")
    })
}
