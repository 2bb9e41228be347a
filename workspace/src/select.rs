//! Selection of workloads: by patterns, by files, and by changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dcp_compiler::graph::Node;
use dcp_compiler::project::FILE_NAME;
use dcp_model::primitive::{Address, Body};

use crate::error::Error;
use crate::git;
use crate::project::{Outcome, Workspace};

/// A domain, and the name of a workload or a group in it.
type Id = (String, String);

/// A selection of workloads.
#[derive(Debug, Default)]
pub struct Selection {
    patterns: Vec<Pattern>,
    /// The workloads of the named files. Others are unknown, so they are not deleted.
    named: Option<BTreeSet<Id>>,
    /// The workloads whose files have changed, and deleted ones.
    changed: Option<Changed>,
    /// The other members of the groups of selected workloads.
    group_members: BTreeSet<Id>,
}

impl Selection {
    /// Selects workloads by patterns.
    pub fn by_name(patterns: &[String]) -> Result<Self, Error> {
        let patterns = patterns.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>()?;
        Ok(Self { patterns, ..Self::default() })
    }

    /// Selects workloads by patterns, by the files that were compiled, and by the changes since a revision of git.
    pub fn new(
        patterns: &[String],
        since: Option<&str>,
        paths: &[PathBuf],
        home: &Workspace,
        outcome: &Outcome,
    ) -> Result<Self, Error> {
        let mut selection = Self::by_name(patterns)?;
        let nodes = &outcome.compilation.graph.nodes;
        let group = |node: &Node| node.group().map(|(domain, name)| (domain.to_owned(), name.to_owned()));
        let all = || {
            let workloads = nodes.iter().map(|node| (node.domain.clone(), node.name.clone()));
            workloads.chain(nodes.iter().filter_map(group)).collect()
        };
        if !paths.is_empty() {
            selection.named = Some(all());
        }
        if let Some(revision) = since {
            let files = git::changed_since(&home.root, revision)?;
            selection.changed = changed(&files, outcome, all());
        }
        Ok(selection)
    }

    /// Returns whether all workloads are selected.
    pub fn is_unrestricted(&self) -> bool {
        self.patterns.is_empty() && self.named.is_none() && self.changed.is_none()
    }

    pub fn contains(&self, domain: &str, name: &str) -> bool {
        let id = (domain.to_owned(), name.to_owned());
        if self.group_members.contains(&id) {
            return true;
        }
        (self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.matches(domain, name)))
            && self.named.as_ref().is_none_or(|named| named.contains(&id))
            && self.changed.as_ref().is_none_or(|changed| {
                changed.workloads.contains(&id) || (changed.deletions && !changed.all.contains(&id))
            })
    }

    /// Returns the first pattern that matches none of the addresses.
    pub fn unmatched_pattern<'a>(
        &self,
        addresses: &(impl Iterator<Item = &'a Address> + Clone),
    ) -> Option<&str> {
        let matches = |pattern: &Pattern| {
            addresses.clone().any(|address| pattern.matches(&address.domain, &address.name))
        };
        Some(&self.patterns.iter().find(|pattern| !matches(pattern))?.written)
    }

    /// Adds all members of selected groups: the DAG of a group refers to their jobs, so a partial apply could leave
    /// references to missing jobs.
    pub fn add_group_members(&mut self, mut groups: Vec<Group>) -> Result<(), Error> {
        loop {
            let chosen = |group: &Group| group.ids().any(|(domain, name)| self.contains(&domain, &name));
            let (taken, left): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(chosen);
            if taken.is_empty() {
                return Ok(());
            }
            for group in taken {
                let unknown = |id: &&Id| {
                    id.1 != group.name && self.named.as_ref().is_some_and(|named| !named.contains(*id))
                };
                let ids: Vec<Id> = group.ids().collect();
                if let Some((domain, name)) = ids.iter().find(unknown) {
                    let message = format!(
                        "`{domain}/{name}` is a task of the group `{domain}/{}`, and none of the files that were named \
                         has it",
                        group.name
                    );
                    return Err(Error::new(message)
                        .help("name the files of all workloads of the group, or none at all"));
                }
                self.group_members.extend(ids);
            }
            groups = left;
        }
    }

    /// Rejects a selection of a part of a group: deleting only some of its workloads leaves a DAG that runs them.
    pub fn reject_partial_groups(&self, groups: &[Group]) -> Result<(), Error> {
        for group in groups {
            let (chosen, left): (Vec<_>, Vec<_>) =
                group.ids().partition(|(domain, name)| self.contains(domain, name));
            if let (Some((domain, name)), Some((_, other))) = (chosen.first(), left.first()) {
                let group = &group.name;
                let message = format!(
                    "`{domain}/{name}` can't be chosen without `{domain}/{other}`: both are of the group `{group}`"
                );
                let help = "choose the group and all of its workloads; or take the one out of its group, or remove its \
                            manifest, and apply that";
                return Err(Error::usage(message).help(help));
            }
        }
        Ok(())
    }
}

/// A group, and the workloads whose tasks are in its DAG.
#[derive(Debug)]
pub struct Group {
    domain: String,
    name: String,
    tasks: Vec<String>,
}

impl Group {
    /// Returns the group of a DAG, or none if the primitive is not the DAG of a group.
    pub fn of(address: &Address, body: &Body) -> Option<Self> {
        let Body::Orchestrator(orchestrator) = body else { return None };
        let tasks = orchestrator.dag.tasks.iter().map(|task| task.task_id.clone());
        let (domain, name) = (address.domain.clone(), address.name.clone());
        orchestrator.dag.group.then(|| Self { domain, name, tasks: tasks.collect() })
    }

    fn ids(&self) -> impl Iterator<Item = Id> {
        let names = self.tasks.iter().chain([&self.name]);
        names.map(|name| (self.domain.clone(), name.clone()))
    }
}

#[derive(Debug)]
struct Changed {
    workloads: BTreeSet<Id>,
    all: BTreeSet<Id>,
    /// True if deleted manifests may be among the changes.
    deletions: bool,
}

/// Returns the workloads that the changed files can affect; nothing if these may be all.
fn changed(files: &BTreeSet<String>, outcome: &Outcome, all: BTreeSet<Id>) -> Option<Changed> {
    if files.contains(FILE_NAME) {
        return None;
    }
    let sources = &outcome.compilation.sources;
    let mut found = BTreeSet::new();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for node in &outcome.compilation.graph.nodes {
        // A workload's SQL may be in a separate file, which has the positions of its links.
        let links = node.reads.iter().chain(&node.writes).map(|link| link.at.file);
        for file in links.chain([node.at.file]) {
            let path: &str = &sources.get(file).path;
            known.insert(path);
            if files.contains(path) {
                found.insert((node.domain.clone(), node.name.clone()));
            }
        }
    }
    if files.iter().any(|path| has_extension(path, &["sql"]) && !known.contains(path.as_str())) {
        return None;
    }
    let deletions = files.iter().any(|path| has_extension(path, &["yaml", "yml"]));
    Some(Changed { workloads: found, all, deletions })
}

fn has_extension(path: &str, extensions: &[&str]) -> bool {
    let found = Path::new(path).extension();
    found.is_some_and(|found| extensions.iter().any(|it| found.eq_ignore_ascii_case(it)))
}

/// `domain/name`, `domain/*`, or an address.
#[derive(Debug)]
struct Pattern {
    written: String,
    domain: String,
    name: Option<String>,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, Error> {
        let (domain, name) = match text.parse::<Address>() {
            Ok(address) => (address.domain, address.name),
            Err(_) => match text.split_once('/') {
                Some((domain, name)) if !domain.is_empty() && !name.is_empty() && !name.contains('/') => {
                    (domain.to_owned(), name.to_owned())
                }
                _ => {
                    let message = format!("`{text}` names no workload");
                    return Err(Error::usage(message).help("write `domain/name`, `domain/*`, or an address"));
                }
            },
        };
        Ok(Self { written: text.to_owned(), domain, name: (name != "*").then_some(name) })
    }

    fn matches(&self, domain: &str, name: &str) -> bool {
        self.domain == domain && self.name.as_ref().is_none_or(|it| it == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(patterns: &[&str]) -> Selection {
        let patterns: Vec<String> = patterns.iter().map(|it| (*it).to_owned()).collect();
        Selection::by_name(&patterns).expect("these are patterns")
    }

    fn group(name: &str, tasks: &[&str]) -> Group {
        let tasks = tasks.iter().map(|it| (*it).to_owned()).collect();
        Group { domain: "shop".to_owned(), name: name.to_owned(), tasks }
    }

    #[test]
    fn pattern_is_a_workload_a_domain_or_an_address() {
        for (pattern, others) in [
            ("shop/orders", [false, false]),
            ("CoreEtlJob/shop/orders", [false, false]),
            ("shop/*", [true, false]),
        ] {
            let selection = selection(&[pattern]);
            assert!(selection.contains("shop", "orders"), "{pattern}");
            let found = [selection.contains("shop", "clicks"), selection.contains("ads", "orders")];
            assert_eq!(found, others, "{pattern}");
        }
        for text in ["orders", "/orders", "shop/", "Unknown/shop/orders"] {
            let error = Selection::by_name(&[text.to_owned()]).expect_err(text);
            assert_eq!((error.message, error.is_usage), (format!("`{text}` names no workload"), true));
        }
    }

    #[test]
    fn first_pattern_without_a_match_is_returned() {
        let address: Address = "CoreEtlJob/shop/orders".parse().expect("it is an address");
        let unmatched = |patterns: &[&str]| {
            selection(patterns).unmatched_pattern(&[&address].into_iter()).map(str::to_owned)
        };
        assert_eq!(unmatched(&["shop/*", "shop/orders"]), None);
        assert_eq!(unmatched(&["shop/orders", "ads/*", "shop/x"]).as_deref(), Some("ads/*"));
    }

    #[test]
    fn members_of_overlapping_groups_are_added() {
        let mut selection = selection(&["shop/a"]);
        let groups = vec![group("late", &["b", "c"]), group("early", &["a", "b"]), group("other", &["d"])];
        selection.add_group_members(groups).expect("no files were named");
        let found = ["early", "late", "a", "b", "c", "d", "other"].map(|it| selection.contains("shop", it));
        assert_eq!(found, [true, true, true, true, true, false, false]);
    }

    #[test]
    fn part_of_a_group_is_rejected() {
        let groups = [group("nightly", &["a", "b"])];
        selection(&["shop/*"]).reject_partial_groups(&groups).expect("all of it is selected");
        selection(&["ads/*"]).reject_partial_groups(&groups).expect("nothing of it is selected");
        let error = selection(&["shop/a"]).reject_partial_groups(&groups).expect_err("it is a part");
        assert!(error.message.starts_with("`shop/a` can't be chosen without `shop/b`"), "{}", error.message);
    }
}
