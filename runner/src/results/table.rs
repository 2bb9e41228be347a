//! A result as rows of text, for display and for CSV.

use std::fmt;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::Error;
use super::container::Source;
use super::json::Rows;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub is_number: bool,
}

/// Reads the rows of a result that comes as one Avro file.
pub struct Table<E> {
    source: Source<E>,
    rows: Rows,
}

impl<E> fmt::Debug for Table<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("columns", &self.rows.columns()).finish_non_exhaustive()
    }
}

impl<E: From<Error>> Table<E> {
    /// Reads the head of an Avro file.
    pub async fn open(avro: BoxStream<'static, Result<Bytes, E>>) -> Result<Self, E> {
        let source = Source::open("rows.avro".to_owned(), avro).await?;
        let rows = Rows::new(&source.header).map_err(|why| source.unsupported(why))?;
        Ok(Self { source, rows })
    }

    pub fn columns(&self) -> Vec<Column> {
        let column = |name: &str, is_number| Column { name: name.to_owned(), is_number };
        self.rows.columns().iter().map(|it| column(&it.name, it.data_type.is_number())).collect()
    }

    /// Returns the next row: the text of each value, and none for a null.
    pub async fn next(&mut self) -> Result<Option<Vec<Option<String>>>, E> {
        loop {
            if let Some(cells) = self.rows.cells().map_err(|error| self.source.error(error))? {
                return Ok(Some(cells));
            }
            match self.source.block().await? {
                Some(block) => self.rows.take(block).map_err(|error| self.source.error(error))?,
                None => return Ok(None),
            }
        }
    }
}
