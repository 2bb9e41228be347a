//! Responses that are streamed piece by piece.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, BoxStream, Stream};
use futures_util::{StreamExt as _, TryStream};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;

use super::refusal;
use crate::api::Result;

/// Maximum time that a response waits for its first piece. A later error can't change the status code any more.
pub(super) const SOON: Duration = Duration::from_secs(1);
/// Interval of keep-alive messages. Proxies close connections that are silent for a minute.
pub(super) const ALIVE: Duration = Duration::from_secs(20);

const EVENTS: &str = "text/event-stream";
pub(super) const AVRO: &str = "avro/binary";

/// Returns whether a client prefers a content type to all others.
pub(super) fn prefers(accept: Option<&HeaderValue>, form: &str) -> bool {
    let first = accept.and_then(|value| value.to_str().ok()?.split([',', ';']).next());
    first.is_some_and(|first| first.trim().eq_ignore_ascii_case(form))
}

/// Returns the pieces, or the error if the first piece is one and arrives within `soon`.
pub(super) async fn begun<T: Send + 'static>(
    pieces: BoxStream<'static, Result<T>>,
    soon: Duration,
) -> Result<BoxStream<'static, Result<T>>> {
    let mut pieces = pieces.fuse();
    match tokio::time::timeout(soon, pieces.next()).await {
        Ok(Some(Err(error))) => Err(error),
        Ok(first) => Ok(stream::iter(first).chain(pieces).boxed()),
        Err(_) => Ok(pieces.boxed()),
    }
}

/// Streams a response. An error closes the connection, so that clients see that the response is incomplete.
pub(super) fn stream<S>(content_type: &'static str, pieces: S) -> Response
where
    S: TryStream<Error = crate::api::Error> + Send + 'static,
    S::Ok: Into<axum::body::Bytes>,
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
pub(super) enum Form {
    Lines,
    Events,
}

impl Form {
    /// Returns events for clients that request them, as browsers do.
    pub(super) fn of(accept: Option<&HeaderValue>) -> Self {
        if prefers(accept, EVENTS) { Self::Events } else { Self::Lines }
    }

    pub(super) fn content_type(self) -> &'static str {
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

/// Writes each value as a step, and an error as the last one.
pub(super) fn lines<T: Serialize + Send + 'static>(
    values: impl Stream<Item = Result<T>> + Send + 'static,
    form: Form,
    alive: Duration,
) -> impl Stream<Item = Result<String>> + Send + 'static {
    stream::unfold(Some(values.boxed()), move |values| async move {
        let mut values = values?;
        match tokio::time::timeout(alive, values.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(value))) => Some((Ok(form.write("step", &value)), Some(values))),
            Ok(Some(Err(error))) => Some((Ok(form.write("error", &refusal::last_word(&error))), None)),
            // A comment among events, and an empty line among lines.
            Err(_) if form == Form::Events => Some((Ok(": none yet\n\n".to_owned()), Some(values))),
            Err(_) => Some((Ok("\n".to_owned()), Some(values))),
        }
    })
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;
    use tokio::sync::oneshot;

    use super::*;
    use crate::api::Error;

    fn lost() -> Error {
        Error::Unavailable("it is away".to_owned())
    }

    /// Returns a value that arrives when the sender is used.
    fn later(value: u8) -> (oneshot::Sender<()>, BoxStream<'static, Result<u8>>) {
        let (sender, told) = oneshot::channel();
        let late = async move {
            told.await.unwrap();
            Ok(value)
        };
        (sender, stream::once(late).boxed())
    }

    const AT_ONCE: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn what_is_wrong_from_the_start_is_no_answer_and_later_its_end() {
        let pieces = |pieces: Vec<Result<u8>>| stream::iter(pieces).boxed();
        assert_eq!(begun(pieces(vec![Err(lost())]), SOON).await.err(), Some(lost()));
        let late = begun(pieces(vec![Ok(1), Err(lost())]), SOON).await.unwrap();
        assert_eq!(late.collect::<Vec<_>>().await, [Ok(1), Err(lost())]);
        assert!(begun(pieces(vec![]), SOON).await.unwrap().next().await.is_none());
        let (tell, silent) = later(7);
        let silent = begun(silent, AT_ONCE).await.unwrap();
        tell.send(()).unwrap();
        assert_eq!(silent.collect::<Vec<_>>().await, [Ok(7)]);
    }

    #[tokio::test]
    async fn who_waits_hears_that_there_is_nothing_yet_and_why_it_ends() {
        for (form, none, one, start, end) in [
            (Form::Lines, "\n", "1\n", "{\"error\":{", "}}\n"),
            (
                Form::Events,
                ": none yet\n\n",
                "event: step\ndata: 1\n\n",
                "event: error\ndata: {\"error\":{",
                "}}\n\n",
            ),
        ] {
            let (tell, first) = later(1);
            let values = first.chain(stream::iter([Err(lost()), Ok(2)]));
            let mut told = std::pin::pin!(lines(values, form, AT_ONCE));
            assert_eq!(told.as_mut().try_next().await.unwrap().unwrap(), none);
            tell.send(()).unwrap();
            let mut rest: Vec<String> = told.try_collect().await.unwrap();
            rest.retain(|it| it != none);
            let [first, last] = &rest[..] else { panic!("{rest:?}") };
            assert_eq!(first, one);
            let said = last.contains("\"code\":503") && last.contains("\"reason\":\"UNAVAILABLE\"");
            assert!(said && last.starts_with(start) && last.ends_with(end), "{last}");
        }
    }

    #[test]
    fn events_are_for_those_who_name_them_first() {
        let form = |accept: &'static str| Form::of(Some(&HeaderValue::from_static(accept)));
        assert_eq!(form("text/event-stream"), Form::Events);
        assert_eq!(form("Text/Event-Stream;q=0.9, */*"), Form::Events);
        for lines in ["*/*", "", "application/x-ndjson, text/event-stream", "text/plain"] {
            assert_eq!(form(lines), Form::Lines, "{lines}");
        }
        assert_eq!(Form::of(None), Form::Lines);
    }
}
