//! Calls are made again where the server could not be reached. That is safe for every one of them: those that write
//! can be repeated, a commit because it has an id.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status, TimeoutExpired};

use super::{Client, Remote, Reply};
use crate::registry::{Error, Result};
use crate::wire::status;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Remote {
    /// Calls until there is an answer, or the patience is at its end.
    pub(super) async fn call<T, F>(&self, call: impl Fn(Client) -> F + Send) -> Result<T>
    where
        F: Future<Output = Reply<T>> + Send,
    {
        let end = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            // A server that takes a call and says nothing more would be waited for: the channel's own deadline
            // ends with the first word of the answer.
            let Ok(answer) = timeout(self.deadline, call(self.client.clone())).await else {
                return Err(self.silent());
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(status) if is_transient(&status) && Instant::now() + pause < end => sleep(pause).await,
                Err(status) => return Err(self.error(&status)),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn silent(&self) -> Error {
        let (url, deadline) = (&self.url, self.deadline);
        Error::Unavailable(format!("`{url}` did not answer within {deadline:?}; to try again is safe"))
    }

    fn error(&self, status: &Status) -> Error {
        let url = &self.url;
        match status::read(status) {
            Some(Error::Denied(why)) => {
                return Error::Denied(format!(
                    "`{url}` refuses the call: {why}; see that the token is one of its own"
                ));
            }
            Some(Error::Unavailable(why)) => {
                return Error::Unavailable(format!("`{url}` can't do it now: {why}"));
            }
            Some(error) => return error,
            None => {}
        }
        let why = if status.source().is_some() { root(status) } else { status.message().to_owned() };
        match status.code() {
            Code::DeadlineExceeded => self.silent(),
            // What tonic says where its own deadline, here or there, has passed.
            Code::Cancelled if why == TimeoutExpired(()).to_string() => self.silent(),
            Code::Unavailable => Error::Unavailable(format!(
                "`{url}` can't be reached: {why}; see that the address is right and that the control plane runs"
            )),
            Code::Unimplemented => Error::Invalid(format!(
                "`{url}` answers, but does not speak {} as this dcp does ({why}): it is no control plane, or one of \
                    another version; see the address, or use the dcp that it is of",
                status::DOMAIN
            )),
            Code::Unauthenticated | Code::PermissionDenied => {
                Error::Denied(format!("`{url}`, or a proxy before it, refuses the call: {why}"))
            }
            _ => Error::Unavailable(format!(
                "`{url}` answers, but not as a control plane does: {why}; see that the address is right"
            )),
        }
    }
}

/// Whether the same call may well succeed a little later.
fn is_transient(status: &Status) -> bool {
    // A server that is there and speaks something else, or has a wrong certificate, will tomorrow too.
    let io = causes(status).find_map(|cause| cause.downcast_ref::<io::Error>());
    let hopeless = io.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData);
    (status.code() == Code::Unavailable || io.is_some()) && !hopeless
}

/// What is at the root of an error: what stands above it says only that something went wrong.
pub(super) fn root(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| StdError::source(*error))
}
