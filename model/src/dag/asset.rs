//! Airflow assets of datasets.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::dataset::{Dataset, DatasetKind};

/// Airflow's maximum length of the name and of the URI of an asset.
pub const MAX_ASSET_LENGTH: usize = 1500;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asset {
    pub name: String,
    pub uri: String,
}

/// Converts a dataset to an asset with a readable name, and with a URI that is equal for producers and consumers.
/// Airflow normalizes URIs: it drops fragments and sorts queries. Both are therefore encoded, so that different
/// datasets stay different assets.
impl From<&Dataset> for Asset {
    fn from(Dataset { kind, name }: &Dataset) -> Self {
        let uri = match (*kind, name.split_once("://")) {
            (DatasetKind::Path, Some((scheme, rest))) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                format!("{scheme}://{}{}", self::authority(authority), percent_encode(path, ""))
            }
            (DatasetKind::Path, None) => format!("file://{}", percent_encode(name, "")),
            (kind, _) => format!("dcp://{kind}/{}", percent_encode(name, "")),
        };
        Self { name: format!("{kind}:{name}"), uri }
    }
}

/// Encodes a bucket or a host. Airflow drops the part before `@` if it contains a colon, as that may be a password.
fn authority(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((user, host)) => format!("{}@{}", percent_encode(user, ""), percent_encode(host, ":")),
        None => percent_encode(text, ":"),
    }
}

fn percent_encode(text: &str, unescaped: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => out.push(char::from(byte)),
            _ if unescaped.as_bytes().contains(&byte) => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("writing to a String does not fail"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: DatasetKind, name: &str, uri: &str) {
        let dataset = Dataset { kind, name: name.to_owned() };
        let expected = Asset { name: format!("{kind}:{name}"), uri: uri.to_owned() };
        assert_eq!(Asset::from(&dataset), expected);
    }

    #[test]
    fn a_dataset_has_one_uri() {
        check(DatasetKind::Table, "lake.mart.orders", "dcp://table/lake.mart.orders");
        check(DatasetKind::Table, "lake.`a b`", "dcp://table/lake.%60a%20b%60");
        check(DatasetKind::Path, "/data/in", "file:///data/in");
        check(DatasetKind::Path, "s3://lake/in/day=1", "s3://lake/in/day%3D1");
        check(DatasetKind::Path, "hdfs://nn:8020/in", "hdfs://nn:8020/in");
        check(
            DatasetKind::Path,
            "abfss://c@a.dfs.core.windows.net/in",
            "abfss://c@a.dfs.core.windows.net/in",
        );
    }

    #[test]
    fn special_characters_of_paths_are_percent_encoded() {
        check(DatasetKind::Path, "s3://lake/a?b=c#d", "s3://lake/a%3Fb%3Dc%23d");
        check(DatasetKind::Path, "s3://u:p@lake/a@b:c", "s3://u%3Ap@lake/a%40b%3Ac");
        check(DatasetKind::Path, "s3://[lake/a", "s3://%5Blake/a");
        check(DatasetKind::Path, "s3://la\u{2100}ke/a", "s3://la%E2%84%80ke/a");
        check(DatasetKind::Path, "s3://lake", "s3://lake");
    }
}
