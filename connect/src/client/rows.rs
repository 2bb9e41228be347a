//! Rows of Arrow as text and as JSON.

use std::collections::HashMap;
use std::fmt;
use std::io::{Cursor, Write};

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_json::WriterBuilder;
use arrow_json::writer::JsonArray;
use arrow_schema::{ArrowError, Field, SchemaRef};
use serde_json::Value;

/// A value as text; none for null.
pub type Cell = Option<String>;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// The type, in the words of Arrow.
    pub of: String,
    pub is_number: bool,
}

/// The columns of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema(SchemaRef);

impl Schema {
    pub fn columns(&self) -> Vec<Column> {
        let fields = self.0.fields().iter();
        fields
            .map(|field| {
                let of = field.data_type();
                Column { name: field.name().clone(), of: of.to_string(), is_number: of.is_numeric() }
            })
            .collect()
    }
}

/// The rows of one batch.
#[derive(Debug)]
pub struct Rows {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Rows {
    /// Reads a batch, which is a stream of Arrow of its own.
    pub fn read(data: &[u8]) -> Result<Self, String> {
        let read = || -> Result<Self, ArrowError> {
            let reader = StreamReader::try_new(Cursor::new(data), None)?;
            let schema = reader.schema();
            Ok(Self { schema, batches: reader.collect::<Result<_, _>>()? })
        };
        read().map_err(|error| format!("the driver's result can't be read: {error}"))
    }

    pub fn schema(&self) -> Schema {
        Schema(SchemaRef::clone(&self.schema))
    }

    pub fn len(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the rows as text.
    pub fn cells(&self) -> Result<Vec<Vec<Cell>>, String> {
        let failed = |error: ArrowError| format!("a value can't be shown: {error}");
        let options = FormatOptions::default().with_null("");
        let mut rows = Vec::with_capacity(self.len());
        for batch in &self.batches {
            let columns = batch.columns().iter();
            let formatters = columns.map(|column| ArrayFormatter::try_new(column, &options));
            let formatters: Vec<_> = formatters.collect::<Result<_, _>>().map_err(failed)?;
            for row in 0..batch.num_rows() {
                let mut cells = Vec::with_capacity(formatters.len());
                for (formatter, column) in formatters.iter().zip(batch.columns()) {
                    cells.push(match column.is_null(row) {
                        true => None,
                        false => Some(formatter.value(row).try_to_string().map_err(failed)?),
                    });
                }
                rows.push(cells);
            }
        }
        Ok(rows)
    }

    /// Returns the rows as values of JSON, in the order of the columns. Names of columns may be the same.
    pub fn values(&self) -> Result<Vec<Vec<Value>>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("a value can't be written as JSON: {error}");
        let numbered = self.schema.fields().iter().enumerate();
        let numbered: Vec<Field> =
            numbered.map(|(at, field)| field.as_ref().clone().with_name(at.to_string())).collect();
        let schema = SchemaRef::new(arrow_schema::Schema::new(numbered));
        let mut rows = Vec::with_capacity(self.len());
        for batch in &self.batches {
            // A batch without columns has rows all the same.
            if batch.num_columns() == 0 {
                rows.extend((0..batch.num_rows()).map(|_| Vec::new()));
                continue;
            }
            let batch = RecordBatch::try_new(SchemaRef::clone(&schema), batch.columns().to_vec());
            let batch = batch.map_err(|error| failed(&error))?;
            let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
            writer.write(&batch).map_err(|error| failed(&error))?;
            writer.finish().map_err(|error| failed(&error))?;
            let text = writer.into_inner();
            let objects: Vec<HashMap<String, Value>> = match text.is_empty() {
                true => Vec::new(),
                false => serde_json::from_slice(&text).map_err(|error| failed(&error))?,
            };
            let value = |object: &mut HashMap<String, Value>, at: usize| {
                object.remove(&at.to_string()).unwrap_or_default()
            };
            let columns = batch.num_columns();
            rows.extend(
                objects
                    .into_iter()
                    .map(|mut it| (0..columns).map(|at| value(&mut it, at)).collect::<Vec<_>>()),
            );
        }
        Ok(rows)
    }
}

/// Writes batches as one stream of Arrow.
pub struct ArrowStream<W: Write> {
    to: Option<W>,
    writer: Option<StreamWriter<W>>,
}

impl<W: Write> fmt::Debug for ArrowStream<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArrowStream")
    }
}

impl<W: Write> ArrowStream<W> {
    pub fn new(to: W) -> Self {
        Self { to: Some(to), writer: None }
    }

    pub fn write(&mut self, rows: &Rows) -> Result<(), String> {
        self.try_write(rows).map_err(|error| format!("the rows can't be written: {error}"))
    }

    fn try_write(&mut self, rows: &Rows) -> Result<(), ArrowError> {
        if let Some(to) = self.to.take() {
            self.writer = Some(StreamWriter::try_new(to, &rows.schema)?);
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        rows.batches.iter().try_for_each(|batch| writer.write(batch))
    }

    /// Writes the end of the stream.
    pub fn finish(mut self) -> Result<(), String> {
        let finished = self.writer.as_mut().map_or(Ok(()), StreamWriter::finish);
        finished.map_err(|error| format!("the rows can't be written: {error}"))
    }
}
