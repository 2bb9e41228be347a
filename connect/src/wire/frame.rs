//! Messages of gRPC on the wire: a flag for compression, the length in four bytes, and the message.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::timeout;
use tonic::{Code, Status};

/// Length of the prefix of a message.
pub(crate) const PREFIX: usize = 5;
/// Maximum size of a message: that of Spark's servers and clients.
pub(crate) const MAX_MESSAGE: usize = 128 << 20;
/// Space that is reserved for a message before its bytes arrive.
const MAX_RESERVED: usize = 64 << 10;
/// Maximum time between two parts of a message.
const STALLED: Duration = Duration::from_mins(1);

/// Reads the messages of a request or of a response.
#[derive(Debug)]
pub(crate) struct Frames<B> {
    body: B,
    buffer: BytesMut,
    has_ended: bool,
}

impl<B> Frames<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    pub(crate) fn new(body: B) -> Self {
        Self { body, buffer: BytesMut::new(), has_ended: false }
    }

    /// Returns the next message with its prefix; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<BytesMut>, Status> {
        let mut reserved = false;
        loop {
            if let Some(length) = self.message_length()? {
                if self.buffer.len() >= PREFIX + length {
                    return Ok(Some(self.buffer.split_to(PREFIX + length)));
                }
                if !reserved {
                    // A length is only a claim until the bytes are there.
                    self.buffer.reserve(length.min(MAX_RESERVED));
                    reserved = true;
                }
            }
            if !self.fill().await? {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(Status::new(Code::Internal, "the request ends within a message")),
                };
            }
        }
    }

    /// Returns true if it is known that no message follows.
    pub(crate) fn is_at_end(&self) -> bool {
        self.buffer.is_empty() && (self.has_ended || self.body.is_end_stream())
    }

    /// Reads the next part of the body. Returns false at the end.
    async fn fill(&mut self) -> Result<bool, Status> {
        while !self.has_ended {
            let next = match self.buffer.is_empty() {
                true => self.body.frame().await,
                false => timeout(STALLED, self.body.frame()).await.map_err(|_| stalled())?,
            };
            let Some(frame) = next else {
                self.has_ended = true;
                break;
            };
            let frame = frame.map_err(|error| Status::new(Code::Cancelled, error.to_string()))?;
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                self.buffer.extend_from_slice(&data);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the length of the next message, once its prefix is there.
    fn message_length(&self) -> Result<Option<usize>, Status> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        if prefix[0] != 0 {
            let message = "compressed messages are not accepted; switch compression off in the client";
            return Err(Status::new(Code::Unimplemented, message));
        }
        let length = usize::try_from((&prefix[1..]).get_u32()).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE {
            let message = format!("the message has {length} bytes, and at most {MAX_MESSAGE} are accepted");
            return Err(Status::new(Code::ResourceExhausted, message));
        }
        Ok(Some(length))
    }
}

fn stalled() -> Status {
    let message = format!("no part of the message has arrived for {} s", STALLED.as_secs());
    Status::new(Code::DeadlineExceeded, message)
}

/// Returns the message of a frame.
pub(crate) fn message(frame: &[u8]) -> &[u8] {
    frame.get(PREFIX..).unwrap_or_default()
}

/// Writes the length of the message of a frame to its prefix.
pub(crate) fn update_length(frame: &mut [u8]) {
    let length = u32::try_from(frame.len().saturating_sub(PREFIX)).unwrap_or(u32::MAX);
    if let Some(prefix) = frame.first_chunk_mut::<PREFIX>() {
        prefix[1..].copy_from_slice(&length.to_be_bytes());
    }
}

/// Returns the frame of a message.
pub(crate) fn frame_of(message: &[u8]) -> BytesMut {
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.extend_from_slice(&[0; PREFIX]);
    frame.extend_from_slice(message);
    update_length(&mut frame);
    frame
}
