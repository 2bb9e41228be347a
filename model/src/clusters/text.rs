//! Texts of the file of clusters: namespaces, paths, URLs.

use core::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::diag::{Code, list, nearest};
use crate::manifest::{FormatError, LabelValue, Location, text_types};

text_types! {
    /// A namespace of Kubernetes: lower-case letters, digits and `-`, at most 63.
    Namespace: "namespace", check_namespace, ["shop"];
    /// The namespace of a domain, in which `{domain}` is replaced by the name of the domain.
    NamespaceTemplate: "namespace-template", check_template, ["spark-{domain}", "spark"];
    /// The path of a file on the machine of the Runner. A relative path begins at the folder of the file that
    /// contains it.
    FilePath: "file-path", check_file_path, ["/etc/dcp/main.kubeconfig", "main.kubeconfig"];
    /// The URL of the API server of a Kubernetes cluster.
    ApiServer: "api-server", check_api_server, ["https://10.96.0.1:443"];
    /// The URL of a folder of event logs: a bucket, or a file system that drivers and dcp mount at the same path.
    EventLogFolder: "event-log-folder", check_event_logs, ["s3a://lake/events", "file:///mnt/events"];
    /// The URL of a folder of the logs of drivers: a bucket, or a folder of the machine of the Runner.
    LogFolder: "log-folder", check_logs, ["s3://lake/logs", "file:///var/lib/dcp/logs"];
    /// A path of a node: an absolute path, or a folder and `/*` for everything below it.
    HostPath: "host-path", check_host_path, ["/data/*", "/mnt/reference"];
    /// The name of a queue, in which `{domain}` is replaced by the name of the domain: letters, digits, `-`, `_` and
    /// `.`, at most 63.
    QueueTemplate: "queue-template", check_queue, ["{domain}", "root.spark.{domain}"];
    /// A range of IP addresses.
    Cidr: "cidr", check_cidr, ["192.0.2.0/24", "2001:db8::/32"];
}

/// The only placeholder of a [`NamespaceTemplate`].
const DOMAIN: &str = "{domain}";
/// The prefix of namespaces that belong to Kubernetes itself.
const RESERVED_PREFIX: &str = "kube-";
const MAX_NAMESPACE: usize = 63;
const MAX_PATH: usize = 2048;
/// Maximum length of the name of a domain.
const MAX_DOMAIN: usize = 50;

/// Schemes of buckets and folders with event logs and logs.
const FOLDER_SCHEMES: &[&str] = &["s3", "s3a", "gs", "abfs", "abfss", "file"];

impl NamespaceTemplate {
    /// Returns the namespace of a domain. It can be too long for Kubernetes.
    pub fn of(&self, domain: &str) -> String {
        self.as_str().replace(DOMAIN, domain)
    }

    /// Returns true if domains have namespaces of their own.
    pub fn depends_on_domain(&self) -> bool {
        self.as_str().contains(DOMAIN)
    }
}

impl FilePath {
    /// Returns the path, starting at the folder of the file that contains it if it is relative.
    pub fn resolve(&self, folder: &Path) -> PathBuf {
        folder.join(self.as_str())
    }
}

fn reject(code: Code, message: String, help: impl Into<String>) -> Result<(), FormatError> {
    Err(FormatError::new(code, message).help(help))
}

fn check_cidr(text: &str) -> Result<(), FormatError> {
    let parts = text.split_once('/').and_then(|(address, prefix)| {
        let is_number =
            prefix == "0" || (prefix.bytes().all(|b| b.is_ascii_digit()) && !prefix.starts_with('0'));
        Some((address.parse::<IpAddr>().ok()?, prefix.parse::<u32>().ok().filter(|_| is_number)?))
    });
    let help = "write the first address of the range and the length of its prefix, as in `192.0.2.0/24`";
    // The bits after the prefix.
    let rest = match parts {
        Some((IpAddr::V4(address), length @ ..=32)) => {
            u128::from(address.to_bits().checked_shl(length).unwrap_or_default())
        }
        Some((IpAddr::V6(address), length @ ..=128)) => {
            address.to_bits().checked_shl(length).unwrap_or_default()
        }
        _ => return reject(Code::MALFORMED, format!("`{text}` is no range of IP addresses"), help),
    };
    match rest {
        0 => Ok(()),
        _ => reject(Code::MALFORMED, format!("`{text}` is no first address of a range"), help),
    }
}

fn check_namespace(text: &str) -> Result<(), FormatError> {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let valid = (1..=MAX_NAMESPACE).contains(&bytes.len())
        && edge(bytes[0])
        && edge(bytes[bytes.len() - 1])
        && bytes.iter().all(|&b| edge(b) || b == b'-');
    if !valid {
        let help = "use lower-case letters, digits and `-`, at most 63, with a letter or digit at each end";
        return reject(Code::BAD_NAMESPACE, format!("`{text}` is no name of a namespace"), help);
    }
    if text.starts_with(RESERVED_PREFIX) {
        let message = format!("`{text}` is a namespace of Kubernetes itself");
        return reject(
            Code::BAD_NAMESPACE,
            message,
            format!("use a name without the prefix `{RESERVED_PREFIX}`"),
        );
    }
    Ok(())
}

fn check_template(text: &str) -> Result<(), FormatError> {
    let literal = text.replace(DOMAIN, "");
    if let Some(at) = literal.find(['{', '}']) {
        let rest = &literal[at..];
        let end = rest.find('}').map_or(rest.len(), |end| end + 1);
        let message = format!("`{}` is no placeholder", &rest[..end]);
        return reject(Code::BAD_NAMESPACE, message, format!("`{DOMAIN}` is the only placeholder"));
    }
    // A name of one letter shows errors that do not depend on the length.
    check_namespace(&text.replace(DOMAIN, "d")).map_err(|error| FormatError {
        message: error.message.replace(&text.replace(DOMAIN, "d"), text),
        ..error
    })
}

fn check_file_path(text: &str) -> Result<(), FormatError> {
    if text.is_empty() || text.len() > MAX_PATH {
        let message = format!("a path has between 1 and {MAX_PATH} characters");
        return reject(Code::BAD_URI, message, "name the file");
    }
    if let Some(c) = text.chars().find(|c| c.is_control()) {
        return reject(Code::BAD_URI, format!("a path can't hold the character {c:?}"), "remove it");
    }
    if text.contains("://") {
        return reject(
            Code::BAD_URI,
            format!("`{text}` is a URL"),
            "write the path of a file on this machine",
        );
    }
    match text.starts_with('~') || text.contains('$') {
        true => reject(
            Code::BAD_URI,
            format!("`{text}` depends on the user or on the environment"),
            "write an absolute path, or one relative to this file: `~` and variables are not replaced",
        ),
        false => Ok(()),
    }
}

fn check_api_server(text: &str) -> Result<(), FormatError> {
    let example = "for example `https://10.96.0.1:443`";
    let Some(rest) = text.strip_prefix("https://") else {
        let message = format!("`{text}` is no URL with `https://`");
        return reject(Code::BAD_URI, message, format!("the token is sent to this server; {example}"));
    };
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        return reject(Code::BAD_URI, "the URL has a user or a password".to_owned(), "use `tokenFile`");
    }
    let plain = |c: char| c.is_ascii_graphic() && !"?#\\".contains(c);
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse::<u16>().is_ok()),
        _ => (host, true),
    };
    match text.len() <= MAX_PATH && !name.is_empty() && port && rest.chars().all(plain) {
        true => Ok(()),
        false => reject(Code::BAD_URI, format!("`{text}` is no URL of a server"), example),
    }
}

fn check_event_logs(text: &str) -> Result<(), FormatError> {
    check_folder(text, "reads no event logs from")
}

fn check_logs(text: &str) -> Result<(), FormatError> {
    check_folder(text, "stores no logs in")
}

fn check_folder(text: &str, unusable: &str) -> Result<(), FormatError> {
    let known = || list(FOLDER_SCHEMES.iter().copied(), "and");
    let Some((scheme, _)) = text.split_once("://") else {
        let message = format!("`{text}` is no URL");
        return reject(Code::BAD_URI, message, format!("begin with one of {}, and `://`", known()));
    };
    if !FOLDER_SCHEMES.contains(&scheme) {
        let message = format!("dcp {unusable} `{scheme}://`");
        let help = match nearest(scheme, FOLDER_SCHEMES.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}://`?"),
            None => format!("known are {}", known()),
        };
        return reject(Code::BAD_URI, message, help);
    }
    Location::parse(text).map(drop)
}

fn check_host_path(text: &str) -> Result<(), FormatError> {
    let folder = text.strip_suffix("/*").unwrap_or(text);
    let mut parts = folder.split('/').skip(1);
    let plain = |part: &str| !part.is_empty() && !matches!(part, "." | "..") && !part.contains(['*', '\\']);
    let absolute = text.starts_with('/') && text.len() <= MAX_PATH && !text.contains(char::is_control);
    match absolute && parts.all(plain) {
        true => Ok(()),
        false => reject(
            Code::BAD_URI,
            format!("`{text}` is no path of a node"),
            "write an absolute path without `..`, or a folder and `/*` for everything below it: `/data/*`",
        ),
    }
}

fn check_queue(text: &str) -> Result<(), FormatError> {
    if text.is_empty() || LabelValue::parse(&text.replace(DOMAIN, &"d".repeat(MAX_DOMAIN))).is_err() {
        let help = format!(
            "use letters, digits, `-`, `_`, `.` and `{DOMAIN}`; with the longest domain ({MAX_DOMAIN} letters) it may have \
             63 letters"
        );
        return reject(Code::BAD_KUBERNETES_NAME, format!("`{text}` is no name of a queue"), help);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Formats, with valid and invalid texts.
    const TEXTS: &[(&str, &[&str], &[&str])] = &[
        ("namespace", &["a", "dcp", "1-a"], &["", "A", "-a", "a-", "a.b", "a_b", "{domain}", "kube-system"]),
        (
            "namespace-template",
            &["{domain}", "spark-{domain}", "{domain}-jobs", "spark"],
            &[
                "",
                "{team}",
                "{domain}.x",
                "{domain",
                "domain}",
                "{{domain}}",
                "Spark-{domain}",
                "kube-{domain}",
                "-{domain}",
            ],
        ),
        (
            "file-path",
            &["/etc/dcp/a", "a", "../a b"],
            &["", "~/.kube/config", "$HOME/a", "a\nb", "file:///a"],
        ),
        (
            "api-server",
            &[
                "https://10.96.0.1:443",
                "https://k8s.example.com/k8s/clusters/a",
                "https://[::1]:6443",
                "https://[::1]",
            ],
            &[
                "",
                "http://a",
                "https://",
                "https://:443",
                "https://a:b",
                "https://u:p@a",
                "https://a b",
                "https://a?x=1",
            ],
        ),
        (
            "event-log-folder",
            &["s3a://bucket/events", "file:///mnt/events", "abfss://c@a.dfs.core.windows.net/e"],
            &["", "/events", "s3a://", "s3:///events", "hdfs://n/events", "https://a/events", "s3://b/../c"],
        ),
        (
            "log-folder",
            &["s3://lake/logs", "file:///var/lib/dcp/logs", "gs://lake/logs"],
            &["", "/logs", "s3://", "hdfs://n/logs", "https://a/logs", "s3://b/../c"],
        ),
        (
            "host-path",
            &["/data/*", "/data", "/a/b", "/*"],
            &["", "data", "/", "/a/../b", "/a/*/b", "/a*", "/a//b", "/a/"],
        ),
        (
            "queue-template",
            &["{domain}", "root.spark.{domain}", "Main_1"],
            &["", "{team}", "a b", "-{domain}", "{domain}{domain}", "root.spark-of-{domain}"],
        ),
        (
            "cidr",
            &["192.0.2.0/24", "192.0.2.7/32", "0.0.0.0/0", "10.0.0.0/8", "2001:db8::/32", "::/0", "::1/128"],
            &[
                "",
                "192.0.2.0",
                "10.0.0.0/",
                "10.0.0.0/33",
                "10.0.0.7/24",
                "10.0.0.0/08",
                "10.0.0.0/+8",
                "::/129",
                "::1/64",
            ],
        ),
    ];

    #[test]
    fn formats_accept_valid_and_reject_invalid_texts() {
        for (format, good, bad) in TEXTS {
            let format = FORMATS.iter().find(|known| known.name == *format).expect("a known format");
            for text in *good {
                assert_eq!((format.check)(text), Ok(()), "{format:?} {text:?}");
            }
            for text in *bad {
                assert!((format.check)(text).is_err(), "{format:?} accepts {text:?}");
            }
        }
        assert_eq!(TEXTS.len(), FORMATS.len());
    }

    #[test]
    fn errors_of_templates_show_the_template() {
        let error = NamespaceTemplate::parse("Spark_{domain}").expect_err("it has a capital letter");
        assert_eq!(error.message, "`Spark_{domain}` is no name of a namespace");
        let error = NamespaceTemplate::parse("x-{team}-{domain}").expect_err("there is no such placeholder");
        assert_eq!(error.message, "`{team}` is no placeholder");
    }

    #[test]
    fn relative_paths_begin_at_the_folder() {
        let path = |text: &str| FilePath::parse(text).expect("it is a path").resolve(Path::new("/etc/dcp"));
        assert_eq!(path("a/b"), Path::new("/etc/dcp/a/b"));
        assert_eq!(path("/a"), Path::new("/a"));
    }
}
