//! Logins at a real `OpenID` provider, npm's oidc-provider.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use dcp_tests::fake_spark::wait_until;
use dcp_tests::oidc_provider::{Browser, OidcProvider};
use serde_json::Value;

use super::{control_plane, modes, set_mode, stored};
use crate::continuous::Process;
use crate::harness::{CommandOutput, DCP, Sandbox};
use crate::terminal::run_in_terminal_with;

/// A provider, and a control plane whose policy has it.
struct World {
    control: Process,
    provider: OidcProvider,
    sandbox: Sandbox,
}

/// A running `dcp login`. It ends with this value.
struct RunningLogin {
    child: Child,
    messages: BufReader<ChildStderr>,
}

const BROWSER: [&str; 2] = ["login", "--browser"];
const DEVICE: [&str; 2] = ["login", "--device"];

fn policy(issuer: &str) -> String {
    format!(
        "issuers:\n  corp:\n    url: \"{issuer}\"\n    audiences: [dcp]\n    groups: groups\n    \
         login: {{client: dcp-cli, scopes: [openid, offline_access], resource: \"urn:dcp\"}}\n\
         bindings:\n- {{role: viewer, groups: [\"corp:data\"], scopes: [shop/prod], domains: [\"*\"]}}\n"
    )
}

impl World {
    fn start() -> Self {
        let (provider, sandbox) = (OidcProvider::start(), Sandbox::new());
        let control = control_plane(&sandbox, "control", &policy(provider.issuer()), &[]);
        let target = format!("prod: {{default: true, server: \"{}\"}}", control.url);
        sandbox.write("dcp.yaml", format!("project: shop\nmanifests: [manifests]\ntargets:\n  {target}\n"));
        Self { control, provider, sandbox }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(&DCP);
        command.args(args).env("XDG_STATE_HOME", self.sandbox.join("state")).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> CommandOutput {
        let output = self.command(args).output().expect("the binary can be run");
        self.sandbox.capture(args, &output)
    }

    fn begin(&self, args: &[&str]) -> RunningLogin {
        let child = self.command(args).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("the binary can be run");
        let messages = BufReader::new(child.stderr.take().expect("the stream is piped"));
        RunningLogin { child, messages }
    }

    /// Logs in by a browser.
    fn log_in(&self) {
        let mut login = self.begin(&BROWSER);
        let mut browser = Browser::default();
        let page = browser.open(&login.next_page());
        assert_eq!(browser.log_in(&page, "ada").status, 200);
        self.captured(&BROWSER, &login.end()).exits_with(0);
    }

    fn captured(&self, args: &[&str], output: &Output) -> CommandOutput {
        self.sandbox.capture(args, output)
    }

    /// Returns the stored login.
    fn login(&self) -> Value {
        let [file] = &stored(&self.sandbox)[..] else { unreachable!("there is one login") };
        let text = std::fs::read_to_string(file).expect("the file can be read");
        serde_json::from_str(&text).expect("the file is JSON")
    }

    fn is_ada(&self) {
        self.run(&["whoami"]).exits_with(0).prints("name        corp:ada").prints("groups      corp:data");
    }
}

impl RunningLogin {
    /// Returns the next page that dcp prints.
    fn next_page(&mut self) -> String {
        let mut line = String::new();
        while !line.starts_with("  http") {
            line.clear();
            assert!(self.messages.read_line(&mut line).expect("the stream can be read") > 0, "dcp ended");
        }
        line.trim().to_owned()
    }

    fn end(mut self) -> Output {
        let mut stderr = Vec::new();
        self.messages.read_to_end(&mut stderr).expect("the stream can be read");
        let mut stdout = Vec::new();
        self.child
            .stdout
            .take()
            .expect("it is piped")
            .read_to_end(&mut stdout)
            .expect("the stream can be read");
        Output { status: self.child.wait().expect("it is a child of this process"), stdout, stderr }
    }
}

impl Drop for RunningLogin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_login_in_a_browser_gives_commands_the_roles_of_the_person() {
    let world = World::start();
    world.run(&["history"]).exits_with(1).prints("log in with `dcp login`");
    let mut login = world.begin(&BROWSER);
    let mut browser = Browser::default();
    let page = browser.open(&login.next_page());
    let ended = browser.log_in(&page, "ada");
    assert!(ended.status == 200 && ended.text.contains("return to the terminal"), "{ended:?}");
    let output = world.captured(&BROWSER, &login.end()).exits_with(0);
    output.prints("logged in to").prints("as corp:ada").prints("refresh the login");

    world.is_ada();
    world.run(&["whoami"]).exits_with(0).prints("viewer  shop/prod  *");
    world.run(&["history"]).exits_with(0);
    let files = stored(&world.sandbox);
    assert_eq!(modes(&files[0]), [0o600, 0o700]);

    set_mode(&files[0], 0o644);
    world.run(&["whoami"]).exits_with(1).prints("one that others can read").prints("dcp logout");
    world.run(&["logout"]).exits_with(0).prints("which could not be read");
    assert!(stored(&world.sandbox).is_empty());
}

#[test]
fn a_terminal_with_a_display_opens_a_browser() {
    let world = World::start();
    world.sandbox.write("bin/xdg-open", "#!/bin/sh\nprintf %s \"$1\" > page.new && mv page.new page\n");
    set_mode(&world.sandbox.join("bin/xdg-open"), 0o755);
    let path = std::env::var("PATH").expect("PATH is set");
    let path = format!("{}:{path}", world.sandbox.join("bin").display());
    let state = world.sandbox.join("state");
    let environment =
        [("DISPLAY", Path::new(":0")), ("PATH", Path::new(&path)), ("XDG_STATE_HOME", state.as_path())];
    let page = world.sandbox.join("page");
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut browser = Browser::default();
            let page = browser.open(&wait_until(|| std::fs::read_to_string(&page).ok()));
            browser.log_in(&page, "ada");
        });
        run_in_terminal_with(&world.sandbox, &["login"], &[], None, &environment)
    });
    output
        .exits_with(0)
        .prints("a browser opens this page")
        .prints("as corp:ada")
        .prints("DCP_TOKEN is set, and commands use it instead of the login");
    world.is_ada();
}

#[test]
fn a_login_on_another_device_is_confirmed_by_its_code() {
    let world = World::start();
    // Without a terminal, it needs no option.
    let mut login = world.begin(&["login"]);
    assert_eq!(login.next_page(), format!("{}/device", world.provider.issuer()));
    let mut browser = Browser::default();
    let with_code = browser.open(&login.next_page());
    let confirm = browser.submit(&with_code, &[]);
    let page = browser.submit(&confirm, &[]);
    let ended = browser.log_in(&page, "ada");
    assert!(ended.text.contains("Sign-in Success"), "{ended:?}");
    world.captured(&["login"], &login.end()).exits_with(0).prints("as corp:ada");
    world.is_ada();
}

#[test]
fn a_rejected_login_leaves_nothing_behind() {
    let world = World::start();
    let mut login = world.begin(&BROWSER);
    let mut browser = Browser::default();
    let page = browser.open(&login.next_page());
    browser.cancel(&page);
    world
        .captured(&BROWSER, &login.end())
        .exits_with(1)
        .prints("access_denied")
        .prints("aborted interaction");

    let mut login = world.begin(&DEVICE);
    login.next_page();
    let with_code = browser.open(&login.next_page());
    let confirm = browser.submit(&with_code, &[]);
    browser.submit(&confirm, &[("abort", "yes")]);
    world.captured(&DEVICE, &login.end()).exits_with(1).prints("access_denied");
    assert!(stored(&world.sandbox).is_empty());
}

#[test]
fn responses_of_other_logins_do_not_end_a_login() {
    let world = World::start();
    let mut login = world.begin(&BROWSER);
    let address = login.next_page();
    let redirect = address.split('&').find_map(|parameter| parameter.strip_prefix("redirect_uri="));
    let redirect = redirect.expect("the page has a redirect").replace("%3A", ":").replace("%2F", "/");
    let mut stranger = Browser::default();
    for query in ["code=stolen&state=wrong", "code=stolen", "error=access_denied&state=wrong", ""] {
        assert_eq!(stranger.open(&format!("{redirect}?{query}")).status, 400, "{query}");
    }
    assert_eq!(stranger.open(&redirect.replace("/callback", "/")).status, 404);
    let mut browser = Browser::default();
    let page = browser.open(&address);
    browser.log_in(&page, "ada");
    world.captured(&BROWSER, &login.end()).exits_with(0).prints("as corp:ada");
}

#[test]
fn commands_refresh_a_login_and_use_a_refresh_token_once() {
    let mut world = World::start();
    // Less than the time before its expiry at which a token is refreshed.
    world.provider.set_lifetime(30);
    world.log_in();
    let first = world.login();
    world.is_ada();
    let second = world.login();
    for name in ["accessToken", "refreshToken", "expires"] {
        assert_ne!(first[name], second[name], "{name} is a new one");
    }
    // The provider revokes the login if a refresh token comes twice.
    let commands: Vec<_> = (0..6)
        .map(|_| world.command(&["whoami"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn())
        .map(|child| child.expect("the binary can be run"))
        .collect();
    for command in commands {
        let output = command.wait_with_output().expect("it is a child of this process");
        world.captured(&["whoami"], &output).exits_with(0).prints("corp:ada");
    }
    let [file] = &stored(&world.sandbox)[..] else { unreachable!("there is one login") };
    let mut expired = world.login();
    expired["expires"] = "2020-01-01T00:00:00Z".into();
    std::fs::write(file, expired.to_string()).expect("the file can be written");
    world.is_ada();

    let mut reused = first;
    reused["expires"] = "2020-01-01T00:00:00Z".into();
    std::fs::write(file, reused.to_string()).expect("the file can be written");
    world.run(&["whoami"]).exits_with(1).prints("has expired").prints("dcp login --server");
    assert!(world.login().get("refreshToken").is_none(), "the provider is not asked again");
}

#[test]
fn an_expired_login_names_the_provider_that_can_not_be_reached() {
    let mut world = World::start();
    world.log_in();
    let mut login = world.login();
    world.provider.stop();
    world.is_ada();
    login["expires"] = "2020-01-01T00:00:00Z".into();
    std::fs::write(&stored(&world.sandbox)[0], login.to_string()).expect("the file can be written");
    let failed =
        world.run(&["whoami"]).exits_with(1).prints("can't refresh it").prints(world.provider.issuer());
    for secret in ["accessToken", "refreshToken"] {
        let secret = login[secret].as_str().expect("it is a text");
        assert!(!failed.stderr.contains(secret), "{}", failed.stderr);
    }
}

#[test]
fn a_logout_revokes_the_refresh_token() {
    let world = World::start();
    world.log_in();
    let mut login = world.login();
    let file = stored(&world.sandbox).remove(0);
    world.run(&["logout"]).exits_with(0).prints("the refresh token is revoked");
    assert!(stored(&world.sandbox).is_empty());
    world.run(&["logout"]).exits_with(0).prints("there is no login");
    world.run(&["whoami"]).exits_with(1).prints("a token is needed");

    login["expires"] = "2020-01-01T00:00:00Z".into();
    std::fs::write(&file, login.to_string()).expect("the file can be written");
    set_mode(&file, 0o600);
    world.run(&["whoami"]).exits_with(1).prints("has expired");
}

#[test]
fn a_login_is_not_sent_to_another_server() {
    let world = World::start();
    world.log_in();
    // The other server would accept the token.
    let other = control_plane(&world.sandbox, "other", &policy(world.provider.issuer()), &[]);
    world.run(&["whoami", "--server", &other.url]).exits_with(1).prints("a token is needed");
    world.run(&["whoami", "--server", &format!("{}/", world.control.url)]).exits_with(0);

    // A login that is put in place of another one is rejected.
    let file = stored(&world.sandbox).remove(0);
    let mut login = world.login();
    login["server"] = other.url.as_str().into();
    std::fs::write(&file, login.to_string()).expect("the file can be written");
    world.run(&["whoami"]).exits_with(1).prints("is no login for");
}

#[test]
fn a_token_that_the_server_rejects_is_not_stored() {
    let world = World::start();
    let text = policy(world.provider.issuer()).replace("urn:dcp", "urn:warehouse");
    let other = control_plane(&world.sandbox, "other", &text, &[]);
    let args = ["login", "--browser", "--server", &other.url];
    let mut login = world.begin(&args);
    let mut browser = Browser::default();
    let page = browser.open(&login.next_page());
    browser.log_in(&page, "ada");
    world.captured(&args, &login.end()).exits_with(1).prints("another audience").prints("nothing is stored");
    assert!(stored(&world.sandbox).is_empty());
}
