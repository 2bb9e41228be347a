//! The caller that the claims of an access token describe.
//!
//! Every claim that is needed has to be present: a check of present claims only accepts a token without them.

use std::time::Duration;

use dcp_server::{Caller, Credential, Verified};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::issuer::Issuer;
use crate::jwt::Jwt;

/// Maximum difference between the clocks of the provider and of this machine.
pub const LEEWAY: SignedDuration = SignedDuration::from_secs(60);
/// Maximum time for which a token is not verified again. A key that the provider has removed is usable as long.
pub const MAX_LIFETIME: Duration = Duration::from_mins(5);
/// Maximum length of the name of a caller or a group at its provider. `OpenID` limits `sub` to 255 bytes.
const MAX_NAME_BYTES: usize = 255;
/// The types of access tokens: of RFC 9068, and of providers that do not follow it.
const TYPES: [&str; 3] = ["at+jwt", "application/at+jwt", "JWT"];
/// Claims that only ID tokens have.
const ID_TOKEN_CLAIMS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];

/// Returns the holder of a token whose signature is still to be verified, or the reason why it is rejected.
pub(super) fn holder(issuer: &Issuer, jwt: &Jwt<'_>, now: Timestamp) -> Result<Verified, String> {
    check_type(jwt)?;
    let remaining = check_times(jwt, now)?;
    check_audience(issuer, jwt)?;
    required(jwt, "sub")?;
    let user = required(jwt, &issuer.user_claim)?;
    if issuer.user_claim == "email" && jwt.claims.get("email_verified") != Some(&Value::Bool(true)) {
        return Err("the provider has not verified the e-mail address of the caller".to_owned());
    }
    let name = format!("{}:{user}", issuer.name);
    let caller = Caller::new(&name, groups(issuer, jwt)?, Credential::Oidc(issuer.name.as_str().into()));
    let lifetime = Duration::try_from(remaining).unwrap_or_default().min(MAX_LIFETIME);
    Ok(Verified { caller: caller.until(now.checked_add(remaining).ok()), lifetime })
}

/// Rejects tokens that are no access tokens.
fn check_type(jwt: &Jwt<'_>) -> Result<(), String> {
    if jwt.header.crit.is_some() {
        return Err("the token needs an extension (`crit`) that dcp does not have".to_owned());
    }
    let kind = jwt.header.typ.as_deref();
    if kind.is_some_and(|kind| !TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind))) {
        return Err("the token is no access token: its `typ` is another one".to_owned());
    }
    if has_access_token_type(jwt) {
        return Ok(());
    }
    match ID_TOKEN_CLAIMS.iter().find(|claim| jwt.claims.contains_key(**claim)) {
        Some(claim) => Err(format!("the token is an ID token, as it has `{claim}`; send an access token")),
        None => Ok(()),
    }
}

/// Returns true if the provider says that the token is an access token (RFC 9068).
fn has_access_token_type(jwt: &Jwt<'_>) -> bool {
    let kind = jwt.header.typ.as_deref();
    kind.is_some_and(|kind| TYPES[..2].iter().any(|known| known.eq_ignore_ascii_case(kind)))
}

/// Returns the time until the token expires.
fn check_times(jwt: &Jwt<'_>, now: Timestamp) -> Result<SignedDuration, String> {
    let now = now.as_duration();
    let expiry =
        time(jwt, "exp")?.ok_or("the token has no `exp`, so it has no end; configure the provider")?;
    if now.saturating_sub(LEEWAY) >= expiry {
        return Err("the token has expired; get a new one from the provider".to_owned());
    }
    if time(jwt, "nbf")?.is_some_and(|begin| now.saturating_add(LEEWAY) < begin) {
        return Err("the token is not valid yet; compare the clocks of the provider and of dcp".to_owned());
    }
    Ok(expiry.saturating_sub(now))
}

/// Returns the time of a claim since 1970.
fn time(jwt: &Jwt<'_>, claim: &str) -> Result<Option<SignedDuration>, String> {
    let Some(value) = jwt.claims.get(claim) else { return Ok(None) };
    let seconds = value.as_i64().map(SignedDuration::from_secs);
    let time =
        seconds.or_else(|| value.as_f64().and_then(|value| SignedDuration::try_from_secs_f64(value).ok()));
    time.map(Some).ok_or_else(|| format!("`{claim}` of the token is no time in seconds"))
}

/// Checks that the token is for this server. The audience of an ID token is the client that requested it.
fn check_audience(issuer: &Issuer, jwt: &Jwt<'_>) -> Result<(), String> {
    let audiences =
        strings(jwt, "aud")?.ok_or("the token has no `aud`; request one for an audience of dcp")?;
    if !audiences.iter().any(|audience| issuer.audiences.iter().any(|ours| ours == audience)) {
        let ours = issuer.audiences.join("`, `");
        return Err(format!("the token is for another audience; request one for `{ours}`"));
    }
    let client = jwt.text("azp").or_else(|| jwt.text("client_id"));
    let is_for_its_client = client.is_some_and(|client| audiences.iter().all(|audience| *audience == client));
    if is_for_its_client && !has_access_token_type(jwt) {
        return Err(
            "the only audience of the token is the client that requested it, as of an ID token; use a \
                    client of its own, and request an access token for dcp"
                .to_owned(),
        );
    }
    Ok(())
}

fn groups(issuer: &Issuer, jwt: &Jwt<'_>) -> Result<Vec<String>, String> {
    let Some(claim) = &issuer.groups_claim else { return Ok(Vec::new()) };
    let groups = strings(jwt, claim)?.unwrap_or_default().into_iter();
    let prefixed = groups.map(|group| match is_name(group) {
        true => Ok(format!("{}:{group}", issuer.name)),
        false => Err(format!("`{claim}` of the token has a group without a usable name; {NAMES}")),
    });
    prefixed.collect()
}

/// Returns a claim that is a name.
fn required<'a>(jwt: &'a Jwt<'_>, claim: &str) -> Result<&'a str, String> {
    match jwt.claims.get(claim) {
        None => Err(format!("the token has no `{claim}`; configure the provider to add it")),
        Some(Value::String(name)) if is_name(name) => Ok(name),
        Some(_) => Err(format!("`{claim}` of the token is no usable name; {NAMES}")),
    }
}

const NAMES: &str = "a name has 1 to 255 bytes and no control characters";

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.contains(char::is_control)
}

/// Returns a claim that is one text or a list of texts.
fn strings<'a>(jwt: &'a Jwt<'_>, claim: &str) -> Result<Option<Vec<&'a str>>, String> {
    let texts = match jwt.claims.get(claim) {
        None => return Ok(None),
        Some(Value::String(text)) => Some(vec![text.as_str()]),
        Some(Value::Array(values)) => values.iter().map(Value::as_str).collect(),
        Some(_) => None,
    };
    texts.map(Some).ok_or_else(|| format!("`{claim}` of the token is neither a text nor a list of texts"))
}

#[cfg(test)]
mod tests;
