//! What a workload waits for and writes can be assets in Airflow.

use dcp_model::dag::{Asset, MAX_ASSET};
use dcp_model::manifest::RunKind;

use crate::diag::{Code, Diagnostic};
use crate::graph::{Link, Node};

/// A DAG with an asset that is too long would be one that Airflow can't import.
pub(crate) fn check(node: &Node, found: &mut Vec<Diagnostic>) {
    if matches!(node.run, RunKind::Continuous | RunKind::Service) {
        return;
    }
    // What is added to a name is short, and what is escaped in it takes three characters for each byte.
    let may_be_long = |link: &&Link| link.dataset.name.len() > MAX_ASSET / 4;
    for link in node.writes.iter().chain(&node.waits).filter(may_be_long) {
        let Asset { name, uri } = Asset::from(&link.dataset);
        let (what, length) = match (name.chars().count(), uri.len()) {
            (length, _) if length > MAX_ASSET => ("name", length),
            (_, length) if length > MAX_ASSET => ("URI", length),
            _ => continue,
        };
        let kind = link.dataset.kind;
        let message = format!("this {kind} would be an asset with a {what} of {length} characters");
        let help = format!(
            "give it a shorter name: Airflow takes {MAX_ASSET} characters, and `%` with two digits for each byte beyond letters, digits, `-`, `_` and `.`"
        );
        found.push(Diagnostic::new(Code::OUT_OF_RANGE, message).at(link.at, "too long").help(help));
    }
}
