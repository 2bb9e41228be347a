//! The keys of the secrets of a namespace, for `dcp secrets check`. Values are read past, and kept nowhere.

use std::collections::BTreeSet;
use std::fmt;

use http::Request;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Kubernetes;
use super::client::is_missing;
use crate::error::Result;

/// A secret without its values.
#[derive(Deserialize)]
struct Secret {
    #[serde(default)]
    data: Keyed,
}

/// The keys of a map.
#[derive(Default)]
struct Keyed(BTreeSet<String>);

impl<'de> Deserialize<'de> for Keyed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Keyed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the data of a secret")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Keyed, A::Error> {
                let mut keys = BTreeSet::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.insert(key);
                }
                Ok(Keyed(keys))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

/// The result of a search for a secret in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    Found(BTreeSet<String>),
    Missing,
    /// The credentials may not read secrets.
    Forbidden,
}

impl Kubernetes {
    /// Returns the keys of a secret of a namespace.
    pub async fn secret_keys(&self, namespace: &str, name: &str) -> Result<Keys> {
        let is_name = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        };
        if !is_name(namespace) || !is_name(name) {
            return Ok(Keys::Missing);
        }
        let request = Request::get(format!("/api/v1/namespaces/{namespace}/secrets/{name}")).body(Vec::new());
        let found = match request {
            Ok(request) => self.0.client.request::<Secret>(request).await,
            Err(error) => Err(kube::Error::HttpError(error)),
        };
        match found {
            Ok(secret) => Ok(Keys::Found(secret.data.0)),
            Err(error) if is_missing(&error) => Ok(Keys::Missing),
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(Keys::Forbidden),
            Err(error) => Err(self.0.failed("a secret can't be read", &error)),
        }
    }
}
