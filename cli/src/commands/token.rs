//! `dcp token`

use std::io::Write as _;
use std::path::Path;

use dcp_identity::tokens::{NewToken, Store, StoredToken};
use dcp_model::manifest::Duration;
use dcp_model::policy::CallerName;
use dcp_workspace::FOLDER;
use dcp_workspace::project::Workspace;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::serve::{block_on, open_tokens};
use crate::args::{CreateToken, Format, ListTokens, RevokeToken, TokenArgs, TokenCommand, TokenDatabase};
use crate::failure::{Failure, Verdict};
use crate::out::{BOLD, Console};
use crate::render::{aligned, sanitize};

/// Separates the name of a provider from that of its users. Holders of tokens belong to no provider.
const PROVIDER_SEPARATOR: char = ':';
const NEVER: &str = "never";

pub(super) fn run(
    args: &TokenArgs,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let TokenDatabase { database } = match &args.command {
        TokenCommand::Create(args) => &args.database,
        TokenCommand::List(args) => &args.database,
        TokenCommand::Revoke(args) => &args.database,
    };
    let database = match database {
        Some(database) => database.clone(),
        None => default_database(project)?,
    };
    block_on(async {
        let store = open_tokens(&database).await?;
        match &args.command {
            TokenCommand::Create(args) => create(args, &store, console).await,
            TokenCommand::List(args) => list(args, &store, console).await,
            TokenCommand::Revoke(args) => revoke(args, &store, console).await,
        }
    })
}

/// Returns the database of `dcp up` in the project.
pub(super) fn default_database(project: Option<&Path>) -> Result<String, Failure> {
    let home = Workspace::find(project, &[])?;
    let path = home.root.join(FOLDER).join("state.db");
    if !path.exists() {
        let message = "no database is given, and no `dcp up` has run in this project";
        return Err(Failure::usage(message).help("give the database of the service: --database postgres://…"));
    }
    Ok(path.display().to_string())
}

async fn create(args: &CreateToken, store: &Store, console: &mut Console) -> Result<Verdict, Failure> {
    let CreateToken { name, groups, expires, database: _ } = args;
    for name in std::iter::once(name).chain(groups) {
        check_name(name)?;
    }
    let now = Timestamp::now();
    let new = NewToken {
        name: name.clone(),
        groups: groups.clone(),
        created_by: crate::control::user_name(),
        expires: expiry(expires, now)?,
    };
    let (token, text) = store.create(&new, now).await.map_err(failed)?;
    writeln!(console.out, "{}", text.expose())?;
    if !console.quiet {
        let until = token.expires.map_or("never expires".to_owned(), |at| format!("expires at {at:.0}"));
        writeln!(
            console.err,
            "the token {} of `{}` {until}; it is not shown again. Callers send it as DCP_TOKEN",
            token.id,
            sanitize(name)
        )?;
    }
    Ok(Verdict::Success)
}

fn check_name(name: &str) -> Result<(), Failure> {
    CallerName::parse(name).map_err(|error| Failure::usage(error.message))?;
    if name.contains(PROVIDER_SEPARATOR) {
        let message = format!("`{}` is a name of a provider's user: it has a `:`", sanitize(name));
        return Err(Failure::usage(message).help("choose a name without `:`, such as `airflow`"));
    }
    Ok(())
}

/// Returns the time at which a token expires.
fn expiry(text: &str, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    if text == NEVER {
        return Ok(None);
    }
    let duration = Duration::parse(text).map_err(|error| {
        Failure::usage(format!("--expires: {}", error.message))
            .help("write a time such as `90d` or `12h`, or `never`")
    })?;
    let seconds = i64::try_from(duration.secs()).unwrap_or(i64::MAX);
    let expires = now.checked_add(SignedDuration::from_secs(seconds));
    expires
        .map(Some)
        .map_err(|_| Failure::usage(format!("--expires: {text} is too long")).help("write `never`"))
}

async fn list(args: &ListTokens, store: &Store, console: &mut Console) -> Result<Verdict, Failure> {
    let (tokens, now) = (store.list().await.map_err(failed)?, Timestamp::now());
    if args.output == Format::Json {
        let tokens: Vec<_> = tokens.iter().map(to_json).collect();
        writeln!(console.out, "{:#}", json!({ "tokens": tokens }))?;
        return Ok(Verdict::Success);
    }
    if tokens.is_empty() {
        writeln!(console.out, "there are no tokens; `dcp token create NAME` creates one")?;
        return Ok(Verdict::Success);
    }
    let look = console.out.look;
    let head = ["ID", "NAME", "GROUPS", "STATE", "LAST USED"].map(str::to_owned);
    let row = |token: &StoredToken| {
        [
            token.id.clone(),
            sanitize(&token.name),
            sanitize(&token.groups.join(", ")),
            state(token, now),
            token.used.map_or("-".to_owned(), day),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(tokens.iter().map(row)).collect();
    for (index, cells) in aligned(&rows, look.limit()).into_iter().enumerate() {
        let line = cells.join("  ").trim_end().to_owned();
        let line = if index == 0 { look.paint(BOLD, line) } else { line };
        writeln!(console.out, "{line}")?;
    }
    Ok(Verdict::Success)
}

fn state(token: &StoredToken, now: Timestamp) -> String {
    match (token.revoked, token.expires) {
        (Some(at), _) => format!("revoked {}", day(at)),
        (None, Some(at)) if at <= now => format!("expired {}", day(at)),
        (None, Some(at)) => format!("until {}", day(at)),
        (None, None) => "never expires".to_owned(),
    }
}

fn day(at: Timestamp) -> String {
    at.strftime("%F").to_string()
}

fn to_json(token: &StoredToken) -> serde_json::Value {
    json!({
        "id": token.id, "name": token.name, "groups": token.groups, "created": token.created,
        "createdBy": token.created_by, "expires": token.expires, "revoked": token.revoked, "used": token.used,
    })
}

async fn revoke(args: &RevokeToken, store: &Store, console: &mut Console) -> Result<Verdict, Failure> {
    if !store.revoke(&args.id, Timestamp::now()).await.map_err(failed)? {
        return Err(Failure::new(format!("there is no token `{}`", sanitize(&args.id)))
            .help("`dcp token list` shows the ids"));
    }
    if !console.quiet {
        writeln!(console.out, "services reject the token within 10 seconds")?;
    }
    Ok(Verdict::Success)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(error.to_string())
}
