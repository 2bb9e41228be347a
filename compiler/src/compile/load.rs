//! Loads the SQL of manifests, and describes files that can't be read.

use std::borrow::Cow;

use dcp_model::manifest::{Job, Manifest};

use super::{Compiler, PROJECT_FILE};
use crate::check::{self, SqlPlace, SqlSource};
use crate::diag::{Code, Diagnostic};
use crate::source::{FileId, LoadError, SourceFile, SourceLoader, Span};
use crate::sql;
use crate::yaml::NodeRef;

/// Loads the SQL of a manifest, from a scalar or from a file.
pub(super) fn load_sql<'a>(
    manifest: &'a Manifest,
    root: NodeRef<'a>,
    loader: &dyn SourceLoader,
    files: &mut Vec<SourceFile>,
    found: &mut Vec<Diagnostic>,
) -> Option<LoadedSql<'a>> {
    let (kind, query, file) = match &manifest.spec.job {
        Job::Sql(sql) => ("sql", sql.query.as_deref(), sql.file.as_ref()),
        Job::Stream(stream) => ("stream", stream.query.as_deref(), stream.file.as_ref()),
        Job::Pyspark(_) | Job::Jar(_) => return None,
    };
    if let Some(query) = query {
        return Some(LoadedSql { text: Cow::Borrowed(query), kind, file: None });
    }
    let path = file?;
    let at = root.nearest(["spec", "job", kind, "file"]).span();
    if path.as_str().contains("://") {
        let help = "keep the SQL in a file of the project: it is part of what is planned and applied";
        let message = format!("`{path}` can't be read while compiling");
        found.push(Diagnostic::new(Code::BAD_URI, message).at(at, "").help(help));
        return None;
    }
    match loader.load(path.as_str()) {
        Ok(text) => {
            let local = FileId::local(files.len());
            found.extend(check::secrets::in_sql(local, &text));
            files.push(SourceFile { path: path.as_str().into(), text: text.as_str().into() });
            Some(LoadedSql { text: Cow::Owned(text), kind, file: Some(local) })
        }
        Err(error) => {
            found.push(unreadable(path.as_str(), &error, at));
            None
        }
    }
}

/// The text of a manifest's SQL, and the file that contains it if it is not the manifest.
pub(super) struct LoadedSql<'a> {
    pub(super) text: Cow<'a, str>,
    kind: &'static str,
    file: Option<FileId>,
}

impl LoadedSql<'_> {
    pub(super) fn source<'a>(
        &'a self,
        compiler: &'a Compiler<'_>,
        root: NodeRef<'a>,
        manifest: &'a str,
    ) -> SqlSource<'a> {
        let place = match self.file {
            Some(file) => SqlPlace::File(file),
            None => {
                let node = root.nearest(["spec", "job", self.kind, "query"]);
                // An overlay may have set the query.
                let project = compiler.project_source.as_ref().filter(|_| node.span().file == PROJECT_FILE);
                SqlPlace::Inline { node, source: project.map_or(manifest, |project| &project.text) }
            }
        };
        // Only streams have state that depends on the shape of the query.
        let detail = if self.kind == "stream" { sql::Detail::Shape } else { sql::Detail::Lineage };
        SqlSource { reading: sql::read(&self.text, detail), place }
    }
}

/// Checks the SQL of a manifest that has errors elsewhere.
pub(super) fn check_sql_only(root: NodeRef<'_>, text: &str) -> Option<Diagnostic> {
    let node = ["sql", "stream"].into_iter().find_map(|kind| root.find(["spec", "job", kind, "query"]))?;
    let sql::Reading::Malformed { at, message, help } = sql::read(node.as_str()?, sql::Detail::Lineage)
    else {
        return None;
    };
    // The text of an overlay is in another file.
    let own = node.span().file == root.span().file;
    let at = if own { node.within(text, at) } else { node.span() };
    let diagnostic = Diagnostic::new(Code::SQL_SYNTAX, message).at(at, "");
    Some(match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    })
}

pub(super) fn unreadable(path: &str, error: &LoadError, at: Span) -> Diagnostic {
    let (code, message, help) = match error {
        LoadError::NotFound => (
            Code::UNREADABLE,
            format!("there is no file `{path}`"),
            "check the path: it is relative to the project's folder".to_owned(),
        ),
        LoadError::Dangling => (
            Code::UNREADABLE,
            format!("`{path}` is a link to nothing"),
            "remove the link, or give it a file that is there".to_owned(),
        ),
        LoadError::Directory => (Code::UNREADABLE, format!("`{path}` is a folder"), "name a file".to_owned()),
        LoadError::NotUtf8(offset) => (
            Code::UNREADABLE,
            format!("`{path}` is not UTF-8, from its byte {offset} on"),
            "save it as UTF-8; or is it a file of another kind?".to_owned(),
        ),
        LoadError::TooLarge { size, limit } => (
            Code::TOO_LARGE,
            format!("`{path}` has {size} bytes"),
            format!("a manifest has {limit} at most: is it what it is meant to be?"),
        ),
        LoadError::Outside => (
            Code::OUTSIDE_PROJECT,
            format!("`{path}` lies outside of the project"),
            "links and paths may not lead out of the project's folder: copy the file into it".to_owned(),
        ),
        LoadError::Other(message) => (
            Code::UNREADABLE,
            format!("`{path}` can't be read: {message}"),
            "check that it is there and may be read".to_owned(),
        ),
    };
    Diagnostic::new(code, message).at(at, "").help(help)
}
