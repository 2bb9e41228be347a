//! A Runner in a separate process, and clients that try to use up its time.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dcp_tests::fake_spark::{FakeSpark, wait_until};
use serde_json::json;

use crate::harness::{DCP, Sandbox};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// Far more than the time of a light call, and far less than the time of quadratic work.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

struct RunnerProcess {
    child: Child,
    address: String,
    _fake_spark: FakeSpark,
    _sandbox: Sandbox,
}

impl RunnerProcess {
    fn start() -> Self {
        let (sandbox, fake_spark) = (Sandbox::new(), FakeSpark::with_version("4.1.1", "exit 0"));
        sandbox.write_token(TOKEN);
        let mut command = sandbox.command(&DCP);
        let args = ["serve", "runner", "--listen", "127.0.0.1:0", "--database", "runs.db", "--quiet"];
        command.args(args).env("SPARK_HOME", fake_spark.path("spark"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary can be run");
        let mut line = String::new();
        let out = child.stdout.take().expect("the stream is piped");
        BufReader::new(out).read_line(&mut line).expect("the server prints its address");
        let (_, address) = line.trim().rsplit_once("http://").expect("the address is of HTTP");
        Self { address: address.to_owned(), child, _fake_spark: fake_spark, _sandbox: sandbox }
    }

    /// Returns the status of the response, or none if the response times out.
    fn call(&self, line: &str, body: &str) -> Option<u16> {
        status(self.send_request(line, body)?)
    }

    /// Sends a request, and returns once all of it is sent.
    fn send_request(&self, line: &str, body: &str) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(CALL_TIMEOUT)).expect("sockets have timeouts");
        stream.set_write_timeout(Some(CALL_TIMEOUT)).expect("sockets have timeouts");
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).ok()?;
        Some(stream)
    }
}

fn status(mut stream: TcpStream) -> Option<u16> {
    let mut status = [0; 12];
    stream.read_exact(&mut status).ok()?;
    std::str::from_utf8(&status[9..]).ok()?.parse().ok()
}

impl Drop for RunnerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hostile_submit(number: usize, argument: &str) -> String {
    let mut definition = serde_json::to_value(dcp_tests::job(
        "  job: {pyspark: {main: main.py, args: [\"${param.do}\"], parameters: {do: {type: string, default: x}}}}\n",
    ))
    .expect("a job can be written");
    definition["job"]["pyspark"]["args"] = json!([argument]);
    json!({"token": format!("hostile-{number}"), "definition": definition}).to_string()
}

#[test]
fn hostile_submits_delay_neither_light_calls_nor_shutdown() {
    let mut runner = RunnerProcess::start();
    let bodies = ["${".repeat(1_900_000), "${param.do}".repeat(340_000), "$${x ".repeat(700_000)];
    let bodies: Vec<String> =
        bodies.iter().enumerate().map(|(number, it)| hostile_submit(number, it)).collect();
    let sent = AtomicUsize::new(0);
    thread::scope(|scope| {
        for body in bodies.iter().cycle().take(12) {
            scope.spawn(|| {
                let stream = runner.send_request("POST /api/v1/job", body);
                sent.fetch_add(1, Ordering::SeqCst);
                // The response is not checked: the connection stays open until there is one, or for a while.
                let _ = stream.and_then(status);
            });
        }
        wait_until(|| (sent.load(Ordering::SeqCst) == 12).then_some(()));
        for _ in 0..10 {
            let begun = Instant::now();
            assert_eq!(runner.call("GET /api/v1/job/none", ""), Some(404), "{:?}", begun.elapsed());
        }
        let id = runner.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().expect("the process can be signalled");
    });
    wait_until(|| {
        runner
            .child
            .try_wait()
            .expect("the process can be waited for")
            .map(|status| assert_eq!(status.code(), Some(0)))
    });
}
