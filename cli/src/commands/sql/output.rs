//! The rows of a statement, in a format.

use std::io::Write;
use std::time::Instant;

use bytes::Bytes;
use dcp_connect::client::{ArrowStream, Batches, Rows};
use dcp_runner::results::Column;
use serde_json::{Map, Value};

use crate::args::RowFormat;
use crate::failure::Failure;
use crate::out::{DIM, Look};
use crate::render::table::{Layout, Row, csv, shown};
use crate::sessions::statement_failed;

/// Number of rows that determine the widths of columns.
const SAMPLE_ROWS: usize = 1_000;

/// The way in which rows are written.
pub(in crate::commands) struct Output {
    pub(in crate::commands) format: RowFormat,
    pub(in crate::commands) look: Look,
    /// The start of the statement.
    pub(in crate::commands) started: Instant,
}

/// The batches of a result, the first of which has been read.
struct Source {
    first: Option<Bytes>,
    rest: Batches,
}

impl Source {
    async fn next(&mut self) -> Result<Option<Rows>, Failure> {
        let next = match self.first.take() {
            Some(first) => Some(first),
            None => self.rest.next().await.map_err(|status| statement_failed(&status))?,
        };
        next.map(|data| Rows::read(&data).map_err(Failure::new)).transpose()
    }
}

impl Output {
    pub(in crate::commands) async fn write(
        self,
        first: Option<Bytes>,
        rest: Batches,
        to: &mut (impl Write + Send),
    ) -> Result<(), Failure> {
        let mut source = Source { first, rest };
        match self.format {
            RowFormat::Table => self.write_table(&mut source, to).await,
            RowFormat::Json => write_json(&mut source, to).await,
            RowFormat::Csv => write_csv(&mut source, to).await,
            RowFormat::Arrow => write_arrow(&mut source, to).await,
        }
    }

    /// Writes rows as they come, in columns whose widths fit the first rows.
    async fn write_table(&self, source: &mut Source, to: &mut (impl Write + Send)) -> Result<(), Failure> {
        let mut sample: Vec<Row> = Vec::new();
        let mut columns = None;
        while sample.len() < SAMPLE_ROWS
            && let Some(rows) = source.next().await?
        {
            columns.get_or_insert_with(|| table_columns(&rows));
            sample.extend(rows.cells().map_err(Failure::new)?.into_iter().map(shown));
        }
        let Some(columns) = columns.filter(|columns| !columns.is_empty()) else {
            writeln!(to, "{}", self.look.paint(DIM, format!("done in {}", self.took())))?;
            return Ok(());
        };
        let layout = Layout::of(&columns, &sample, self.look);
        to.write_all(layout.head().as_bytes())?;
        let mut count = 0;
        for row in &sample {
            count += 1;
            to.write_all(layout.row(row).as_bytes())?;
        }
        while let Some(rows) = source.next().await? {
            for row in rows.cells().map_err(Failure::new)? {
                count += 1;
                to.write_all(layout.row(&shown(row)).as_bytes())?;
            }
        }
        let foot = layout.foot(count);
        writeln!(to, "{} {}", foot.trim_end(), self.look.paint(DIM, format!("in {}", self.took())))?;
        Ok(to.flush()?)
    }

    fn took(&self) -> String {
        format!("{:.1} s", self.started.elapsed().as_secs_f64())
    }
}

fn table_columns(rows: &Rows) -> Vec<Column> {
    let columns = rows.schema().columns().into_iter();
    columns.map(|column| Column { name: column.name, is_number: column.is_number }).collect()
}

/// Writes an array with an object on each line; nothing for a statement without columns.
async fn write_json(source: &mut Source, to: &mut (impl Write + Send)) -> Result<(), Failure> {
    let mut names: Option<Vec<String>> = None;
    let mut is_first = true;
    while let Some(rows) = source.next().await? {
        let names = match &names {
            Some(names) => names,
            None => {
                let found: Vec<String> =
                    rows.schema().columns().into_iter().map(|column| column.name).collect();
                require_distinct(&found)?;
                if found.is_empty() {
                    return Ok(());
                }
                to.write_all(b"[")?;
                names.insert(found)
            }
        };
        for values in rows.values().map_err(Failure::new)? {
            let object: Map<String, Value> = names.iter().cloned().zip(values).collect();
            let separator: &[u8] = if is_first { b"\n" } else { b",\n" };
            is_first = false;
            to.write_all(separator)?;
            serde_json::to_writer(&mut *to, &object).map_err(std::io::Error::from)?;
        }
    }
    if names.is_some() {
        to.write_all(if is_first { b"]\n" } else { b"\n]\n" })?;
    }
    Ok(to.flush()?)
}

fn require_distinct(names: &[String]) -> Result<(), Failure> {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            Err(Failure::new(format!("two columns have the name `{}`, which an object can't have", pair[0]))
                .help("name one of them with `AS`, or use `--output csv`"))
        }
        None => Ok(()),
    }
}

async fn write_csv(source: &mut Source, to: &mut (impl Write + Send)) -> Result<(), Failure> {
    let mut has_head = false;
    while let Some(rows) = source.next().await? {
        let columns = rows.schema().columns();
        if columns.is_empty() {
            return Ok(());
        }
        if !has_head {
            has_head = true;
            to.write_all(csv(columns.iter().map(|column| Some(column.name.as_str()))).as_bytes())?;
        }
        for row in rows.cells().map_err(Failure::new)? {
            to.write_all(csv(row.iter().map(Option::as_deref)).as_bytes())?;
        }
    }
    Ok(to.flush()?)
}

async fn write_arrow(source: &mut Source, to: &mut (impl Write + Send)) -> Result<(), Failure> {
    let mut stream = ArrowStream::new(&mut *to);
    while let Some(rows) = source.next().await? {
        stream.write(&rows).map_err(Failure::new)?;
    }
    stream.finish().map_err(Failure::new)?;
    Ok(to.flush()?)
}
