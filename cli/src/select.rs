//! Which workloads a plan is about.

use std::collections::BTreeSet;
use std::path::PathBuf;

use dcp_compiler::primitive::{Address, Primitive};
use dcp_compiler::project::FILE_NAME;
use dcp_reconciler::plan::Concern;
use dcp_reconciler::registry::State;

use crate::failure::Failure;
use crate::git;
use crate::project::{Home, Outcome};

/// A choice of workloads: by what was asked for, by the files that were named, and by what changed in them.
#[derive(Debug, Default)]
pub(crate) struct Select {
    patterns: Vec<Pattern>,
    /// Workloads of the files that were named: nothing is known of others, so none of them is deleted.
    named: Option<BTreeSet<(String, String)>>,
    /// Workloads whose files have changed, and those that are gone.
    changed: Option<Changed>,
}

#[derive(Debug)]
struct Changed {
    workloads: BTreeSet<(String, String)>,
    all: BTreeSet<(String, String)>,
    /// Whether a manifest that is not there any more may have been one of what changed.
    deletions: bool,
}

/// `domain/name`, `domain/*`, or an address.
#[derive(Debug)]
struct Pattern {
    written: String,
    domain: String,
    name: Option<String>,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, Failure> {
        let (domain, name) = match text.parse::<Address>() {
            Ok(address) => (address.domain, address.name),
            Err(_) => match text.split_once('/') {
                Some((domain, name)) if !domain.is_empty() && !name.is_empty() && !name.contains('/') => {
                    (domain.to_owned(), name.to_owned())
                }
                _ => {
                    let message = format!("`{text}` names no workload");
                    return Err(
                        Failure::usage(message).help("write `domain/name`, `domain/*`, or an address")
                    );
                }
            },
        };
        Ok(Self { written: text.to_owned(), domain, name: (name != "*").then_some(name) })
    }

    fn fits(&self, domain: &str, name: &str) -> bool {
        self.domain == domain && self.name.as_ref().is_none_or(|it| it == name)
    }
}

impl Select {
    /// Those that are named, wherever they come from.
    pub(crate) fn by_name(patterns: &[String]) -> Result<Self, Failure> {
        let patterns = patterns.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>()?;
        Ok(Self { patterns, ..Self::default() })
    }

    pub(crate) fn new(
        patterns: &[String],
        since: Option<&str>,
        paths: &[PathBuf],
        home: &Home,
        outcome: &Outcome,
    ) -> Result<Self, Failure> {
        let mut select = Self::by_name(patterns)?;
        let nodes = &outcome.compilation.graph.nodes;
        let all = || nodes.iter().map(|node| (node.domain.clone(), node.name.clone())).collect();
        if !paths.is_empty() {
            select.named = Some(all());
        }
        if let Some(revision) = since {
            let files = git::changed_since(&home.root, revision)?;
            select.changed = changed(&files, outcome, all());
        }
        Ok(select)
    }

    /// What a comparison is to make of a workload, where nothing is known of it beforehand.
    pub(crate) fn concern(&self, domain: &str, name: &str) -> Concern {
        if self.concerns(domain, name) { Concern::Compared } else { Concern::LeftOut }
    }

    pub(crate) fn concerns(&self, domain: &str, name: &str) -> bool {
        let key = (domain.to_owned(), name.to_owned());
        (self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.fits(domain, name)))
            && self.named.as_ref().is_none_or(|named| named.contains(&key))
            && self.changed.as_ref().is_none_or(|changed| {
                changed.workloads.contains(&key) || (changed.deletions && !changed.all.contains(&key))
            })
    }

    /// Sees to it that everything that was named is there.
    pub(crate) fn check(&self, desired: &[Primitive], state: &State) -> Result<(), Failure> {
        let known = || desired.iter().map(|it| &it.address).chain(state.entries.keys());
        for pattern in &self.patterns {
            if !known().any(|address| pattern.fits(&address.domain, &address.name)) {
                let message = format!(
                    "there is no workload `{}`, neither in the manifests nor applied",
                    pattern.written
                );
                let ids: BTreeSet<String> =
                    known().map(|address| format!("{}/{}", address.domain, address.name)).collect();
                let nearest = dcp_compiler::diag::nearest(&pattern.written, ids.iter().map(String::as_str));
                return Err(match nearest {
                    Some(meant) => Failure::usage(message).help(format!("did you mean `{meant}`?")),
                    None => Failure::usage(message).help("`dcp graph` lists those of the manifests"),
                });
            }
        }
        Ok(())
    }
}

/// What the changed files can affect; nothing where that may be everything.
fn changed(files: &BTreeSet<String>, outcome: &Outcome, all: BTreeSet<(String, String)>) -> Option<Changed> {
    if files.contains(FILE_NAME) {
        return None;
    }
    let sources = &outcome.compilation.sources;
    let mut found = BTreeSet::new();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for node in &outcome.compilation.graph.nodes {
        // A workload's SQL may stand in a file of its own, where what it reads is found.
        let links = node.reads.iter().chain(&node.writes).map(|link| link.at.file);
        for file in links.chain([node.at.file]) {
            let path: &str = &sources.get(file).path;
            known.insert(path);
            if files.contains(path) {
                found.insert((node.domain.clone(), node.name.clone()));
            }
        }
    }
    let stray = |path: &String| {
        let sql = std::path::Path::new(path).extension().is_some_and(|it| it.eq_ignore_ascii_case("sql"));
        sql && !known.contains(path.as_str())
    };
    if files.iter().any(stray) {
        return None;
    }
    let manifest = |path: &String| {
        let extension = std::path::Path::new(path).extension();
        extension.is_some_and(|it| it.eq_ignore_ascii_case("yaml") || it.eq_ignore_ascii_case("yml"))
    };
    Some(Changed { workloads: found, all, deletions: files.iter().any(manifest) })
}
