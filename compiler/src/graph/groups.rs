//! Groups: workloads whose tasks share one DAG. They determine its schedule and the order of its tasks.

use std::collections::{BTreeMap, BTreeSet};

use dcp_model::manifest::{AssetTrigger, Manifest, Run, RunValue, ScalarOr, Schedule};

use super::cycles::cycles;
use super::{Dataset, Graph, Link, Node, Places};
use crate::diag::{Code, Diagnostic};
use crate::source::Span;

/// Airflow's maximum length of the owners of all tasks of a DAG.
const MAX_OWNERS: usize = 2000;

/// The membership of a workload in a group.
#[derive(Debug, Clone)]
pub struct Member {
    pub group: String,
    /// The place of the group's name in the manifest.
    pub at: Span,
    pub run: Run,
    owner: String,
    /// The places of the relevant fields of `run`.
    places: Vec<(&'static str, Span)>,
    /// The places of parameters that use a bound of the data interval.
    intervals: Vec<Span>,
}

impl Member {
    pub(super) fn of(manifest: &Manifest, places: &impl Places) -> Option<Self> {
        let spec = &manifest.spec;
        let group = spec.orchestrator.as_ref()?.group.as_str().to_owned();
        let place = |path: &[&'static str]| {
            let name = path.last().copied().unwrap_or("run");
            (name, places.at(&[&["spec", "run"], path].concat()))
        };
        let mut run = vec![place(&[])];
        match &spec.run {
            Run::Schedule(_) => run.extend(FIELDS.map(|field| place(&["schedule", field]))),
            Run::OnAssets(_) => run.push(place(&["onAssets"])),
            Run::Manual(_) | Run::Continuous(_) | Run::Service(_) | Run::Pool(_) => {}
        }
        let bound = |wanted| matches!(wanted, RunValue::IntervalStart | RunValue::IntervalEnd);
        let parameters = spec.job.parameters().into_iter().flatten();
        let intervals = parameters.filter_map(|(name, parameter)| match parameter {
            ScalarOr::Map(typed) if typed.run.is_some_and(bound) => {
                Some(places.at(&["spec", "job", spec.job.kind().name(), "parameters", name.as_str(), "run"]))
            }
            _ => None,
        });
        Some(Self {
            group,
            at: places.at(&["spec", "orchestrator", "group"]),
            run: spec.run.clone(),
            owner: manifest.metadata.owner.clone(),
            places: run,
            intervals: intervals.collect(),
        })
    }

    fn place(&self, field: &str) -> Span {
        self.places.iter().find(|(name, _)| *name == field).map_or(self.at, |(_, at)| *at)
    }
}

/// The workloads of a group.
#[derive(Debug)]
pub struct Group<'g> {
    pub domain: &'g str,
    pub name: &'g str,
    /// The indices of their nodes in the graph, ordered by name.
    pub members: Vec<usize>,
    graph: &'g Graph,
}

impl Graph {
    /// Returns all groups, ordered by name.
    pub fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            if let Some(group) = node.group() {
                groups.entry(group).or_default().push(at);
            }
        }
        groups
            .into_iter()
            .map(|((domain, name), mut members)| {
                members.sort_by(|a, b| self.nodes[*a].name.cmp(&self.nodes[*b].name));
                Group { domain, name, members, graph: self }
            })
            .collect()
    }
}

impl<'g> Group<'g> {
    fn nodes(&self) -> impl Iterator<Item = (&'g Node, &'g Member)> {
        let graph = self.graph;
        self.members.iter().filter_map(|at| Some((&graph.nodes[*at], graph.nodes[*at].member.as_deref()?)))
    }

    /// Returns another workload of the group that writes a dataset.
    fn writer(&self, dataset: &Dataset, reader: &Node) -> Option<&'g Node> {
        let writes = |node: &&Node| node.writes.iter().any(|link| link.dataset == *dataset);
        self.nodes().map(|(node, _)| node).filter(|node| node.name != reader.name).find(writes)
    }

    /// Returns whether a workload waits only for outputs of other members, and therefore runs after them.
    pub fn follows(&self, node: &Node) -> bool {
        !node.waits.is_empty() && node.waits.iter().all(|link| self.writer(&link.dataset, node).is_some())
    }

    /// Returns the `run` of the DAG. All members that don't follow others have the same.
    pub fn run(&self) -> Option<&'g Run> {
        self.leader().map(|(_, member)| &member.run)
    }

    /// Returns the first member that doesn't follow others.
    pub fn leader(&self) -> Option<(&'g Node, &'g Member)> {
        self.nodes().find(|(node, _)| !self.follows(node))
    }

    /// Returns the direct predecessors of each member, by name. Indirect predecessors are left out.
    pub fn upstream(&self) -> Vec<Vec<String>> {
        let before = |to: usize| -> BTreeSet<usize> {
            let given = |from: &usize| *from != to && self.graph.edges.contains_key(&(*from, to));
            self.members.iter().copied().filter(given).collect()
        };
        let direct: BTreeMap<usize, BTreeSet<usize>> =
            self.members.iter().map(|to| (*to, before(*to))).collect();
        let reduced = |to: &usize| {
            let mut further = BTreeSet::new();
            let mut open: Vec<usize> = direct[to].iter().flat_map(|from| &direct[from]).copied().collect();
            while let Some(next) = open.pop() {
                if further.insert(next) {
                    open.extend(&direct[&next]);
                }
            }
            let names = direct[to].difference(&further).map(|from| self.graph.nodes[*from].name.clone());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        };
        self.members.iter().map(reduced).collect()
    }
}

/// Checks all groups. `mentioned` returns whether a manifest that could not be read may be related to a dataset.
pub(super) fn check(graph: &Graph, mentioned: &dyn Fn(&Dataset) -> bool) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let groups = graph.groups();
    if groups.is_empty() {
        return found;
    }
    let known = graph.cycles();
    for group in groups {
        found.extend(name(&group));
        found.extend(owners(&group));
        for (node, member) in group.nodes() {
            found.extend(waits(&group, node, member, mentioned));
        }
        found.extend(runs(&group, mentioned));
        found.extend(intervals(&group));
        let inside = |from: &usize, to: &usize| group.members.contains(from) && group.members.contains(to);
        let edges = graph.edges.keys().filter(|(from, to)| from != to && inside(from, to));
        let cycles = cycles(edges).into_iter().filter(|cycle| !known.contains(cycle));
        found.extend(cycles.map(|cycle| graph.cycle_diagnostic(&cycle)));
    }
    found
}

fn name(group: &Group<'_>) -> Option<Diagnostic> {
    let same = |node: &&Node| node.domain == group.domain && node.name == group.name;
    let workload = group.graph.nodes.iter().find(same)?;
    let (_, member) = group.nodes().next()?;
    let message = format!("the group `{0}/{1}` has the name of a workload", group.domain, group.name);
    let diagnostic = Diagnostic::new(Code::GROUP_NAME_CONFLICT, message)
        .at(member.at, "the group")
        .at(workload.at, "the workload")
        .help("give the group another name: its `domain/name` and its DAG must differ from those of all workloads");
    Some(diagnostic)
}

fn owners(group: &Group<'_>) -> Option<Diagnostic> {
    let owners: BTreeSet<&str> = group.nodes().map(|(_, member)| member.owner.as_str()).collect();
    let length = owners.iter().map(|owner| owner.chars().count() + ", ".len()).sum::<usize>();
    let (_, member) = group.nodes().next().filter(|_| length > MAX_OWNERS)?;
    let message =
        format!("the owners of the group `{}/{}` have {length} characters", group.domain, group.name);
    let help = format!("name teams as owners, or make two groups: Airflow keeps {MAX_OWNERS} characters");
    Some(Diagnostic::new(Code::OUT_OF_RANGE, message).at(member.at, "all of them together").help(help))
}

/// Checks the assets that a member waits for. If all are outputs of the group, they order its tasks. If none is, they
/// are the schedule of the DAG. A mixture is an error.
fn waits(
    group: &Group<'_>,
    node: &Node,
    member: &Member,
    mentioned: &dyn Fn(&Dataset) -> bool,
) -> Option<Diagnostic> {
    let Run::OnAssets(trigger) = &member.run else { return None };
    let inside = |link: &&Link| group.writer(&link.dataset, node).is_some();
    let within = node.waits.iter().find(inside)?;
    let writer = group.writer(&within.dataset, node)?;
    let from_within = format!("`{}` of the same group writes it", writer.name);
    if let AssetTrigger::Any(_) = trigger {
        let message = format!("`{}` waits for any of what its own group writes", node.address());
        let help =
            "write `all`, and it runs after each of those that write them; or take it out of the group";
        let diagnostic = Diagnostic::new(Code::GROUP_MIXED_WAITS, message);
        return Some(diagnostic.at(within.at, from_within).help(help));
    }
    let outside = node.waits.iter().find(|link| !inside(link) && !mentioned(&link.dataset))?;
    let message = format!("`{}` waits for what its own group writes, and for something else", node.address());
    let help = "let it wait for the one or the other: the first of the group may wait for what comes from elsewhere, \
                and this for what they write; or take it out of the group";
    let diagnostic = Diagnostic::new(Code::GROUP_MIXED_WAITS, message).at(within.at, from_within);
    Some(diagnostic.at(outside.at, "nothing of the group writes this").help(help))
}

/// Checks that all members that don't follow others have the same `run`.
fn runs(group: &Group<'_>, mentioned: &dyn Fn(&Dataset) -> bool) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mixed = |node: &Node| node.waits.iter().any(|link| group.writer(&link.dataset, node).is_some());
    // Assets may be outputs of a broken manifest of the group. Members with other errors are not reported again.
    let is_comparable = |(node, member): &(&Node, &Member)| {
        let broken = node.waits.iter().any(|link| mentioned(&link.dataset));
        !mixed(node) && !broken && !matches!(member.run, Run::Continuous(_) | Run::Service(_))
    };
    let mut comparable = group.nodes().filter(is_comparable);
    let Some((first, leader)) = comparable.next() else { return found };
    for (node, member) in comparable {
        let Some(Difference { field, one, other }) = difference(&leader.run, &member.run) else { continue };
        let message = format!(
            "`{}` and `{}` are of one group, and differ in `{field}`",
            node.address(),
            first.address()
        );
        let label = |of: &Node, value: &str| format!("`{}`: {value}", of.name);
        let help = "give all of a group the same `run`, but for those that wait for what others of it write: \
                    `onAssets: {all: […]}`";
        let diagnostic = Diagnostic::new(Code::GROUP_RUN_MISMATCH, message)
            .at(member.place(field), label(node, &other))
            .at(leader.place(field), label(first, &one));
        found.push(diagnostic.help(help));
    }
    found
}

/// Checks uses of the data interval, which only scheduled runs have. Workloads with manual runs are reported
/// elsewhere.
fn intervals(group: &Group<'_>) -> Vec<Diagnostic> {
    let Some(run) = group.run().filter(|run| !matches!(run, Run::Schedule(_))) else { return Vec::new() };
    let members = group.nodes().filter(|(_, member)| matches!(member.run, Run::OnAssets(_)));
    let no_interval = |at: &Span| {
        let message = format!("a run by `{}` is for no interval of data", run.kind());
        Diagnostic::new(Code::BAD_PARAMETER, message)
            .at(*at, "has no value")
            .help("take `date` or `timestamp`, which are then the run's own")
    };
    members.flat_map(|(_, member)| member.intervals.iter().map(no_interval)).collect()
}

const FIELDS: [&str; 8] =
    ["cron", "every", "timezone", "startDate", "catchup", "maxActiveRuns", "suspended", "deadline"];

/// The difference between two runs in one field.
struct Difference {
    field: &'static str,
    one: String,
    other: String,
}

fn difference(one: &Run, other: &Run) -> Option<Difference> {
    let of = |field, one: String, other: String| (one != other).then_some(Difference { field, one, other });
    match (one, other) {
        (Run::Schedule(one), Run::Schedule(other)) => {
            let mut fields = FIELDS.into_iter().zip(schedule_values(one)).zip(schedule_values(other));
            fields.find_map(|((field, one), other)| of(field, one, other))
        }
        (Run::OnAssets(one), Run::OnAssets(other)) => {
            of("onAssets", describe_trigger(one), describe_trigger(other))
        }
        (one, other) => of("run", one.kind().to_string(), other.kind().to_string()),
    }
}

/// Returns the values of the fields of a schedule, in the order of [`FIELDS`].
fn schedule_values(schedule: &Schedule) -> [String; 8] {
    let Schedule {
        cron,
        every,
        timezone,
        start_date,
        catchup,
        max_active_runs,
        concurrency_policy: _,
        suspended,
        deadline,
    } = schedule;
    let none = || "none".to_owned();
    [
        cron.as_ref().map_or_else(none, ToString::to_string),
        every.as_ref().map_or_else(none, ToString::to_string),
        timezone.to_string(),
        start_date.as_ref().map_or_else(none, ToString::to_string),
        catchup.to_string(),
        max_active_runs.to_string(),
        suspended.to_string(),
        deadline.as_ref().map_or_else(none, ToString::to_string),
    ]
}

/// Describes the assets that start a run, independent of their order.
fn describe_trigger(trigger: &AssetTrigger) -> String {
    let mode = match trigger {
        AssetTrigger::All(_) => "all",
        AssetTrigger::Any(_) => "any",
    };
    let names: BTreeSet<String> =
        trigger.assets().iter().map(|data| Dataset::from(data).to_string()).collect();
    format!("{mode} of {}", names.into_iter().collect::<Vec<_>>().join(", "))
}
