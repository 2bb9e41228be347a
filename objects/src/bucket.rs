//! Parses URLs of buckets.

use object_store::path::Path as Prefix;
use url::Url;

use crate::UnusableLocation;

/// A bucket of one of the clouds, with a prefix.
#[derive(Debug, Clone)]
pub struct Bucket {
    pub(crate) cloud: Cloud,
    pub(crate) url: Url,
    pub prefix: Prefix,
    /// The location for messages, without secrets.
    pub display_name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cloud {
    S3,
    Google,
    Azure,
}

/// The supported locations, for error messages.
pub const SUPPORTED_LOCATIONS: &str = "a folder is a path, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` or \
                     `abfs://container@account.dfs.core.windows.net/prefix`";

impl Bucket {
    /// Parses the URL of a bucket, in Spark's spellings too.
    pub fn parse(location: &str) -> Result<Self, UnusableLocation> {
        let unusable =
            |why: &str, help| UnusableLocation { location: redacted(location), why: why.to_owned(), help };
        let url = Url::parse(location).map_err(|_| unusable("it is no URL", SUPPORTED_LOCATIONS))?;
        let cloud = match url.scheme() {
            "s3" | "s3a" => Cloud::S3,
            "gs" => Cloud::Google,
            "az" | "abfs" | "abfss" => Cloud::Azure,
            _ => return Err(unusable("nothing is known of this kind of URL", SUPPORTED_LOCATIONS)),
        };
        let user = !url.username().is_empty() && cloud != Cloud::Azure;
        if user || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(unusable(
                "it holds more than a bucket and a prefix",
                "give credentials by the environment: a location is shown in plans and messages",
            ));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(unusable("it names no bucket", SUPPORTED_LOCATIONS));
        }
        let prefix = Prefix::from_url_path(url.path())
            .map_err(|_| unusable("its prefix is no path", SUPPORTED_LOCATIONS))?;
        Ok(Self { cloud, url, prefix, display_name: redacted(location) })
    }

    /// Returns the URL for Hadoop, which does not decode paths.
    pub(crate) fn hadoop_url(&self) -> String {
        let url = &self.url[..url::Position::BeforePath];
        if self.prefix.as_ref().is_empty() { url.to_owned() } else { format!("{url}/{}", self.prefix) }
    }
}

/// Returns a location for messages: without a password, and without parts that often contain a key. Only Azure's
/// URLs may have a name before the host, which is the container.
pub fn redacted(location: &str) -> String {
    let Some((scheme, rest)) = location.split_once("://") else {
        return location.strip_suffix('/').filter(|short| !short.is_empty()).unwrap_or(location).to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') || !scheme.starts_with('a') => format!("***@{host}"),
        _ => authority.to_owned(),
    };
    let path = path.trim_end_matches('/');
    if path.is_empty() { format!("{scheme}://{authority}") } else { format!("{scheme}://{authority}/{path}") }
}
