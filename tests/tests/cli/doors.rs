//! Access to `dcp up`: by its project's Unix socket, and over TCP with a token.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use dcp_tests::machine::Machine;

use crate::harness::{DCP, Ran, Sandbox};

struct Place {
    sandbox: Sandbox,
    machine: Machine,
}

impl Place {
    fn new() -> Self {
        let (sandbox, machine) = (Sandbox::new(), Machine::of_version("4.1.1", "exit 0"));
        sandbox.write("dcp.yaml", "project: shop\nmanifests: [orders.yaml]\n");
        Self { sandbox, machine }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(&DCP);
        command.args(args).env("SPARK_HOME", self.machine.path("spark")).env("DCP_USER", "ada");
        command.env_remove("DCP_TOKEN").env_remove("DCP_TOKENS").stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().expect("the binary can be run");
        self.sandbox.ran(args, &output)
    }

    fn up(&self, more: &[&str]) -> Up {
        let log = self.sandbox.join("up.log");
        let mut command = self.command(&[&["up"], more].concat());
        command.stdout(Stdio::piped()).stderr(std::fs::File::create(&log).expect("files can be made"));
        let mut child = command.spawn().expect("the binary can be run");
        let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut said = String::new();
        while !said.contains("listens at") {
            let read = out.read_line(&mut said).expect("it can be read");
            assert!(read > 0, "it ended: {said}{}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        let url = said.trim().rsplit(' ').next().expect("the address comes last").to_owned();
        Up { child, url, out }
    }

    /// Runs a command with a timeout.
    fn ends(&self, args: &[&str]) -> Ran {
        let dcp = self.command(&[]);
        let mut command = self.sandbox.command(Path::new("timeout"));
        command.envs(dcp.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(["--kill-after=1", "60"]).arg(&*DCP).args(args).stdin(Stdio::null());
        self.sandbox.ran(args, &command.output().expect("timeout, of coreutils, can be run"))
    }

    fn mode(&self, path: &str) -> u32 {
        self.sandbox.join(path).symlink_metadata().expect("it is there").mode() & 0o777
    }
}

struct Up {
    child: Child,
    url: String,
    out: BufReader<ChildStdout>,
}

impl Up {
    fn get(&self, path: &str, header: &str) -> String {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).expect("it can be sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("there is an answer");
        answer
    }

    fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().expect("it can be signalled");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn commands_reach_dcp_up_by_a_socket_for_this_user_alone() {
    let place = Place::new();
    std::fs::create_dir(place.sandbox.join(".dcp")).expect("it can be made");
    std::fs::set_permissions(place.sandbox.join(".dcp"), Permissions::from_mode(0o755)).expect("it is ours");
    let up = place.up(&[]);
    assert!(up.url.starts_with("unix:///") && up.url.ends_with("/.dcp/up.sock"), "{}", up.url);
    assert_eq!(
        (place.mode(".dcp"), place.mode(".dcp/up.sock"), place.mode(".dcp/up.lock")),
        (0o700, 0o600, 0o600)
    );
    let log = || place.sandbox.read("up.log");
    place.run(&["runs"]).ends_with(0);
    assert!(log().contains(" List Ok by ada "), "{}", log());
    place.run(&["status"]).ends_with(0);
    assert!(log().contains(" Jobs Ok by ada "), "{}", log());
    place.ends(&["up"]).ends_with(1).says("another `dcp up` of this project is running");
    assert!(!place.sandbox.join(".dcp/token").exists(), "nobody needs a token");

    // The socket of a killed `dcp up` disturbs neither other commands nor the next `dcp up`.
    drop(up);
    assert!(place.sandbox.join(".dcp/up.sock").exists());
    place.run(&["runs"]).ends_with(0);
    let up = place.up(&[]);
    place.run(&["runs"]).ends_with(0);
    assert!(log().contains(" List Ok by ada "), "{}", log());
    assert_eq!(up.stop(), Some(0));
    assert!(!place.sandbox.join(".dcp/up.sock").exists());
    place.run(&["runs"]).ends_with(0);
}

#[test]
fn what_is_no_socket_is_not_removed() {
    let place = Place::new();
    place.sandbox.write(".dcp/up.sock", "mine");
    place.ends(&["up"]).ends_with(1).says("is no socket: move it away");
    assert_eq!(place.sandbox.read(".dcp/up.sock"), "mine");
}

#[test]
fn commands_ignore_a_socket_on_which_nobody_listens() {
    let place = Place::new();
    std::fs::create_dir(place.sandbox.join(".dcp")).expect("it can be made");
    drop(UnixListener::bind(place.sandbox.join(".dcp/up.sock")).expect("it can be bound"));
    place.run(&["runs"]).ends_with(0);
}

#[test]
fn a_project_with_a_long_path_has_its_socket_elsewhere() {
    let place = Place::new();
    let folder = "long".repeat(30);
    place.sandbox.write(&format!("{folder}/dcp.yaml"), "project: shop\nmanifests: [orders.yaml]\n");
    place.sandbox.write("runtime/note", "");
    let runtime = place.sandbox.join("runtime").display().to_string();
    let mut command = place.command(&["--project", &folder, "up"]);
    let mut child = command.env("XDG_RUNTIME_DIR", &runtime).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut said = String::new();
    while !said.contains("listens at") {
        assert!(out.read_line(&mut said).expect("it can be read") > 0, "{said}");
    }
    let up = Up { child, url: said.trim().rsplit(' ').next().expect("there is one").to_owned(), out };
    let socket = Path::new(up.url.trim_start_matches("unix://"));
    assert!(socket.starts_with(Path::new(&runtime).join("dcp")), "{}", up.url);
    assert_eq!(socket.parent().and_then(|it| it.metadata().ok()).map(|it| it.mode() & 0o777), Some(0o700));
    let mut runs = place.command(&["--project", &folder, "runs", "--quiet"]);
    let output = runs.env("XDG_RUNTIME_DIR", &runtime).output().expect("it runs");
    place.sandbox.ran(&["runs"], &output).ends_with(0);
}

#[test]
fn callers_over_tcp_need_the_token_of_the_project() {
    let place = Place::new();
    let mut up = place.up(&["--listen", "127.0.0.1:0"]);
    let token = place.sandbox.read(".dcp/token");
    assert_eq!((token.len(), place.mode(".dcp/token")), (64, 0o600));
    let bearer = format!("authorization: Bearer {token}\r\n");
    assert!(up.get("/api/v1/job", "").starts_with("HTTP/1.1 401 "));
    assert!(up.get("/api/v1/job", &bearer).starts_with("HTTP/1.1 200 "));
    assert!(up.get("/readyz", "").ends_with("ready\n"));
    // `dcp up` serves REST of the Runner and of the control plane, with one document.
    assert!(up.get("/api/v1/reconciler", &bearer).starts_with("HTTP/1.1 200 "));
    assert!(up.get("/openapi.json", &bearer).ends_with(&dcp_tests::openapi()));

    // Commands of the same project read the token file; commands of another project fail without a token.
    let project = format!(
        "project: shop\nmanifests: [orders.yaml]\ntargets: {{dev: {{default: true, server: \"{}\"}}}}\n",
        up.url
    );
    place.sandbox.write("dcp.yaml", &project).write("elsewhere/dcp.yaml", &project);
    place.run(&["runs"]).ends_with(0);
    place.run(&["status"]).ends_with(0);
    place.run(&["--project", "elsewhere", "runs"]).ends_with(1);

    // The link for a browser works once.
    let mut line = String::new();
    while !line.contains("/login?code=") {
        line.clear();
        assert!(up.out.read_line(&mut line).expect("it can be read") > 0, "it says so");
    }
    let (_, path) = line.trim().split_once(&up.url).expect("the link is to this server");
    let signed = up.get(path, "");
    assert!(signed.starts_with("HTTP/1.1 303 "), "{signed}");
    assert!(up.get(path, "").starts_with("HTTP/1.1 403 "));
    let cookie =
        signed.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("there is a session");
    let cookie = format!("cookie: {}\r\n", cookie.split(';').next().expect("it has a value"));
    assert!(up.get("/api/v1/job", &cookie).starts_with("HTTP/1.1 200 "));

    let secrets = [&token, path.split_once('=').expect("it has a code").1];
    let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", up.child.id())).expect("it runs");
    for secret in secrets {
        assert!(!place.sandbox.read("up.log").contains(secret) && !arguments.contains(secret));
    }
    assert_eq!(up.stop(), Some(0));
    let up = place.up(&["--listen", "127.0.0.1:0"]);
    assert_eq!(place.sandbox.read(".dcp/token"), token, "it is made once");
    drop(up);
}

#[test]
fn a_service_on_loopback_makes_a_token_too() {
    let place = Place::new();
    let mut command =
        place.command(&["serve", "control", "--listen", "127.0.0.1:0", "--database", "state.db"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut said = String::new();
    out.read_line(&mut said).expect("it says where it listens");
    let up = Up { child, url: said.trim().rsplit(' ').next().expect("there is one").to_owned(), out };
    let page = up.get("/", "");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("State: ready."), "{page}");
    assert!(up.get("/anything", "").starts_with("HTTP/1.1 401 "));
    let bearer = format!("authorization: Bearer {}\r\n", place.sandbox.read(".dcp/token"));
    assert!(up.get("/anything", &bearer).starts_with("HTTP/1.1 404 "));
    assert!(up.get("/api/v1/reconciler", &bearer).ends_with("{}\n"));
    let document = up.get("/openapi.json", &bearer);
    assert!(document.contains("\"/api/v1/applied\"") && !document.contains("\"/api/v1/job\""), "{document}");
    place.sandbox.write(
        "dcp.yaml",
        format!(
            "project: shop\nmanifests: [orders.yaml]\ntargets: {{dev: {{default: true, server: \"{}\"}}}}\n",
            up.url
        ),
    );
    place.run(&["history"]).ends_with(0);
}
