//! A control plane in a separate process, and its clients.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dcp_server::Log;
use serde_json::Value;

use crate::control_plane::ControlPlane;
use crate::harness::{CommandOutput, DCP, Sandbox};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const BATCH: &str = "manifests/orders-daily.yaml";

/// Both may apply everything.
const POLICY: &str = "\
bindings:
- {role: developer, users: [ci, ada], scopes: [\"*\"], domains: [\"*\"]}
";

/// A control plane with a SQLite file, killed on drop.
struct Server {
    child: Child,
    url: String,
    log: std::path::PathBuf,
    /// The tokens of two callers.
    ci: String,
    ada: String,
}

/// Creates a token in the database of the control plane.
pub(crate) fn create_token(sandbox: &Sandbox, args: &[&str]) -> String {
    let args = [&["token", "create", "--database", "state.db"], args].concat();
    sandbox.run(&args).exits_with(0).stdout.trim().to_owned()
}

impl Server {
    fn start(sandbox: &Sandbox) -> Self {
        sandbox.write("policy.yaml", POLICY);
        let [ci, ada] = ["ci", "ada"].map(|name| create_token(sandbox, &[name]));
        let mut command = sandbox.command(&DCP);
        command.args([
            "serve",
            "control",
            "--listen",
            "127.0.0.1:0",
            "--database",
            "state.db",
            "--policy",
            "policy.yaml",
        ]);
        command.args(["--log-format", "json"]);
        let log = sandbox.join("log");
        command.stderr(std::fs::File::create(&log).expect("files can be made"));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary can be run");
        let mut line = String::new();
        let out = child.stdout.take().expect("the stream is piped");
        BufReader::new(out).read_line(&mut line).expect("the server prints its address");
        let url = line.trim().rsplit(' ').next().expect("the line ends with the address").to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{line}");
        Self { child, url, log, ci, ada }
    }

    fn stop(&mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().expect("the process can be signalled");
        self.child.wait().expect("the process or thread ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a project whose target `prod` uses a control plane.
fn project(server: &Server) -> Sandbox {
    let sandbox = Sandbox::quickstart();
    sandbox.edit("dcp.yaml", "https://dcp.example.com:7420", &server.url);
    sandbox
}

fn run(sandbox: &Sandbox, args: &[&str], token: &str) -> CommandOutput {
    let output = sandbox.command(&DCP).args(args).env("DCP_TOKEN", token).stdin(Stdio::null()).output();
    sandbox.capture(args, &output.expect("the binary can be run"))
}

#[test]
fn client_sees_the_applies_of_another_client() {
    let home = Sandbox::new();
    let mut server = Server::start(&home);
    let (one, two) = (project(&server), project(&server));
    let apply = ["apply", "--target", "prod", "--auto-approve"];
    run(&one, &apply, &server.ci).exits_with(0).prints("applied serial 1");
    let plan = run(&two, &["plan", "--target", "prod"], &server.ci).exits_with(0);
    plan.prints("nothing to do").prints("applied by ci");
    // The author is the name of the token, even if the client's user has another name.
    two.edit(BATCH, "0 2 * * *", "0 3 * * *");
    run(&two, &apply, &server.ada).exits_with(0).prints("applied serial 2");
    let history =
        run(&one, &["history", "--target", "prod", "--output", "json"], &server.ci).exits_with(0).json();
    assert_eq!(history[0]["by"], "ada", "{history}");
    assert_eq!(server.stop(), Some(0), "the server exits with 0 after SIGTERM");
}

#[test]
fn client_reports_denied_calls_and_servers_that_are_away() {
    let home = Sandbox::new();
    let mut server = Server::start(&home);
    let sandbox = project(&server);
    let plan = ["plan", "--target", "prod"];
    for token in ["", "0123456789abcdef0123456789abcdee"] {
        let refused = run(&sandbox, &plan, token).exits_with(1).prints("DCP_TOKEN");
        assert!(token.is_empty() || !refused.transcript().contains(token), "no message has the token");
    }
    server.stop();
    let url = server.url.trim_start_matches("http://").to_owned();
    run(&sandbox, &plan, &server.ci).exits_with(1).prints(&url);
}

#[test]
fn token_is_not_sent_over_plain_http() {
    let home = Sandbox::new();
    let server = Server::start(&home);
    let sandbox = project(&server);
    // This address also leads to this machine, but is not a loopback address.
    sandbox.edit("dcp.yaml", "http://127.0.0.1:", "http://0.0.0.0:");
    let plan = ["plan", "--target", "prod"];
    let refused =
        run(&sandbox, &plan, &server.ci).exits_with(1).prints("nothing was sent").prints("DCP_ALLOW_HTTP=1");
    assert!(!refused.transcript().contains(&server.ci), "no message has the token");
    let environment = [("DCP_TOKEN", server.ci.as_str()), ("DCP_ALLOW_HTTP", "1")];
    let trusted = sandbox.command(&DCP).args(plan).envs(environment).output();
    sandbox.capture(&plan, &trusted.expect("the binary can be run")).exits_with(0);
}

#[test]
fn each_call_is_logged_without_the_token() {
    let home = Sandbox::new();
    let mut server = Server::start(&home);
    let sandbox = project(&server);
    let wrong = "0123456789abcdef0123456789abcdee";
    run(&sandbox, &["apply", "--target", "prod", "--auto-approve"], &server.ci).exits_with(0);
    run(&sandbox, &["plan", "--target", "prod"], wrong).exits_with(1);
    server.stop();
    let log = std::fs::read_to_string(&server.log).expect("the file exists");
    assert!(!log.contains(&server.ci) && !log.contains(wrong), "{log}");
    let calls: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("the text is JSON")).collect();
    let is_logged = |method: &str, by: Option<&str>, code: &str| {
        calls.iter().any(|call| {
            let timed = call["at"].is_string() && call["ms"].is_number();
            timed && call["method"] == method && call["by"].as_str() == by && call["code"] == code
        })
    };
    for method in ["State", "Commit", "Published"] {
        assert!(is_logged(method, Some("ci"), "Ok"), "{method} is not in\n{log}");
    }
    assert!(is_logged("State", None, "Unauthenticated"), "{log}");
    // The leader is the same for all scopes.
    let of_a_scope = |call: &&Value| !call["by"].is_null() && call["method"] != "Leader";
    assert!(calls.iter().filter(of_a_scope).all(|call| call["scope"] == "quickstart/prod"), "{log}");
}

#[test]
fn client_retries_calls_beyond_the_limit() {
    let (sender, codes) = std::sync::mpsc::channel();
    let control_plane = ControlPlane::start_with(|options| {
        options.limits.calls = 1;
        options.log =
            Some(Log::new(move |call| sender.send(call.code.clone()).expect("the test has not ended")));
    });
    let sandbox = control_plane.project();
    control_plane.delay_next("state");
    std::thread::scope(|scope| {
        let plan = || run(&sandbox, &["plan", "--target", "prod"], TOKEN).code;
        let first = scope.spawn(plan);
        control_plane.wait_until_delayed();
        let second = scope.spawn(plan);
        assert_eq!(codes.recv_timeout(Duration::from_mins(1)).as_deref(), Ok("Unavailable"));
        control_plane.release();
        assert_eq!(
            (
                first.join().expect("the process or thread ends"),
                second.join().expect("the process or thread ends")
            ),
            (0, 0)
        );
    });
}

#[test]
fn invalid_policies_and_databases_are_rejected() {
    let sandbox = Sandbox::new();
    let serve = |database: &str| {
        let args = [
            "serve",
            "control",
            "--listen",
            "127.0.0.1:0",
            "--database",
            database,
            "--policy",
            "policy.yaml",
        ];
        sandbox.run(&args).exits_with(1)
    };
    serve("state.db").prints("`policy.yaml` can't be read");
    sandbox
        .write("policy.yaml", "bindings: [{role: boss, users: [ada], scopes: [\"*\"], domains: [\"*\"]}]\n");
    serve("state.db").prints("boss").prints("`policy.yaml` can't be used");
    sandbox.write("policy.yaml", format!("{POLICY}tests: [{{user: ada, role: admin}}]\n"));
    serve("state.db").prints("`ada` has the role `developer`").prints("DCP0086");
    sandbox.write("policy.yaml", POLICY);
    let args = ["serve", "control", "--database", "mysql://db/dcp", "--policy", "policy.yaml"];
    sandbox.run(&args).exits_with(2).prints("`mysql://` is no database that dcp knows");
    let refused = serve("postgres://dcp:hunter2hunter2@127.0.0.1:1/dcp");
    assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
}
