//! The project file `dcp.yaml`: the locations of manifests, the targets, and the differences between them.

use std::collections::BTreeMap;

use dcp_model::manifest::{DagFolder, Identifier, KubernetesName, Name, Scalar};
use dcp_model::reference;

use crate::diag::{Code, Diagnostic, list, nearest};
use crate::document;
use crate::engine::EngineTable;
use crate::schema;
use crate::source::{FileId, Span};
use crate::yaml::{Merger, NodeRef, Replacement, Tree};

mod applied_overlays;
mod file;

pub use applied_overlays::AppliedOverlays;
pub use file::{Match, Overlay, ProjectFile, Target};

/// The name of the project file.
pub const FILE_NAME: &str = "dcp.yaml";

/// A project file with the selected target.
#[derive(Debug)]
pub struct Project<'s> {
    pub file: ProjectFile,
    /// The name of the target, if the project has targets.
    pub target: Option<String>,
    pub engines: EngineTable,
    /// The variables of the target, with those of the project as defaults.
    variables: BTreeMap<String, Scalar>,
    tree: Tree<'s>,
}

impl Project<'_> {
    /// Returns the project that is used if there is no project file.
    pub fn none() -> Self {
        let file = ProjectFile {
            project: Name::parse("default").expect("`default` is a name"),
            manifests: ProjectFile::default_manifests(),
            variables: BTreeMap::new(),
            engines: BTreeMap::new(),
            dags: None,
            targets: BTreeMap::new(),
        };
        Self {
            file,
            target: None,
            engines: EngineTable::platform(),
            variables: BTreeMap::new(),
            tree: Tree::default(),
        }
    }

    /// Returns the scope to which manifests are applied: `project` or `project/target`. Clients of a control plane
    /// use the same scope.
    pub fn scope(&self) -> String {
        let project = &self.file.project;
        self.target.as_ref().map_or_else(|| project.to_string(), |target| format!("{project}/{target}"))
    }

    /// Returns the overlays of the target.
    pub fn overlays(&self) -> &[Overlay] {
        self.target_file().map_or(&[], |target| &target.overlays)
    }

    fn target_file(&self) -> Option<&Target> {
        self.file.targets.get(self.target.as_ref()?)
    }
}

impl<'s> Project<'s> {
    /// Reads a project file and selects a target: the named one, the default or the only one.
    pub fn read(file: FileId, text: &'s str, target: Option<&str>) -> (Option<Self>, Vec<Diagnostic>) {
        let kind = document::Kind {
            name: FILE_NAME,
            schema: &schema::PROJECT,
            help_if_empty: "give it at least `project: <name>`",
        };
        let (read, mut diagnostics) = document::read::<ProjectFile>(&kind, file, text);
        let Some((decoded, tree)) = read else { return (None, diagnostics) };
        let chosen = match select_target(&decoded, &tree, target) {
            Ok(chosen) => chosen,
            Err(diagnostic) => {
                diagnostics.push(*diagnostic);
                return (None, diagnostics);
            }
        };
        let nested = nested_variables(&decoded, &tree);
        if !nested.is_empty() {
            diagnostics.extend(nested);
            return (None, diagnostics);
        }
        let mut variables: BTreeMap<String, Scalar> = by_name(&decoded.variables).collect();
        if let Some(target) = chosen.as_ref().and_then(|name| decoded.targets.get(name)) {
            variables.extend(by_name(&target.variables));
        }
        let engines = EngineTable::platform().with(&decoded.engines);
        (Some(Self { file: decoded, target: chosen, engines, variables, tree }), diagnostics)
    }

    /// Applies the target to a manifest: first its overlays, then its variables.
    ///
    /// The changes by overlays and the matching overlays are added to `applied_overlays`.
    pub fn apply<'a>(
        &'a self,
        manifest: &mut Tree<'a>,
        source: &str,
        applied_overlays: &mut AppliedOverlays<'a>,
    ) -> Vec<Diagnostic> {
        for (at, overlay) in self.overlays().iter().enumerate() {
            if overlay.matches.applies(manifest.root()) {
                applied_overlays.matched.push(at);
                if let Some(patch) = self.patch(at) {
                    applied_overlays.changes.extend(Merger::new(manifest).merge(patch));
                }
            }
        }
        if !applied_overlays.matched.is_empty() || source.contains("${") {
            self.substitute(manifest)
        } else {
            Vec::new()
        }
    }

    fn selected_target(&self) -> Option<&Target> {
        self.file.targets.get(self.target.as_deref()?)
    }

    /// Returns the address of the control plane, unless it is the local one.
    pub fn server(&self) -> Option<&str> {
        self.selected_target()?.server.as_deref()
    }

    /// Returns the address of the Runner, unless it is the local one.
    pub fn runner(&self) -> Option<&str> {
        let target = self.selected_target()?;
        target.runner.as_deref().or(target.server.as_deref())
    }

    /// Returns the address of the proxy for Spark Connect, unless it is the local one.
    pub fn connect(&self) -> Option<&str> {
        let target = self.selected_target()?;
        target.connect.as_deref().or(target.server.as_deref())
    }

    /// Returns the name of the target's provider of secrets, if it is set.
    pub fn secrets(&self) -> Option<&KubernetesName> {
        self.selected_target()?.secrets.as_ref()
    }

    /// Returns the folder of DAG files, if it is set.
    pub fn dags(&self) -> Option<&str> {
        let chosen = self.selected_target().and_then(|target| target.dags.as_ref());
        chosen.or(self.file.dags.as_ref()).map(DagFolder::as_str)
    }

    fn patch(&self, overlay: usize) -> Option<NodeRef<'_>> {
        let target = self.target.as_deref()?;
        self.tree.root().find(["targets", target, "overlays", &overlay.to_string(), "set"])
    }

    /// Returns warnings for overlays of the target that match no manifest.
    pub fn unused_overlays(&self, matched: &[usize]) -> Vec<Diagnostic> {
        let unused = (0..self.overlays().len()).filter(|at| !matched.contains(at));
        let warn = |at: usize| {
            let target = self.target.as_deref().unwrap_or_default();
            let node = self.tree.root().nearest(["targets", target, "overlays", &at.to_string(), "match"]);
            Diagnostic::new(Code::UNUSED_OVERLAY, format!("this overlay of `{target}` matches no manifest"))
                .at(node.span(), "nothing has all of this")
                .help("correct what it matches, or remove the overlay")
        };
        unused.map(warn).collect()
    }

    fn substitute(&self, manifest: &mut Tree<'_>) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        let mut left = MAX_EXPANDED;
        manifest.replace_text(|text, span| {
            if !text.contains("${") {
                return None;
            }
            let lookup = |name: &str| self.variables.get(name).map(Scalar::as_str);
            match reference::substitute(text, lookup, left) {
                Ok(None) => None,
                Ok(Some(reference::Substituted { text: value, whole })) => {
                    left = left.saturating_sub(value.len());
                    // A text that consists of one variable only has the type of the variable.
                    let plain = whole && self.is_bare(text);
                    Some(if plain { Replacement::Plain(value) } else { Replacement::Text(value) })
                }
                Err(error) => {
                    diagnostics.push(self.bad_reference(error, span));
                    None
                }
            }
        });
        diagnostics
    }

    /// Returns whether a text refers to a variable that is a number or a boolean.
    fn is_bare(&self, text: &str) -> bool {
        let name = text.strip_prefix("${var.").and_then(|rest| rest.strip_suffix('}'));
        name.and_then(|name| self.variables.get(name)).is_some_and(Scalar::is_bare)
    }

    fn bad_reference(&self, error: reference::Error, span: Span) -> Diagnostic {
        match error {
            reference::Error::Unknown(name) => {
                let target = match &self.target {
                    Some(target) => format!(" in the target `{target}`"),
                    None => String::new(),
                };
                let message = format!("there is no variable `{name}`{target}");
                let diagnostic = Diagnostic::new(Code::UNKNOWN_VARIABLE, message);
                match nearest(&name, self.variables.keys().map(String::as_str)) {
                    Some(meant) => diagnostic.at(span, format!("did you mean `${{var.{meant}}}`?")),
                    None => diagnostic.at(span, "used here").help(format!(
                        "give it a value in `{FILE_NAME}`, under `variables` or the target's `variables`"
                    )),
                }
            }
            reference::Error::Malformed(what) => {
                Diagnostic::new(Code::BAD_REFERENCE, what).at(span, "").help(reference::HELP)
            }
            reference::Error::TooLong(_) => {
                let message =
                    format!("the manifest's variables expand to more than {} MiB", MAX_EXPANDED >> 20);
                let help = "refer to fewer variables, or give them shorter values";
                Diagnostic::new(Code::BAD_REFERENCE, message).at(span, "the limit is passed here").help(help)
            }
        }
    }
}

/// Maximum size of all texts of a manifest in which variables are replaced. A file has at most 1 MiB.
const MAX_EXPANDED: usize = 8 << 20;

fn by_name(variables: &BTreeMap<Identifier, Scalar>) -> impl Iterator<Item = (String, Scalar)> {
    variables.iter().map(|(name, value)| (name.as_str().to_owned(), value.clone()))
}

/// Rejects variables that refer to variables, because variables are replaced only once.
fn nested_variables(file: &ProjectFile, tree: &Tree<'_>) -> Vec<Diagnostic> {
    let in_targets = file.targets.iter().flat_map(|(name, target)| {
        target.variables.iter().map(move |variable| (vec!["targets", name.as_str(), "variables"], variable))
    });
    let all = file.variables.iter().map(|variable| (vec!["variables"], variable)).chain(in_targets);
    let nested = all.filter(|(_, (_, value))| value.as_str().contains("${var"));
    let reject = |(path, (name, _)): (Vec<&str>, (&Identifier, &Scalar))| {
        let at = tree.root().nearest([path.as_slice(), &[name.as_str()]].concat()).span();
        Diagnostic::new(Code::BAD_REFERENCE, format!("the variable `{name}` refers to another one"))
            .at(at, "would stay as it is")
            .help("write the value itself, or both references where they are used")
    };
    nested.map(reject).collect()
}

fn select_target(
    file: &ProjectFile,
    tree: &Tree<'_>,
    wanted: Option<&str>,
) -> Result<Option<String>, Box<Diagnostic>> {
    let at = |path: &[&str]| tree.root().nearest(path.iter().copied()).span();
    let names = || file.targets.keys().map(String::as_str);
    if let Some(wanted) = wanted {
        if file.targets.contains_key(wanted) {
            return Ok(Some(wanted.to_owned()));
        }
        let diagnostic = Diagnostic::new(Code::UNKNOWN_TARGET, format!("there is no target `{wanted}`"));
        let help = match nearest(wanted, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if file.targets.is_empty() => "the project has no targets: leave out `--target`".to_owned(),
            None => format!("the project has {}", list(names(), "and")),
        };
        return Err(Box::new(diagnostic.at(at(&["targets"]), "").help(help)));
    }
    let defaults: Vec<&str> =
        file.targets.iter().filter(|(_, target)| target.default).map(|(name, _)| name.as_str()).collect();
    match (defaults.as_slice(), file.targets.len()) {
        ([only], _) => Ok(Some((*only).to_owned())),
        ([first, second, ..], _) => {
            let diagnostic = Diagnostic::new(Code::EXACTLY_ONE, "two targets are the default")
                .at(at(&["targets", second, "default"]), "another one here")
                .at(at(&["targets", first, "default"]), "one is here");
            Err(Box::new(diagnostic.help("keep one of them")))
        }
        ([], 0) => Ok(None),
        ([], 1) => Ok(names().next().map(str::to_owned)),
        ([], _) => {
            let diagnostic =
                Diagnostic::new(Code::UNKNOWN_TARGET, "no target is named, and none is the default")
                    .at(at(&["targets"]), "")
                    .help(format!(
                        "name one by `--target`, or set `default: true`: there are {}",
                        list(names(), "and")
                    ));
            Err(Box::new(diagnostic))
        }
    }
}
