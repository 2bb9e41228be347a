//! `dcp logout`

use std::io::Write as _;
use std::path::Path;

use super::login::{logins_key, no_server, target};
use crate::args::LogoutArgs;
use crate::failure::{Failure, Verdict};
use crate::logins::{self, Login};
use crate::out::Console;

pub(super) fn run(
    args: &LogoutArgs,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let server = target(&args.server, project)?.server.ok_or_else(no_server)?;
    let key = logins_key(&server)?;
    let store = logins::store()?;
    let lock = store.lock(&key)?;
    let loaded = store.load(&key);
    let is_removed = store.remove(&key)?;
    drop(lock);
    let message = match loaded {
        _ if !is_removed => format!("there is no login to {server}"),
        Ok(Some(login)) => format!("logged out of {server}; {}", revoke(&login)?),
        Ok(None) | Err(_) => format!(
            "removed the login to {server}, which could not be read; its tokens are not revoked, so end it at the provider"
        ),
    };
    if !console.quiet {
        writeln!(console.out, "{message}")?;
    }
    Ok(Verdict::Success)
}

/// Revokes the refresh token of a login if possible, and describes the result.
fn revoke(login: &Login) -> Result<String, Failure> {
    let issuer = &login.issuer;
    Ok(match (&login.refresh_token, &login.revocation_endpoint) {
        (None, _) => match login.expires {
            Some(expires) => format!("the removed access token stays valid until {expires:.0}"),
            None => "the removed access token stays valid until it expires".to_owned(),
        },
        (Some(_), None) => format!("{issuer} can't revoke the refresh token, so end the session there"),
        (Some(token), Some(endpoint)) => {
            let revoked = logins::block_on(async { login.client()?.revoke(endpoint, token).await })?;
            match revoked {
                Ok(()) => "the refresh token is revoked".to_owned(),
                Err(error) => {
                    format!("the refresh token is not revoked, so end the session at {issuer}: {error}")
                }
            }
        }
    })
}
