//! S3 over HTTP on this machine, served by moto.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A moto server that ends with this process, because it reads a pipe from this process until it closes.
#[derive(Debug)]
pub struct Moto {
    endpoint: String,
    _server: Child,
}

impl Moto {
    /// Returns the server that all tests of this process share.
    ///
    /// # Panics
    /// If moto does not start.
    pub fn shared() -> &'static Self {
        static MOTO: OnceLock<Moto> = OnceLock::new();
        MOTO.get_or_init(|| Self::start("127.0.0.1"))
    }

    /// Starts a server at an address of this machine.
    ///
    /// # Panics
    /// If moto does not start.
    pub fn start(address: &str) -> Self {
        let mut command = Command::new(crate::workspace().join("scripts/moto"));
        command.arg(address).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().expect("scripts/moto can be run");
        let mut endpoint = String::new();
        let out = server.stdout.take().expect("the stream is piped");
        BufReader::new(out).read_line(&mut endpoint).expect("the output can be read");
        assert!(endpoint.starts_with("http://"), "scripts/moto serves no S3; its messages are above");
        Self { endpoint: endpoint.trim().to_owned(), _server: server }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the variables with which a process uses this server.
    pub fn environment(&self) -> [(&'static str, &str); 5] {
        [
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKIATESTKEYOFNOBODY"),
            ("AWS_SECRET_ACCESS_KEY", "tops3cret-key-of-nobody"),
        ]
    }

    /// Creates a bucket for one test, and returns its name.
    ///
    /// # Panics
    /// If the server has ended.
    pub fn bucket(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let bucket = format!("bucket-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.call("PUT", &bucket, b"");
        bucket
    }

    /// Writes an object.
    ///
    /// # Panics
    /// If the bucket does not exist.
    pub fn put(&self, bucket: &str, key: &str, content: &[u8]) {
        self.call("PUT", &format!("{bucket}/{key}"), content);
    }

    /// Returns the content of an object.
    ///
    /// # Panics
    /// If it does not exist, or is no text.
    pub fn get(&self, bucket: &str, key: &str) -> String {
        let response = self.call("GET", &format!("{bucket}/{key}"), b"");
        response.split_once("\r\n\r\n").expect("a response has an end of its head").1.to_owned()
    }

    /// Returns true if a bucket has an object.
    ///
    /// # Panics
    /// If the bucket does not exist.
    pub fn contains(&self, bucket: &str, key: &str) -> bool {
        self.call("GET", bucket, b"").contains(&format!("<Key>{key}</Key>"))
    }

    /// Returns the keys of the objects of a bucket.
    ///
    /// # Panics
    /// If the bucket does not exist.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let listed = self.call("GET", bucket, b"");
        let keys = listed.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        keys.map(str::to_owned).collect()
    }

    /// Sends a request, which needs no valid signature, and returns the response.
    fn call(&self, method: &str, path: &str, content: &[u8]) -> String {
        let address = self.endpoint.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("moto listens");
        let length = content.len();
        let head = format!(
            "{method} /{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: AWS AKIATESTKEYOFNOBODY:none\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), content].concat()).expect("moto reads the request");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("moto responds");
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        response
    }
}
