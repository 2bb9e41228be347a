//! `dcp graph`

mod dot;
mod json;
mod mermaid;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dcp_compiler::compile::Goal;
use dcp_compiler::graph::{self, Node};
use dcp_model::dataset::Dataset;
use dcp_workspace::project::{Request, Workspace};

use crate::args::{Graph, GraphFormat};
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::progress::ReadProgress;
use crate::render::{self, Report};

pub(super) fn run(args: &Graph, project: Option<&Path>, console: &mut Console) -> Result<Verdict, Failure> {
    let Graph { selection, output } = args;
    let home = Workspace::find(project, &selection.paths)?;
    let listener = ReadProgress::new(console.watched());
    let on_file = |files| listener.file(files);
    let request = Request {
        paths: &selection.paths,
        target: selection.target.as_deref(),
        goal: Goal::Validate,
        on_file: Some(&on_file),
    };
    let outcome = home.compile(request)?;
    drop(listener);
    // The graph goes to stdout, so diagnostics go to stderr.
    let report = Report { outcome: &outcome, root: &home.root, quiet: true, deny_warnings: false };
    render::write_found(&report, console.err.look, &mut console.err)?;
    let view = View::new(&outcome.compilation.graph);
    let (look, out) = (console.out.look, &mut console.out);
    match output {
        GraphFormat::Text => text::write(&view, look, out)?,
        GraphFormat::Dot => dot::write(&view, out)?,
        GraphFormat::Mermaid => mermaid::write(&view, out)?,
        GraphFormat::Json => json::write(&view, &outcome.compilation.sources, out)?,
    }
    Ok(if report.failed() { Verdict::Errors } else { Verdict::Success })
}

/// A graph in display order.
struct View<'g> {
    /// Producers before their consumers, except in cycles.
    nodes: Vec<&'g Node>,
    datasets: BTreeMap<&'g Dataset, Ends>,
}

/// The workloads that use a dataset, by their indexes in [`View::nodes`].
#[derive(Default)]
struct Ends {
    producers: BTreeSet<usize>,
    consumers: BTreeSet<usize>,
}

impl Ends {
    /// Returns true if no workload writes it.
    fn external(&self) -> bool {
        self.producers.is_empty()
    }
}

impl<'g> View<'g> {
    fn new(graph: &'g graph::Graph) -> Self {
        let nodes: Vec<&Node> = order(graph).into_iter().map(|at| &graph.nodes[at]).collect();
        let mut datasets: BTreeMap<&Dataset, Ends> = BTreeMap::new();
        for (at, node) in nodes.iter().enumerate() {
            for link in &node.writes {
                datasets.entry(&link.dataset).or_default().producers.insert(at);
            }
            for link in node.reads.iter().chain(&node.waits) {
                datasets.entry(&link.dataset).or_default().consumers.insert(at);
            }
        }
        Self { nodes, datasets }
    }

    fn names(&self, nodes: &BTreeSet<usize>) -> Vec<String> {
        nodes.iter().map(|at| self.nodes[*at].address()).collect()
    }
}

/// Returns true if a workload reads a dataset, rather than only waiting for it.
fn reads(node: &Node, dataset: &Dataset) -> bool {
    node.reads.iter().any(|read| read.dataset == *dataset)
}

/// Returns the order of nodes: producers before consumers, then by address. A cycle starts with its first workload
/// by address.
fn order(graph: &graph::Graph) -> Vec<usize> {
    let mut missing: Vec<usize> = vec![0; graph.nodes.len()];
    let mut gives: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &(from, to) in graph.edges.keys().filter(|(from, to)| from != to) {
        missing[to] += 1;
        gives.entry(from).or_default().push(to);
    }
    let key = |at: usize| {
        let node = &graph.nodes[at];
        (&node.domain, &node.name, at)
    };
    let mut waiting: BTreeSet<_> = (0..graph.nodes.len()).map(key).collect();
    let mut ready: BTreeSet<_> = waiting.iter().copied().filter(|(_, _, at)| missing[*at] == 0).collect();
    let mut ordered = Vec::with_capacity(graph.nodes.len());
    while let Some(next) = ready.pop_first().or_else(|| waiting.first().copied()) {
        waiting.remove(&next);
        ordered.push(next.2);
        for &to in gives.get(&next.2).into_iter().flatten() {
            missing[to] -= 1;
            if missing[to] == 0 && waiting.contains(&key(to)) {
                ready.insert(key(to));
            }
        }
    }
    ordered
}
