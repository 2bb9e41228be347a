//! The compilation in two steps: each file is analyzed separately, in any order and on any number of threads. Then
//! all files are linked.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use dcp_model::dataset::Dataset;
use dcp_model::manifest::{API_VERSION, KINDS, Manifest, POOL, PoolManifest};
use dcp_model::primitive::Primitive;

use crate::check::{self, SqlSource, Subject};
use crate::diag::{Code, Diagnostic, list, nearest};
use crate::graph::{Graph, Node, Places};
use crate::lower::{self, Lowered};
use crate::project::{AppliedOverlays, Project};
use crate::schema::{self, DocumentSchema};
use crate::source::{FileId, SourceFile, SourceLoader, Sources, Span};
use crate::yaml::{self, NodeRef, Tree};

mod linked;
mod load;
mod manifests;
mod programs;
mod stored;

use linked::{Linked, finish};
use load::{LoadedSql, check_sql_only, load_sql, unreadable};
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
        let wrong = schema::check(schema_of(tree.root()), &mut tree);
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
                let wanted = self.goal == Goal::Compile && !found.iter().any(Diagnostic::is_error);
                let path = &analysis.source.path;
                let lowered = wanted.then(|| self.lowered(manifest, &node, sql.as_ref(), path));
                analysis.units.push(Unit { node, lowered: lowered.unwrap_or_default() });
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

    fn lowered(&self, manifest: &Manifest, node: &Node, sql: Option<&LoadedSql<'_>>, path: &str) -> Lowered {
        lower::lower(&lower::Input {
            manifest,
            engines: &self.project.engines,
            sql: sql.map(|sql| &*sql.text),
            reads: &node.reads,
            writes: &node.writes,
            path,
            scope: &self.project.scope(),
            secrets: self.project.secrets(),
        })
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

fn is_pool(root: NodeRef<'_>) -> bool {
    root.get("kind").and_then(NodeRef::scalar) == Some(POOL)
}

fn schema_of(root: NodeRef<'_>) -> &'static DocumentSchema {
    if is_pool(root) { &schema::POOL } else { &schema::CORE_ETL }
}

fn decode(root: NodeRef<'_>, found: &mut Vec<Diagnostic>) -> Option<Manifest> {
    let decoded =
        if is_pool(root) { root.decode::<PoolManifest>().map(Manifest::from) } else { root.decode() };
    decoded
        .map_err(|error| {
            let at = error.at.unwrap_or_else(|| root.span());
            found.push(Diagnostic::new(Code::MALFORMED, error.message).at(at, ""));
        })
        .ok()
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
    for (field, known) in [("apiVersion", &[API_VERSION][..]), ("kind", &KINDS)] {
        let Some(node) = root.get(field) else {
            let message = format!("this has no `{field}`, so it is no manifest of dcp");
            let lines: Vec<String> = known.iter().map(|value| format!("{field}: {value}")).collect();
            let at = root.members().next().map_or(Span::new(file, 0, 0), |member| member.key_span);
            return Some(
                Diagnostic::new(Code::UNKNOWN_KIND, message)
                    .at(at, "begins here")
                    .help(format!("add {}", list(lines.iter().map(String::as_str), "or"))),
            );
        };
        if !node.scalar().is_some_and(|found| known.contains(&found)) {
            let found = node.scalar().unwrap_or_default();
            let message = match node.scalar() {
                Some(_) => format!(
                    "`{field}` is `{}`, which dcp does not know",
                    found.chars().take(60).collect::<String>()
                ),
                None => format!("`{field}` is {}", node.type_name()),
            };
            let diagnostic = Diagnostic::new(Code::UNKNOWN_KIND, message);
            return Some(match nearest(found, known.iter().copied()) {
                Some(meant) => diagnostic.at(node.span(), format!("did you mean `{meant}`?")),
                None => diagnostic.at(node.span(), format!("expected {}", list(known.iter().copied(), "or"))).help("leave files of other tools out of the folders with manifests, or name the right ones in `dcp.yaml`"),
            });
        }
    }
    None
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '{' | '}' | '[' | ']' | '"' | '\''))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}
