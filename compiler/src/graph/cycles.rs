//! Finds cycles among workloads.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dcp_model::dataset::DatasetKind;
use dcp_model::manifest::JobKind;
use petgraph::Directed;
use petgraph::algo::TarjanScc;
use petgraph::graph::Graph as Links;

use super::{Graph, Link};
use crate::diag::{Code, Diagnostic, Severity};
use crate::source::Span;

impl Graph {
    pub(super) fn check_cycles(&self) -> Vec<Diagnostic> {
        self.cycles().iter().map(|members| self.cycle_diagnostic(members)).collect()
    }

    /// Returns the cycles among workloads: sets in which each workload consumes, directly or indirectly, the output
    /// of all others.
    pub(super) fn cycles(&self) -> Vec<Vec<usize>> {
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

    pub(super) fn cycle_diagnostic(&self, members: &[usize]) -> Diagnostic {
        let cycle = self.shortest_cycle(members);
        let names: Vec<String> = cycle.iter().map(|at| format!("`{}`", self.nodes[*at].address())).collect();
        let diagnostic = match names.as_slice() {
            [only] => Diagnostic::new(Code::CYCLE, format!("{only} takes what it writes itself")),
            _ => Diagnostic::new(
                Code::CYCLE,
                format!("{} consume each other's output in a circle", names.join(" → ")),
            ),
        };
        let consumers =
            || cycle.iter().enumerate().map(|(at, to)| (cycle[(at + cycle.len() - 1) % cycle.len()], *to));
        let mut diagnostic = consumers().fold(diagnostic, |diagnostic, (from, to)| {
            let (span, text) = self.consumption(from, to);
            diagnostic.at(span, text)
        });
        // The workloads never run only if each of them waits for the previous one.
        let stuck = consumers().all(|(from, to)| self.waits_for(from, to));
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

    /// Returns the place where a workload consumes the output of another, with a label.
    fn consumption(&self, from: usize, to: usize) -> (Span, String) {
        let given = self.edges.get(&(from, to)).and_then(BTreeSet::first);
        match self.nodes[to].consumes().find(|link| Some(&link.dataset) == given) {
            Some(Link { at, .. }) => {
                (*at, format!("`{}` takes this from `{}`", self.nodes[to].name, self.nodes[from].name))
            }
            None => (self.nodes[to].at, String::new()),
        }
    }

    /// Returns whether a workload starts only after another one.
    fn waits_for(&self, from: usize, to: usize) -> bool {
        let given = self.edges.get(&(from, to));
        self.nodes[to].waits.iter().any(|link| given.is_some_and(|given| given.contains(&link.dataset)))
    }

    /// Returns the shortest path from the first member back to itself.
    fn shortest_cycle(&self, members: &[usize]) -> Vec<usize> {
        let Some(&start) = members.first() else { return Vec::new() };
        let mut before: BTreeMap<usize, usize> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
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
}

/// Returns the cycles among some edges: strongly connected sets, and nodes with an edge to themselves.
pub(super) fn cycles<'e>(edges: impl Iterator<Item = &'e (usize, usize)>) -> Vec<Vec<usize>> {
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
