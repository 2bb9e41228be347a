//! A minimal HTTP/1.1 client, so that tests control and see all bytes.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_mins(1);

/// A call whose response is not complete yet.
pub(super) struct PendingCall {
    stream: TcpStream,
    read: Vec<u8>,
}

impl PendingCall {
    pub(super) async fn new(address: SocketAddr, line: &str, headers: &str, body: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        // A server that rejects a request need not read all of it.
        let _ = stream.write_all((head + body).as_bytes()).await;
        Self { stream, read: Vec::new() }
    }

    /// Waits until the response so far contains a text.
    pub(super) async fn wait_until(&mut self, text: &str) {
        let seen = async {
            while !String::from_utf8_lossy(&self.read).contains(text) {
                assert_ne!(
                    self.stream.read_buf(&mut self.read).await.unwrap(),
                    0,
                    "the response has ended: {:?}",
                    self.read
                );
            }
        };
        timeout(TIMEOUT, seen).await.unwrap_or_else(|_| panic!("`{text}` did not arrive"));
    }

    /// Waits for the complete response.
    pub(super) async fn end(mut self) -> Response {
        let ended = async {
            // Bytes that arrived before a reset of the connection are part of the response.
            while self.stream.read_buf(&mut self.read).await.is_ok_and(|length| length > 0) {}
        };
        timeout(TIMEOUT, ended).await.expect("the response ends");
        Response::read(&self.read)
    }
}

#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// False if a chunked body lacks its last chunk.
    pub(super) is_complete: bool,
}

impl Response {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").expect("a response has a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let headers: Vec<_> = lines.filter_map(header).collect();
        let is_chunked =
            headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let rest = &bytes[end + 4..];
        let (body, is_complete) = if is_chunked { decode_chunks(rest) } else { (rest.to_vec(), true) };
        Self { status, headers, body, is_complete }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(super) fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(self.is_complete, "the response is incomplete: {}", self.text());
        self
    }

    #[track_caller]
    pub(super) fn expect_content_type(self, content_type: &str) -> Self {
        assert_eq!(self.header("content-type"), Some(content_type), "{}", self.text());
        self
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    #[track_caller]
    pub(super) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Decodes chunks. Returns their content, and true if the last chunk has arrived.
fn decode_chunks(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|it| it == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return (body, true);
        }
        let Some(chunk) = bytes.get(end + 2..end + 2 + length) else { break };
        body.extend_from_slice(chunk);
        bytes = bytes.get(end + 4 + length..).unwrap_or_default();
    }
    (body, false)
}
