//! Converts Avro's rows to JSON, directly from bytes to text.
//!
//! `apache-avro` only decompresses here. Its values are not used: its decoder turns a truncated row into one with
//! nulls, lets a few bytes claim any number of items, and follows a recursive schema to any depth.

use std::fmt::Write as _;

use apache_avro::error::Details;
use apache_avro::{Codec, DeflateSettings, ZstandardSettings};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use super::container::{Block, Header, ReadError, take_long};
use super::schema::{Field, Schema, Type};
use super::time;

/// Maximum size of a decompressed block, and of one row as JSON.
const MAX_BLOCK_BYTES: usize = 64 << 20;
const MAX_ROW_BYTES: usize = 64 << 20;
/// Maximum depth of nested records, lists and maps.
const MAX_DEPTH: usize = 100;

type Result<T> = std::result::Result<T, ReadError>;

/// The rows of one file.
pub(super) struct Rows {
    schema: Schema,
    codec: Codec,
    /// The rest of the current block.
    data: Bytes,
    remaining: u64,
}

impl Rows {
    pub(super) fn new(header: &Header) -> std::result::Result<Self, String> {
        // The limit applies to the whole process, and the first caller sets it.
        apache_avro::util::max_allocation_bytes(MAX_BLOCK_BYTES);
        let schema = Schema::read(&header.schema)?;
        let codec = match header.codec.as_ref() {
            b"null" => Codec::Null,
            b"deflate" => Codec::Deflate(DeflateSettings::default()),
            b"snappy" => Codec::Snappy,
            b"zstandard" => Codec::Zstandard(ZstandardSettings::default()),
            _ => {
                return Err("its codec is not one of null, snappy, deflate and zstandard: leave \
                            `spark.sql.avro.compression.codec` at one of these, or read the result as Avro"
                    .to_owned());
            }
        };
        Ok(Self { schema, codec, data: Bytes::new(), remaining: 0 })
    }

    /// Returns the number of bytes of the current block that are not converted yet.
    pub(super) fn bytes_left(&self) -> usize {
        self.data.len()
    }

    /// Takes the next block. All rows of the previous one must be converted.
    pub(super) fn take(&mut self, block: Block) -> Result<()> {
        self.data = match self.codec {
            Codec::Null => block.data,
            codec => {
                let mut data = block.data.to_vec();
                let decompressed = codec.decompress(&mut data);
                decompressed.map_err(|error| match error.into_details() {
                    Details::MemoryAllocation { desired, .. } => {
                        ReadError::TooLarge { size: desired, limit: MAX_BLOCK_BYTES }
                    }
                    _ => ReadError::Damaged("a block can't be decompressed".to_owned()),
                })?;
                data.into()
            }
        };
        self.remaining = block.rows;
        Ok(())
    }

    pub(super) fn columns(&self) -> &[Field] {
        &self.schema.columns
    }

    /// Returns the values of the next row: text without quotes, other values as JSON, none for a null. Returns no row
    /// at the end of the block.
    pub(super) fn cells(&mut self) -> Result<Option<Vec<Option<String>>>> {
        if self.remaining == 0 {
            return Ok(None);
        }
        let mut rest = self.data.as_ref();
        let mut writer = Writer { schema: &self.schema, text: String::new(), most: MAX_ROW_BYTES };
        let mut cells = Vec::with_capacity(self.schema.columns.len());
        for column in &self.schema.columns {
            writer.text.clear();
            writer.value(&column.data_type, &mut rest, 0)?;
            cells.push(match writer.text.as_str() {
                "null" => None,
                text if text.starts_with('"') => serde_json::from_str(text).ok(),
                text => Some(text.to_owned()),
            });
        }
        let taken = self.data.len() - rest.len();
        drop(self.data.split_to(taken));
        self.remaining -= 1;
        Ok(Some(cells))
    }

    /// Returns the next rows as JSON, of about the requested length; none at the end of the block. `written` counts
    /// rows.
    pub(super) fn piece(&mut self, target: usize, written: &mut u64) -> Result<Option<Bytes>> {
        let Self { schema, data, remaining, .. } = self;
        let mut rest = data.as_ref();
        let mut writer = Writer { schema, text: String::new(), most: 0 };
        while *remaining > 0 && writer.text.len() < target {
            writer.text.push_str(if *written == 0 { "[\n" } else { ",\n" });
            writer.most = writer.text.len() + MAX_ROW_BYTES;
            writer.record(&schema.columns, &mut rest, 0)?;
            *remaining -= 1;
            *written = written.saturating_add(1);
        }
        if *remaining == 0 && !rest.is_empty() {
            return Err("a block has more than its rows".into());
        }
        let text = writer.text;
        let taken = data.len() - rest.len();
        drop(data.split_to(taken));
        Ok((!text.is_empty()).then(|| text.into()))
    }
}

struct Writer<'s> {
    schema: &'s Schema,
    text: String,
    /// Maximum length of the text.
    most: usize,
}

impl Writer<'_> {
    #[expect(clippy::too_many_lines, reason = "one case for each type of Avro")]
    fn value(&mut self, data_type: &Type, bytes: &mut &[u8], depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(format!("a row has more than {MAX_DEPTH} levels").into());
        }
        if self.text.len() > self.most {
            return Err(ReadError::TooLarge { size: None, limit: MAX_ROW_BYTES });
        }
        match data_type {
            Type::Null => self.put("null"),
            Type::Boolean => match take(bytes, 1)? {
                [0] => self.put("false"),
                [1] => self.put("true"),
                _ => return Err("a truth is neither true nor false".into()),
            },
            Type::Int => self.display(int(bytes)?),
            Type::Long => self.display(long(bytes)?),
            Type::Float => {
                let number = f32::from_le_bytes(array(take(bytes, 4)?));
                self.float(number.is_finite(), &format!("{number:?}"));
            }
            Type::Double => {
                let number = f64::from_le_bytes(array(take(bytes, 8)?));
                self.float(number.is_finite(), &format!("{number:?}"));
            }
            Type::Bytes => {
                let value = length_prefixed(bytes)?;
                self.base64(value);
            }
            Type::Text => {
                let value = text(bytes)?;
                self.string(value);
            }
            Type::Json => {
                let value = text(bytes)?;
                self.json(value)?;
            }
            Type::Fixed(size) => {
                let value = take(bytes, *size)?;
                self.base64(value);
            }
            Type::Decimal { scale, size } => {
                let value = if let Some(size) = size { take(bytes, *size)? } else { length_prefixed(bytes)? };
                let text = digits(value, *scale)?;
                self.string(&text);
            }
            Type::Date => self.string(&time::date(i64::from(int(bytes)?))),
            Type::Time { fraction } => self.string(&time::time_of_day(long(bytes)?, *fraction)?),
            Type::Instant { fraction, zone } => {
                let text = time::instant(long(bytes)?, *fraction);
                self.string(&format!("{text}{zone}"));
            }
            Type::Months => self.string(&time::months(int(bytes)?)),
            Type::Micros => self.string(&time::span(long(bytes)?)),
            Type::Enum(symbols) => {
                let index = usize::try_from(int(bytes)?).ok();
                let symbol = index.and_then(|index| symbols.get(index));
                self.string(symbol.ok_or("a value is none of its type's")?);
            }
            Type::Union(variants) => {
                let index = usize::try_from(long(bytes)?).ok();
                let variant = index.and_then(|index| variants.get(index));
                self.value(variant.ok_or("a value is of none of its types")?, bytes, depth + 1)?;
            }
            Type::List(items) => {
                self.put("[");
                self.items(bytes, |writer, bytes| writer.value(items, bytes, depth + 1))?;
                self.put("]");
            }
            Type::Map(values) => {
                self.put("{");
                self.items(bytes, |writer, bytes| {
                    let key = text(bytes)?;
                    writer.string(key);
                    writer.put(":");
                    writer.value(values, bytes, depth + 1)
                })?;
                self.put("}");
            }
            Type::Record(fields) => self.record(fields, bytes, depth)?,
            Type::Named(number) => {
                let data_type = self.schema.named(*number).ok_or("a type is not known")?;
                self.value(data_type, bytes, depth + 1)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, fields: &[Field], bytes: &mut &[u8], depth: usize) -> Result<()> {
        let mut before = "{";
        for field in fields {
            self.put(before);
            before = ",";
            self.string(&field.name);
            self.put(":");
            self.value(&field.data_type, bytes, depth + 1)?;
        }
        self.put(if fields.is_empty() { "{}" } else { "}" });
        Ok(())
    }

    /// Writes text that has to be JSON, after validating it.
    fn json(&mut self, text: &str) -> Result<()> {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        if !is_json {
            return Err("a value is not JSON".into());
        }
        self.put(text);
        Ok(())
    }

    /// Writes the items of a list or a map, which Avro stores in runs.
    fn items(
        &mut self,
        bytes: &mut &[u8],
        mut item: impl FnMut(&mut Self, &mut &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut first = true;
        loop {
            let count = long(bytes)?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // The size of the run in bytes, for readers that skip it.
                long(bytes)?;
            }
            for _ in 0..count.unsigned_abs() {
                if !std::mem::take(&mut first) {
                    self.put(",");
                }
                item(self, bytes)?;
            }
        }
    }

    /// Writes a number; NaN and infinities become text, with the usual name `Infinity` instead of Rust's `inf`.
    fn float(&mut self, finite: bool, text: &str) {
        if finite { self.put(text) } else { self.string(&text.replace("inf", "Infinity")) }
    }

    fn base64(&mut self, bytes: &[u8]) {
        self.text.push('"');
        BASE64_STANDARD.encode_string(bytes, &mut self.text);
        self.text.push('"');
    }

    fn string(&mut self, text: &str) {
        self.display(serde_json::Value::from(text));
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        // Writing to a string never fails.
        let _ = write!(self.text, "{value}");
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Result<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or("a row is cut off")?;
    *bytes = rest;
    Ok(taken)
}

/// Reads a length, and as many bytes.
fn length_prefixed<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8]> {
    let length = usize::try_from(long(bytes)?).map_err(|_| "a length is none".to_owned())?;
    take(bytes, length)
}

fn text<'b>(bytes: &mut &'b [u8]) -> Result<&'b str> {
    std::str::from_utf8(length_prefixed(bytes)?).map_err(|_| "a text is not UTF-8".into())
}

fn long(bytes: &mut &[u8]) -> Result<i64> {
    take_long(bytes).ok_or_else(|| "a number is cut off, or too large".into())
}

fn int(bytes: &mut &[u8]) -> Result<i32> {
    i32::try_from(long(bytes)?).map_err(|_| "a number is too large".into())
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    for (to, from) in array.iter_mut().zip(bytes) {
        *to = *from;
    }
    array
}

/// Formats a decimal exactly, with as many fractional digits as its type has. The number is in two's complement, the
/// highest byte first.
fn digits(bytes: &[u8], scale: usize) -> Result<String> {
    // Maximum number of digits of Spark's decimals.
    const MOST: usize = 38;
    let number =
        to_i128(bytes).filter(|_| scale <= MOST).ok_or("a decimal has more digits than Spark has")?;
    let sign = if number < 0 { "-" } else { "" };
    let digits = format!("{:0>1$}", number.unsigned_abs(), scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    Ok(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

fn to_i128(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let fill = if negative { 0xFF } else { 0 };
    let (more, last) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut number = [fill; 16];
    for (to, from) in number.iter_mut().rev().zip(last.iter().rev()) {
        *to = *from;
    }
    let number = i128::from_be_bytes(number);
    (more.iter().all(|byte| *byte == fill) && (number < 0) == negative).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decimals_are_exact(number in any::<i128>(), scale in 0_usize..=38, more in 0_usize..4) {
            let fill = if number < 0 { 0xFF } else { 0 };
            let bytes = [vec![fill; more], number.to_be_bytes().to_vec()].concat();
            let text = digits(&bytes, scale).unwrap();
            prop_assert_eq!(text.split_once('.').map_or(0, |(_, fraction)| fraction.len()), scale);
            prop_assert_eq!(text.replace('.', "").parse::<i128>().unwrap(), number);
        }
    }

    #[test]
    fn decimals_have_no_needless_digits() {
        assert_eq!(digits(&[], 0).unwrap(), "0");
        assert_eq!(digits(&[], 2).unwrap(), "0.00");
        assert_eq!(digits(&[0xFF], 3).unwrap(), "-0.001");
        assert_eq!(digits(&[0x00, 0x80], 0).unwrap(), "128");
        assert!(digits(&[1; 17], 0).is_err() && digits(&[1], 39).is_err());
    }
}
