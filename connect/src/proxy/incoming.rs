//! The response that a client gets: the driver's, unchanged, while its caller may receive it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tonic::{Code, Status};

use super::sessions::InUse;
use crate::failure::unavailable;

/// The body of a driver's response. It counts as a use of its session until it ends.
pub(crate) struct Response<B> {
    body: Option<B>,
    /// Ready, with the reason, once the caller may not receive more.
    lost: BoxFuture<'static, String>,
    _in_use: InUse,
}

impl<B> Response<B> {
    pub(crate) fn new(body: B, lost: BoxFuture<'static, String>, in_use: InUse) -> Self {
        Self { body: Some(body), lost, _in_use: in_use }
    }

    /// Ends the response with an error. The driver's call is cancelled.
    fn fail(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        self.body = None;
        let mut trailers = HeaderMap::new();
        Poll::Ready(match status.add_header(&mut trailers) {
            Ok(()) => Some(Ok(Frame::trailers(trailers))),
            Err(error) => Some(Err(error)),
        })
    }
}

impl<B> Body for Response<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: fmt::Display,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(context) {
            Poll::Ready(Some(Err(error))) => {
                // The client reattaches to its query, if the driver still has it.
                self.fail(&unavailable(format!("the connection to the driver has ended: {error}")))
            }
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match self.lost.poll_unpin(context) {
                Poll::Ready(why) => self.fail(&Status::new(Code::PermissionDenied, why)),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
