//! The graph of all workloads: producers and consumers of datasets, and dependencies between workloads.

mod groups;
mod storage;

use std::cell::LazyCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dcp_model::dataset::{Dataset, DatasetKind};
use dcp_model::manifest::{
    AssetTrigger, DataRef, Job, JobKind, Manifest, Run, RunKind, ScalarOr, Sink, Source, Stream,
};
use petgraph::Directed;
use petgraph::algo::TarjanScc;
use petgraph::graph::Graph as Links;
use serde::{Deserialize, Serialize};

pub use groups::{Group, Member};

use crate::diag::{Code, Diagnostic, DottedNames, Severity};
use crate::source::Span;
use crate::sql::{Facts, TableRef};

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
    pub(crate) fn new(manifest: &Manifest, facts: Option<&Facts>, places: &impl Places) -> Self {
        let spec = &manifest.spec;
        let mut node = Self {
            domain: manifest.metadata.domain.as_str().to_owned(),
            name: manifest.metadata.name.as_str().to_owned(),
            job: spec.job.kind(),
            run: spec.run.kind(),
            at: places.at(&["metadata", "name"]),
            reads: Vec::new(),
            writes: Vec::new(),
            shared: Vec::new(),
            waits: Vec::new(),
            checkpoint: None,
            member: Member::of(manifest, places).map(Box::new),
        };
        let listed = |all: &[DataRef], path: &[&str]| -> Vec<Link> {
            let link = |(at, data): (usize, &DataRef)| {
                let at = at.to_string();
                Link { dataset: data.into(), at: places.at(&[path, &[&at, data.kind().name()]].concat()) }
            };
            all.iter().enumerate().map(link).collect()
        };
        node.reads = listed(&spec.inputs, &["spec", "inputs"]);
        for (at, output) in spec.outputs.iter().enumerate() {
            let dataset = Dataset::from(&output.data());
            node.shared.extend(output.is_shared().then(|| dataset.clone()));
            let at = places.at(&["spec", "outputs", &at.to_string(), output.field()]);
            node.writes.push(Link { dataset, at });
        }
        match &spec.run {
            Run::OnAssets(trigger) => {
                let mode = match trigger {
                    AssetTrigger::All(_) => "all",
                    AssetTrigger::Any(_) => "any",
                };
                node.waits = listed(trigger.assets(), &["spec", "run", "onAssets", mode]);
            }
            Run::Continuous(continuous) => {
                let at = places.at(&["spec", "run", "continuous", "checkpoint"]);
                node.checkpoint = Some(checkpoint(continuous.checkpoint.as_str(), at));
            }
            Run::Schedule(_) | Run::Manual(_) | Run::Service(_) => {}
        }
        match &spec.job {
            Job::Stream(stream) => {
                node.stream(stream, places);
            }
            Job::Sql(_) => {
                let links = |tables: &[TableRef]| -> Vec<Link> {
                    tables
                        .iter()
                        .map(|table| Link { dataset: dataset_of_sql(table), at: places.sql_at(&table.at) })
                        .collect()
                };
                if let Some(facts) = facts {
                    node.reads.extend(links(&facts.reads));
                    node.writes.extend(links(&facts.writes));
                }
            }
            Job::Pyspark(_) | Job::Jar(_) => {}
        }
        for links in [&mut node.reads, &mut node.writes, &mut node.waits] {
            let mut seen = BTreeSet::new();
            let again: Vec<bool> = links.iter().map(|link| !seen.insert(&link.dataset)).collect();
            let mut again = again.into_iter();
            links.retain(|_| again.next() == Some(false));
        }
        node
    }

    fn stream(&mut self, stream: &Stream, places: &impl Places) {
        const STREAM: [&str; 3] = ["spec", "job", "stream"];
        for (name, source) in &stream.sources {
            let at = |below: &[&str]| places.at(&[&STREAM[..], &["sources", name.as_str()], below].concat());
            match source {
                Source::Kafka(kafka) => {
                    let topic = |name: &str| Dataset::new(DatasetKind::Topic, name);
                    let links = kafka
                        .named_topics()
                        .map(|it| Link { dataset: topic(it.as_str()), at: at(&["kafka"]) });
                    self.reads.extend(links);
                }
                Source::Files(files) => {
                    let dataset = Dataset::new(DatasetKind::Path, files.path.as_str());
                    self.reads.push(Link { dataset, at: at(&["files", "path"]) });
                }
                Source::Table(table) => {
                    let name = match table {
                        ScalarOr::Scalar(name) => name.as_str(),
                        ScalarOr::Map(table) => table.name.as_str(),
                    };
                    self.reads
                        .push(Link { dataset: Dataset::new(DatasetKind::Table, name), at: at(&["table"]) });
                }
                Source::Rate(_) => {}
            }
        }
        let at = |below: &[&str]| places.at(&[&STREAM[..], &["sink"], below].concat());
        let written = match &stream.sink {
            Sink::Kafka(kafka) => Some((DatasetKind::Topic, kafka.topic.as_str(), at(&["kafka", "topic"]))),
            Sink::Files(files) => Some((DatasetKind::Path, files.path.as_str(), at(&["files", "path"]))),
            Sink::Table(ScalarOr::Scalar(name)) => Some((DatasetKind::Table, name.as_str(), at(&["table"]))),
            Sink::Table(ScalarOr::Map(table)) => {
                Some((DatasetKind::Table, table.name.as_str(), at(&["table", "name"])))
            }
            Sink::Merge(merge) => Some((DatasetKind::Table, merge.table.as_str(), at(&["merge", "table"]))),
            Sink::Jdbc(_) | Sink::Console(_) => None,
        };
        self.writes.extend(written.map(|(kind, name, at)| Link { dataset: Dataset::new(kind, name), at }));
        if let Some(path) = &stream.checkpoint {
            self.checkpoint =
                Some(checkpoint(path.as_str(), places.at(&[&STREAM[..], &["checkpoint"]].concat())));
        }
    }

    pub fn address(&self) -> String {
        format!("{}/{}", self.domain, self.name)
    }

    /// Returns the domain and the name of the workload's group.
    pub fn group(&self) -> Option<(&str, &str)> {
        Some((&self.domain, &self.member.as_ref()?.group))
    }

    fn consumes(&self) -> impl Iterator<Item = &Link> {
        self.reads.iter().chain(&self.waits)
    }
}

fn checkpoint(path: &str, at: Span) -> Link {
    Link { dataset: Dataset::new(DatasetKind::Checkpoint, path), at }
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

    fn check_cycles(&self) -> Vec<Diagnostic> {
        self.cycles().iter().map(|members| self.cycle_diagnostic(members)).collect()
    }

    /// Returns the cycles among workloads: sets in which each workload consumes, directly or indirectly, the output
    /// of all others.
    fn cycles(&self) -> Vec<Vec<usize>> {
        let counts =
            |&&(producer, consumer): &&(usize, usize)| producer != consumer || self.is_self_cycle(producer);
        cycles(self.edges.keys().filter(counts))
    }

    /// Returns whether a workload that consumes its own output is an error. A batch job can read its output of the
    /// previous run. A stream that reads its own output never ends, and a job that waits for its own output never
    /// starts. Streams may read a topic with the name of their output, because it may be on a different broker.
    fn is_self_cycle(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let itself = self.edges.get(&(at, at));
        let waits = node.waits.iter().any(|link| itself.is_some_and(|given| given.contains(&link.dataset)));
        let reads =
            itself.is_some_and(|given| given.iter().any(|dataset| dataset.kind != DatasetKind::Topic));
        waits || (node.job == JobKind::Stream && reads)
    }

    fn cycle_diagnostic(&self, members: &[usize]) -> Diagnostic {
        let cycle = self.shortest_cycle(members);
        let names: Vec<String> = cycle.iter().map(|at| format!("`{}`", self.nodes[*at].address())).collect();
        let diagnostic = match names.as_slice() {
            [only] => Diagnostic::new(Code::CYCLE, format!("{only} takes what it writes itself")),
            _ => Diagnostic::new(
                Code::CYCLE,
                format!("{} consume each other's output in a circle", names.join(" → ")),
            ),
        };
        let mut diagnostic = diagnostic;
        for (at, member) in cycle.iter().enumerate() {
            let from = cycle[(at + cycle.len() - 1) % cycle.len()];
            let given = self.edges.get(&(from, *member)).and_then(BTreeSet::first);
            let link = self.nodes[*member].consumes().find(|link| Some(&link.dataset) == given);
            let (span, text) = match link {
                Some(link) => (
                    link.at,
                    format!("`{}` takes this from `{}`", self.nodes[*member].name, self.nodes[from].name),
                ),
                None => (self.nodes[*member].at, String::new()),
            };
            diagnostic = diagnostic.at(span, text);
        }
        // The workloads never run only if each of them waits for the previous one.
        let waits = |member: &usize, from: &usize| {
            let given = self.edges.get(&(*from, *member));
            self.nodes[*member]
                .waits
                .iter()
                .any(|link| given.is_some_and(|given| given.contains(&link.dataset)))
        };
        let stuck = cycle
            .iter()
            .enumerate()
            .all(|(at, member)| waits(member, &cycle[(at + cycle.len() - 1) % cycle.len()]));
        let group = |at: &usize| self.nodes[*at].group();
        let one_dag = group(&cycle[0]).is_some() && cycle.iter().all(|it| group(it) == group(&cycle[0]));
        match cycle.len() {
            1 if !stuck => {
                diagnostic.help("write somewhere else: each batch would become the input of the next one")
            }
            _ if stuck => diagnostic.help(
                "take one of them out of the circle: each waits for the one before, and none ever starts",
            ),
            _ if one_dag => diagnostic.help(
                "take one of them out of the circle or out of the group: in a DAG, each task runs after those that \
                 it takes something from",
            ),
            _ => {
                diagnostic.severity = Severity::Warning;
                diagnostic.help("take one of them out of the circle: whichever runs first reads what is old")
            }
        }
    }

    /// Returns the shortest path from the first member back to itself.
    fn shortest_cycle(&self, members: &[usize]) -> Vec<usize> {
        let Some(&start) = members.first() else { return Vec::new() };
        let mut before: BTreeMap<usize, usize> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            let next = self.edges.range((at, 0)..=(at, usize::MAX)).map(|((_, to), _)| *to);
            for to in next.filter(|to| members.contains(to)) {
                if to == start {
                    let mut way = vec![at];
                    while let Some(&previous) = way.last().and_then(|last| before.get(last)) {
                        way.push(previous);
                    }
                    way.reverse();
                    return way;
                }
                if let Entry::Vacant(vacant) = before.entry(to) {
                    vacant.insert(at);
                    queue.push_back(to);
                }
            }
        }
        members.to_vec()
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

/// Returns the cycles among some edges: strongly connected sets, and nodes with an edge to themselves.
fn cycles<'e>(edges: impl Iterator<Item = &'e (usize, usize)>) -> Vec<Vec<usize>> {
    let links: Links<(), (), Directed, usize> = Links::from_edges(edges);
    let mut cycles: Vec<Vec<usize>> = Vec::new();
    TarjanScc::new().run(&links, |members| {
        let itself = || members.first().is_some_and(|only| links.contains_edge(*only, *only));
        if members.len() > 1 || itself() {
            let mut members: Vec<usize> = members.iter().map(|member| member.index()).collect();
            members.sort_unstable();
            cycles.push(members);
        }
    });
    cycles.sort();
    cycles
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
mod tests {
    use super::*;
    use crate::source::FileId;

    fn node(name: &str) -> Node {
        let at = Span::new(FileId(1), 0, 1);
        Node {
            domain: "d".to_owned(),
            name: name.to_owned(),
            job: JobKind::Sql,
            run: RunKind::OnAssets,
            at,
            reads: Vec::new(),
            writes: Vec::new(),
            shared: Vec::new(),
            waits: Vec::new(),
            checkpoint: None,
            member: None,
        }
    }

    #[test]
    fn number_of_suggestions_is_limited() {
        let link = |name: &str| {
            let dataset = Dataset::new(DatasetKind::Table, name);
            Link { dataset, at: Span::new(FileId(1), 0, 1) }
        };
        let mut nodes = vec![Node { writes: vec![link("lake.raw.orders")], ..node("writer") }];
        for at in 0..=MAX_SUGGESTIONS {
            nodes.push(Node { waits: vec![link("lake.raw.order")], ..node(&format!("waits-{at}")) });
        }
        let found = Graph::new(nodes).check(&|_| false);
        let meant = found.iter().filter(|it| it.labels[0].text == "did you mean `lake.raw.orders`?");
        assert_eq!((found.len(), meant.count()), (MAX_SUGGESTIONS + 1, MAX_SUGGESTIONS));
    }
}
