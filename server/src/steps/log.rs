//! Logs calls once they have ended.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use jiff::Timestamp;
use tonic::{Code, Status};

use super::permits::Permit;
use super::target::{Interface, Target};
use crate::log::{Call, CallNotes, Log};

/// Maximum length of a path or a method in the log.
const MAX_LOGGED_CHARS: usize = 200;

/// The receiver of entries, and the clock for their times.
pub(super) struct CallLog {
    pub(super) log: Option<Log>,
    pub(super) clock: fn() -> Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallResult {
    Grpc(Code),
    Http(StatusCode),
}

/// An entry of the log, written when the response is complete or the caller has disconnected.
pub(super) struct Entry {
    log: Option<Log>,
    at: Timestamp,
    started: Instant,
    target: Target,
    method: String,
    pub(super) notes: CallNotes,
    result: CallResult,
    permit: Option<Permit>,
}

impl Entry {
    pub(super) fn new(CallLog { log, clock }: &CallLog, target: Target, request: &Request) -> Self {
        let path = request.uri().path();
        let method = match target.interface {
            Interface::Grpc => escaped(path.rsplit('/').next().unwrap_or_default()),
            Interface::Rest => escaped(&format!("{} {path}", request.method())),
        };
        let (log, at, started) = (log.clone(), clock(), Instant::now());
        let (notes, result) = (CallNotes::default(), CallResult::Grpc(Code::Cancelled));
        Self { log, at, started, target, method, notes, result, permit: None }
    }

    /// Holds the permit of the call until its end.
    pub(super) fn hold(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }

    /// Reads the result of a gRPC call from headers or trailers.
    fn read_grpc_status(&mut self, headers: &HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.result = CallResult::Grpc(status.code());
        }
    }

    /// Follows a response until it is sent.
    pub(super) fn follow(mut self, response: Response, is_head: bool) -> Response {
        self.read_grpc_status(response.headers());
        let status_at_end = (self.target.interface == Interface::Rest).then(|| response.status());
        let length =
            response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        // A response to HEAD has no body.
        let bytes_left = if is_head { Some(0) } else { length };
        response.map(|inner| {
            let mut body = LoggedBody { inner, entry: self, status_at_end, bytes_left };
            body.set_result_if_complete();
            Body::new(body)
        })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(log) = &self.log else { return };
        let (code, is_success) = match self.result {
            CallResult::Grpc(code) => (format!("{code:?}"), code == Code::Ok),
            CallResult::Http(status) => {
                (status.as_u16().to_string(), !status.is_client_error() && !status.is_server_error())
            }
        };
        let (by, subject) = self.notes.take();
        let (at, service, method) = (self.at, self.target.service, std::mem::take(&mut self.method));
        log.write(&Call { at, service, method, by, subject, code, is_success, took: self.started.elapsed() });
    }
}

/// A response body whose end is logged.
struct LoggedBody {
    inner: Body,
    entry: Entry,
    /// The result once the whole body is sent, if the head of the response has it.
    status_at_end: Option<StatusCode>,
    /// The bytes left to send, if their number is known.
    bytes_left: Option<u64>,
}

impl LoggedBody {
    /// Sets the result at the end of the body: hyper does not poll a body that is known to be complete.
    fn set_result_if_complete(&mut self) {
        if (self.inner.is_end_stream() || self.bytes_left == Some(0))
            && let Some(status) = self.status_at_end
        {
            self.entry.result = CallResult::Http(status);
        }
    }
}

impl http_body::Body for LoggedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            None => self.bytes_left = Some(0),
            Some(Ok(frame)) => {
                let sent = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.bytes_left = self.bytes_left.map(|bytes_left| bytes_left.saturating_sub(sent));
                if let Some(trailers) = frame.trailers_ref() {
                    self.entry.read_grpc_status(trailers);
                }
            }
            Some(Err(_)) => self.status_at_end = None,
        }
        self.set_result_if_complete();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Shortens and escapes text of a request for the log.
fn escaped(text: &str) -> String {
    text.chars()
        .take(MAX_LOGGED_CHARS)
        .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped("GET /a\u{1b}[31mé"), "GET /a?[31m?");
    }
}
