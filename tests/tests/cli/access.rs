//! Access to `dcp up`: by its project's Unix socket, and over TCP with a token.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use dcp_tests::fake_spark::FakeSpark;

use crate::harness::{CommandOutput, DCP, Sandbox};

struct Project {
    sandbox: Sandbox,
    fake_spark: FakeSpark,
}

impl Project {
    fn new() -> Self {
        let (sandbox, fake_spark) = (Sandbox::new(), FakeSpark::with_version("4.1.1", "exit 0"));
        sandbox.write("dcp.yaml", "project: shop\nmanifests: [orders.yaml]\n");
        Self { sandbox, fake_spark }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(&DCP);
        command.args(args).env("SPARK_HOME", self.fake_spark.path("spark")).env("DCP_USER", "ada");
        command.env_remove("DCP_TOKEN").env_remove("DCP_POLICY").stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> CommandOutput {
        let output = self.command(args).output().expect("the binary can be run");
        self.sandbox.capture(args, &output)
    }

    fn up(&self, more: &[&str]) -> DcpUp {
        let log = self.sandbox.join("up.log");
        let mut command = self.command(&[&["up"], more].concat());
        command.stdout(Stdio::piped()).stderr(std::fs::File::create(&log).expect("files can be made"));
        let mut child = command.spawn().expect("the binary can be run");
        let mut out = BufReader::new(child.stdout.take().expect("the stream is piped"));
        let mut printed = String::new();
        while !printed.contains("listens at") {
            let read = out.read_line(&mut printed).expect("the file can be read");
            assert!(
                read > 0,
                "`dcp up` ended: {printed}{}",
                std::fs::read_to_string(&log).unwrap_or_default()
            );
        }
        let url = printed.trim().rsplit(' ').next().expect("the line ends with the address").to_owned();
        DcpUp { child, url, out }
    }

    /// Runs a command with a timeout.
    fn run_with_timeout(&self, args: &[&str]) -> CommandOutput {
        let dcp = self.command(&[]);
        let mut command = self.sandbox.command(Path::new("timeout"));
        command.envs(dcp.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args(["--kill-after=1", "60"]).arg(&*DCP).args(args).stdin(Stdio::null());
        self.sandbox.capture(args, &command.output().expect("timeout, of coreutils, can be run"))
    }

    fn mode(&self, path: &str) -> u32 {
        self.sandbox.join(path).symlink_metadata().expect("the file exists").mode() & 0o777
    }
}

struct DcpUp {
    child: Child,
    url: String,
    out: BufReader<ChildStdout>,
}

impl DcpUp {
    fn get(&self, path: &str, header: &str) -> String {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the server listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).expect("the request can be sent");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("the server responds");
        response
    }

    /// Returns the path of the printed link for a browser.
    fn login_path(&mut self) -> String {
        let mut line = String::new();
        while !line.contains("/login?code=") {
            line.clear();
            let read = self.out.read_line(&mut line).expect("the file can be read");
            assert!(read > 0, "the output has no login link");
        }
        let (_, path) = line.trim().split_once(&self.url).expect("the link is to this server");
        path.to_owned()
    }

    fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().expect("the process can be signalled");
        self.child.wait().expect("the process or thread ends").code()
    }
}

impl Drop for DcpUp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn dcp_up_makes_a_private_key_for_pools_once() {
    let project = Project::new();
    let up = project.up(&[]);
    let key = project.sandbox.read(".dcp/connect.key");
    assert_eq!((key.trim().len(), project.mode(".dcp/connect.key")), (64, 0o600));
    drop(up);
    let _up = project.up(&[]);
    assert_eq!(project.sandbox.read(".dcp/connect.key"), key);
    assert!(!project.sandbox.read("up.log").contains(key.trim()));
}

#[test]
fn commands_reach_dcp_up_by_a_private_socket() {
    let project = Project::new();
    std::fs::create_dir(project.sandbox.join(".dcp")).expect("the folder can be created");
    std::fs::set_permissions(project.sandbox.join(".dcp"), Permissions::from_mode(0o755))
        .expect("the file belongs to this user");
    let up = project.up(&[]);
    assert!(up.url.starts_with("unix:///") && up.url.ends_with("/.dcp/up.sock"), "{}", up.url);
    assert_eq!(
        (project.mode(".dcp"), project.mode(".dcp/up.sock"), project.mode(".dcp/up.lock")),
        (0o700, 0o600, 0o600)
    );
    let log = || project.sandbox.read("up.log");
    project.run(&["runs"]).exits_with(0);
    assert!(log().contains(" List Ok by ada "), "{}", log());
    project.run(&["status"]).exits_with(0);
    assert!(log().contains(" Jobs Ok by ada "), "{}", log());
    project.run_with_timeout(&["up"]).exits_with(1).prints("another `dcp up` of this project is running");
    assert!(!project.sandbox.join(".dcp/token").exists(), "the socket needs no token");

    // The socket of a killed `dcp up` disturbs neither other commands nor the next `dcp up`.
    drop(up);
    assert!(project.sandbox.join(".dcp/up.sock").exists());
    project.run(&["runs"]).exits_with(0);
    let up = project.up(&[]);
    project.run(&["runs"]).exits_with(0);
    assert!(log().contains(" List Ok by ada "), "{}", log());
    assert_eq!(up.stop(), Some(0));
    assert!(!project.sandbox.join(".dcp/up.sock").exists());
    project.run(&["runs"]).exits_with(0);
}

#[test]
fn file_in_place_of_the_socket_is_not_removed() {
    let project = Project::new();
    project.sandbox.write(".dcp/up.sock", "mine");
    project.run_with_timeout(&["up"]).exits_with(1).prints("is no socket: move it away");
    assert_eq!(project.sandbox.read(".dcp/up.sock"), "mine");
}

#[test]
fn commands_ignore_a_socket_without_listener() {
    let project = Project::new();
    std::fs::create_dir(project.sandbox.join(".dcp")).expect("the folder can be created");
    drop(UnixListener::bind(project.sandbox.join(".dcp/up.sock")).expect("the socket can be bound"));
    project.run(&["runs"]).exits_with(0);
}

#[test]
fn project_with_a_long_path_has_its_socket_in_the_runtime_folder() {
    let project = Project::new();
    let folder = "long".repeat(30);
    project.sandbox.write(&format!("{folder}/dcp.yaml"), "project: shop\nmanifests: [orders.yaml]\n");
    project.sandbox.write("runtime/note", "");
    let runtime = project.sandbox.join("runtime").display().to_string();
    let mut command = project.command(&["--project", &folder, "up"]);
    let mut child = command
        .env("XDG_RUNTIME_DIR", &runtime)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be run");
    let mut out = BufReader::new(child.stdout.take().expect("the stream is piped"));
    let mut printed = String::new();
    while !printed.contains("listens at") {
        assert!(out.read_line(&mut printed).expect("the file can be read") > 0, "{printed}");
    }
    let up = DcpUp {
        child,
        url: printed.trim().rsplit(' ').next().expect("the line ends with the address").to_owned(),
        out,
    };
    let socket = Path::new(up.url.trim_start_matches("unix://"));
    assert!(socket.starts_with(Path::new(&runtime).join("dcp")), "{}", up.url);
    assert_eq!(socket.parent().and_then(|it| it.metadata().ok()).map(|it| it.mode() & 0o777), Some(0o700));
    let mut runs = project.command(&["--project", &folder, "runs", "--quiet"]);
    let output = runs.env("XDG_RUNTIME_DIR", &runtime).output().expect("the program can be run");
    project.sandbox.capture(&["runs"], &output).exits_with(0);
}

#[test]
fn callers_over_tcp_need_the_token_of_the_project() {
    let project = Project::new();
    let mut up = project.up(&["--listen", "127.0.0.1:0"]);
    let token = project.sandbox.read(".dcp/token");
    assert_eq!((token.len(), project.mode(".dcp/token")), (64, 0o600));
    let bearer = format!("authorization: Bearer {token}\r\n");
    assert!(up.get("/api/v1/job", "").starts_with("HTTP/1.1 401 "));
    assert!(up.get("/api/v1/job", &bearer).starts_with("HTTP/1.1 200 "));
    assert!(up.get("/readyz", "").ends_with("ready\n"));
    // `dcp up` serves REST of the Runner and of the control plane, with one document.
    assert!(up.get("/api/v1/reconciler", &bearer).starts_with("HTTP/1.1 200 "));
    assert!(up.get("/openapi.json", &bearer).ends_with(&dcp_tests::openapi()));

    // Commands of the same project read the token file; commands of another project fail without a token.
    let project_file = format!(
        "project: shop\nmanifests: [orders.yaml]\ntargets: {{dev: {{default: true, server: \"{}\"}}}}\n",
        up.url
    );
    project.sandbox.write("dcp.yaml", &project_file).write("elsewhere/dcp.yaml", &project_file);
    project.run(&["runs"]).exits_with(0);
    project.run(&["status"]).exits_with(0);
    project.run(&["--project", "elsewhere", "runs"]).exits_with(1);

    // The link for a browser works once.
    let path = up.login_path();
    let login = up.get(&path, "");
    assert!(login.starts_with("HTTP/1.1 303 "), "{login}");
    assert!(up.get(&path, "").starts_with("HTTP/1.1 403 "));
    let cookie =
        login.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("the response sets a cookie");
    let cookie = format!("cookie: {}\r\n", cookie.split(';').next().expect("the cookie has a value"));
    assert!(up.get("/api/v1/job", &cookie).starts_with("HTTP/1.1 200 "));

    let secrets = [&token, path.split_once('=').expect("the link has a code").1];
    let arguments =
        std::fs::read_to_string(format!("/proc/{}/cmdline", up.child.id())).expect("the process runs");
    for secret in secrets {
        assert!(!project.sandbox.read("up.log").contains(secret) && !arguments.contains(secret));
    }
    assert_eq!(up.stop(), Some(0));
    let up = project.up(&["--listen", "127.0.0.1:0"]);
    assert_eq!(project.sandbox.read(".dcp/token"), token, "the token is created once");
    drop(up);
}

#[test]
fn service_on_loopback_creates_a_token() {
    let project = Project::new();
    let mut command =
        project.command(&["serve", "control", "--listen", "127.0.0.1:0", "--database", "state.db"]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program can be run");
    let mut out = BufReader::new(child.stdout.take().expect("the stream is piped"));
    let mut printed = String::new();
    out.read_line(&mut printed).expect("the server prints its address");
    let up = DcpUp {
        child,
        url: printed.trim().rsplit(' ').next().expect("the line ends with the address").to_owned(),
        out,
    };
    let page = up.get("/", "");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("State: ready."), "{page}");
    assert!(up.get("/anything", "").starts_with("HTTP/1.1 401 "));
    let bearer = format!("authorization: Bearer {}\r\n", project.sandbox.read(".dcp/token"));
    assert!(up.get("/anything", &bearer).starts_with("HTTP/1.1 404 "));
    assert!(up.get("/api/v1/reconciler", &bearer).ends_with("{}\n"));
    let document = up.get("/openapi.json", &bearer);
    assert!(document.contains("\"/api/v1/applied\"") && !document.contains("\"/api/v1/job\""), "{document}");
    project.sandbox.write(
        "dcp.yaml",
        format!(
            "project: shop\nmanifests: [orders.yaml]\ntargets: {{dev: {{default: true, server: \"{}\"}}}}\n",
            up.url
        ),
    );
    project.run(&["history"]).exits_with(0);
}
