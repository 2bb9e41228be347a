//! Connections to a driver that is a server of the crate `h2`.

use futures_util::future::join;
use futures_util::{StreamExt as _, stream};
use h2::server::SendResponse;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tonic::Status;

use super::*;
use crate::wire::frame::{Frames, frame_of};

const LONG: Duration = Duration::from_mins(1);

type Call = (Request<RecvStream>, SendResponse<Bytes>);

/// A driver whose calls the test answers.
struct Driver {
    address: String,
    calls: UnboundedReceiver<Call>,
    /// The tasks of all its connections.
    connections: Arc<Mutex<JoinSet<()>>>,
    upstreams: Upstreams,
}

impl Driver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, calls) = unbounded_channel();
        let connections = Arc::<Mutex<JoinSet<()>>>::default();
        let accepted = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let sender = sender.clone();
                accepted.lock().unwrap().spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok(call)) = connection.accept().await {
                        sender.send(call).unwrap();
                    }
                });
            }
        });
        Self { address, calls, connections, upstreams: Upstreams::default() }
    }

    async fn connection(&self, may_connect: bool) -> Result<Connection, String> {
        self.upstreams.get("main", &self.address, may_connect).await
    }

    /// Sends a request, in a task that the result ends when it is dropped.
    async fn send(&self, body: Outgoing) -> AbortOnDropHandle<Result<Response<Received>, h2::Error>> {
        let connection = self.connection(true).await.unwrap();
        let uri = format!("http://{}/call", self.address);
        let request = Request::post(uri).body(body).unwrap();
        AbortOnDropHandle::new(tokio::spawn(connection.send(request)))
    }

    async fn call(&mut self) -> Call {
        timeout(LONG, self.calls.recv()).await.unwrap().unwrap()
    }

    fn all_connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }
}

/// Returns a request of one message.
fn short() -> Outgoing {
    Outgoing::new(frame_of(b"").freeze(), Frames::new(Empty::<Bytes>::new()), "ada", "")
}

/// Returns the reason with which a client ends a call.
async fn reset(poll: impl FnMut(&mut Context<'_>) -> Poll<Result<Reason, h2::Error>>) -> Reason {
    timeout(LONG, poll_fn(poll)).await.expect("the call is given up").unwrap()
}

/// Sends a number of bytes, as fast as the client takes them.
async fn send_data(sender: &mut SendStream<Bytes>, count: usize) {
    let mut left = count;
    while left > 0 {
        sender.reserve_capacity(left);
        let capacity = timeout(LONG, poll_fn(|context| sender.poll_capacity(context))).await;
        let capacity = capacity.expect("the client takes the bytes").unwrap().unwrap();
        sender.send_data(Bytes::from(vec![0; capacity]), false).unwrap();
        left -= capacity;
    }
}

#[tokio::test]
async fn calls_share_a_connection_until_it_breaks() {
    let mut driver = Driver::start().await;
    let sent = [driver.send(short()).await, driver.send(short()).await];
    for response in sent {
        let (request, mut respond) = driver.call().await;
        assert_eq!(request.uri().path(), "/call");
        respond.send_response(Response::new(()), true).unwrap();
        timeout(LONG, response).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(driver.all_connections(), 1);

    driver.connections.lock().unwrap().abort_all();
    let broken = async {
        while driver.connection(false).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, broken).await.expect("the end of the connection is noticed");
    let _response = driver.send(short()).await;
    driver.call().await;
    assert_eq!(driver.all_connections(), 2);

    driver.upstreams.retain(|id| id == "main");
    assert!(driver.connection(false).await.is_ok());
    driver.upstreams.retain(|id| id != "main");
    assert!(driver.connection(false).await.is_err());
}

#[tokio::test]
async fn call_that_its_client_drops_is_cancelled_at_the_driver() {
    let mut driver = Driver::start().await;
    let waiting = driver.send(short()).await;
    let (_, mut respond) = driver.call().await;
    drop(waiting);
    assert_eq!(reset(|context| respond.poll_reset(context)).await, Reason::CANCEL);

    let begun = driver.send(short()).await;
    let (_, mut respond) = driver.call().await;
    let mut sender = respond.send_response(Response::new(()), false).unwrap();
    drop(timeout(LONG, begun).await.unwrap().unwrap().unwrap());
    assert_eq!(reset(|context| sender.poll_reset(context)).await, Reason::CANCEL);
}

#[tokio::test]
async fn slow_reader_stops_its_own_call_only() {
    let window = STREAM_WINDOW as usize;
    let mut driver = Driver::start().await;
    let slow = driver.send(short()).await;
    let (_, mut respond) = driver.call().await;
    let mut of_slow = respond.send_response(Response::new(()), false).unwrap();
    let slow = timeout(LONG, slow).await.unwrap().unwrap().unwrap();
    send_data(&mut of_slow, window).await;

    let fast = driver.send(short()).await;
    let (_, mut respond) = driver.call().await;
    let mut of_fast = respond.send_response(Response::new(()), false).unwrap();
    let fast = timeout(LONG, fast).await.unwrap().unwrap().unwrap();
    let sending = async move {
        send_data(&mut of_fast, 4 * window).await;
        of_fast.send_data(Bytes::new(), true).unwrap();
    };
    let ((), read) = timeout(LONG, join(sending, fast.collect())).await.unwrap();
    assert_eq!(read.unwrap().to_bytes().len(), 4 * window);

    of_slow.reserve_capacity(1);
    let more = poll_fn(|context| of_slow.poll_capacity(context)).now_or_never();
    assert!(more.is_none(), "the client has not read, and takes more: {more:?}");
    of_slow.send_data(Bytes::new(), true).unwrap();
    let read = timeout(LONG, slow.collect()).await.unwrap().unwrap();
    assert_eq!(read.to_bytes().len(), window);
    assert_eq!(driver.all_connections(), 1);
}

#[tokio::test]
async fn further_messages_are_sent_and_an_error_of_the_client_cancels_the_call() {
    let mut driver = Driver::start().await;
    let (messages, received) = unbounded_channel::<Result<Bytes, Status>>();
    let body = stream::unfold(received, |mut received| async { Some((received.recv().await?, received)) });
    let body = StreamBody::new(body.boxed().map(|next| next.map(Frame::data)));
    let outgoing = Outgoing::new(frame_of(b"").freeze(), Frames::new(body), "ada", "");
    let _response = driver.send(outgoing).await;
    let (mut request, _respond) = driver.call().await;
    let body = request.body_mut();
    assert_eq!(&timeout(LONG, body.data()).await.unwrap().unwrap().unwrap(), &frame_of(b""));
    messages.send(Ok(frame_of(b"").freeze())).unwrap();
    let second = timeout(LONG, body.data()).await.unwrap().unwrap().unwrap();
    assert!(second.windows(3).any(|bytes| bytes == b"ada"), "it has the user: {second:?}");
    messages.send(Err(Status::invalid_argument("broken"))).unwrap();
    let end = timeout(LONG, body.data()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(end.reason(), Some(Reason::CANCEL));
}
