//! Checks that inputs and outputs can be Airflow assets.

use dcp_model::dag::{Asset, MAX_ASSET_LENGTH};
use dcp_model::manifest::RunKind;

use crate::diag::{Code, Diagnostic};
use crate::graph::{Link, Node};

/// Reports assets that are too long. Airflow could not import the DAG.
pub(crate) fn check(node: &Node, found: &mut Vec<Diagnostic>) {
    if matches!(node.run, RunKind::Continuous | RunKind::Service | RunKind::Pool) {
        return;
    }
    // Prefixes of names are short, and escapes take three characters for each byte.
    let may_be_long = |link: &&Link| link.dataset.name.len() > MAX_ASSET_LENGTH / 4;
    for link in node.writes.iter().chain(&node.waits).filter(may_be_long) {
        let Asset { name, uri } = Asset::from(&link.dataset);
        let (what, length) = match (name.chars().count(), uri.len()) {
            (length, _) if length > MAX_ASSET_LENGTH => ("name", length),
            (_, length) if length > MAX_ASSET_LENGTH => ("URI", length),
            _ => continue,
        };
        let kind = link.dataset.kind;
        let message = format!("this {kind} would be an asset with a {what} of {length} characters");
        let help = format!(
            "give it a shorter name: Airflow takes {MAX_ASSET_LENGTH} characters, and `%` with two digits for each byte beyond letters, digits, `-`, `_` and `.`"
        );
        found.push(Diagnostic::new(Code::OUT_OF_RANGE, message).at(link.at, "too long").help(help));
    }
}
