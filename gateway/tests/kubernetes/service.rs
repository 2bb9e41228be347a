//! The connection of a Gateway to the double of the API server, with its faults.

mod watches;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::server::{Answer, Call, Verb};
use crate::world::{State, World};

type Error = Box<dyn std::error::Error + Send + Sync>;

type Served = (Response<Parts>, Vec<Value>);

/// The body of an answer, in parts.
struct Parts(mpsc::UnboundedReceiver<Result<Bytes, Error>>);

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.0.poll_recv(context).map(|part| part.map(|part| part.map(Frame::data)))
    }
}

/// The faults of one request.
struct Faults {
    before: Duration,
    rejection: Option<u16>,
    after: Duration,
    is_lost: bool,
}

impl Faults {
    fn draw(world: &World) -> Self {
        world.with(|state| {
            let (random, rates) = (&mut state.random, state.rates);
            let mut delay = || {
                let stalls = random.chance(rates.stalls);
                Duration::from_millis(if stalls {
                    random.between(1000, 100_000)
                } else {
                    random.between(1, 30)
                })
            };
            let (before, after) = (delay(), delay());
            let rejection = random.chance(rates.errors).then(|| random.pick(&[409, 429, 500]));
            Self { before, rejection, after, is_lost: random.chance(rates.lost) }
        })
    }
}

/// Returns a client of one Gateway.
pub(crate) fn client(world: &World, instance: u64) -> Client {
    let world = world.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let world = world.clone();
        // A request that was sent arrives, also if its sender is gone.
        let answer = tokio::spawn(serve(world.clone(), instance, request));
        async move {
            let (response, objects) = answer.await??;
            let deliver =
                |state: &mut State| objects.iter().for_each(|it| state.checks.delivered(instance, it));
            world.with(deliver);
            Ok::<_, Error>(response)
        }
    });
    Client::new(service, "default")
}

/// Returns the answer to a request, with the objects from which the backend takes facts: those of lists.
async fn serve(world: World, instance: u64, request: Request<Body>) -> Result<Served, Error> {
    let call = Call::read(request).await;
    world.with(|state| state.open_requests += 1);
    let answer = answer(&world, instance, &call).await;
    world.with(|state| state.open_requests -= 1);
    answer
}

async fn answer(world: &World, instance: u64, call: &Call) -> Result<Served, Error> {
    let faults = Faults::draw(world);
    sleep(faults.before).await;
    if let Some(code) = faults.rejection {
        world.with(|state| state.note(|| format!("G{instance} {} rejected: {code}", call.describe())));
        return Ok((respond(&Answer::failure(code, "Rejected"))?, Vec::new()));
    }
    if let Verb::Watch { scope, version, seconds } = &call.verb {
        world.with(|state| state.note(|| format!("G{instance} {}", call.describe())));
        let (sender, receiver) = mpsc::unbounded_channel();
        let seconds = Duration::from_secs(*seconds);
        let events = watches::send(world.clone(), instance, scope.clone(), *version, seconds, sender);
        tokio::spawn(events);
        return Ok((Response::new(Parts(receiver)), Vec::new()));
    }
    let answer = world.with(|state| state.apply(instance, call));
    sleep(faults.after).await;
    if faults.is_lost {
        world.with(|state| state.note(|| format!("G{instance} {}: the answer is lost", call.describe())));
        return Err("the connection is closed".into());
    }
    let response = respond(&answer)?;
    let mut body = answer.body;
    let objects = body["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    Ok((response, objects))
}

fn respond(answer: &Answer) -> Result<Response<Parts>, Error> {
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(Ok(Bytes::from(serde_json::to_vec(&answer.body)?)))?;
    Ok(Response::builder().status(answer.code).body(Parts(receiver))?)
}
