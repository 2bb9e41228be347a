//! Tokens of Kubernetes service accounts, which the API server reviews.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use dcp_server::{Caller, Credential, Rejection, Verified, Verifier};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::cause::cause;
use crate::jwt::Jwt;

/// Maximum number of concurrent reviews.
const MAX_REVIEWS: usize = 8;
/// Maximum time that a token waits for its review.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum time of a review.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for which a token is not reviewed again. The token of a deleted account is accepted as long.
pub const LIFETIME: Duration = Duration::from_mins(1);
/// Maximum length of a message of the API server.
const MAX_MESSAGE_CHARS: usize = 300;
/// The prefix of the names of all service accounts.
const PREFIX: &str = "system:serviceaccount:";

/// The service accounts of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The audience of this server. Tokens for the API server itself, as every pod has one, are rejected.
    pub audience: String,
    /// The issuer of the cluster's tokens. Without it, the tokens of all service accounts are reviewed.
    pub issuer: Option<String>,
}

/// Verifies the tokens of service accounts.
pub struct ServiceAccounts {
    reviews: Api<TokenReview>,
    settings: Settings,
    permits: Semaphore,
}

impl fmt::Debug for ServiceAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccounts").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl ServiceAccounts {
    /// Creates a verifier with a client of the cluster, whose account needs the cluster role `system:auth-delegator`.
    pub fn new(client: Client, settings: Settings) -> Self {
        Self { reviews: Api::all(client), settings, permits: Semaphore::new(MAX_REVIEWS) }
    }

    /// Has the API server review a token.
    async fn review(&self, token: &str) -> Result<TokenReviewStatus, Rejection> {
        let Ok(permit) = timeout(QUEUE_TIMEOUT, self.permits.acquire()).await else {
            return Err(unavailable("too many tokens wait for their reviews; retry later"));
        };
        let spec = TokenReviewSpec {
            audiences: Some(vec![self.settings.audience.clone()]),
            token: Some(token.to_owned()),
        };
        let review = TokenReview { spec, ..TokenReview::default() };
        let params = PostParams::default();
        let created = timeout(REVIEW_TIMEOUT, self.reviews.create(&params, &review)).await;
        drop(permit);
        let created = created.map_err(|_| unavailable("the API server does not respond in time"))?;
        Ok(created.map_err(|error| failed(&error))?.status.unwrap_or_default())
    }
}

#[async_trait]
impl Verifier for ServiceAccounts {
    async fn verify(&self, token: &str) -> Result<Option<Verified>, Rejection> {
        let is_known = |jwt: &Jwt<'_>| is_service_account(jwt, self.settings.issuer.as_deref());
        let Some(jwt) = Jwt::read(token).filter(is_known) else { return Ok(None) };
        let status = self.review(token).await?;
        let holder = holder(status, &self.settings.audience).map_err(Rejection::Invalid)?;
        // The API server has accepted the token, and with it this claim.
        let expires = jwt.claims.get("exp").and_then(Value::as_i64);
        let expires = expires.and_then(|seconds| Timestamp::from_second(seconds).ok());
        Ok(Some(Verified { caller: holder.caller.until(expires), ..holder }))
    }
}

/// Returns true if a token claims to be of a service account of the cluster.
fn is_service_account(jwt: &Jwt<'_>, issuer: Option<&str>) -> bool {
    match issuer {
        Some(issuer) => jwt.text("iss") == Some(issuer),
        None => jwt.text("sub").is_some_and(|subject| subject.starts_with(PREFIX)),
    }
}

/// Returns the holder of a token from the result of its review, or the reason why it is rejected.
fn holder(status: TokenReviewStatus, audience: &str) -> Result<Verified, String> {
    if status.authenticated != Some(true) {
        let why = status.error.map(|error| format!(": {}", shortened(&error))).unwrap_or_default();
        return Err(format!("the API server does not accept the token for the audience `{audience}`{why}"));
    }
    // An API server that knows no audiences returns none, and the token is for itself.
    if !status.audiences.unwrap_or_default().iter().any(|it| it == audience) {
        return Err(format!("the token is for another audience; request one for `{audience}`"));
    }
    let user = status.user.unwrap_or_default();
    // The API server may authenticate users of other kinds, whose names could be those of other verifiers.
    let name =
        user.username.filter(|name| name.starts_with(PREFIX)).ok_or("the token is of no service account")?;
    let caller = Caller::new(&name, user.groups.unwrap_or_default(), Credential::ServiceAccount);
    Ok(Verified { caller, lifetime: LIFETIME })
}

/// Explains why a token was not reviewed.
fn failed(error: &kube::Error) -> Rejection {
    match error {
        kube::Error::Api(status) if status.code == 403 => unavailable(&format!(
            "{}; bind the cluster role `system:auth-delegator` to the account of dcp",
            shortened(&status.message)
        )),
        kube::Error::Api(status) if status.code == 401 => {
            unavailable("the API server does not accept the credentials of dcp; renew them")
        }
        kube::Error::Api(status) => {
            let message = shortened(&status.message);
            unavailable(&format!("the API server responds with the status {}: {message}", status.code))
        }
        kube::Error::SerdeError(_) => unavailable("the API server responds with no TokenReview"),
        other => unavailable(&format!("the API server does not respond: {}", shortened(&cause(other)))),
    }
}

fn unavailable(why: &str) -> Rejection {
    Rejection::Unavailable(format!("tokens of service accounts can't be verified now: {why}"))
}

fn shortened(message: &str) -> String {
    message.chars().take(MAX_MESSAGE_CHARS).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests;
