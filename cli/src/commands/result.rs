//! `dcp result`

use std::io::Write as _;
use std::path::Path;

use dcp_runner::results::Format;
use futures_util::StreamExt as _;

use crate::args::{self, ResultFormat};
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::runs::{Runs, failed};

pub(super) fn run(
    args: &args::Rows,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let format = match args.output {
        ResultFormat::Json => Format::Json,
        ResultFormat::Avro => Format::Avro,
    };
    if format == Format::Avro && args.out.is_none() && console.out.look.terminal {
        let message = "Avro is nothing for a terminal";
        return Err(
            Failure::usage(message).help("name a file: --out rows.avro; or send it elsewhere: > rows.avro")
        );
    }
    let runs = Runs::of(project, args.target.as_deref())?;
    let record = runs.find(&args.execution)?;
    let mut pieces = runs.runner.result(record.id(), format);
    let mut file = None;
    if let Some(path) = &args.out {
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let opened = tempfile::NamedTempFile::new_in(folder);
        file = Some((path, opened.map_err(|error| Failure::at(path, "written", &error))?));
    }
    let told: Result<(), Failure> = runs.run(async {
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| failed(&error))?;
            match &mut file {
                Some((path, file)) => {
                    file.write_all(&piece).map_err(|error| Failure::at(path, "written", &error))?;
                }
                None => console.out.write_all(&piece)?,
            }
        }
        Ok(())
    });
    told?;
    match file {
        // Whole, or not at all.
        Some((path, file)) => {
            file.persist(path).map_err(|error| Failure::at(path, "written", &error.error))?;
        }
        None if format == Format::Json => writeln!(console.out)?,
        None => {}
    }
    runs.close();
    Ok(Verdict::Fine)
}
