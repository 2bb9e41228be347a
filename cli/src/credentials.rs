//! Tokens of commands that have no `DCP_TOKEN`: of a job of GitHub Actions, or of a stored login.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dcp_identity::login::{self, Actions};
use dcp_identity::remote;
use dcp_server::client::{CallError, Options, Renewal};

use crate::failure::Failure;
use crate::logins;
use crate::render::sanitize;

/// The variables that a job of GitHub Actions has with `permissions: {id-token: write}`.
const REQUEST_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const REQUEST_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// Time for which a token of a job is used. It lives for five minutes.
const MAX_AGE: Duration = Duration::from_mins(2);

/// The tokens of this job by the URLs of their servers, and the times at which they were requested. They are in memory
/// only.
static OF_JOB: Mutex<BTreeMap<String, (Instant, Option<String>)>> = Mutex::new(BTreeMap::new());

/// Returns the token for a server, which `anonymous` connects to without one. A job of GitHub Actions is another caller
/// than the person whose login the machine has, so its own token comes first.
pub(crate) fn token(anonymous: &Options) -> Result<Option<String>, Failure> {
    if let Some(actions) = actions()?
        && let Some(token) = token_of_job(&actions, anonymous)?
    {
        return Ok(Some(token));
    }
    logins::token(&anonymous.url)
}

/// Returns the source of the tokens after the first one, for commands that last longer than a token.
pub(crate) fn renewal(anonymous: Options) -> Renewal {
    Renewal::new(move || {
        let token = token(&anonymous).map_err(|failure| failure.with_help())?;
        token.ok_or_else(|| format!("the login for `{}` was removed; log in again: dcp login", anonymous.url))
    })
}

fn actions() -> Result<Option<Actions>, Failure> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(url), Some(token)) = (variable(REQUEST_URL), variable(REQUEST_TOKEN)) else { return Ok(None) };
    Actions::new(&url, token).map(Some).map_err(|error| login_failed(&error))
}

/// Returns a token of this job for a server whose policy has GitHub Actions as an issuer.
fn token_of_job(actions: &Actions, anonymous: &Options) -> Result<Option<String>, Failure> {
    let mut tokens = OF_JOB.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((requested, token)) = tokens.get(&anonymous.url)
        && requested.elapsed() < MAX_AGE
    {
        return Ok(token.clone());
    }
    let requested = logins::block_on(async {
        let providers = remote::providers(anonymous.clone()).await.map_err(|error| call_failed(&error))?;
        let Some(github) = providers.into_iter().find(|provider| login::is_github(&provider.url)) else {
            return Ok(None);
        };
        actions.id_token(&github.audience).await.map(Some).map_err(|error| login_failed(&error))
    });
    let token = requested??;
    tokens.insert(anonymous.url.clone(), (Instant::now(), token.clone()));
    Ok(token)
}

pub(crate) fn login_failed(error: &login::Error) -> Failure {
    let failure = Failure::new(sanitize(&error.to_string()));
    match error {
        login::Error::Unavailable(_) => failure.help("check the network and the proxy, and try again"),
        _ => failure,
    }
}

pub(crate) fn call_failed(error: &CallError) -> Failure {
    match error {
        CallError::Rejected(error) => Failure::new(sanitize(&error.message)),
        CallError::Invalid(why) | CallError::Denied(why) | CallError::Unavailable(why) => {
            Failure::new(sanitize(why))
        }
    }
}
