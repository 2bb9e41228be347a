//! The file of drivers, `drivers.yaml`: its text to types and diagnostics.

use dcp_model::drivers::{ClusterDrivers, DriversFile};

use crate::diag::{Code, Diagnostic};
use crate::document;
use crate::schema;
use crate::source::{FileId, Span};
use crate::yaml::Tree;

/// The usual name of the file of drivers.
pub const FILE_NAME: &str = "drivers.yaml";

const HELP_IF_EMPTY: &str =
    "give it a driver: `drivers: {main: {address: HOST:15002, domain: shop, engine: \"4.1\"}}`";

/// Reads the file of drivers. `path` is its path for messages. The drivers are missing if there is an error.
///
/// Paths of files are as they are in the file; [`FilePath::resolve`](dcp_model::clusters::FilePath::resolve) completes
/// them.
pub fn read(file: FileId, path: &str, text: &str) -> (Option<DriversFile>, Vec<Diagnostic>) {
    let kind = document::Kind { name: path, schema: &schema::DRIVERS, help_if_empty: HELP_IF_EMPTY };
    let (read, mut diagnostics) = document::read::<DriversFile>(&kind, file, text);
    for secret in diagnostics.iter_mut().filter(|found| found.code == Code::SECRET_LITERAL) {
        // References to secrets belong to manifests.
        secret.help = Some("keep it in a file, and name the file in `tokenFile`".into());
    }
    let Some((drivers, tree)) = read else { return (None, diagnostics) };
    if tree.root().get("drivers").is_none() && tree.root().get("clusters").is_none() {
        let missing =
            Diagnostic::new(Code::MISSING_FIELD, format!("`{path}` has neither `drivers` nor `clusters`"));
        diagnostics.push(missing.at(tree.root().span(), "has no driver").help(HELP_IF_EMPTY));
    }
    diagnostics.extend(shared(&drivers, &tree));
    let valid = !diagnostics.iter().any(Diagnostic::is_error);
    (valid.then_some(drivers), diagnostics)
}

/// Reports entries of clusters that have the same pods, which are drivers of one domain and one pool only.
fn shared(drivers: &DriversFile, tree: &Tree<'_>) -> Vec<Diagnostic> {
    let place = |name: &str, field: &str| -> Span { tree.root().nearest(["clusters", name, field]).span() };
    let entries: Vec<_> = drivers.clusters.iter().collect();
    let mut found = Vec::new();
    for (at, (name, one)) in entries.iter().enumerate() {
        for (earlier, other) in entries[..at].iter().filter(|(_, other)| other.namespace == one.namespace) {
            let namespace = &one.namespace;
            let diagnostic = if one.domain != other.domain {
                let message = format!(
                    "the namespace `{namespace}` belongs to the domains `{}` and `{}`",
                    other.domain, one.domain
                );
                Diagnostic::new(Code::SHARED_NAMESPACE, message)
                    .at(place(name.as_str(), "domain"), "another domain here")
                    .at(place(earlier.as_str(), "domain"), "has a domain here")
                    .help("programs of a driver run as its account: give each domain a namespace of its own")
            } else if may_overlap(one, other) {
                let message = format!("`{earlier}` and `{name}` can have the same pods of `{namespace}`");
                Diagnostic::new(Code::SHARED_NAMESPACE, message)
                    .at(place(name.as_str(), "selector"), "selects pods here")
                    .at(place(earlier.as_str(), "selector"), "and here")
                    .help("let a label in `selector` have different values, or make them one entry")
            } else {
                continue;
            };
            found.push(diagnostic);
        }
    }
    found
}

/// Returns whether a pod can have the labels of both entries.
fn may_overlap(one: &ClusterDrivers, other: &ClusterDrivers) -> bool {
    !one.selector.iter().any(|(key, value)| other.selector.get(key).is_some_and(|it| it != value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(clusters: &str) -> Vec<Code> {
        let (read, found) = super::read(FileId(0), FILE_NAME, &format!("clusters: {{{clusters}}}\n"));
        assert_eq!(read.is_some(), found.is_empty());
        found.into_iter().map(|it| it.code).collect()
    }

    #[test]
    fn namespace_belongs_to_one_domain_and_pod_to_one_entry() {
        let entry = |name: &str, domain: &str, selector: &str| {
            format!("{name}: {{namespace: spark, domain: {domain}, selector: {{{selector}}}}}")
        };
        let two = |one: (&str, &str), other: (&str, &str)| {
            codes(&format!("{}, {}", entry("a", one.0, one.1), entry("b", other.0, other.1)))
        };
        assert_eq!(two(("sales", "size: s"), ("sales", "size: l, team: data")), []);
        assert_eq!(two(("sales", "size: s"), ("hr", "size: l")), [Code::SHARED_NAMESPACE]);
        assert_eq!(two(("sales", "size: s"), ("sales", "team: data")), [Code::SHARED_NAMESPACE]);
        assert_eq!(two(("sales", ""), ("sales", "size: s")), [Code::SHARED_NAMESPACE]);
        assert_eq!(codes("a: {namespace: one, domain: sales}, b: {namespace: two, domain: hr}"), []);
    }

    #[test]
    fn file_has_drivers_or_clusters() {
        let (read, found) = super::read(FileId(0), FILE_NAME, "{}\n");
        assert!(read.is_none() && found.iter().any(Diagnostic::is_error), "{found:?}");
        assert!(super::read(FileId(0), FILE_NAME, "drivers: {}\n").0.is_some());
    }
}
