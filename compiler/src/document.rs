//! Reads files that are one document, such as `dcp.yaml`.

use dcp_model::diag::Code;
use serde::de::DeserializeOwned;

use crate::check::secrets;
use crate::diag::Diagnostic;
use crate::schema::{self, DocumentSchema};
use crate::source::{FileId, Span};
use crate::yaml::{self, Tree};

/// A kind of file.
pub(crate) struct Kind<'k> {
    /// The name of the file, for messages.
    pub(crate) name: &'k str,
    pub(crate) schema: &'k DocumentSchema,
    pub(crate) help_if_empty: &'k str,
}

/// Parses, checks and decodes the only document of a file.
pub(crate) fn read<'s, T: DeserializeOwned>(
    kind: &Kind<'_>,
    file: FileId,
    text: &'s str,
) -> (Option<(T, Tree<'s>)>, Vec<Diagnostic>) {
    let yaml::Parsed { documents, mut diagnostics, broken: _ } = yaml::parse(file, text);
    let Some(mut tree) = only_document(kind, file, documents, &mut diagnostics) else {
        return (None, diagnostics);
    };
    diagnostics.extend(schema::check(kind.schema, &mut tree));
    secrets::add(tree.root(), text, &mut diagnostics);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return (None, diagnostics);
    }
    match tree.root().decode() {
        Ok(decoded) => (Some((decoded, tree)), diagnostics),
        Err(error) => {
            let at = error.at.unwrap_or_else(|| tree.root().span());
            diagnostics.push(Diagnostic::new(Code::MALFORMED, error.message).at(at, ""));
            (None, diagnostics)
        }
    }
}

/// Returns the document of a file. Reports a missing one, and a second one.
fn only_document<'s>(
    kind: &Kind<'_>,
    file: FileId,
    documents: Vec<Tree<'s>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Tree<'s>> {
    let name = kind.name;
    if let Some(second) = documents.get(1) {
        let more = Diagnostic::new(Code::UNSUPPORTED_YAML, format!("`{name}` is one document"));
        diagnostics.push(more.at(second.root().span(), "a second one").help("put all of it into one"));
    }
    let only = documents.into_iter().next();
    if only.is_none() && diagnostics.is_empty() {
        let empty = Diagnostic::new(Code::EMPTY, format!("`{name}` is empty"));
        diagnostics.push(empty.at(Span::new(file, 0, 0), "").help(kind.help_if_empty));
    }
    only
}
