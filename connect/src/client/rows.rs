//! Rows of Arrow as text and as JSON.

use std::io::Cursor;

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{ArrowError, SchemaRef};

/// A value as text; none for null.
pub type Cell = Option<String>;

/// The columns of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema(SchemaRef);

impl Schema {
    /// Returns the names of the columns, their types, and whether each is a number.
    pub fn columns(&self) -> Vec<(String, String, bool)> {
        let fields = self.0.fields().iter();
        fields
            .map(|field| {
                let of = field.data_type();
                (field.name().clone(), of.to_string(), of.is_numeric())
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

    /// Returns the rows as objects of JSON.
    pub fn objects(&self) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("a value can't be written as JSON: {error}");
        let mut writer = arrow_json::WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, arrow_json::writer::JsonArray>(Vec::new());
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        writer.write_batches(&batches).map_err(|error| failed(&error))?;
        writer.finish().map_err(|error| failed(&error))?;
        let text = writer.into_inner();
        match text.is_empty() {
            true => Ok(Vec::new()),
            false => serde_json::from_slice(&text).map_err(|error| failed(&error)),
        }
    }
}
