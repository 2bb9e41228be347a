//! Reads Avro's object container files: a head, then blocks with a sync marker after each.
//!
//! `apache-avro` has a reader too, but it can't pass on a block unchanged, and it reads only from blocking sources.

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::Error;

const MAGIC: &[u8] = b"Obj\x01";
pub(super) const SYNC_MARKER_BYTES: usize = 16;
/// Maximum size of a head. Spark's largest schemas are far below.
const MAX_HEADER_BYTES: usize = 4 << 20;
/// Maximum size of one block in the file. Spark ends a block at the first record beyond 64 KB.
const MAX_BLOCK_BYTES: usize = 64 << 20;

/// Maximum size of a block that Spark can write.
const MAX_SPARK_BLOCK_BYTES: usize = 1 << 31;

/// A file without rows and columns.
pub(super) const EMPTY_FILE: &[u8] =
    b"Obj\x01\x02\x16avro.schema\x6a{\"type\":\"record\",\"name\":\"topLevelRecord\",\
    \"fields\":[]}\0dcp empty result";

/// The head of a file.
#[derive(Clone)]
pub(super) struct Header {
    /// The complete head, with the sync marker.
    pub(super) bytes: Bytes,
    pub(super) schema: Bytes,
    /// The codec; `null` if there is none.
    pub(super) codec: Bytes,
    pub(super) sync_marker: [u8; SYNC_MARKER_BYTES],
}

pub(super) struct Block {
    pub(super) rows: u64,
    /// Compressed by the codec.
    pub(super) data: Bytes,
}

/// The reason why rows can't be read.
#[derive(Debug)]
pub(super) enum ReadError {
    Damaged(String),
    /// An item exceeds a limit; its size in bytes, if that is known.
    TooLarge {
        size: Option<usize>,
        limit: usize,
    },
}

impl<T: Into<String>> From<T> for ReadError {
    fn from(why: T) -> Self {
        Self::Damaged(why.into())
    }
}

/// A file that is being read.
pub(super) struct Source<E> {
    pub(super) path: String,
    pub(super) header: Header,
    input: Input<E>,
}

/// The bytes of a file that were received and not consumed yet.
struct Input<E> {
    path: String,
    chunks: BoxStream<'static, Result<Bytes, E>>,
    buffer: BytesMut,
    /// The bytes consumed since the start of the file, as long as they are recorded.
    recorded: Option<Vec<u8>>,
}

impl<E: From<Error>> Source<E> {
    pub(super) async fn open(path: String, chunks: BoxStream<'static, Result<Bytes, E>>) -> Result<Self, E> {
        let mut input =
            Input { path: path.clone(), chunks, buffer: BytesMut::new(), recorded: Some(Vec::new()) };
        if input.take(MAGIC.len()).await? != MAGIC {
            return Err(input.damaged("it is no Avro file").into());
        }
        let (mut schema, mut codec) = (None, Bytes::from_static(b"null"));
        loop {
            let count = match input.long().await? {
                0 => break,
                // A negative count is followed by the size of the entries, which is not needed.
                count if count < 0 => {
                    input.long().await?;
                    count.unsigned_abs()
                }
                count => count.unsigned_abs(),
            };
            for _ in 0..count {
                let key = input.bytes().await?;
                let value = input.bytes().await?;
                match key.as_ref() {
                    b"avro.schema" => schema = Some(value),
                    b"avro.codec" => codec = value,
                    _ => {}
                }
            }
        }
        let mut sync_marker = [0; SYNC_MARKER_BYTES];
        sync_marker.copy_from_slice(&input.take(SYNC_MARKER_BYTES).await?);
        let schema = schema.ok_or_else(|| input.damaged("it does not say what its rows look like"))?;
        let bytes = input.recorded.take().unwrap_or_default().into();
        Ok(Self { path, header: Header { bytes, schema, codec, sync_marker }, input })
    }

    /// Returns the next block; none at the end of the file.
    pub(super) async fn block(&mut self) -> Result<Option<Block>, E> {
        if !self.input.fill(1).await? {
            return Ok(None);
        }
        let rows = self.input.long().await?;
        let rows = u64::try_from(rows).map_err(|_| self.damaged("a block has less than no rows"))?;
        let length = self.input.length(MAX_SPARK_BLOCK_BYTES, "a block").await?;
        if length > MAX_BLOCK_BYTES {
            return Err(self
                .error(ReadError::TooLarge { size: Some(length), limit: MAX_BLOCK_BYTES })
                .into());
        }
        let data = self.input.take(length).await?;
        if self.input.take(SYNC_MARKER_BYTES).await? != self.header.sync_marker[..] {
            return Err(self.damaged("a block does not end where it should").into());
        }
        Ok(Some(Block { rows, data }))
    }

    pub(super) fn damaged(&self, why: impl Into<String>) -> Error {
        self.input.damaged(why)
    }

    pub(super) fn error(&self, error: ReadError) -> Error {
        match error {
            ReadError::Damaged(why) => self.damaged(why),
            ReadError::TooLarge { size, limit } => {
                let size = size.map_or_else(String::new, |size| format!(" ({size} bytes)"));
                Error::TooLarge { file: self.path.clone(), size, limit: limit >> 20 }
            }
        }
    }

    pub(super) fn unsupported(&self, why: impl Into<String>) -> Error {
        Error::Unsupported { file: self.path.clone(), why: why.into() }
    }
}

impl<E: From<Error>> Input<E> {
    /// Returns whether `count` more bytes are available. Receives chunks until they are, and no more.
    async fn fill(&mut self, count: usize) -> Result<bool, E> {
        while self.buffer.len() < count {
            match self.chunks.next().await {
                Some(chunk) => self.buffer.extend_from_slice(&chunk?),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn take(&mut self, count: usize) -> Result<Bytes, E> {
        if !self.fill(count).await? {
            return Err(self.damaged("it ends too soon").into());
        }
        if let Some(recorded) = &mut self.recorded {
            recorded.extend_from_slice(&self.buffer[..count]);
            if recorded.len() > MAX_HEADER_BYTES {
                return Err(self
                    .damaged(format!("what it says of itself is longer than {MAX_HEADER_BYTES} bytes"))
                    .into());
            }
        }
        Ok(self.buffer.split_to(count).freeze())
    }

    async fn long(&mut self) -> Result<i64, E> {
        let mut read = Vec::with_capacity(10);
        loop {
            let byte = self.take(1).await?.get_u8();
            read.push(byte);
            if byte < 0x80 || read.len() == 10 {
                break;
            }
        }
        take_long(&mut read.as_slice()).ok_or_else(|| self.damaged("a number is too large").into())
    }

    async fn length(&mut self, most: usize, what: &str) -> Result<usize, E> {
        let length = self.long().await?;
        let length = usize::try_from(length).ok().filter(|length| *length <= most);
        length.ok_or_else(|| {
            self.damaged(format!("{what} says that it has less than no or more than {most} bytes")).into()
        })
    }

    async fn bytes(&mut self) -> Result<Bytes, E> {
        let length = self.length(MAX_HEADER_BYTES, "what it says of itself").await?;
        self.take(length).await
    }

    fn damaged(&self, why: impl Into<String>) -> Error {
        Error::Damaged { file: self.path.clone(), why: why.into() }
    }
}

/// Decodes an integer of Avro: seven bits per byte, the lowest first, with the sign as the lowest bit.
pub(super) fn take_long(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        // The tenth byte holds only one bit of the number.
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
        }
    }
    None
}

/// Encodes an integer that is not negative.
pub(super) fn put_long(number: u64, bytes: &mut Vec<u8>) {
    let mut rest = u128::from(number) << 1;
    loop {
        let byte = u8::try_from(rest & 0x7F).unwrap_or_default();
        rest >>= 7;
        bytes.push(if rest == 0 { byte } else { byte | 0x80 });
        if rest == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_survive_a_round_trip(number in 0..=i64::MAX.unsigned_abs()) {
            let mut bytes = Vec::new();
            put_long(number, &mut bytes);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take_long(&mut rest), Some(number.cast_signed()));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn number_has_at_most_ten_bytes(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut rest = bytes.as_slice();
            let _ = take_long(&mut rest);
            prop_assert!(bytes.len() - rest.len() <= 10);
        }
    }

    #[test]
    fn smallest_and_greatest_numbers_are_decoded() {
        let read = |mut bytes: &[u8]| take_long(&mut bytes);
        assert_eq!(read(&[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]), Some(i64::MAX));
        assert_eq!(read(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]), Some(i64::MIN));
        assert_eq!(read(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2]), None);
        assert_eq!((read(&[1]), read(&[2]), read(&[])), (Some(-1), Some(1), None));
    }
}
