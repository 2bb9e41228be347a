//! A client of a provider's endpoints for logins.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use url::Url;

use super::browser::BrowserLogin;
use super::device::{DeviceCode, next_pause};
use super::discovery::{Endpoints, check_issuer, endpoint};
use super::grant::{Error, Grant, success};
use crate::http::{Http, discovery_url};
use crate::providers::ClientSettings;

/// Maximum time of a request.
const TIMEOUT: Duration = Duration::from_secs(15);
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A public client of a provider.
#[derive(Clone)]
pub struct LoginClient {
    http: Http,
    settings: ClientSettings,
}

impl fmt::Debug for LoginClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginClient").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl LoginClient {
    pub fn new(settings: ClientSettings) -> Result<Self, Error> {
        let http = Http::new(TIMEOUT, None).map_err(|error| Error::Unusable(error.to_string()))?;
        Ok(Self { http, settings })
    }

    /// Fetches the endpoints of an issuer.
    pub async fn discover(&self, issuer: &str) -> Result<Endpoints, Error> {
        check_issuer(issuer)?;
        let url = discovery_url(issuer);
        let document = self.http.get(&url).await;
        let document = document.map_err(|why| Error::Unavailable(format!("`{url}` {why}")))?;
        Endpoints::read(issuer, &document)
    }

    /// Redeems the code that a browser has brought.
    pub async fn redeem(
        &self,
        endpoints: &Endpoints,
        login: &BrowserLogin,
        code: &str,
    ) -> Result<Grant, Error> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &login.redirect),
            ("code_verifier", &login.verifier),
        ];
        self.grant(&endpoints.token, &form).await
    }

    /// Requests the codes of a login at another device.
    pub async fn device_code(&self, endpoint: &Url) -> Result<DeviceCode, Error> {
        let scope = self.settings.scope();
        let response = self.post(endpoint, &[("scope", scope.as_str())]).await?;
        DeviceCode::read(endpoint.as_str(), response)
    }

    /// Polls until the person has confirmed the login, or the code has expired.
    pub async fn poll(&self, endpoints: &Endpoints, code: &DeviceCode) -> Result<Grant, Error> {
        let end = Instant::now() + code.lifetime;
        let form = [("grant_type", DEVICE_GRANT), ("device_code", code.code.as_str())];
        let mut interval = code.interval;
        loop {
            if Instant::now() + interval > end {
                return Err(Error::TimedOut(
                    "the code has expired before the login was confirmed".to_owned(),
                ));
            }
            sleep(interval).await;
            match next_pause(interval, self.grant(&endpoints.token, &form).await) {
                Ok(pause) => interval = pause,
                Err(ended) => return ended,
            }
        }
    }

    /// Requests new tokens by a refresh token, which the provider may then reject.
    pub async fn refresh(&self, token_endpoint: &str, refresh_token: &str) -> Result<Grant, Error> {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        self.grant(&endpoint(token_endpoint)?, &form).await
    }

    /// Revokes a refresh token.
    pub async fn revoke(&self, revocation_endpoint: &str, refresh_token: &str) -> Result<(), Error> {
        let form = [("token", refresh_token), ("token_type_hint", "refresh_token")];
        let response = self.post(&endpoint(revocation_endpoint)?, &form).await?;
        success(revocation_endpoint, response).map(|_| ())
    }

    async fn grant(&self, endpoint: &Url, form: &[(&str, &str)]) -> Result<Grant, Error> {
        let response = self.post(endpoint, form).await?;
        Grant::read(endpoint.as_str(), response)
    }

    async fn post(&self, endpoint: &Url, form: &[(&str, &str)]) -> Result<crate::http::Response, Error> {
        let form = [form, &self.settings.parameters()].concat();
        let response = self.http.post(endpoint.as_str(), &form).await;
        response.map_err(|why| Error::Unavailable(format!("`{endpoint}` {why}")))
    }
}
