//! The graph of all workloads: producers and consumers of datasets, and dependencies between workloads.

mod cycles;
mod groups;
mod node;
mod storage;

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dcp_model::dataset::{Dataset, DatasetKind};
use dcp_model::manifest::{JobKind, RunKind};
use serde::{Deserialize, Serialize};

pub use groups::{Group, Member};

use crate::diag::{Code, Diagnostic, DottedNames};
use crate::source::Span;
use crate::sql::TableRef;

/// Maximum number of datasets without a producer that get a suggestion.
const MAX_SUGGESTIONS: usize = 1_000;

/// A workload in the graph.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Node {
    pub domain: String,
    pub name: String,
    pub job: JobKind,
    pub run: RunKind,
    /// The place of the workload's name.
    pub at: Span,
    pub reads: Vec<Link>,
    pub writes: Vec<Link>,
    /// Tables that the workload writes and that other workloads may write too.
    pub shared: Vec<Dataset>,
    /// Datasets that start the workload.
    pub waits: Vec<Link>,
    pub checkpoint: Option<Link>,
    /// The group whose DAG contains the task, unless the workload has its own DAG.
    #[serde(skip)]
    pub member: Option<Box<Member>>,
}

/// A dataset, and the place where a workload names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Link {
    pub dataset: Dataset,
    pub at: Span,
}

/// All workloads, with an edge from each producer to each consumer.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub nodes: Vec<Node>,
    /// Datasets by the indices of the producer and the consumer.
    pub edges: BTreeMap<(usize, usize), BTreeSet<Dataset>>,
}

/// Returns the dataset of a table reference in SQL.
pub fn dataset_of_sql(table: &TableRef) -> Dataset {
    let kind = match table.path_format {
        Some(_) => DatasetKind::Path,
        None => DatasetKind::Table,
    };
    Dataset::new(kind, &table.name)
}

/// Finds places in a manifest for its links.
pub(crate) trait Places {
    fn at(&self, path: &[&str]) -> Span;
    fn sql_at(&self, range: &std::ops::Range<u32>) -> Span;
}

impl Node {
    pub fn address(&self) -> String {
        format!("{}/{}", self.domain, self.name)
    }

    /// Describes the kind of job and of run: `sql, schedule`, or `pool`.
    pub fn description(&self) -> String {
        match self.run {
            RunKind::Pool => self.run.to_string(),
            run => format!("{}, {run}", self.job),
        }
    }

    /// Returns the domain and the name of the workload's group.
    pub fn group(&self) -> Option<(&str, &str)> {
        Some((&self.domain, &self.member.as_ref()?.group))
    }

    fn consumes(&self) -> impl Iterator<Item = &Link> {
        self.reads.iter().chain(&self.waits)
    }
}

impl Graph {
    pub fn new(nodes: Vec<Node>) -> Self {
        // Hash maps are faster for a large number of nodes, and the order of this map doesn't matter.
        let mut producers: HashMap<&Dataset, Vec<usize>> = HashMap::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            for link in &node.writes {
                producers.entry(&link.dataset).or_default().push(at);
            }
        }
        let mut edges: BTreeMap<(usize, usize), BTreeSet<Dataset>> = BTreeMap::new();
        for (consumer, node) in nodes.iter().enumerate() {
            for link in node.consumes() {
                for &producer in producers.get(&link.dataset).into_iter().flatten() {
                    edges.entry((producer, consumer)).or_default().insert(link.dataset.clone());
                }
            }
        }
        Self { nodes, edges }
    }

    /// Checks the workloads as a whole. `mentioned` returns whether a manifest that could not be read may be related
    /// to a dataset.
    pub fn check(&self, mentioned: &dyn Fn(&Dataset) -> bool) -> Vec<Diagnostic> {
        let mut found = self.check_addresses();
        found.extend(self.check_cycles());
        found.extend(groups::check(self, mentioned));
        found.extend(self.check_writers());
        found.extend(self.check_checkpoints());
        found.extend(storage::check(&self.nodes));
        found.extend(self.check_producers(mentioned));
        found
    }

    fn check_addresses(&self) -> Vec<Diagnostic> {
        let mut seen: HashMap<(&str, &str), &Node> = HashMap::with_capacity(self.nodes.len());
        let mut found = Vec::new();
        for node in &self.nodes {
            let first = *seen.entry((&node.domain, &node.name)).or_insert(node);
            if !std::ptr::eq(first, node) {
                let diagnostic = Diagnostic::new(
                    Code::DUPLICATE_ADDRESS,
                    format!("there are two manifests `{}`", node.address()),
                )
                .at(node.at, "again here")
                .at(first.at, "first here")
                .help("give one of them another name: domain and name together are a workload's address");
                found.push(diagnostic);
            }
        }
        found
    }

    fn check_writers(&self) -> Vec<Diagnostic> {
        let tables = self.nodes.iter().flat_map(|node| node.writes.iter().map(move |link| (node, link)));
        let tables = tables.filter(|(_, link)| link.dataset.kind == DatasetKind::Table);
        report_shared(tables, |dataset, again, first| {
            let declares_shared = |node: &Node| node.shared.contains(dataset);
            let (first_declares, again_declares) = (declares_shared(first), declares_shared(again));
            let help = match (first_declares, again_declares) {
                (true, true) => return None,
                (false, false) => "let one workload own the table, or write to a table each and unite them; \
                     or, if both are meant to write it, name it as `sharedTable` among the `outputs` of both"
                    .to_owned(),
                _ => {
                    let other = if first_declares { again } else { first };
                    format!("name it as `sharedTable` among the `outputs` of `{}` as well", other.address())
                }
            };
            let (first, again) = (first.address(), again.address());
            let message = format!("`{first}` and `{again}` both write the table `{}`", dataset.name);
            Some(Diagnostic::new(Code::TWO_WRITERS, message).help(help))
        })
    }

    fn check_checkpoints(&self) -> Vec<Diagnostic> {
        let checkpoints =
            self.nodes.iter().flat_map(|node| node.checkpoint.iter().map(move |link| (node, link)));
        report_shared(checkpoints, |dataset, again, first| {
            let (first, again) = (first.address(), again.address());
            let message = format!("`{first}` and `{again}` share the checkpoint `{}`", dataset.name);
            let help = "give each stream a checkpoint of its own: two on one corrupt it, and lose data";
            Some(Diagnostic::new(Code::SHARED_CHECKPOINT, message).help(help))
        })
    }

    fn check_producers(&self, mentioned: &dyn Fn(&Dataset) -> bool) -> Vec<Diagnostic> {
        let written = || self.nodes.iter().flat_map(|node| &node.writes).map(|link| &link.dataset);
        let produced: LazyCell<HashSet<&Dataset>, _> = LazyCell::new(|| written().collect());
        let mut named: BTreeMap<DatasetKind, DottedNames<'_>> = BTreeMap::new();
        let mut found = Vec::new();
        for node in &self.nodes {
            let assets = node.reads.iter().filter(|link| link.dataset.kind == DatasetKind::Asset);
            let mut seen = BTreeSet::new();
            for link in node.waits.iter().chain(assets) {
                if produced.contains(&link.dataset) || mentioned(&link.dataset) || !seen.insert(&link.dataset)
                {
                    continue;
                }
                let diagnostic = Diagnostic::new(
                    Code::NO_PRODUCER,
                    format!("nothing here produces the {} `{}`", link.dataset.kind, link.dataset.name),
                );
                let known = named.entry(link.dataset.kind).or_insert_with_key(|kind| {
                    let same = produced.iter().filter(|known| known.kind == *kind);
                    DottedNames::new(same.map(|known| known.name.as_str()))
                });
                // Each lookup compares all names, so the number of suggestions is limited.
                let meant =
                    (found.len() < MAX_SUGGESTIONS).then(|| known.nearest(&link.dataset.name)).flatten();
                found.push(match meant {
                    Some(meant) => diagnostic.at(link.at, format!("did you mean `{meant}`?")),
                    None => diagnostic
                        .at(link.at, format!("`{}` waits for it", node.name))
                        .help("add it to the `outputs` of the workload that makes it; leave it if it comes from elsewhere"),
                });
            }
        }
        found
    }
}

/// Returns a diagnostic for each dataset that a second workload links to.
fn report_shared<'g>(
    links: impl Iterator<Item = (&'g Node, &'g Link)>,
    describe: impl Fn(&Dataset, &Node, &Node) -> Option<Diagnostic>,
) -> Vec<Diagnostic> {
    let mut first: HashMap<&Dataset, (&Node, &Link)> = HashMap::new();
    let mut found = Vec::new();
    for (node, link) in links {
        let (other, other_link) = *first.entry(&link.dataset).or_insert((node, link));
        if (&other.domain, &other.name) != (&node.domain, &node.name) {
            let described = describe(&link.dataset, node, other);
            found.extend(described.map(|it| it.at(link.at, "again here").at(other_link.at, "first here")));
        }
    }
    found
}

#[cfg(test)]
mod tests;
