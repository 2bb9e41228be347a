//! `dcp result`

use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;
use dcp_runner::api;
use dcp_runner::results::{Format, Table};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use crate::args::{self, ResultFormat};
use crate::failure::{Failure, Verdict};
use crate::out::{Console, Look};
use crate::render::table::{Layout, Row, csv, shown};
use crate::runs::{RunnerClient, failed};

/// Number of rows that determine the widths of columns.
const SAMPLE_ROWS: usize = 1_000;

type ByteStream = BoxStream<'static, api::Result<Bytes>>;

pub(super) fn run(
    args: &args::ResultArgs,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let look = console.out.look;
    let format = args.output.unwrap_or(match (&args.out, look.terminal) {
        (None, true) => ResultFormat::Table,
        _ => ResultFormat::Json,
    });
    if format == ResultFormat::Avro && args.out.is_none() && look.terminal {
        let message = "Avro is binary, and is not written to a terminal";
        return Err(Failure::usage(message).help("name a file, `--out rows.avro`, or redirect the output"));
    }
    let runs = RunnerClient::of(project, args.target.as_deref())?;
    let record = runs.find(&args.execution)?;
    let wanted = if format == ResultFormat::Json { Format::Json } else { Format::Avro };
    let pieces = runs.runner.result(record.id(), wanted);
    let written: Result<(), Failure> = match &args.out {
        None => runs.run(write(format, pieces, look, &mut console.out, &|error| error.into())),
        // Written atomically.
        Some(path) => {
            let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let failed = |error: io::Error| Failure::at(path, "written", &error);
            let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
            let look = Look { color: false, ..look };
            runs.run(write(format, pieces, look, &mut file, &failed))
                .and_then(|()| file.persist(path).map(drop).map_err(|error| failed(error.error)))
        }
    };
    runs.close();
    written.map(|()| Verdict::Success)
}

async fn write(
    format: ResultFormat,
    mut pieces: ByteStream,
    look: Look,
    to: &mut (impl Write + Send),
    write_failed: &(dyn Fn(io::Error) -> Failure + Sync),
) -> Result<(), Failure> {
    match format {
        ResultFormat::Json | ResultFormat::Avro => {
            while let Some(piece) = pieces.next().await {
                to.write_all(&piece.map_err(|error| failed(&error))?).map_err(write_failed)?;
            }
            let end = if format == ResultFormat::Json { "\n" } else { "" };
            to.write_all(end.as_bytes()).map_err(write_failed)
        }
        ResultFormat::Csv => write_csv(open(pieces).await?, to, write_failed).await,
        ResultFormat::Table => write_table(open(pieces).await?, look, to, write_failed).await,
    }
}

async fn open(pieces: ByteStream) -> Result<Table<api::Error>, Failure> {
    Table::open(pieces).await.map_err(|error| failed(&error))
}

async fn write_csv(
    mut table: Table<api::Error>,
    to: &mut (impl Write + Send),
    write_failed: &(dyn Fn(io::Error) -> Failure + Sync),
) -> Result<(), Failure> {
    let columns = table.columns();
    let head = csv(columns.iter().map(|column| Some(column.name.as_str())));
    to.write_all(head.as_bytes()).map_err(write_failed)?;
    while let Some(row) = table.next().await.map_err(|error| failed(&error))? {
        to.write_all(csv(row.iter().map(Option::as_deref)).as_bytes()).map_err(write_failed)?;
    }
    Ok(())
}

/// Writes rows as they come, in columns whose widths fit the first rows.
async fn write_table(
    mut table: Table<api::Error>,
    look: Look,
    to: &mut (impl Write + Send),
    write_failed: &(dyn Fn(io::Error) -> Failure + Sync),
) -> Result<(), Failure> {
    let mut sample: Vec<Row> = Vec::new();
    while sample.len() < SAMPLE_ROWS
        && let Some(row) = table.next().await.map_err(|error| failed(&error))?
    {
        sample.push(shown(row));
    }
    let layout = Layout::of(&table.columns(), &sample, look);
    to.write_all(layout.head().as_bytes()).map_err(write_failed)?;
    let mut rows = 0;
    for row in sample {
        rows += 1;
        to.write_all(layout.row(&row).as_bytes()).map_err(write_failed)?;
    }
    while let Some(row) = table.next().await.map_err(|error| failed(&error))? {
        rows += 1;
        to.write_all(layout.row(&shown(row)).as_bytes()).map_err(write_failed)?;
    }
    to.write_all(layout.foot(rows).as_bytes()).map_err(write_failed)
}
