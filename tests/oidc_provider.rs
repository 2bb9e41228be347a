//! A real `OpenID` provider on this machine, npm's oidc-provider.

mod browser;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

pub use browser::{Browser, Page};

/// The name of the client and its secret, in base64: `airflow:airflow-secret`.
const CLIENT: &str = "YWlyZmxvdzphaXJmbG93LXNlY3JldA==";

/// A provider whose access tokens are in the group `data`, with the client `airflow` for programs and the public client
/// `dcp-cli` for people. It ends with this value.
#[derive(Debug)]
pub struct OidcProvider {
    issuer: String,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    process: Child,
}

impl OidcProvider {
    /// Starts a provider that signs with RS256.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start() -> Self {
        let mut command = Command::new(crate::workspace().join("scripts/oidc-provider"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("scripts/oidc-provider can be run");
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("the stream is piped"));
        let mut provider = Self { issuer: String::new(), commands, answers, process };
        provider.issuer = provider.answer();
        assert!(provider.issuer.starts_with("http://"), "the provider did not start; its messages are above");
        provider
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Adds a key for an algorithm, which signs from now on.
    ///
    /// # Panics
    /// If the provider has ended.
    pub fn rotate(&mut self, algorithm: &str) {
        assert_eq!(self.command(&format!("rotate {algorithm}")), "rotated");
    }

    /// Removes all keys but the newest.
    ///
    /// # Panics
    /// If the provider has ended.
    pub fn retire(&mut self) {
        assert_eq!(self.command("retire"), "retired");
    }

    /// Sets the lifetime of new access tokens.
    ///
    /// # Panics
    /// If the provider has ended.
    pub fn set_lifetime(&mut self, seconds: u32) {
        assert_eq!(self.command(&format!("lifetime {seconds}")), "set");
    }

    /// Returns an ID token for the client `airflow`.
    ///
    /// # Panics
    /// If the provider has ended.
    pub fn id_token(&mut self) -> String {
        self.command("id-token airflow")
    }

    /// Returns an access token of the client `airflow` for an audience, or one that is no JWT if there is none.
    ///
    /// # Panics
    /// If the provider does not issue one.
    pub fn access_token(&self, audience: Option<&str>) -> String {
        let resource = audience.map(|audience| format!("&resource=urn:{audience}")).unwrap_or_default();
        let body = format!("grant_type=client_credentials{resource}");
        let address = self.issuer.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the provider listens");
        let head = format!(
            "POST /token HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\
             authorization: Basic {CLIENT}\r\ncontent-type: application/x-www-form-urlencoded\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).expect("the provider reads the request");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("the provider responds");
        let (_, document) = response.split_once("\r\n\r\n").expect("a response has an end of its head");
        let document: Value = serde_json::from_str(document).expect("the response is JSON");
        document["access_token"].as_str().unwrap_or_else(|| unreachable!("{response}")).to_owned()
    }

    /// Ends the provider, so that its address refuses connections.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(&mut self) {
        drop(self.commands.take());
        self.process.wait().expect("it is a child of this process");
    }

    fn command(&mut self, line: &str) -> String {
        let commands = self.commands.as_mut().expect("the provider runs");
        writeln!(commands, "{line}").expect("the provider reads commands");
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the output can be read");
        line.trim().to_owned()
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.process.wait();
    }
}
