//! Responses that are streamed piece by piece.

use std::convert::Infallible;
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, BoxStream, Stream};
use futures_util::{StreamExt as _, TryStream};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;

use crate::ServiceError;

/// Maximum time that a response waits for its first piece. A later error can't change the status code any more.
pub const FIRST_PIECE_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval of keep-alive messages. Proxies close connections that are silent for a minute.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

const EVENTS: &str = "text/event-stream";
/// Number of values that [`lines`] writes at once.
const LINES_PER_PIECE: usize = 500;

/// Returns whether a client prefers a content type to all others.
pub fn prefers(accept: Option<&HeaderValue>, content_type: &str) -> bool {
    let first = accept.and_then(|value| value.to_str().ok()?.split([',', ';']).next());
    first.is_some_and(|first| first.trim().eq_ignore_ascii_case(content_type))
}

/// Returns the pieces, or the error if the first piece is one and arrives within `timeout`.
pub async fn check_first_piece<T: Send + 'static, E: Send + 'static>(
    pieces: BoxStream<'static, Result<T, E>>,
    timeout: Duration,
) -> Result<BoxStream<'static, Result<T, E>>, E> {
    let mut pieces = pieces.fuse();
    match tokio::time::timeout(timeout, pieces.next()).await {
        Ok(Some(Err(error))) => Err(error),
        Ok(first) => Ok(stream::iter(first).chain(pieces).boxed()),
        Err(_) => Ok(pieces.boxed()),
    }
}

/// Streams a response. An error closes the connection, so that clients see that the response is incomplete.
pub fn respond<S>(content_type: &'static str, pieces: S) -> Response
where
    S: TryStream<Error: Into<BoxError>> + Send + 'static,
    S::Ok: Into<Bytes>,
{
    let headers = [
        (CONTENT_TYPE, content_type),
        // A growing response must not be cached.
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

/// The format of a stream of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFormat {
    Lines,
    Events,
}

impl StreamFormat {
    /// Returns events for clients that request them, as browsers do.
    pub fn of(accept: Option<&HeaderValue>) -> Self {
        if prefers(accept, EVENTS) { Self::Events } else { Self::Lines }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => EVENTS,
        }
    }

    fn write(self, event: &str, value: &impl Serialize) -> String {
        // JSON can't represent maps with keys other than text, and responses have none.
        let json = serde_json::to_string(value).unwrap_or_default();
        match self {
            Self::Lines => format!("{json}\n"),
            Self::Events => format!("event: {event}\ndata: {json}\n\n"),
        }
    }
}

/// Writes each value, as the event `name`, and an error as the last one.
pub fn encode_values<T, E>(
    name: &'static str,
    values: impl Stream<Item = Result<T, E>> + Send + 'static,
    format: StreamFormat,
    keep_alive: Duration,
) -> impl Stream<Item = Result<String, Infallible>> + Send + 'static
where
    T: Serialize + Send + 'static,
    E: Into<ServiceError> + Send + 'static,
{
    stream::unfold(Some(values.boxed()), move |values| async move {
        let mut values = values?;
        match tokio::time::timeout(keep_alive, values.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(value))) => Some((Ok(format.write(name, &value)), Some(values))),
            Ok(Some(Err(error))) => Some((Ok(format.write("error", &error.into().to_json())), None)),
            // A comment among events, and an empty line among lines.
            Err(_) if format == StreamFormat::Events => Some((Ok(": none yet\n\n".to_owned()), Some(values))),
            Err(_) => Some((Ok("\n".to_owned()), Some(values))),
        }
    })
}

/// Streams values that are in memory, each as a line of JSON.
pub fn lines<T: Serialize>(values: impl IntoIterator<Item = T, IntoIter: Send + 'static>) -> Response {
    let format = StreamFormat::Lines;
    let mut values = values.into_iter();
    let pieces = std::iter::from_fn(move || {
        let piece: String =
            values.by_ref().take(LINES_PER_PIECE).map(|value| format.write("", &value)).collect();
        (!piece.is_empty()).then_some(Ok::<_, Infallible>(piece))
    });
    respond(format.content_type(), stream::iter(pieces))
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;
    use tokio::sync::oneshot;

    use super::*;

    type Result<T> = std::result::Result<T, ServiceError>;

    fn lost() -> ServiceError {
        ServiceError::new(tonic::Code::Unavailable, "test.v1", "UNAVAILABLE", "it is away")
    }

    /// Returns a value that arrives when the sender is used.
    fn later(value: u8) -> (oneshot::Sender<()>, BoxStream<'static, Result<u8>>) {
        let (sender, released) = oneshot::channel();
        let late = async move {
            released.await.unwrap();
            Ok(value)
        };
        (sender, stream::once(late).boxed())
    }

    const AT_ONCE: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn early_error_fails_the_call_and_late_error_ends_the_stream() {
        let pieces = |pieces: Vec<Result<u8>>| stream::iter(pieces).boxed();
        assert_eq!(
            check_first_piece(pieces(vec![Err(lost())]), FIRST_PIECE_TIMEOUT).await.err(),
            Some(lost())
        );
        let late = check_first_piece(pieces(vec![Ok(1), Err(lost())]), FIRST_PIECE_TIMEOUT).await.unwrap();
        assert_eq!(late.collect::<Vec<_>>().await, [Ok(1), Err(lost())]);
        assert!(check_first_piece(pieces(vec![]), FIRST_PIECE_TIMEOUT).await.unwrap().next().await.is_none());
        let (release, silent) = later(7);
        let silent = check_first_piece(silent, AT_ONCE).await.unwrap();
        release.send(()).unwrap();
        assert_eq!(silent.collect::<Vec<_>>().await, [Ok(7)]);
    }

    #[tokio::test]
    async fn streams_have_keep_alive_messages_and_end_with_the_error() {
        for (format, none, one, start, end) in [
            (StreamFormat::Lines, "\n", "1\n", "{\"error\":{", "}}\n"),
            (
                StreamFormat::Events,
                ": none yet\n\n",
                "event: step\ndata: 1\n\n",
                "event: error\ndata: {\"error\":{",
                "}}\n\n",
            ),
        ] {
            let (release, first) = later(1);
            let values = first.chain(stream::iter([Err(lost()), Ok(2)]));
            let mut output = std::pin::pin!(encode_values("step", values, format, AT_ONCE));
            assert_eq!(output.as_mut().try_next().await.unwrap().unwrap(), none);
            release.send(()).unwrap();
            let mut rest: Vec<String> = output.try_collect().await.unwrap();
            rest.retain(|it| it != none);
            let [first, last] = &rest[..] else { panic!("{rest:?}") };
            assert_eq!(first, one);
            let has_status = last.contains("\"code\":503") && last.contains("\"reason\":\"UNAVAILABLE\"");
            assert!(has_status && last.starts_with(start) && last.ends_with(end), "{last}");
        }
    }

    #[tokio::test]
    async fn lines_are_sent_in_pieces() {
        let body = lines(0..1_201_u32).into_body().into_data_stream();
        let pieces: Vec<Bytes> = body.try_collect().await.unwrap();
        assert_eq!(pieces.len(), 3);
        let text = String::from_utf8(pieces.concat()).unwrap();
        assert!(text.lines().map(|line| line.parse::<u32>().unwrap()).eq(0..1_201), "{text}");
    }

    #[test]
    fn events_are_sent_if_accepted_before_all_else() {
        let format = |accept: &'static str| StreamFormat::of(Some(&HeaderValue::from_static(accept)));
        assert_eq!(format("text/event-stream"), StreamFormat::Events);
        assert_eq!(format("Text/Event-Stream;q=0.9, */*"), StreamFormat::Events);
        for lines in ["*/*", "", "application/x-ndjson, text/event-stream", "text/plain"] {
            assert_eq!(format(lines), StreamFormat::Lines, "{lines}");
        }
        assert_eq!(StreamFormat::of(None), StreamFormat::Lines);
    }
}
