//! Names and references: workloads, Kubernetes objects, tables, files, packages.

use super::FormatError;
use super::text::text_types;
use crate::diag::{Code, nearest};

text_types! {
    /// The name of a workload: lower-case letters, digits and hyphens, at most 50, beginning with a letter.
    Name: "name", check_name, ["clicks-per-store"];
    /// The domain that owns a workload. On Kubernetes, its pods are in the namespace of the domain.
    Domain: "domain", check_name, ["logistics"];
    /// A name of a Kubernetes object: lower-case letters, digits, `-` and `.`.
    KubernetesName: "kubernetes-name", check_kubernetes_name, ["spark-driver"];
    /// The value of a Kubernetes label: letters, digits, `-`, `_` and `.`, at most 63.
    LabelValue: "label-value", check_label_value, ["streaming"];
    /// The key of a Kubernetes label or annotation, with or without a prefix.
    LabelKey: "label-key", check_label_key, ["team", "example.com/cost-center"];
    /// The name of an environment variable.
    EnvName: "env-name", check_env_name, ["LOG_LEVEL"];
    /// The name of a parameter, source or variable: letters, digits and `_`, not beginning with a digit.
    Identifier: "identifier", check_identifier, ["clicks"];
    /// A table name in SQL notation: one to four parts, joined by dots. Parts with other characters are quoted with
    /// backticks.
    TableName: "table-name", check_table, ["lake.mart.orders"];
    /// A Kafka topic.
    Topic: "topic", check_topic, ["clicks"];
    /// A storage location: an absolute URI such as `s3://bucket/path`, or a path on the cluster's file system.
    Location: "location", check_location, ["s3://lake/checkpoints/clicks", "/data/in"];
    /// A file of the job: a URI, or a path relative to the project.
    FileRef: "file-ref", check_file_ref, ["jobs/orders.py", "s3://lake/code/app.jar", "local:///opt/app/main.py"];
    /// The folder of Airflow's DAG files: a path relative to the project, an absolute path, or a URI.
    DagFolder: "dag-folder", check_dag_folder, ["dags", "/opt/airflow/dags", "s3://airflow/dags"];
    /// Maven coordinates, `group:artifact:version`.
    Maven: "maven", check_maven, ["org.apache.spark:spark-sql-kafka-0-10_2.13:4.1.0"];
    /// Maven group and artifact, without a version.
    MavenModule: "maven-module", check_maven_module, ["org.slf4j:slf4j-log4j12"];
    /// An engine version of the platform's table of engines, such as `4.1`.
    EngineVersion: "engine-version", check_engine_version, ["4.1"];
    /// A container image.
    Image: "image", check_image, ["registry.example.com/spark-platform:4.1-latest"];
    /// A column type in the notation of Spark SQL.
    DataType: "data-type", super::data_type::check, ["string", "timestamp", "decimal(10,2)", "array<struct<sku:string,n:int>>"];
    /// A fully qualified class name of the JVM.
    ClassName: "class-name", check_class, ["com.example.Orders"];
}

impl EngineVersion {
    /// Returns the major and minor version of Spark, if the engine version begins with them.
    pub fn spark(&self) -> Option<(u32, u32)> {
        let mut parts = self.as_str().split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

fn reject(code: Code, message: String, help: &str) -> Result<(), FormatError> {
    Err(FormatError::new(code, message).help(help))
}

fn check_name(text: &str) -> Result<(), FormatError> {
    let ok = (1..=50).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-');
    if ok {
        return Ok(());
    }
    let fixed: String = text
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .skip_while(|c| !c.is_ascii_lowercase())
        .take(50)
        .collect();
    let fixed = fixed.trim_end_matches('-');
    let rule = "use lower-case letters, digits and `-`, at most 50, beginning with a letter: the name becomes part of Kubernetes' and Airflow's";
    let help = if fixed.is_empty() { rule.to_owned() } else { format!("{rule}; for example `{fixed}`") };
    Err(FormatError::new(Code::BAD_KUBERNETES_NAME, format!("`{text}` can't be a name")).help(help))
}

fn check_kubernetes_name(text: &str) -> Result<(), FormatError> {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        (1..=63).contains(&bytes.len())
            && edge(bytes[0])
            && edge(bytes[bytes.len() - 1])
            && bytes.iter().all(|&b| edge(b) || b == b'-')
    };
    if text.len() <= 253 && text.split('.').all(part) {
        return Ok(());
    }
    let message = format!("`{text}` is no name that Kubernetes takes");
    reject(
        Code::BAD_KUBERNETES_NAME,
        message,
        "use lower-case letters, digits, `-` and `.`, with a letter or digit at each end",
    )
}

fn check_label_value(text: &str) -> Result<(), FormatError> {
    if text.is_empty() || is_label_part(text) {
        return Ok(());
    }
    let message = format!("`{text}` is no label value that Kubernetes takes");
    let help = "use at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at each end; longer or freer text belongs into `annotations`";
    reject(Code::BAD_KUBERNETES_NAME, message, help)
}

fn check_label_key(text: &str) -> Result<(), FormatError> {
    let ok = match text.split_once('/') {
        Some((prefix, name)) => check_kubernetes_name(prefix).is_ok() && is_label_part(name),
        None => is_label_part(text),
    };
    if ok {
        return Ok(());
    }
    let message = format!("`{text}` is no label or annotation key that Kubernetes takes");
    reject(
        Code::BAD_KUBERNETES_NAME,
        message,
        "use at most 63 letters, digits, `-`, `_` and `.`, after a DNS name and `/` if you like",
    )
}

fn is_label_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes[bytes.len() - 1].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_identifier(text: &str) -> bool {
    text.len() <= 255
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn check_env_name(text: &str) -> Result<(), FormatError> {
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if text.len() <= 255 && text.bytes().all(rest) && text.starts_with(|c: char| !c.is_ascii_digit()) {
        return Ok(());
    }
    let message = format!("`{text}` can't be the name of an environment variable");
    reject(Code::BAD_KUBERNETES_NAME, message, "use letters, digits and `_`, not beginning with a digit")
}

fn check_identifier(text: &str) -> Result<(), FormatError> {
    if is_identifier(text) {
        return Ok(());
    }
    let message = format!("`{text}` can't be a name here");
    reject(
        Code::MALFORMED,
        message,
        "use letters, digits and `_`, not beginning with a digit: SQL refers to it by this name",
    )
}

/// Returns the parts of a table name without their backticks, or `None` if the name is malformed.
pub fn table_parts(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = match rest.strip_prefix('`') {
            Some(quoted) => {
                let end = quoted.find('`')?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        let plain = part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if part.is_empty()
            || part.len() > 255
            || (!rest.starts_with('`') && !plain)
            || part.contains(char::is_control)
        {
            return None;
        }
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() && parts.len() <= 4 => return Some(parts),
            None => return None,
        }
    }
}

fn check_table(text: &str) -> Result<(), FormatError> {
    if table_parts(text).is_some() {
        return Ok(());
    }
    let help = "write `catalog.schema.table`; a name with other characters than letters, digits and `_` goes in backticks";
    reject(Code::MALFORMED, format!("`{text}` is no name of a table"), help)
}

fn check_topic(text: &str) -> Result<(), FormatError> {
    let ok = (1..=249).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && text != "."
        && text != "..";
    if ok {
        return Ok(());
    }
    reject(
        Code::MALFORMED,
        format!("`{text}` is no name that Kafka takes for a topic"),
        "use letters, digits, `-`, `_` and `.`, at most 249",
    )
}

const SCHEMES: &[&str] =
    &["s3", "s3a", "gs", "abfs", "abfss", "wasbs", "hdfs", "file", "dbfs", "local", "https", "http"];

/// Schemes whose first component is a bucket, a container or a host, and is therefore required.
const BUCKET_SCHEMES: &[&str] = &["s3", "s3a", "gs", "abfs", "abfss", "wasbs", "https", "http"];

fn split_scheme(text: &str) -> Option<(&str, &str)> {
    text.split_once("://")
}

fn check_path_text(text: &str) -> Result<(), FormatError> {
    if text.is_empty() || text.len() > 2048 {
        return reject(
            Code::BAD_URI,
            "a path has between 1 and 2048 characters".into(),
            "name the file or folder",
        );
    }
    match text.chars().find(|c| c.is_control()) {
        Some(c) => reject(Code::BAD_URI, format!("a path can't hold the character {c:?}"), "remove it"),
        None => Ok(()),
    }
}

fn check_scheme(text: &str) -> Result<(), FormatError> {
    let Some((scheme, rest)) = split_scheme(text) else { return Ok(()) };
    if !SCHEMES.contains(&scheme) {
        let known = nearest(scheme, SCHEMES.iter().copied());
        let help = match known {
            Some(known) => format!("did you mean `{known}://`?"),
            None => format!("known are {}", crate::diag::list(SCHEMES.iter().copied(), "and")),
        };
        return Err(FormatError::new(Code::BAD_URI, format!("`{scheme}://` is not known")).help(help));
    }
    if rest.trim_start_matches('/').is_empty() {
        return reject(Code::BAD_URI, format!("`{text}` names no bucket and no path"), "add them");
    }
    if rest.starts_with('/') && BUCKET_SCHEMES.contains(&scheme) {
        return reject(Code::BAD_URI, format!("`{text}` names no bucket"), "add it behind the `//`");
    }
    match rest.split('/').any(|part| part == "..") {
        true => reject(Code::BAD_URI, format!("`{text}` goes up by `..`"), "write the path it ends up at"),
        false => Ok(()),
    }
}

fn check_location(text: &str) -> Result<(), FormatError> {
    check_path_text(text)?;
    check_scheme(text)?;
    if split_scheme(text).is_some() {
        return Ok(());
    }
    if !text.starts_with('/') {
        let help = "write an absolute path or a URI: it is read on the cluster, where there is no working folder to start from";
        return reject(Code::BAD_URI, format!("`{text}` is a relative path"), help);
    }
    match text.split('/').any(|part| part == "..") {
        true => reject(Code::BAD_URI, format!("`{text}` goes up by `..`"), "write the path it ends up at"),
        false => Ok(()),
    }
}

fn check_file_ref(text: &str) -> Result<(), FormatError> {
    check_path_text(text)?;
    check_scheme(text)?;
    if split_scheme(text).is_some() {
        return Ok(());
    }
    let help = "a path is relative to the project's folder and stays below it; what lies on the image is `local:///…`";
    match text.starts_with('/') || text.contains('\\') || text.split('/').any(|part| part == "..") {
        true => reject(Code::BAD_URI, format!("`{text}` leads out of the project"), help),
        false => Ok(()),
    }
}

fn check_dag_folder(text: &str) -> Result<(), FormatError> {
    if text.starts_with('/') { check_location(text) } else { check_file_ref(text) }
}

fn is_maven_part(part: &str) -> bool {
    !part.is_empty()
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+'))
}

fn check_maven(text: &str) -> Result<(), FormatError> {
    let parts: Vec<&str> = text.split(':').collect();
    let help = "write `group:artifact:version`, such as `org.apache.spark:spark-avro_2.13:4.1.0`";
    match parts.len() {
        3 if parts.iter().all(|part| is_maven_part(part)) => Ok(()),
        2 => reject(Code::BAD_MAVEN, format!("`{text}` has no version"), help),
        _ => reject(Code::BAD_MAVEN, format!("`{text}` is no Maven coordinate"), help),
    }
}

fn check_maven_module(text: &str) -> Result<(), FormatError> {
    match text.split_once(':') {
        Some((group, artifact)) if is_maven_part(group) && is_maven_part(artifact) => Ok(()),
        _ => reject(
            Code::BAD_MAVEN,
            format!("`{text}` is no Maven module"),
            "write `group:artifact`, without a version",
        ),
    }
}

fn check_engine_version(text: &str) -> Result<(), FormatError> {
    let ok = text.len() <= 20
        && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    match ok {
        true => Ok(()),
        false => reject(
            Code::MALFORMED,
            format!("`{text}` is no engine version"),
            "write a version such as \"4.1\", in quotes",
        ),
    }
}

fn check_image(text: &str) -> Result<(), FormatError> {
    let ok = (1..=512).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/' | b':' | b'@'))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    match ok {
        true => Ok(()),
        false => reject(
            Code::MALFORMED,
            format!("`{text}` is no container image"),
            "write `registry/name:tag` or `registry/name@sha256:…`",
        ),
    }
}

fn check_class(text: &str) -> Result<(), FormatError> {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '$'))
            && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
    };
    match text.len() <= 512 && text.split('.').all(part) {
        true => Ok(()),
        false => reject(
            Code::MALFORMED,
            format!("`{text}` is no name of a class"),
            "write it with its package: `com.example.Orders`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &str, text: &str) -> bool {
        let format = FORMATS.iter().find(|known| known.name == format).expect("a known format");
        (format.check)(text).is_ok()
    }

    /// Formats, with valid and invalid texts.
    const TEXTS: &[(&str, &[&str], &[&str])] = &[
        ("name", &["a", "clicks-per-store", "a1"], &["", "A", "1a", "a_b", "a-", "a/b", "a'b", "../a", "ä"]),
        ("kubernetes-name", &["a", "spark.driver-1", "1a"], &["", "A", "-a", "a-", "a..b", "a_b"]),
        ("label-value", &["", "a", "A_b.c-1"], &["-a", "a b", "a/b", "ä"]),
        ("label-key", &["a", "example.com/a"], &["", "/a", "a/", "a/b/c", "A.com/a"]),
        (
            "table-name",
            &["t", "a.b.c", "`a b`.c", "lake.`x-y`.t"],
            &["", "a.", ".a", "a b", "a-b", "a.b.c.d.e", "`a", "``"],
        ),
        ("topic", &["a.b-c_1"], &["", ".", "..", "a b", "a/b"]),
        (
            "location",
            &["s3://b/p", "/data/in", "abfss://c@a.dfs.core.windows.net/p"],
            &["", "data/in", "/a/../b", "s3://", "s3:///p", "s4://b/p", "s3://b/../c"],
        ),
        (
            "file-ref",
            &["jobs/a.py", "s3://b/a.jar", "local:///opt/a.py"],
            &["/etc/passwd", "../a.py", "a/../../b", "a\\b", "ftp://x/y"],
        ),
        (
            "dag-folder",
            &["dags", "/opt/airflow/dags", "s3://airflow/dags"],
            &["", "../dags", "a/../../dags", "/a/../b", "ftp://x/y"],
        ),
        (
            "maven",
            &["a:b:1", "org.apache.spark:spark-avro_2.13:4.1.0"],
            &["a:b", "a:b:c:d", "a::1", "a b:c:1"],
        ),
        ("engine-version", &["4.1", "3.5.3", "4"], &["", "v4", "4.", "latest"]),
        ("image", &["spark:4.1", "r.io/a/b@sha256:abc"], &["", "a b", "-a", "a;b"]),
        ("class-name", &["Main", "com.example.A$B"], &["", "a..b", "1a", "a b"]),
        ("identifier", &["a", "_a1"], &["", "1a", "a-b", "a.b"]),
    ];

    #[test]
    fn formats_accept_valid_and_reject_invalid_texts() {
        for (format, good, bad) in TEXTS {
            for text in *good {
                assert!(check(format, text), "{format} should take {text:?}");
            }
            for text in *bad {
                assert!(!check(format, text), "{format} should refuse {text:?}");
            }
        }
    }

    #[test]
    fn rejected_name_has_a_valid_suggestion() {
        let error = Name::parse("Clicks per Store!").expect_err("spaces");
        assert!(error.help.expect("help").contains("`clicks-per-store`"));
    }
}
