//! Selection of the workloads of a plan.

use std::collections::BTreeSet;
use std::path::PathBuf;

use dcp_compiler::graph::Node;
use dcp_compiler::project::FILE_NAME;
use dcp_model::primitive::{Address, Body, Kind, Primitive};
use dcp_reconciler::plan::Inclusion;
use dcp_reconciler::state::{Entry, State};
use dcp_workspace::git;
use dcp_workspace::project::{Outcome, Workspace};

use crate::control::Control;
use crate::failure::Failure;

/// A selection of workloads: by patterns, by files, and by changes.
#[derive(Debug, Default)]
pub(crate) struct Select {
    patterns: Vec<Pattern>,
    /// The workloads of the named files. Others are unknown, so they are not deleted.
    named: Option<BTreeSet<(String, String)>>,
    /// The workloads whose files have changed, and deleted ones.
    changed: Option<Changed>,
    /// The other members of the groups of selected workloads.
    group_members: BTreeSet<(String, String)>,
}

/// A group, and the workloads whose tasks are in its DAG.
#[derive(Debug)]
pub(crate) struct WorkloadGroup {
    domain: String,
    group: String,
    tasks: Vec<String>,
}

impl WorkloadGroup {
    fn of(address: &Address, body: &Body) -> Option<Self> {
        let Body::Orchestrator(orchestrator) = body else { return None };
        let tasks = orchestrator.dag.tasks.iter().map(|task| task.task_id.clone());
        let (domain, group) = (address.domain.clone(), address.name.clone());
        orchestrator.dag.group.then(|| Self { domain, group, tasks: tasks.collect() })
    }

    /// Returns the applied groups: DAGs without a job of the same name.
    fn applied(state: &State, control: &Control) -> Result<Vec<Self>, Failure> {
        let alone = |(address, _): &(&Address, &Entry)| {
            let job = Address { kind: Kind::CoreEtlJob, ..Address::clone(address) };
            address.kind == Kind::Orchestrator && !state.entries.contains_key(&job)
        };
        let groups: Vec<(&Address, &Entry)> = state.entries.iter().filter(alone).collect();
        let texts = control.bodies(groups.iter().map(|(_, entry)| entry.fingerprint.clone()).collect())?;
        let unit = |(address, entry): &(&Address, &Entry)| {
            let body = Body::parse(address.kind, texts.get(&entry.fingerprint)?).ok()?;
            Self::of(address, &body)
        };
        Ok(groups.iter().filter_map(unit).collect())
    }

    fn names(&self) -> impl Iterator<Item = (String, String)> {
        let names = self.tasks.iter().chain([&self.group]);
        names.map(|name| (self.domain.clone(), name.clone()))
    }
}

#[derive(Debug)]
struct Changed {
    workloads: BTreeSet<(String, String)>,
    all: BTreeSet<(String, String)>,
    /// True if deleted manifests may be among the changes.
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

    fn matches(&self, domain: &str, name: &str) -> bool {
        self.domain == domain && self.name.as_ref().is_none_or(|it| it == name)
    }
}

impl Select {
    /// Selects workloads by patterns, from the manifests and the applied state.
    pub(crate) fn by_name(patterns: &[String]) -> Result<Self, Failure> {
        let patterns = patterns.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>()?;
        Ok(Self { patterns, ..Self::default() })
    }

    pub(crate) fn new(
        patterns: &[String],
        since: Option<&str>,
        paths: &[PathBuf],
        home: &Workspace,
        outcome: &Outcome,
    ) -> Result<Self, Failure> {
        let mut select = Self::by_name(patterns)?;
        let nodes = &outcome.compilation.graph.nodes;
        let group = |node: &Node| node.group().map(|(domain, name)| (domain.to_owned(), name.to_owned()));
        let all = || {
            let workloads = nodes.iter().map(|node| (node.domain.clone(), node.name.clone()));
            workloads.chain(nodes.iter().filter_map(group)).collect()
        };
        if !paths.is_empty() {
            select.named = Some(all());
        }
        if let Some(revision) = since {
            let files = git::changed_since(&home.root, revision)?;
            select.changed = changed(&files, outcome, all());
        }
        Ok(select)
    }

    /// Adds all current and former members of selected groups: the DAG of a group refers to their jobs, so a
    /// partial apply could leave references to missing jobs.
    pub(crate) fn add_group_members(
        &mut self,
        desired: &[Primitive],
        state: &State,
        control: &Control,
    ) -> Result<(), Failure> {
        if self.patterns.is_empty() && self.named.is_none() && self.changed.is_none() {
            return Ok(());
        }
        let applied = WorkloadGroup::applied(state, control)?;
        let desired = desired.iter().filter_map(|it| WorkloadGroup::of(&it.address, &it.body));
        let mut units: Vec<WorkloadGroup> = applied.into_iter().chain(desired).collect();
        loop {
            let chosen =
                |unit: &WorkloadGroup| unit.names().any(|(domain, name)| self.concerns(&domain, &name));
            let (taken, left): (Vec<WorkloadGroup>, Vec<WorkloadGroup>) = units.into_iter().partition(chosen);
            if taken.is_empty() {
                return Ok(());
            }
            for unit in taken {
                let unknown = |name: &&(String, String)| {
                    name.1 != unit.group && self.named.as_ref().is_some_and(|named| !named.contains(*name))
                };
                let names: Vec<(String, String)> = unit.names().collect();
                if let Some((domain, name)) = names.iter().find(unknown) {
                    let message = format!(
                        "`{domain}/{name}` is a task of the group `{domain}/{}`, and none of the files that were named \
                         has it",
                        unit.group
                    );
                    return Err(Failure::new(message)
                        .help("name the files of all workloads of the group, or none at all"));
                }
                self.group_members.extend(names);
            }
            units = left;
        }
    }

    /// Rejects a selection of a part of a group: deleting only some of its workloads leaves a DAG that runs them.
    pub(crate) fn reject_partial_groups(&self, state: &State, control: &Control) -> Result<(), Failure> {
        for unit in WorkloadGroup::applied(state, control)? {
            let (chosen, left): (Vec<_>, Vec<_>) =
                unit.names().partition(|(domain, name)| self.concerns(domain, name));
            if let (Some((domain, name)), Some((_, other))) = (chosen.first(), left.first()) {
                let group = &unit.group;
                let message = format!(
                    "`{domain}/{name}` can't be chosen without `{domain}/{other}`: both are of the group `{group}`"
                );
                let help = "choose the group and all of its workloads; or take the one out of its group, or remove its \
                            manifest, and apply that";
                return Err(Failure::usage(message).help(help));
            }
        }
        Ok(())
    }

    /// Returns the treatment of a workload in a comparison without prior knowledge.
    pub(crate) fn concern(&self, domain: &str, name: &str) -> Inclusion {
        if self.concerns(domain, name) { Inclusion::Compared } else { Inclusion::Excluded }
    }

    pub(crate) fn concerns(&self, domain: &str, name: &str) -> bool {
        let key = (domain.to_owned(), name.to_owned());
        if self.group_members.contains(&key) {
            return true;
        }
        (self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.matches(domain, name)))
            && self.named.as_ref().is_none_or(|named| named.contains(&key))
            && self.changed.as_ref().is_none_or(|changed| {
                changed.workloads.contains(&key) || (changed.deletions && !changed.all.contains(&key))
            })
    }

    /// Checks that every pattern matches a workload.
    pub(crate) fn check(&self, desired: &[Primitive], state: &State) -> Result<(), Failure> {
        let known = || desired.iter().map(|it| &it.address).chain(state.entries.keys());
        for pattern in &self.patterns {
            if !known().any(|address| pattern.matches(&address.domain, &address.name)) {
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

/// Returns the workloads that the changed files can affect; nothing if these may be all.
fn changed(files: &BTreeSet<String>, outcome: &Outcome, all: BTreeSet<(String, String)>) -> Option<Changed> {
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
    let is_unknown_sql = |path: &String| {
        let sql = std::path::Path::new(path).extension().is_some_and(|it| it.eq_ignore_ascii_case("sql"));
        sql && !known.contains(path.as_str())
    };
    if files.iter().any(is_unknown_sql) {
        return None;
    }
    let manifest = |path: &String| {
        let extension = std::path::Path::new(path).extension();
        extension.is_some_and(|it| it.eq_ignore_ascii_case("yaml") || it.eq_ignore_ascii_case("yml"))
    };
    Some(Changed { workloads: found, all, deletions: files.iter().any(manifest) })
}
