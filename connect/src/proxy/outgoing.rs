//! The request that a driver gets: each message with the user that the caller has.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http_body::{Body, Frame};
use tonic::{Code, Status};

use crate::wire::frame::{self, Frames};
use crate::wire::request;

/// The body of a request to a driver: the first message, and the further ones.
pub(crate) struct Outgoing {
    first: Option<Bytes>,
    rest: Option<BoxStream<'static, Result<Bytes, Status>>>,
    /// The error of the client's request, which ended this one.
    failure: Failure,
}

/// The error of a client's request, if it has one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failure(Arc<OnceLock<Status>>);

impl Failure {
    pub(crate) fn get(&self) -> Option<Status> {
        self.0.get().cloned()
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").finish_non_exhaustive()
    }
}

impl Outgoing {
    /// Creates the request of a user whose first message is `first`. All messages have to be of the same session.
    pub(crate) fn new<B>(first: Bytes, frames: Frames<B>, user: &str, session: &str) -> Self
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: fmt::Display,
    {
        let rest = (!frames.is_at_end()).then(|| {
            let state = (frames, user.to_owned(), session.to_owned());
            let next = |(mut frames, user, session): (Frames<B>, String, String)| async move {
                let next = next_message(&mut frames, &user, &session).await.transpose()?;
                Some((next, (frames, user, session)))
            };
            stream::unfold(state, next).boxed()
        });
        Self { first: Some(first), rest, failure: Failure::default() }
    }

    /// Takes the first message, which is sent at once.
    pub(crate) fn take_first(&mut self) -> Option<Bytes> {
        self.first.take()
    }

    pub(crate) fn failure(&self) -> Failure {
        self.failure.clone()
    }
}

async fn next_message<B>(frames: &mut Frames<B>, user: &str, session: &str) -> Result<Option<Bytes>, Status>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: fmt::Display,
{
    let Some(mut next) = frames.next().await? else { return Ok(None) };
    let of = request::session_id(frame::message(&next));
    // Spark's clients may leave the session out after the first message.
    match of.map_err(|error| Status::new(Code::InvalidArgument, error.to_string()))? {
        Some(of) if of != session && !of.is_empty() => {
            Err(Status::new(Code::InvalidArgument, "the messages of one call have different sessions"))
        }
        _ => {
            request::set_user(&mut next, user);
            Ok(Some(next.freeze()))
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let next = std::task::ready!(rest.poll_next_unpin(context));
        if next.is_none() {
            self.rest = None;
        }
        Poll::Ready(next.map(|next| {
            next.map(Frame::data).inspect_err(|status| {
                let _: Result<(), Status> = self.failure.0.set(status.clone());
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_none()
    }
}
