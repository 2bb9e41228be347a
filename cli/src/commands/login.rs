//! `dcp login`

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use dcp_identity::login::{BrowserLogin, DeviceCode, Endpoints, Grant, LOGIN_TIMEOUT, LoginClient};
use dcp_identity::{ClientSettings, Provider, remote};
use dcp_workspace::project::Workspace;

use super::serve::block_on;
use crate::args::{LoginArgs, ServerArgs};
use crate::control::{TOKEN, check_encrypted, options};
use crate::credentials::{call_failed, login_failed};
use crate::failure::{Failure, Verdict};
use crate::logins::{self, Login};
use crate::out::{BOLD, Console};
use crate::render::sanitize;

pub(super) fn run(
    args: &LoginArgs,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let Target { server, runner } = target(&args.server, project)?;
    let server = server.ok_or_else(no_server)?;
    let key = logins_key(&server)?;
    // The answer of the server decides where the person types in a password.
    check_encrypted(&server)?;
    let store = logins::store()?;
    let (login, name) = block_on(async {
        let providers = remote::providers(options(&server, String::new())?).await;
        let providers = providers.map_err(|error| call_failed(&error))?;
        let (provider, settings) = choose(&server, providers, args.issuer.as_deref())?;
        let client = LoginClient::new(settings.clone()).map_err(|error| login_failed(&error))?;
        let endpoints = client.discover(&provider.url).await.map_err(|error| login_failed(&error))?;
        let (issuer, name) = (sanitize(&provider.url), sanitize(&settings.client));
        writeln!(console.err, "log in at {issuer} as the client `{name}`, for {server}")?;
        let flow = flow(args, has_display(console), &endpoints)?;
        let grant = match flow {
            Flow::Browser { opens } => {
                by_browser(&client, &provider, &settings, &endpoints, opens, console).await?
            }
            Flow::Device => by_device(&client, &endpoints, console).await?,
        };
        // The server decides if the token identifies the caller.
        let who = remote::who_am_i(options(&server, grant.access_token.clone())?).await;
        let who = who.map_err(|error| {
            call_failed(&error).help(
                "nothing is stored; compare `login` of the issuer in the policy with the provider's client",
            )
        })?;
        Ok((Login::new(key.clone(), &provider.url, settings, endpoints, grant), who.name))
    })?;
    let _lock = store.lock(&key)?;
    store.save(&login)?;
    if !console.quiet {
        writeln!(console.out, "logged in to {server} as {}; {}", sanitize(&name), lifetime(&login))?;
        print_notes(runner.filter(|runner| *runner != server), console)?;
    }
    Ok(Verdict::Success)
}

/// Prints what keeps commands from using the login.
fn print_notes(runner: Option<String>, console: &mut Console) -> Result<(), Failure> {
    if std::env::var_os(TOKEN).is_some_and(|token| !token.is_empty()) {
        writeln!(console.out, "{TOKEN} is set, and commands use it instead of the login: unset {TOKEN}")?;
    }
    if let Some(runner) = runner {
        let address = "the Runner of the target has an address of its own";
        writeln!(console.out, "{address}: dcp login --server {runner}")?;
    }
    Ok(())
}

/// The addresses of a command.
#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) server: Option<String>,
    pub(super) runner: Option<String>,
}

/// Returns the server of the arguments, or that of the target.
pub(super) fn target(args: &ServerArgs, project: Option<&Path>) -> Result<Target, Failure> {
    if let Some(server) = &args.server {
        return Ok(Target { server: Some(server.clone()), runner: None });
    }
    let home = Workspace::find(project, &[])?;
    let target = home.target(args.target.as_deref())?;
    let text = |address: Option<&str>| address.map(str::to_owned);
    Ok(Target { server: text(target.server()), runner: text(target.runner()) })
}

pub(super) fn no_server() -> Failure {
    Failure::usage("the target has no server, so there is nothing to log in to")
        .help("choose another target with `--target`, or give `--server https://…`")
}

/// Returns the form of an address that its login is stored by.
pub(super) fn logins_key(server: &str) -> Result<String, Failure> {
    logins::canonical(server).ok_or_else(|| {
        Failure::usage(format!("`{}` can't be the address of a server to log in to", sanitize(server)))
            .help("write `https://host:port`")
    })
}

/// Returns the provider to log in at, with its client.
fn choose(
    server: &str,
    providers: Vec<Provider>,
    issuer: Option<&str>,
) -> Result<(Provider, ClientSettings), Failure> {
    let logins = providers.into_iter().filter_map(|provider| {
        let settings = provider.login.clone()?;
        Some((provider, settings))
    });
    let (mut fitting, others): (Vec<_>, Vec<_>) =
        logins.partition(|(provider, _)| issuer.is_none_or(|issuer| provider.name == issuer));
    let names = |logins: &[(Provider, ClientSettings)]| {
        let names: Vec<_> =
            logins.iter().map(|(provider, _)| format!("`{}`", sanitize(&provider.name))).collect();
        names.join(", ")
    };
    match (fitting.pop(), issuer) {
        (Some(login), _) if fitting.is_empty() => Ok(login),
        (Some(login), _) => {
            fitting.push(login);
            let message = format!("`{server}` has logins at several providers: {}", names(&fitting));
            Err(Failure::usage(message).help("choose one: --issuer NAME"))
        }
        (None, Some(issuer)) if !others.is_empty() => {
            let message = format!("`{server}` has no login at `{}`", sanitize(issuer));
            Err(Failure::usage(message).help(format!("choose one of {}", names(&others))))
        }
        (None, _) => Err(Failure::new(format!("`{server}` has no logins"))
            .help("an issuer of its policy needs `login: {client: …}`; else give a token in DCP_TOKEN")),
    }
}

/// The way in which a person logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Browser {
        /// True if dcp opens the browser.
        opens: bool,
    },
    Device,
}

/// Returns true if a browser can show the login to the person at the terminal.
fn has_display(console: &Console) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_remote = is_set("SSH_CONNECTION") || is_set("SSH_TTY");
    let is_graphical = cfg!(target_os = "macos") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY");
    console.err.look.terminal && is_graphical && !is_remote
}

fn flow(args: &LoginArgs, has_display: bool, endpoints: &Endpoints) -> Result<Flow, Failure> {
    let browser = endpoints.authorization.as_ref().map(|_| Flow::Browser { opens: has_display });
    let device = endpoints.device.as_ref().map(|_| Flow::Device);
    let missing = |what: &str, other: &str| {
        Failure::new(format!("the provider has no {what}")).help(format!("use the other way: {other}"))
    };
    match (args.device, args.browser, has_display) {
        (true, _, _) => {
            device.ok_or_else(|| missing("login on another device (RFC 8628)", "dcp login --browser"))
        }
        (_, true, _) => {
            browser.ok_or_else(|| missing("login for browsers with PKCE (S256)", "dcp login --device"))
        }
        (_, _, true) => browser.or(device).ok_or_else(no_flow),
        (_, _, false) => device.or(browser).ok_or_else(no_flow),
    }
}

fn no_flow() -> Failure {
    Failure::new(
        "the provider has neither a login for browsers with PKCE (S256) nor one on another device (RFC 8628)",
    )
    .help("give a token of the provider in DCP_TOKEN")
}

async fn by_browser(
    client: &LoginClient,
    provider: &Provider,
    settings: &ClientSettings,
    endpoints: &Endpoints,
    opens: bool,
    console: &mut Console,
) -> Result<Grant, Failure> {
    let Some(endpoint) = &endpoints.authorization else { return Err(no_flow()) };
    let login = BrowserLogin::listen(&provider.url, endpoints.names_issuer).await;
    let login = login.map_err(|error| {
        let reason = dcp_workspace::error::reason(&error);
        Failure::new(format!("nothing can listen on a port of this machine: {reason}"))
            .help("use the other way: dcp login --device")
    })?;
    let page = login.page(endpoint, settings);
    let minutes = LOGIN_TIMEOUT.as_secs() / 60;
    // The address has no secret that redeems the login; that one never leaves this process.
    let action = if opens && open(page.as_str()) {
        "a browser opens this page"
    } else {
        "open this page in a browser"
    };
    writeln!(console.err, "{action}, within {minutes} minutes:\n\n  {page}\n")?;
    console.flush()?;
    let code = login.code().await.map_err(|error| login_failed(&error))?;
    client.redeem(endpoints, &login, &code).await.map_err(|error| login_failed(&error))
}

/// Opens a page in the browser of the desktop, and returns false if there is none.
fn open(page: &str) -> bool {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(program);
    command.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().is_ok()
}

async fn by_device(
    client: &LoginClient,
    endpoints: &Endpoints,
    console: &mut Console,
) -> Result<Grant, Failure> {
    let Some(endpoint) = &endpoints.device else { return Err(no_flow()) };
    let code = client.device_code(endpoint).await.map_err(|error| login_failed(&error))?;
    let DeviceCode { user_code, page, complete_page, lifetime, .. } = &code;
    let minutes = (lifetime.as_secs() / 60).max(1);
    let shown = console.err.look.paint(BOLD, user_code);
    writeln!(
        console.err,
        "open this page on any device, within {minutes} minutes, and enter the code {shown}:\n\n  {page}\n"
    )?;
    if let Some(page) = complete_page {
        writeln!(console.err, "or this one, which has the code:\n\n  {page}\n")?;
    }
    console.flush()?;
    client.poll(endpoints, &code).await.map_err(|error| login_failed(&error))
}

/// Describes the lifetime of a login.
fn lifetime(login: &Login) -> String {
    match (&login.refresh_token, login.expires) {
        (Some(_), _) => "commands refresh the login until the provider ends it".to_owned(),
        (None, Some(expires)) => format!("the login expires at {expires:.0}"),
        (None, None) => "the provider does not say when the login expires".to_owned(),
    }
}

#[cfg(test)]
mod tests;
