//! The compilation in two steps: each file is analyzed separately, in any order and on any number of threads. Then
//! all files are linked.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use dcp_model::dataset::Dataset;
use dcp_model::manifest::{API_VERSION, Job, KIND, Manifest};
use dcp_model::primitive::Primitive;

use crate::check::{self, SqlPlace, SqlSource, Subject};
use crate::diag::{Code, Diagnostic, list, nearest};
use crate::graph::{Graph, Node, Places};
use crate::lower::{self, Lowered, Part};
use crate::project::{AppliedOverlays, Project};
use crate::schema;
use crate::source::{FileId, LoadError, SourceFile, SourceLoader, Sources, Span};
use crate::sql;
use crate::yaml::{self, NodeRef, Tree};

mod manifests;
mod programs;
mod stored;

pub use manifests::Manifests;
pub use stored::Stored;

/// Maximum number of diagnostics of a file.
const MAX_PER_FILE: usize = 100;

/// The purpose of a compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Diagnostics and the graph.
    Validate,
    /// Diagnostics, the graph and primitives.
    Compile,
}

/// The inputs that all files share.
#[derive(Debug)]
pub struct Compiler<'p> {
    /// The project, and the project file.
    pub project: &'p Project<'p>,
    pub project_source: Option<SourceFile>,
    /// Diagnostics of the project file.
    pub project_diagnostics: Vec<Diagnostic>,
    pub goal: Goal,
}

/// The result of the analysis of one file.
#[derive(Debug)]
pub struct Analysis {
    source: SourceFile,
    /// Files to which the manifests refer. Their spans are local until all files are linked.
    files: Vec<SourceFile>,
    diagnostics: Vec<Diagnostic>,
    units: Vec<Unit>,
    /// The indices of overlays that matched a manifest.
    overlays: Vec<usize>,
    /// Every text in a manifest that could not be read completely.
    mentions: BTreeSet<String>,
    /// The offset of each manifest.
    manifests: Vec<u32>,
    /// The index of the manifest that refers to each of `files`.
    owners: Vec<usize>,
}

#[derive(Debug)]
struct Unit {
    node: Node,
    lowered: Lowered,
}

/// The result of the compilation of a set of manifests.
#[derive(Debug, Default)]
pub struct Compilation {
    pub sources: Sources,
    /// Ordered by file, and by position in the file.
    pub diagnostics: Vec<Diagnostic>,
    pub graph: Graph,
    /// Ordered by address. Empty if there are errors, or if the goal is validation.
    pub primitives: Vec<Primitive>,
    pub manifests: Manifests,
}

impl Compilation {
    /// Returns the result if the project file itself can't be used.
    pub fn of_project(source: SourceFile, mut diagnostics: Vec<Diagnostic>) -> Self {
        let mut sources = Sources::default();
        sources.add(source);
        finish(&mut sources, &mut diagnostics);
        Self { sources, diagnostics, ..Self::default() }
    }

    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// The project file always has the first id.
pub const PROJECT_FILE: FileId = FileId(0);

/// Returns the file of the analysis at an index.
fn file_of(index: usize) -> FileId {
    FileId(u32::try_from(index + 1).expect("there are fewer than four billion files"))
}

impl Compiler<'_> {
    /// Analyzes one file. `index` is its position among all files that will be [linked](Self::link).
    pub fn analyze(&self, index: usize, path: &str, loader: &dyn SourceLoader) -> Analysis {
        let file = file_of(index);
        let (text, failure) = match loader.load(path) {
            Ok(text) => (text, None),
            Err(error) => (String::new(), Some(unreadable(path, &error, Span::new(file, 0, 0)))),
        };
        let mut analysis = Analysis {
            source: SourceFile { path: path.into(), text: text.into() },
            files: Vec::new(),
            diagnostics: failure.into_iter().collect(),
            units: Vec::new(),
            overlays: Vec::new(),
            mentions: BTreeSet::new(),
            manifests: Vec::new(),
            owners: Vec::new(),
        };
        if analysis.diagnostics.is_empty() {
            self.documents(file, &mut analysis, loader);
        }
        if analysis.manifests.is_empty() {
            // A file without manifests counts as one manifest.
            analysis.manifests.push(0);
        }
        if let Some(more) = analysis.diagnostics.len().checked_sub(MAX_PER_FILE).filter(|more| *more > 0) {
            // The most severe diagnostics stay. The summary has the severity of the most severe one that is omitted.
            analysis.diagnostics.sort_by_key(|diagnostic| diagnostic.severity);
            let severity = analysis.diagnostics[MAX_PER_FILE].severity;
            analysis.diagnostics.truncate(MAX_PER_FILE);
            let message = format!("{more} more problems in this file");
            let mut rest = Diagnostic::new(Code::MORE_PROBLEMS, message).at(Span::new(file, 0, 0), "");
            rest.severity = severity;
            analysis.diagnostics.push(rest);
        }
        analysis
    }

    fn documents(&self, file: FileId, analysis: &mut Analysis, loader: &dyn SourceLoader) {
        let text = Arc::clone(&analysis.source.text);
        let parsed = yaml::parse(file, &text);
        let broken = parsed.broken;
        analysis.diagnostics.extend(parsed.diagnostics);
        if parsed.documents.is_empty() {
            if broken.is_some() {
                // The text after the error is unknown, so all words of the file count as mentioned.
                analysis.mentions.extend(words(&text));
            } else {
                let empty = Diagnostic::new(Code::EMPTY, "this file holds no manifest");
                analysis
                    .diagnostics
                    .push(empty.at(Span::new(file, 0, 0), "").help("`dcp init` writes one to begin with"));
            }
            return;
        }
        // Most files hold one manifest, and their analyses are stored until all are linked.
        analysis.units.reserve_exact(parsed.documents.len());
        analysis.manifests.reserve_exact(parsed.documents.len());
        for tree in parsed.documents {
            analysis.manifests.push(tree.root().span().start);
            self.document(tree, &text, file, analysis, loader);
            analysis.owners.resize(analysis.files.len(), analysis.manifests.len() - 1);
        }
        analysis.manifests.extend(broken);
        remove_superseded(&mut analysis.diagnostics);
    }

    fn document<'a>(
        &'a self,
        mut tree: Tree<'a>,
        text: &'a str,
        file: FileId,
        analysis: &mut Analysis,
        loader: &dyn SourceLoader,
    ) {
        if let Some(diagnostic) = other_document(tree.root(), file) {
            analysis.diagnostics.push(diagnostic);
            return;
        }
        let mut applied_overlays = AppliedOverlays::default();
        let mut found = self.project.apply(&mut tree, text, &mut applied_overlays);
        analysis.overlays.extend(&applied_overlays.matched);
        // A reference to an unknown variable is not a value yet, so errors about it are dropped.
        let unknown: Vec<Span> = found.iter().filter_map(Diagnostic::primary).collect();
        let wrong = schema::check(&schema::MANIFEST, &mut tree);
        found.extend(wrong.into_iter().filter(|it| !it.primary().is_some_and(|at| unknown.contains(&at))));
        check::secrets::add(tree.root(), text, &mut found);
        let root = tree.root();
        let readable =
            found.iter().all(|diagnostic| !diagnostic.is_error() || is_recoverable(diagnostic.code));
        let manifest = if readable { decode(root, &mut found) } else { None };
        match &manifest {
            Some(manifest) => {
                let sql = load_sql(manifest, root, loader, &mut analysis.files, &mut found);
                programs::check(manifest, root, loader, &mut found);
                let node = self.checked(manifest, root, text, sql.as_ref(), &mut found);
                let scope = self.project.scope();
                let input = lower::Input {
                    manifest,
                    engines: &self.project.engines,
                    sql: sql.as_ref().map(|sql| &*sql.text),
                    reads: &node.reads,
                    writes: &node.writes,
                    path: &analysis.source.path,
                    scope: &scope,
                };
                let wanted = self.goal == Goal::Compile && !found.iter().any(Diagnostic::is_error);
                let lowered = if wanted { lower::lower(&input) } else { Lowered::default() };
                analysis.units.push(Unit { node, lowered });
            }
            None => {
                root.walk(&mut |node| analysis.mentions.extend(node.as_str().map(str::to_lowercase)));
                found.extend(check_sql_only(root, text));
            }
        }
        applied_overlays.explain(root, &mut found);
        analysis.diagnostics.extend(found);
    }

    /// Checks a manifest that was decoded, and returns its node in the graph.
    fn checked<'a>(
        &'a self,
        manifest: &'a Manifest,
        root: NodeRef<'a>,
        text: &'a str,
        sql: Option<&'a LoadedSql<'a>>,
        found: &mut Vec<Diagnostic>,
    ) -> Node {
        let sql = sql.map(|sql| sql.source(self, root, text));
        let mut subject = Subject {
            manifest,
            root,
            sql: sql.as_ref(),
            engines: &self.project.engines,
            diagnostics: std::mem::take(found),
        };
        subject.run();
        *found = subject.diagnostics;
        let places = Located { root, sql: sql.as_ref() };
        let node = Node::new(manifest, sql.as_ref().and_then(SqlSource::facts), &places);
        check::assets::check(&node, found);
        node
    }

    /// Links all files.
    pub fn link(&self, mut analyses: Vec<Analysis>) -> Compilation {
        let mut sources = Sources::default();
        let none = || SourceFile { path: crate::project::FILE_NAME.into(), text: "".into() };
        sources.add(self.project_source.clone().unwrap_or_else(none));
        for analysis in &mut analyses {
            sources.add(std::mem::take(&mut analysis.source));
        }
        let mut all = Linked { diagnostics: self.project_diagnostics.clone(), ..Linked::default() };
        for (index, analysis) in analyses.into_iter().enumerate() {
            all.add(file_of(index), analysis, &mut sources);
        }
        let Linked { mut diagnostics, nodes, mut primitives, parts, overlays, mentions, manifests } = all;
        let matched: Vec<usize> = overlays.into_iter().collect();
        if mentions.is_empty() {
            diagnostics.extend(self.project.unused_overlays(&matched));
        }
        let graph = Graph::new(nodes);
        diagnostics.extend(graph.check(&|dataset: &Dataset| mentions.contains(&dataset.name.to_lowercase())));
        finish(&mut sources, &mut diagnostics);
        if diagnostics.iter().any(Diagnostic::is_error) {
            primitives.clear();
        } else if self.goal == Goal::Compile {
            primitives.extend(lower::group_dags(&graph, &parts));
        }
        primitives.sort_by(|a, b| a.address.cmp(&b.address));
        Compilation { sources, diagnostics, graph, primitives, manifests }
    }
}

/// Sorts diagnostics, and removes secrets from them.
fn finish(sources: &mut Sources, diagnostics: &mut [Diagnostic]) {
    Diagnostic::sort(diagnostics);
    let secrets = diagnostics.iter().filter(|found| found.code == Code::SECRET_LITERAL);
    let places: Vec<Span> = secrets.filter_map(Diagnostic::primary).collect();
    redact_messages(sources, diagnostics, &places);
    sources.redact(&places);
}

/// Hides the texts at these places in all messages, because other diagnostics may quote them.
fn redact_messages(sources: &Sources, diagnostics: &mut [Diagnostic], places: &[Span]) {
    // Shorter texts also occur in messages by chance, and are too short for a secret.
    const MIN_LENGTH: usize = 5;
    let text = |place: &Span| sources.get(place.file).text.get(place.range()).unwrap_or_default();
    let values: BTreeSet<&str> = places.iter().flat_map(|place| text(place).lines()).collect();
    let values =
        values.into_iter().map(|line| line.trim_matches(|c: char| c.is_whitespace() || "\"'".contains(c)));
    for value in values.filter(|value| value.len() >= MIN_LENGTH) {
        for diagnostic in diagnostics.iter_mut() {
            let labels = diagnostic.labels.iter_mut().map(|label| &mut label.text);
            for text in labels.chain([&mut diagnostic.message]).chain(&mut diagnostic.help) {
                if text.contains(value) {
                    *text = text.replace(value, dcp_model::secrets::REDACTED);
                }
            }
        }
    }
}

#[derive(Default)]
struct Linked {
    diagnostics: Vec<Diagnostic>,
    nodes: Vec<Node>,
    primitives: Vec<Primitive>,
    /// The parts of workloads in the DAGs of their groups, by the indices of their nodes.
    parts: BTreeMap<usize, Part>,
    overlays: BTreeSet<usize>,
    mentions: BTreeSet<String>,
    manifests: Manifests,
}

impl Linked {
    fn add(&mut self, file: FileId, analysis: Analysis, sources: &mut Sources) {
        let Analysis { source: _, files, mut diagnostics, units, overlays, mentions, manifests, owners } =
            analysis;
        let globals: Vec<FileId> = files.into_iter().map(|file| sources.add(file)).collect();
        let globalize = |span: &mut Span| {
            if let Some(global) = span.file.local_index().and_then(|index| globals.get(index)) {
                span.file = *global;
            }
        };
        for label in diagnostics.iter_mut().flat_map(|diagnostic| &mut diagnostic.labels) {
            globalize(&mut label.span);
        }
        for Unit { mut node, lowered: Lowered { primitives, part } } in units {
            for link in node.reads.iter_mut().chain(&mut node.writes).chain(&mut node.waits) {
                globalize(&mut link.at);
            }
            self.parts.extend(part.map(|part| (self.nodes.len(), *part)));
            self.nodes.push(node);
            self.primitives.extend(primitives);
        }
        self.manifests.add(file, &manifests, globals.iter().copied().zip(owners));
        self.diagnostics.extend(diagnostics);
        self.overlays.extend(overlays);
        self.mentions.extend(mentions);
    }
}

/// Loads the SQL of a manifest, from a scalar or from a file.
fn load_sql<'a>(
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
struct LoadedSql<'a> {
    text: Cow<'a, str>,
    kind: &'static str,
    file: Option<FileId>,
}

impl LoadedSql<'_> {
    fn source<'a>(
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

struct Located<'a> {
    root: NodeRef<'a>,
    sql: Option<&'a SqlSource<'a>>,
}

impl Places for Located<'_> {
    fn at(&self, path: &[&str]) -> Span {
        self.root.nearest(path.iter().copied()).span()
    }

    fn sql_at(&self, range: &Range<u32>) -> Span {
        self.sql.map_or_else(|| self.at(&["spec", "job"]), |sql| sql.span(range))
    }
}

/// Returns whether a manifest with this error can still be checked.
fn is_recoverable(code: Code) -> bool {
    matches!(code, Code::UNKNOWN_FIELD | Code::SECRET_LITERAL | Code::DUPLICATE_KEY)
}

fn decode(root: NodeRef<'_>, found: &mut Vec<Diagnostic>) -> Option<Manifest> {
    root.decode()
        .map_err(|error| {
            let at = error.at.unwrap_or_else(|| root.span());
            found.push(Diagnostic::new(Code::MALFORMED, error.message).at(at, ""));
        })
        .ok()
}

/// Checks the SQL of a manifest that has errors elsewhere.
fn check_sql_only(root: NodeRef<'_>, text: &str) -> Option<Diagnostic> {
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

/// Removes warnings about ambiguous values that are rejected anyway.
fn remove_superseded(found: &mut Vec<Diagnostic>) {
    let rejected: Vec<Span> = found.iter().filter(|d| d.is_error()).filter_map(Diagnostic::primary).collect();
    found.retain(|d| {
        d.code != Code::AMBIGUOUS_SCALAR || !d.primary().is_some_and(|span| rejected.contains(&span))
    });
}

/// Reports a document that is not a manifest of dcp. Errors about its fields would be misleading.
fn other_document(root: NodeRef<'_>, file: FileId) -> Option<Diagnostic> {
    if !root.is_map() {
        let message = format!("a manifest is a map, and this is {}", root.type_name());
        return Some(
            Diagnostic::new(Code::UNKNOWN_KIND, message)
                .at(root.span(), "")
                .help(format!("begin with `apiVersion: {API_VERSION}`")),
        );
    }
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let Some(node) = root.get(field) else {
            let message = format!("this has no `{field}`, so it is no manifest of dcp");
            let at = root.members().next().map_or(Span::new(file, 0, 0), |member| member.key_span);
            return Some(
                Diagnostic::new(Code::UNKNOWN_KIND, message)
                    .at(at, "begins here")
                    .help(format!("add `{field}: {expected}`")),
            );
        };
        if node.scalar() != Some(expected) {
            let found = node.scalar().unwrap_or_default();
            let message = match node.scalar() {
                Some(_) => format!(
                    "`{field}` is `{}`, which dcp does not know",
                    found.chars().take(60).collect::<String>()
                ),
                None => format!("`{field}` is {}", node.type_name()),
            };
            let diagnostic = Diagnostic::new(Code::UNKNOWN_KIND, message);
            return Some(match nearest(found, [expected]) {
                Some(meant) => diagnostic.at(node.span(), format!("did you mean `{meant}`?")),
                None => diagnostic.at(node.span(), format!("expected {}", list([expected], "or"))).help("leave files of other tools out of the folders with manifests, or name the right ones in `dcp.yaml`"),
            });
        }
    }
    None
}

fn unreadable(path: &str, error: &LoadError, at: Span) -> Diagnostic {
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

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '{' | '}' | '[' | ']' | '"' | '\''))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}
