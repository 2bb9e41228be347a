//! Secrets in AWS Secrets Manager.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{DisplayErrorContext, ProvideErrorMetadata as _};
use aws_smithy_http_client::tls::Provider as Tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::vault::check_address;
use super::{MAX_SECRET_BYTES, Provider, SecretValue, Template};
use crate::SecretKey;
use crate::error::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time of a request with its retries.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The settings of a provider. Credentials are those of the default chain of AWS: variables, profiles, the identity of a
/// pod or of a machine.
#[derive(Debug, Clone)]
pub struct AwsSettings {
    pub region: Option<String>,
    /// Another endpoint than that of AWS.
    pub endpoint: Option<String>,
    /// The name of a secret. Without `{key}`, its content is a JSON object with the keys; with it, the value itself.
    pub name: Template,
}

/// AWS Secrets Manager of one region.
pub struct Aws {
    settings: AwsSettings,
    /// Made by the first request, as credentials are searched for then.
    client: OnceCell<Client>,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Aws").field(&self.settings).finish()
    }
}

impl Aws {
    /// Creates a provider. It sends no request.
    pub fn new(settings: AwsSettings) -> Result<Self> {
        settings.endpoint.as_deref().map_or(Ok(false), check_address)?;
        Ok(Self { settings, client: OnceCell::new() })
    }

    async fn client(&self) -> &Client {
        let connect = async || {
            let http = aws_smithy_http_client::Builder::new()
                .tls_provider(Tls::Rustls(CryptoMode::Ring))
                .build_https();
            let timeouts = TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(TIMEOUT);
            let mut config = aws_config::defaults(BehaviorVersion::latest())
                .http_client(http)
                .timeout_config(timeouts.build())
                .retry_config(RetryConfig::standard().with_max_attempts(3));
            if let Some(region) = &self.settings.region {
                config = config.region(Region::new(region.clone()));
            }
            if let Some(endpoint) = &self.settings.endpoint {
                config = config.endpoint_url(endpoint);
            }
            Client::new(&config.load().await)
        };
        self.client.get_or_init(connect).await
    }
}

#[async_trait]
impl Provider for Aws {
    async fn get(&self, domain: &str, secret: &SecretKey) -> Result<Option<SecretValue>> {
        let name = self.settings.name.path(domain, secret)?;
        let sent = self.client().await.get_secret_value().secret_id(name).send().await;
        let content = match sent {
            Ok(found) => found.secret_string,
            Err(error) => {
                let location = self.location(domain, secret);
                return match error.code() {
                    Some("ResourceNotFoundException") => Ok(None),
                    Some(
                        code @ ("AccessDeniedException" | "InvalidRequestException" | "DecryptionFailure"),
                    ) => {
                        let message: String = error.message().unwrap_or_default().chars().take(300).collect();
                        Err(Error::Invalid(format!("{location} can't be read: {code}: {message}")))
                    }
                    _ => {
                        let why: String = DisplayErrorContext(&error).to_string().chars().take(300).collect();
                        Err(Error::Unavailable(format!("{location} can't be read: {why}")))
                    }
                };
            }
        };
        let invalid = |why: &str| Err(Error::Invalid(format!("{}: {why}", self.location(domain, secret))));
        let Some(content) = content else { return invalid("the secret is binary, and no text") };
        if content.len() > MAX_SECRET_BYTES {
            return invalid("the secret is too long");
        }
        if self.settings.name.has_key() {
            return Ok(Some(SecretValue::new(content)));
        }
        match serde_json::from_str(&content) {
            Ok(Value::Object(mut keys)) => match keys.remove(secret.key()) {
                None => Ok(None),
                Some(Value::String(value)) => Ok(Some(SecretValue::new(value))),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => {
                    Ok(Some(SecretValue::new(value.to_string())))
                }
                Some(_) => invalid("the value of the key is no text"),
            },
            _ => invalid("the secret is no JSON object with keys; name each key by `{key}` in `name`"),
        }
    }

    fn location(&self, domain: &str, secret: &SecretKey) -> String {
        let name = self.settings.name.path(domain, secret).unwrap_or_else(|error| error.to_string());
        let of = if self.settings.name.has_key() {
            String::new()
        } else {
            format!("the key `{}` of ", secret.key())
        };
        format!("{of}the secret `{name}` in AWS Secrets Manager")
    }
}
