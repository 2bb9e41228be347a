//! Producers and consumers of assets, from applied primitives.

use std::collections::{BTreeMap, BTreeSet};

use dcp_model::dag::{Asset, Dag, Schedule};
use dcp_model::dataset::Dataset;
use dcp_model::primitive::{Address, Body, Kind};

/// The workloads of a scope with their assets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineage {
    /// Keys are `domain/name`.
    pub workloads: BTreeMap<String, Workload>,
    /// Keys are `kind:name`.
    pub assets: BTreeMap<String, AssetUsers>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workload {
    pub is_continuous: bool,
    pub reads: BTreeSet<String>,
    pub writes: BTreeSet<String>,
    /// Assets whose completion starts the workload.
    pub waits: BTreeSet<String>,
}

/// Workloads at both ends of an asset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssetUsers {
    pub writers: BTreeSet<String>,
    pub readers: BTreeSet<String>,
    pub waiters: BTreeSet<String>,
}

/// The direction of a walk: to producers, or to consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
}

/// A step away from an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub depth: usize,
    pub node: Node,
    /// Set if the workload was listed before, with its own steps.
    pub is_repeated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    Workload(String),
    Asset(String),
}

impl Lineage {
    /// Makes the lineage of all applied primitives.
    pub fn of<'a>(bodies: impl IntoIterator<Item = (&'a Address, &'a Body)>) -> Self {
        let mut lineage = Self::default();
        let named = |all: &[Dataset]| -> BTreeSet<String> {
            all.iter().map(|it| format!("{}:{}", it.kind, it.name)).collect()
        };
        for (address, body) in bodies {
            let name = format!("{}/{}", address.domain, address.name);
            match body {
                Body::CoreEtlJob(job) => {
                    let workload = lineage.workloads.entry(name).or_default();
                    (workload.reads, workload.writes) = (named(&job.inputs), named(&job.outputs));
                }
                Body::ContinuousJob(_) => lineage.workloads.entry(name).or_default().is_continuous = true,
                Body::Orchestrator(orchestrator) => lineage.add_waits(&orchestrator.dag),
                Body::Pool(_) => {}
            }
        }
        lineage.linked()
    }

    /// Fills in the workloads at both ends of each asset.
    fn linked(mut self) -> Self {
        for (name, workload) in &self.workloads {
            let mut link = |assets: &BTreeSet<String>, end: fn(&mut AssetUsers) -> &mut BTreeSet<String>| {
                for asset in assets {
                    end(self.assets.entry(asset.clone()).or_default()).insert(name.clone());
                }
            };
            link(&workload.reads, |ends| &mut ends.readers);
            link(&workload.writes, |ends| &mut ends.writers);
            link(&workload.waits, |ends| &mut ends.waiters);
        }
        self
    }

    /// Adds the assets that start the tasks of a DAG: those of its schedule, and outputs of tasks before them.
    fn add_waits(&mut self, dag: &Dag) {
        let names = |assets: &[Asset]| assets.iter().map(|asset| asset.name.clone()).collect::<Vec<_>>();
        for task in &dag.tasks {
            let Some(job) = workload_of(&task.job) else { continue };
            let waits = &mut self.workloads.entry(job).or_default().waits;
            match &dag.schedule {
                Schedule::Assets { assets, .. } if task.upstream.is_empty() => waits.extend(names(assets)),
                _ => {}
            }
            let before = dag.tasks.iter().filter(|other| task.upstream.contains(&other.task_id));
            waits.extend(before.flat_map(|other| names(&other.outlets)));
        }
    }

    /// Walks from an asset to all its sources or to all assets that depend on it. Each is listed once, depth first.
    pub fn walk(&self, asset: &str, direction: Direction) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut seen = BTreeSet::from([Node::Asset(asset.to_owned())]);
        // An explicit stack, because the depth is unbounded.
        let mut left: Vec<(usize, Node)> = Vec::new();
        let mut next = self.next(&Node::Asset(asset.to_owned()), direction);
        let mut depth = 0;
        loop {
            left.extend(next.into_iter().rev().map(|node| (depth, node)));
            let Some((at, node)) = left.pop() else { return steps };
            let is_repeated = !seen.insert(node.clone());
            next = if is_repeated { Vec::new() } else { self.next(&node, direction) };
            depth = at + 1;
            steps.push(Step { depth: at, node, is_repeated });
        }
    }

    fn next(&self, node: &Node, direction: Direction) -> Vec<Node> {
        match node {
            Node::Asset(name) => {
                let Some(AssetUsers { writers, readers, waiters }) = self.assets.get(name) else {
                    return Vec::new();
                };
                match direction {
                    Direction::Up => writers.iter().cloned().map(Node::Workload).collect(),
                    Direction::Down => readers.union(waiters).cloned().map(Node::Workload).collect(),
                }
            }
            Node::Workload(name) => {
                let Some(workload) = self.workloads.get(name) else { return Vec::new() };
                match direction {
                    Direction::Up => {
                        workload.reads.union(&workload.waits).cloned().map(Node::Asset).collect()
                    }
                    Direction::Down => workload.writes.iter().cloned().map(Node::Asset).collect(),
                }
            }
        }
    }
}

/// Returns `domain/name` of a job's address.
fn workload_of(address: &str) -> Option<String> {
    let Address { domain, name, kind } = address.parse().ok()?;
    (kind == Kind::CoreEtlJob).then(|| format!("{domain}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(workloads: &[(&str, &[&str], &[&str])]) -> Lineage {
        let mut lineage = Lineage::default();
        let set = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
        for (name, reads, writes) in workloads {
            let workload = Workload { reads: set(reads), writes: set(writes), ..Workload::default() };
            lineage.workloads.insert((*name).to_owned(), workload);
        }
        lineage.linked()
    }

    fn shown(steps: &[Step]) -> Vec<String> {
        let line = |step: &Step| {
            let (Node::Workload(name) | Node::Asset(name)) = &step.node;
            format!("{}{name}{}", " ".repeat(step.depth), if step.is_repeated { " again" } else { "" })
        };
        steps.iter().map(line).collect()
    }

    #[test]
    fn repeated_workload_is_listed_with_its_steps_once() {
        let lineage = lineage(&[
            ("d/join", &["table:a", "table:b"], &["table:c"]),
            ("d/left", &["table:raw"], &["table:a"]),
            ("d/right", &["table:raw"], &["table:b"]),
        ]);
        let up =
            ["d/join", " table:a", "  d/left", "   table:raw", " table:b", "  d/right", "   table:raw again"];
        assert_eq!(shown(&lineage.walk("table:c", Direction::Up)), up);
        let down = ["d/left", " table:a", "  d/join", "   table:c", "d/right", " table:b", "  d/join again"];
        assert_eq!(shown(&lineage.walk("table:raw", Direction::Down)), down);
        assert_eq!(lineage.walk("table:none", Direction::Down), []);
    }

    #[test]
    fn walk_ends_on_cycles_and_very_long_chains() {
        let cycle = lineage(&[("d/one", &["table:a"], &["table:b"]), ("d/two", &["table:b"], &["table:a"])]);
        let around = ["d/one", " table:b", "  d/two", "   table:a again"];
        assert_eq!(shown(&cycle.walk("table:a", Direction::Down)), around);
        let names: Vec<String> = (0..=100_000).map(|at| format!("table:{at}")).collect();
        let mut chain = Lineage::default();
        for pair in names.windows(2) {
            let [from, to] = pair else { unreachable!("windows of two") };
            let of = |name: &String| BTreeSet::from([name.clone()]);
            let workload = Workload { reads: of(from), writes: of(to), ..Workload::default() };
            chain.workloads.insert(to.clone(), workload);
        }
        let chain = chain.linked();
        assert_eq!(chain.walk("table:0", Direction::Down).len(), 200_000);
    }
}
