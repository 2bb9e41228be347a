//! Checks of the Spark settings of a cluster.

use dcp_model::manifest::Resources;
use dcp_model::reference::{self, Reference};

use super::Subject;
use crate::check::{conf, settings};
use crate::diag::{Code, Diagnostic};

/// Settings that have a field of the cluster.
const FIELDS: &[(&str, &str)] = &[
    ("spark.eventLog.dir", "eventLogs"),
    ("spark.kubernetes.namespace", "namespaces"),
    ("spark.kubernetes.authenticate.driver.serviceAccountName", "serviceAccount"),
];

/// Remedies for reserved settings whose usual remedy is a field of a manifest.
const REMEDIES: &[(&str, &str)] = &[("spark.master", "remove it: it follows from `credentials`")];

pub(super) fn check(subject: &mut Subject<'_>) {
    let cluster = subject.cluster;
    for (key, value) in &cluster.settings {
        if let Some((diagnostic, label)) = problem(key) {
            let at = subject.key(&["settings", key]);
            subject.report(diagnostic.at(at, label));
        }
        references(subject, key, value.as_str());
    }
}

/// Returns the problem of a setting, and the label of its place.
fn problem(key: &str) -> Option<(Diagnostic, &'static str)> {
    if !conf::is_spark_key(key) {
        return Some((not_a_spark_key(key), ""));
    }
    if let Some((_, field)) = FIELDS.iter().find(|(setting, _)| *setting == key) {
        let message = format!("`{key}` has a field of its own: `{field}`");
        let diagnostic = Diagnostic::new(Code::CONTRADICTING_CONF, message);
        return Some((diagnostic.help(format!("set `{field}` of the cluster, and remove this")), "set here"));
    }
    if let Some(remedy) = conf::reserved(key) {
        let message = format!("`{key}` belongs to the platform");
        let own = REMEDIES.iter().find(|(setting, _)| *setting == key);
        let remedy = own.map_or(remedy, |(_, remedy)| remedy);
        return Some((Diagnostic::new(Code::RESERVED_CONF, message).help(remedy), "can't be set here"));
    }
    if let Some(field) = field_of_every_manifest(key) {
        let message = format!("`{key}` has no effect: every manifest has a value for `{field}`");
        let help = "remove it: the settings of manifests take precedence";
        return Some((Diagnostic::new(Code::REDUNDANT_CONF, message).help(help), ""));
    }
    let suggestion = settings::suggestion(key, None)?;
    let message = format!("Spark has no setting `{key}`");
    let diagnostic = Diagnostic::new(Code::UNKNOWN_SETTING, message);
    Some((diagnostic.help(format!("did you mean `{}`?", suggestion.name)), ""))
}

/// Returns the field of a setting that every manifest sets, at least by the field's default.
fn field_of_every_manifest(key: &str) -> Option<&'static str> {
    let (field, default) = conf::resource_field(key, &Resources::default())?;
    default.map(|_| field)
}

fn not_a_spark_key(key: &str) -> Diagnostic {
    let help = match key.strip_prefix("hadoop.").unwrap_or(key) {
        rest if rest != key || key.starts_with("fs.") || key.starts_with("hive.") => {
            format!("write `spark.hadoop.{rest}`")
        }
        _ => "settings of Spark begin with `spark.`".to_owned(),
    };
    Diagnostic::new(Code::NOT_A_SPARK_KEY, "this is no setting of Spark").help(help)
}

/// Rejects references: only those in manifests are replaced.
fn references(subject: &mut Subject<'_>, key: &str, value: &str) {
    // Malformed references are text.
    let Ok(found) = reference::references(value) else { return };
    let Some(first) = found.first() else { return };
    let (shown, help) = match first {
        Reference::Var(name) => (format!("${{var.{name}}}"), "write the value itself"),
        Reference::Param(name) => (format!("${{param.{name}}}"), "write the value itself"),
        Reference::Secret { name, key } => (
            format!("${{secret.{name}/{key}}}"),
            "remove it: drivers get secrets by `pods.driver.env` of manifests",
        ),
    };
    let at = subject.at(&["settings", key]);
    subject.report(
        Diagnostic::new(Code::BAD_REFERENCE, format!("nothing replaces `{shown}` here"))
            .at(at, "references are for manifests")
            .help(help),
    );
}
