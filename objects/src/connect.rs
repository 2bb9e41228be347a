//! Connects to a bucket with settings of the environment.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};

use crate::UnusableLocation;
use crate::bucket::{Bucket, Cloud};

/// Defaults, which the environment overrides. A request without a response in this time is retried.
const DEFAULTS: [(&str, &str); 2] = [("timeout", "15 seconds"), ("connect_timeout", "5 seconds")];

/// Only the store retries, and no layer above it. The limit is the time and not the count: about half a minute
/// with the last request.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(4),
            base: 2.0,
        },
        max_retries: 1000,
        retry_timeout: Duration::from_secs(20),
    }
}

/// A macro, as the builders have the same methods but no common trait.
macro_rules! build {
    ($builder:ty, $bucket:expr, $settings:expr) => {{
        let builder = <$builder>::new().with_url($bucket.url.as_str()).with_retry(retry());
        let configured = $settings.iter().fold(builder, |builder, (key, value)| match key.parse() {
            Ok(key) => builder.with_config(key, value),
            // Other variables of the environment are no settings of a store.
            Err(_) => builder,
        });
        configured.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
    }};
}

/// Opens a bucket with the environment's settings of its cloud. It sends no request: a missing bucket fails when
/// it is used.
pub fn connect(
    bucket: &Bucket,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Arc<dyn ObjectStore>, UnusableLocation> {
    let settings = settings(bucket.cloud, environment);
    reject_plain_http(bucket, &settings)?;
    // The process has one cryptography provider. If one is installed already, that one is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let built = match bucket.cloud {
        Cloud::S3 => build!(AmazonS3Builder, bucket, settings),
        Cloud::Google => build!(GoogleCloudStorageBuilder, bucket, settings),
        Cloud::Azure => build!(MicrosoftAzureBuilder, bucket, settings),
    };
    built.map_err(|error| UnusableLocation {
        location: bucket.display_name.clone(),
        why: settings_error(&error.to_string(), &settings),
        help: variables(bucket.cloud),
    })
}

/// Returns the environment's settings of a cloud, in the spelling of `object_store`.
fn settings(cloud: Cloud, environment: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let prefix = match cloud {
        Cloud::S3 => "AWS_",
        Cloud::Google => "GOOGLE_",
        Cloud::Azure => "AZURE_",
    };
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let mut settings: Vec<_> = DEFAULTS.into_iter().map(owned).collect();
    let theirs = environment.into_iter().filter(|(key, value)| key.starts_with(prefix) && !value.is_empty());
    settings.extend(theirs.map(|(key, value)| (key.to_ascii_lowercase(), value)));
    settings
}

fn reject_plain_http(bucket: &Bucket, settings: &[(String, String)]) -> Result<(), UnusableLocation> {
    let plain =
        settings.iter().any(|(key, value)| key.contains("endpoint_url") && value.starts_with("http://"))
            || settings.iter().any(|(key, value)| key == "aws_endpoint" && value.starts_with("http://"));
    let allowed = |value: &str| matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on");
    let is_allowed = settings.iter().any(|(key, value)| key == "aws_allow_http" && allowed(value));
    if !plain || is_allowed {
        return Ok(());
    }
    Err(UnusableLocation {
        location: bucket.display_name.clone(),
        why: "its endpoint begins with `http://`, where everybody on the way can read along".to_owned(),
        help: "use `https://`, or set AWS_ALLOW_HTTP=true where that is meant",
    })
}

fn variables(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::S3 => {
            "look at AWS_REGION, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        }
        Cloud::Google => "look at GOOGLE_APPLICATION_CREDENTIALS, or GOOGLE_SERVICE_ACCOUNT_KEY",
        Cloud::Azure => {
            "look at AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_CLIENT_ID"
        }
    }
}

/// Returns a store's message about its settings, without their values and without content of key files.
fn settings_error(complaint: &str, settings: &[(String, String)]) -> String {
    const SHORT: usize = 4;
    if complaint.to_ascii_lowercase().contains("credential") {
        return "its credentials can't be used".to_owned();
    }
    let values = settings.iter().filter(|(_, value)| value.len() >= SHORT);
    let hidden = values.fold(complaint.to_owned(), |text, (_, value)| text.replace(value, "***"));
    format!("its settings are wrong: {hidden}")
}
