//! The file of clusters, `clusters.yaml`: its text to types and diagnostics.

mod namespaces;
mod settings;

use dcp_model::clusters::{Cluster, Clusters};

use crate::diag::{Code, Diagnostic};
use crate::document;
use crate::schema;
use crate::source::{FileId, Span};
use crate::yaml::NodeRef;

/// The default name of the file of clusters.
pub const FILE_NAME: &str = "clusters.yaml";

/// Reads the file of clusters. `path` is its path for messages. The clusters are missing if there is an error.
///
/// Paths of credentials are as they are in the file; [`FilePath::resolve`](dcp_model::clusters::FilePath::resolve)
/// completes them.
pub fn read(file: FileId, path: &str, text: &str) -> (Option<Clusters>, Vec<Diagnostic>) {
    let kind = document::Kind {
        name: path,
        schema: &schema::CLUSTERS,
        help_if_empty: "give it a cluster: `clusters: {main: {kind: kubernetes, credentials: {…}}}`",
    };
    let (read, mut diagnostics) = document::read::<Clusters>(&kind, file, text);
    for secret in diagnostics.iter_mut().filter(|found| found.code == Code::SECRET_LITERAL) {
        // References to secrets belong to manifests.
        secret.help =
            Some("keep it in a file that `credentials` names, or in a secret of the cluster".into());
    }
    let Some((clusters, tree)) = read else { return (None, diagnostics) };
    for (name, cluster) in &clusters.clusters {
        if let Some(node) = tree.root().find(["clusters", name.as_str()]) {
            let mut subject = Subject { name: name.as_str(), cluster, node, diagnostics: Vec::new() };
            namespaces::check(&mut subject);
            settings::check(&mut subject);
            diagnostics.append(&mut subject.diagnostics);
        }
    }
    let valid = !diagnostics.iter().any(Diagnostic::is_error);
    (valid.then_some(clusters), diagnostics)
}

/// A cluster under check, and the diagnostics so far.
struct Subject<'a> {
    name: &'a str,
    cluster: &'a Cluster,
    node: NodeRef<'a>,
    diagnostics: Vec<Diagnostic>,
}

impl Subject<'_> {
    /// Returns the place of the value at a path, or of its nearest ancestor.
    fn at(&self, path: &[&str]) -> Span {
        self.node.nearest(path.iter().copied()).span()
    }

    /// Returns the place of the key at the end of a path, or of its nearest ancestor.
    fn key(&self, path: &[&str]) -> Span {
        let member =
            path.split_last().and_then(|(last, above)| self.node.find(above.iter().copied())?.member(last));
        member.map_or_else(|| self.at(path), |member| member.key_span)
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }
}

#[cfg(test)]
mod tests;
