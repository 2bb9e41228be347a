//! `dcp login`, `dcp logout` and `dcp whoami`, and the tokens that commands send.

mod github;
mod identity;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::continuous::Process;
use crate::harness::{DCP, Sandbox};

/// Starts a control plane in a folder of a sandbox, with these variables.
fn control_plane(sandbox: &Sandbox, name: &str, policy: &str, environment: &[(&str, &str)]) -> Process {
    sandbox.write(&format!("{name}/policy.yaml"), policy);
    let mut command = sandbox.command(&DCP);
    command.current_dir(sandbox.join(name)).args(["serve", "control", "--listen", "127.0.0.1:0"]);
    command.args(["--database", "state.db", "--policy", "policy.yaml"]).envs(environment.iter().copied());
    Process::start(command, "the control plane", sandbox.join(&format!("{name}/log")))
}

/// A policy with a provider that can't be reached.
const POLICY: &str = "\
issuers:
  corp: {url: \"http://127.0.0.1:1\", audiences: [dcp], login: {client: dcp-cli}}
  partner: {url: \"https://partner.invalid\", audiences: [dcp], login: {client: x, scopes: [openid, email]}}
  programs: {url: \"https://programs.invalid\", audiences: [dcp]}
bindings:
- {role: viewer, users: [ci], scopes: [\"*\"], domains: [sales]}
- {role: developer, groups: [data], scopes: [\"shop/*\", web], domains: [\"*\"]}
- {role: admin, users: [root], scopes: [\"*\"], domains: [\"*\"]}
";

fn whoami(sandbox: &Sandbox, server: &str, token: &str, more: &[&str]) -> crate::harness::CommandOutput {
    let args = [&["whoami", "--server", server], more].concat();
    let mut command = sandbox.command(&DCP);
    command.args(&args).env("DCP_TOKEN", token).env("XDG_STATE_HOME", sandbox.join("state"));
    let output = command.output().expect("the binary can be run");
    sandbox.capture(&args, &output)
}

#[test]
fn whoami_shows_the_caller_and_its_bindings() {
    let sandbox = Sandbox::new();
    let control = control_plane(&sandbox, "control", POLICY, &[]);
    let create = ["token", "create", "ci", "--group", "data", "--database", "control/state.db"];
    let token = sandbox.run(&create).exits_with(0).stdout.trim().to_owned();
    let shown = whoami(&sandbox, &control.url, &token, &[]).exits_with(0).stdout;
    let expected = [
        &format!("server      {}", control.url),
        "name        ci",
        "groups      data",
        "ROLE       SCOPES       DOMAINS",
        "viewer     *            sales",
        "developer  shop/*, web  *",
    ];
    let lines: Vec<&str> = shown.lines().collect();
    for line in expected {
        assert!(lines.contains(&line), "no `{line}` in:\n{shown}");
    }
    assert!(lines.iter().all(|line| line.len() <= 80), "{shown}");

    let json = whoami(&sandbox, &control.url, &token, &["--output", "json"]).exits_with(0).json();
    assert_eq!((json["name"].as_str(), json["unrestricted"].as_bool()), (Some("ci"), Some(false)));
    assert_eq!(json["roles"][1]["scopes"], serde_json::json!(["shop/*", "web"]));
    whoami(&sandbox, &control.url, "wrong-token-0123456789", &[])
        .exits_with(1)
        .prints("log in with `dcp login`, or give a token that it knows, in DCP_TOKEN");
}

#[test]
fn the_user_of_the_machine_may_do_everything_without_a_server() {
    let sandbox = Sandbox::initialized();
    sandbox.run(&["whoami"]).exits_with(0).prints("unknown").prints("may do everything");
    let json = sandbox.run(&["whoami", "-o", "json"]).exits_with(0).json();
    assert_eq!((json["server"].as_str(), json["unrestricted"].as_bool()), (None, Some(true)));
    sandbox.run(&["login"]).exits_with(2).prints("has no server");
}

#[test]
fn logins_need_a_provider_with_a_client() {
    let sandbox = Sandbox::new();
    let control = control_plane(&sandbox, "control", POLICY, &[]);
    let run = |server: &str, more: &[&str]| {
        let args = [&["login", "--server", server], more].concat();
        let mut command = sandbox.command(&DCP);
        command.args(&args).env("XDG_STATE_HOME", sandbox.join("state"));
        sandbox.capture(&args, &command.output().expect("the binary can be run"))
    };
    run(&control.url, &[])
        .exits_with(2)
        .prints("several providers: `corp`, `partner`")
        .prints("--issuer NAME");
    run(&control.url, &["--issuer", "programs"]).exits_with(2).prints("no login at `programs`");
    run(&control.url, &["--issuer", "corp"])
        .exits_with(1)
        .prints("http://127.0.0.1:1/.well-known/openid-configuration");
    run("http://dcp.example.com", &[]).exits_with(1).prints("where others can read it");
    run("unix:///tmp/dcp.sock", &[]).exits_with(2).prints("https://host:port");

    let without = "bindings: [{role: viewer, users: [ci], scopes: [\"*\"], domains: [\"*\"]}]\n";
    let without = control_plane(&sandbox, "without", without, &[]);
    run(&without.url, &[]).exits_with(1).prints("has no logins").prints("login: {client: …}");
    assert!(!sandbox.join("state").exists(), "a failed login leaves nothing behind");
}

/// Returns the files of logins.
fn stored(sandbox: &Sandbox) -> Vec<std::path::PathBuf> {
    let folder = sandbox.join("state/dcp/logins").read_dir().into_iter().flatten();
    let paths = folder.map(|entry| entry.expect("the folder can be read").path());
    paths.filter(|path| path.extension().is_some_and(|it| it == "json")).collect()
}

/// Returns the modes of the file and of its folder.
fn modes(path: &std::path::Path) -> [u32; 2] {
    let mode = |path: &std::path::Path| path.metadata().expect("it exists").mode() & 0o777;
    [mode(path), mode(path.parent().expect("it is in a folder"))]
}

fn set_mode(path: &std::path::Path, mode: u32) {
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, permissions).expect("the mode can be set");
}
