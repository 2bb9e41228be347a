//! Access tokens of `OpenID` providers.
//!
//! [`claims`] and [`keys`] decide about a token, [`schedule`] about the times of fetches; [`provider`] fetches, and
//! [`fetcher`] connects them.

mod algorithm;
mod claims;
mod fetcher;
mod issuer;
mod keys;
mod provider;
mod schedule;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use dcp_server::{Rejection, Verified, Verifier};
use jiff::Timestamp;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use claims::{LEEWAY, MAX_LIFETIME};
pub use issuer::{Issuer, Problem};
pub use schedule::Schedule;

pub use crate::http::ClientError;

use crate::Log;
use crate::jwt::Jwt;
use fetcher::Fetcher;
use keys::Unverified;
use provider::Provider;

/// Verifies the access tokens of one issuer.
#[derive(Debug)]
pub struct Oidc {
    issuer: Issuer,
    clock: fn() -> Timestamp,
    keys: Fetcher,
}

/// Options of a verifier, besides the settings of its issuer.
#[derive(Clone)]
pub struct Options {
    /// The clock for the times in tokens.
    pub clock: fn() -> Timestamp,
    pub schedule: Schedule,
    /// Receives each new cause why keys can't be fetched.
    pub log: Log,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: dcp_server::clock, schedule: Schedule::default(), log: Arc::new(|_| {}) }
    }
}

/// The reasons why a verifier can't be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the issuer `{name}` has wrong settings: {}", described(.problems))]
    Settings { name: String, problems: Vec<Problem> },
    #[error("the issuer `{name}`: {source}")]
    Client { name: String, source: ClientError },
}

fn described(problems: &[Problem]) -> String {
    let texts: Vec<_> = problems.iter().map(|it| format!("`{}` {}", it.field, it.message)).collect();
    texts.join("; ")
}

impl Oidc {
    /// Creates a verifier, whose keys a task of the current tokio runtime fetches until the verifier is dropped. A
    /// provider that can't be reached is no error here: it may start later.
    pub fn new(issuer: Issuer, options: Options) -> Result<Self, Error> {
        let problems = issuer.problems();
        if !problems.is_empty() {
            return Err(Error::Settings { name: issuer.name, problems });
        }
        let Options { clock, schedule, log } = options;
        let provider = Provider::new(&issuer, schedule.timeout)
            .map_err(|source| Error::Client { name: issuer.name.clone(), source })?;
        let keys = Fetcher::start(issuer.name.clone(), provider, schedule, log);
        Ok(Self { issuer, clock, keys })
    }

    /// Returns the algorithm that a token names, if the issuer may use it.
    fn algorithm(&self, jwt: &Jwt<'_>) -> Result<Algorithm, Rejection> {
        let named = jwt.header.alg.parse().ok().filter(|it| self.issuer.algorithms.contains(it));
        named.ok_or_else(|| {
            let allowed = self.issuer.algorithm_names();
            Rejection::Invalid(format!(
                "the algorithm of the token is not accepted; the issuer may use {allowed}"
            ))
        })
    }

    /// Verifies the signature with the known keys, and with fetched ones if no known key fits.
    async fn verify_signature(&self, jwt: &Jwt<'_>, algorithm: Algorithm) -> Result<(), Rejection> {
        let mut state = self.keys.state();
        let mut verified = state.verify(jwt, algorithm);
        if verified == Err(Unverified::UnknownKey) {
            state = self.keys.fetch(&state).await?;
            verified = state.verify(jwt, algorithm);
        }
        verified.map_err(|why| match why {
            Unverified::UnknownKey => self.keys.rejection(&state),
            Unverified::AmbiguousKey => Rejection::Invalid(
                "the token names no key (`kid`), and several fit; configure the provider to name it"
                    .to_owned(),
            ),
            Unverified::WrongSignature => {
                Rejection::Invalid("the signature of the token is wrong".to_owned())
            }
        })
    }
}

#[async_trait]
impl Verifier for Oidc {
    async fn verify(&self, token: &str) -> Result<Option<Verified>, Rejection> {
        let Some(jwt) = Jwt::read(token).filter(|jwt| jwt.text("iss") == Some(&self.issuer.url)) else {
            return Ok(None);
        };
        // The claims are checked first, so that an expired token has no keys fetched.
        let algorithm = self.algorithm(&jwt)?;
        let holder = claims::holder(&self.issuer, &jwt, (self.clock)()).map_err(Rejection::Invalid)?;
        self.verify_signature(&jwt, algorithm).await?;
        Ok(Some(holder))
    }
}
