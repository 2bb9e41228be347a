//! Rows of Avro become JSON, straight from bytes to text.
//!
//! `apache-avro` reads schemas and undoes codecs here. Its values are not used: as it decodes them, a row that is cut
//! off becomes one with nulls in it, some bytes can claim any number of items, and a schema that refers to itself can
//! have as many levels as the bytes say.

use std::fmt::Write as _;

use apache_avro::schema::{InnerDecimalSchema, NamesRef, ResolvedSchema, UuidSchema};
use apache_avro::{Codec, DeflateSettings, Schema, ZstandardSettings};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use super::container::{Block, Head, take_long};
use super::time;

/// Bytes of a block without its codec, and of one row as JSON.
const BLOCK: usize = 64 << 20;
const ROW: usize = 64 << 20;
/// Records, lists and maps within each other.
const DEPTH: usize = 100;

/// What is wrong, in words.
type Result<T> = std::result::Result<T, String>;

/// The rows of one file.
pub(super) struct Rows {
    schema: Schema,
    codec: Codec,
    /// Of the present block: what is left of it.
    data: Bytes,
    left: u64,
}

impl Rows {
    pub(super) fn new(head: &Head) -> Result<Self> {
        // It is the program's own limit, and the first to ask for one sets it.
        apache_avro::util::max_allocation_bytes(BLOCK);
        let text = std::str::from_utf8(&head.schema).map_err(|_| "its schema is no text".to_owned())?;
        let schema = Schema::parse_str(text).map_err(|_| "its schema is none of Avro's".to_owned())?;
        let Schema::Record(_) = &schema else { return Err("its schema is not that of a table".to_owned()) };
        resolved(&schema)?;
        let codec = match head.codec.as_ref() {
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
        Ok(Self { schema, codec, data: Bytes::new(), left: 0 })
    }

    /// Takes the next block. The one before must have been written out.
    pub(super) fn take(&mut self, block: Block) -> Result<()> {
        self.data = match self.codec {
            Codec::Null => block.data,
            codec => {
                let mut data = block.data.to_vec();
                let undone = codec.decompress(&mut data);
                undone.map_err(|_| {
                    format!("a block can't be decompressed, or into more than {BLOCK} bytes only")
                })?;
                data.into()
            }
        };
        self.left = block.rows;
        Ok(())
    }

    /// Some more rows as JSON, about as many bytes as asked for; none at the end of the block. `written` counts rows.
    pub(super) fn piece(&mut self, about: usize, written: &mut u64) -> Result<Option<Bytes>> {
        let Self { schema, data, left, .. } = self;
        let mut rest = data.as_ref();
        let resolved = resolved(schema)?;
        let mut writer = Writer { names: resolved.get_names(), text: String::new(), most: 0 };
        while *left > 0 && writer.text.len() < about {
            writer.text.push_str(if *written == 0 { "[\n" } else { ",\n" });
            writer.most = writer.text.len() + ROW;
            writer.value(schema, &mut rest, 0)?;
            *left -= 1;
            *written = written.saturating_add(1);
        }
        if *left == 0 && !rest.is_empty() {
            return Err("a block has more than its rows".to_owned());
        }
        let text = writer.text;
        let taken = data.len() - rest.len();
        drop(data.split_to(taken));
        Ok((!text.is_empty()).then(|| text.into()))
    }
}

fn resolved(schema: &Schema) -> Result<ResolvedSchema<'_>> {
    ResolvedSchema::new(schema).map_err(|_| "its schema names what it does not have".to_owned())
}

struct Writer<'s> {
    names: &'s NamesRef<'s>,
    text: String,
    /// How long the text may become.
    most: usize,
}

impl Writer<'_> {
    fn value(&mut self, schema: &Schema, bytes: &mut &[u8], depth: usize) -> Result<()> {
        if depth > DEPTH {
            return Err(format!("a row has more than {DEPTH} levels"));
        }
        if self.text.len() > self.most {
            return Err(format!("a row has more than {ROW} bytes"));
        }
        match schema {
            Schema::Null => self.put("null"),
            Schema::Boolean => match take(bytes, 1)? {
                [0] => self.put("false"),
                [1] => self.put("true"),
                _ => return Err("a truth is neither true nor false".to_owned()),
            },
            Schema::Int => self.display(int(bytes)?),
            Schema::Long => self.display(long(bytes)?),
            Schema::Float => {
                let number = f32::from_le_bytes(array(take(bytes, 4)?));
                self.float(number.is_finite(), &format!("{number:?}"));
            }
            Schema::Double => {
                let number = f64::from_le_bytes(array(take(bytes, 8)?));
                self.float(number.is_finite(), &format!("{number:?}"));
            }
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => {
                let value = sized(bytes)?;
                self.base64(value);
            }
            Schema::String | Schema::Uuid(UuidSchema::String) => {
                let value = sized(bytes)?;
                self.string(std::str::from_utf8(value).map_err(|_| "a text is not UTF-8".to_owned())?);
            }
            Schema::Fixed(fixed) | Schema::Duration(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => {
                let value = take(bytes, fixed.size)?;
                self.base64(value);
            }
            Schema::Decimal(decimal) => {
                let value = match &decimal.inner {
                    InnerDecimalSchema::Fixed(fixed) => take(bytes, fixed.size)?,
                    InnerDecimalSchema::Bytes => sized(bytes)?,
                };
                let text = digits(value, decimal.scale)?;
                self.string(&text);
            }
            Schema::Date => self.string(&time::date(i64::from(int(bytes)?))),
            Schema::TimeMillis => self.string(&time::of_day(i64::from(int(bytes)?), 3)?),
            Schema::TimeMicros => self.string(&time::of_day(long(bytes)?, 6)?),
            Schema::TimestampMillis => self.instant(bytes, 3, "Z")?,
            Schema::TimestampMicros => self.instant(bytes, 6, "Z")?,
            Schema::TimestampNanos => self.instant(bytes, 9, "Z")?,
            Schema::LocalTimestampMillis => self.instant(bytes, 3, "")?,
            Schema::LocalTimestampMicros => self.instant(bytes, 6, "")?,
            Schema::LocalTimestampNanos => self.instant(bytes, 9, "")?,
            Schema::Enum(of) => {
                let index = usize::try_from(int(bytes)?).ok();
                let symbol = index.and_then(|index| of.symbols.get(index));
                self.string(symbol.ok_or("a value is none of its type's")?);
            }
            Schema::Union(of) => {
                let index = usize::try_from(long(bytes)?).ok();
                let variant = index.and_then(|index| of.variants().get(index));
                self.value(variant.ok_or("a value is of none of its types")?, bytes, depth + 1)?;
            }
            Schema::Array(of) => {
                self.put("[");
                self.items(bytes, |writer, bytes| writer.value(&of.items, bytes, depth + 1))?;
                self.put("]");
            }
            Schema::Map(of) => {
                self.put("{");
                self.items(bytes, |writer, bytes| {
                    writer.value(&Schema::String, bytes, depth + 1)?;
                    writer.put(":");
                    writer.value(&of.types, bytes, depth + 1)
                })?;
                self.put("}");
            }
            Schema::Record(of) => {
                let mut before = "{";
                for field in &of.fields {
                    self.put(before);
                    before = ",";
                    self.string(&field.name);
                    self.put(":");
                    self.value(&field.schema, bytes, depth + 1)?;
                }
                self.put(if of.fields.is_empty() { "{}" } else { "}" });
            }
            Schema::Ref { name } => {
                let schema = self.names.get(name).copied().ok_or("a type is not known")?;
                self.value(schema, bytes, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The items of a list or a map, which come in runs.
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
                // How many bytes they have, for those who leave them out.
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

    fn instant(&mut self, bytes: &mut &[u8], fraction: u32, zone: &str) -> Result<()> {
        let text = time::instant(long(bytes)?, fraction);
        self.string(&format!("{text}{zone}"));
        Ok(())
    }

    /// A number, or the name of what is none. Rust's name for what is endless is not the usual one.
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
        // To write to a text never fails.
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

/// As many bytes as the number before them says.
fn sized<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8]> {
    let length = usize::try_from(long(bytes)?).map_err(|_| "a length is none".to_owned())?;
    take(bytes, length)
}

fn long(bytes: &mut &[u8]) -> Result<i64> {
    take_long(bytes).ok_or_else(|| "a number is cut off, or too large".to_owned())
}

fn int(bytes: &mut &[u8]) -> Result<i32> {
    i32::try_from(long(bytes)?).map_err(|_| "a number is too large".to_owned())
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    for (to, from) in array.iter_mut().zip(bytes) {
        *to = *from;
    }
    array
}

/// A decimal's exact digits, as many behind the point as its type says. The number is in two's complement, the highest
/// byte first.
fn digits(bytes: &[u8], scale: usize) -> Result<String> {
    // As many digits as a decimal of Spark has.
    const MOST: usize = 38;
    let number = whole(bytes).filter(|_| scale <= MOST).ok_or("a decimal has more digits than Spark has")?;
    let sign = if number < 0 { "-" } else { "" };
    let digits = format!("{:0>1$}", number.unsigned_abs(), scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    Ok(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

fn whole(bytes: &[u8]) -> Option<i128> {
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
        fn decimals_have_all_of_their_digits(number in any::<i128>(), scale in 0_usize..=38, more in 0_usize..4) {
            let fill = if number < 0 { 0xFF } else { 0 };
            let bytes = [vec![fill; more], number.to_be_bytes().to_vec()].concat();
            let text = digits(&bytes, scale).unwrap();
            prop_assert_eq!(text.split_once('.').map_or(0, |(_, fraction)| fraction.len()), scale);
            prop_assert_eq!(text.replace('.', "").parse::<i128>().unwrap(), number);
        }
    }

    #[test]
    fn decimals_are_short_where_they_can_be() {
        assert_eq!(digits(&[], 0).unwrap(), "0");
        assert_eq!(digits(&[], 2).unwrap(), "0.00");
        assert_eq!(digits(&[0xFF], 3).unwrap(), "-0.001");
        assert_eq!(digits(&[0x00, 0x80], 0).unwrap(), "128");
        assert!(digits(&[1; 17], 0).is_err() && digits(&[1], 39).is_err());
    }
}
