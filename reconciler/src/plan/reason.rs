//! The reasons of a change, field by field.

use dcp_model::dag::Dag;
use dcp_model::dataset::Dataset;
use dcp_model::manifest::Job;
use dcp_model::primitive::{ContinuousJob, CoreEtlJob, Orchestrator, Pool};

use super::cost::CostContext;
use super::json_diff::{Leaf, differing_items, leaves};
use super::stream::Finding;
use super::workload_version::{WorkloadFieldLocator, WorkloadVersion, to_json};
use super::{Class, Reason, pool, text_diff};

pub(super) fn of_deletion(old: &WorkloadVersion) -> Vec<Reason> {
    if old.pool.is_some() {
        return vec![pool::deletion()];
    }
    let Some(continuous) = &old.continuous else { return Vec::new() };
    let (class, why) = match continuous.continuous() {
        Some(stream) => {
            let checkpoint = &stream.checkpoint;
            let why = format!("the stream is drained and stopped; its checkpoint stays at {checkpoint}");
            (Class::Reset, why)
        }
        None => (Class::Restart, "the service is stopped".to_owned()),
    };
    let field = format!("run.{}", continuous.kind());
    vec![Reason { field, what: None, old: None, new: None, diff: None, class, why, at: None }]
}

/// Returns all differences, the most expensive first.
pub(super) fn of_change(
    old: &WorkloadVersion,
    new: &WorkloadVersion,
    locate: &WorkloadFieldLocator<'_>,
) -> Vec<Reason> {
    let mut reasons = Reasons { locate, found: Vec::new(), context: CostContext::of(old, new) };
    if old.pool.is_some() != new.pool.is_some() {
        // A pool and a workload have nothing in common, except for the name.
        reasons.add(pool::other_kind(old, new));
        return reasons.found;
    }
    if let (Some(old), Some(new)) = (&old.pool, &new.pool) {
        reasons.pool(old, new);
    }
    if let (Some(old), Some(new)) = (&old.job, &new.job) {
        reasons.job(old, new);
    }
    if let (Some(old), Some(new)) = (&old.continuous, &new.continuous) {
        reasons.continuous(old, new);
    }
    if let (Some(old), Some(new)) = (&old.orchestrator, &new.orchestrator) {
        reasons.orchestrator(old, new);
    }
    reasons.run(old, new);
    let mut found = reasons.found;
    found.sort_by(|a, b| b.class.cmp(&a.class).then_with(|| a.field.cmp(&b.field)));
    found
}

/// Returns the differences between two DAGs except those of tasks.
pub(super) fn of_dag(
    old: &WorkloadVersion,
    new: &WorkloadVersion,
    locate: &WorkloadFieldLocator<'_>,
) -> Vec<Reason> {
    let mut reasons = Reasons { locate, found: Vec::new(), context: CostContext::of(old, new) };
    if let (Some(old), Some(new)) = (&old.orchestrator, &new.orchestrator) {
        reasons.orchestrator(old, new);
    }
    reasons.run(old, new);
    reasons.found
}

struct Reasons<'a> {
    locate: &'a WorkloadFieldLocator<'a>,
    found: Vec<Reason>,
    context: CostContext,
}

impl Reasons<'_> {
    fn job(&mut self, old: &CoreEtlJob, new: &CoreEtlJob) {
        let other_kind = old.job.kind() != new.job.kind();
        if other_kind {
            let (class, why) = match (self.context.is_batch(), self.context.service) {
                (true, _) => (Class::InPlace, "the next run takes it"),
                (false, true) => (Class::Restart, "the service restarts with it"),
                (false, false) => (Class::Reset, "a program of another kind can't read the checkpoint"),
            };
            let (old, new) = (old.job.kind().to_string(), new.job.kind().to_string());
            self.add(Finding::new(&["job"], class, why).of("kind", old, new));
        }
        self.stream(old, new);
        let datasets = [("inputs", &old.inputs, &new.inputs), ("outputs", &old.outputs, &new.outputs)];
        let statements = (&old.statements, &new.statements);
        let (old, new) = (to_json(old), to_json(new));
        let (old_leaves, settled) = (leaves(&old, &new), self.settled(other_kind));
        for leaf in old_leaves.iter().filter(|leaf| !settled.iter().any(|it| leaf.path.starts_with(it))) {
            self.leaf(leaf, &[]);
        }
        // They are derived, so they are shown only if nothing else differs.
        if self.found.is_empty() {
            for (field, old, new) in datasets {
                self.datasets(field, old, new);
            }
            if statements.0 != statements.1 {
                let why = "this dcp splits the SQL into statements in another way; the next run takes it";
                self.add(Finding::new(&["job", "sql", "query"], Class::InPlace, why));
            }
        }
    }

    /// Returns paths whose differences are reported elsewhere.
    fn settled(&self, other_kind: bool) -> Vec<Vec<String>> {
        let mut settled: Vec<Vec<String>> =
            ["inputs", "outputs", "statements"].map(|derived| vec![derived.to_owned()]).into();
        if other_kind {
            settled.push(vec!["job".to_owned()]);
        }
        let below = |path: &Vec<String>| [&["job".to_owned(), "stream".to_owned()][..], path].concat();
        settled.extend(self.context.compared.iter().flat_map(|it| &it.settled).map(below));
        settled
    }

    fn stream(&mut self, old: &CoreEtlJob, new: &CoreEtlJob) {
        let (Job::Stream(old), Job::Stream(new)) = (&old.job, &new.job) else { return };
        let Some(compared) = &mut self.context.compared else { return };
        let findings = std::mem::take(&mut compared.findings);
        let text = |stream: &dcp_model::manifest::Stream| stream.query.clone().unwrap_or_default();
        let (before, after) = (text(old), text(new));
        let mut diff = Some(text_diff::lines(&before, &after)).filter(|diff| !diff.is_empty());
        let line = text_diff::first_changed_line(&before, &after);
        for mut found in findings {
            let query = found.field.last().is_some_and(|last| last == "query");
            found.field = [vec!["job".to_owned(), "stream".to_owned()], found.field].concat();
            (found.class, found.why) = self.context.lower_class(found.class, found.why);
            self.add(found);
            // The diff of the text is shown with its first reason.
            if query && let Some(reason) = self.found.last_mut() {
                reason.diff = diff.take();
                // The lines of a block scalar are lines of the manifest.
                if let Some(at) = reason.at.as_mut().filter(|_| after.contains('\n')) {
                    at.line += line;
                }
            }
        }
    }

    fn continuous(&mut self, old: &ContinuousJob, new: &ContinuousJob) {
        // A change between stream and service is reported separately.
        if old.kind() != new.kind() {
            return;
        }
        let above: &[String] = match new.continuous() {
            Some(_) => &["run".to_owned(), "continuous".to_owned()],
            None => &["run".to_owned()],
        };
        let (old, new) = (to_json(old), to_json(new));
        for leaf in leaves(&old, &new) {
            self.leaf(&leaf, above);
        }
    }

    fn pool(&mut self, old: &Pool, new: &Pool) {
        if old.settings.share != new.settings.share {
            self.add(pool::share(old.settings.share, new.settings.share));
        }
        let (old, new) = (to_json(old), to_json(new));
        for leaf in leaves(&old, &new) {
            self.leaf(&leaf, &[]);
        }
    }

    fn orchestrator(&mut self, old: &Orchestrator, new: &Orchestrator) {
        let (before, after) = (to_json(&old.dag), to_json(&new.dag));
        for leaf in leaves(&before, &after) {
            let Some(field) = run_field(&leaf.path) else { continue };
            let path: Vec<&str> = ["run"].into_iter().chain(field.split('.')).collect();
            let is_reported = self.found.iter().any(|reason| reason.field == path.join("."));
            if !is_reported {
                let found = Finding::new(&path, Class::InPlace, "Airflow takes it from the new DAG file");
                let (old, new) = differing_items(leaf.old, leaf.new);
                self.add(Finding { old, new, ..found });
            }
        }
        self.replacement(&old.dag, &new.dag);
        self.suspension(&old.dag, &new.dag);
        if old.content != new.content {
            self.found.push(dag_file(old, new));
        }
    }

    fn replacement(&mut self, old: &Dag, new: &Dag) {
        if old.replaces_active_runs() == new.replaces_active_runs() || !new.is_time_triggered() {
            return;
        }
        let why = match new.replaces_active_runs() {
            true => "a run that is due cancels an earlier one that has not ended",
            false => "a run that is due waits for an earlier one that has not ended",
        };
        let found = Finding::new(&["run", "schedule", "concurrencyPolicy"], Class::InPlace, why);
        let text = |dag: &Dag| Some(if dag.replaces_active_runs() { "replace" } else { "queue" }.to_owned());
        self.add(Finding { old: text(old), new: text(new), ..found });
    }

    fn suspension(&mut self, old: &Dag, new: &Dag) {
        if old.suspended == new.suspended || !new.is_time_triggered() {
            return;
        }
        let why = match (new.suspended, new.catchup) {
            (true, _) => "suspends the schedule: no run starts by time; a run that is under way goes on",
            (false, true) => "resumes the schedule: each run that was missed starts",
            (false, false) => "resumes the schedule: of the runs that were missed, the last one starts",
        };
        let found = Finding::new(&["run", "schedule", "suspended"], Class::InPlace, why);
        let text = |dag: &Dag| Some(dag.suspended.to_string());
        self.add(Finding { old: text(old), new: text(new), ..found });
    }

    /// Adds a change of the kind of run.
    fn run(&mut self, old: &WorkloadVersion, new: &WorkloadVersion) {
        let (before, after) = (old.run(), new.run());
        if old.group != new.group {
            self.group(old, new);
        }
        let in_group = |run: Option<&str>| run == Some("group");
        let is_continuous = |side: &WorkloadVersion| side.continuous.is_some();
        if before == after
            || ((in_group(before) || in_group(after)) && !is_continuous(old) && !is_continuous(new))
        {
            return;
        }
        let why = match (before, after) {
            (Some("continuous"), _) => "the stream is drained, and is started as the manifest now says",
            (Some("service"), _) => "the service is stopped, and is started as the manifest now says",
            (_, Some("continuous" | "service")) => "it is started, and kept running from now on",
            _ => "Airflow starts it in another way",
        };
        let class = if is_continuous(old) { Class::Restart } else { Class::InPlace };
        let text = |run: Option<&str>| run.map(str::to_owned);
        let found = Finding::new(&["run"], class, why);
        self.add(Finding { old: text(before), new: text(after), ..found });
        let both = old.checkpoint().is_some() && new.checkpoint().is_some();
        if both
            && old.checkpoint() != new.checkpoint()
            && (old.continuous.is_some() != new.continuous.is_some())
        {
            let why = "the stream begins anew where the new checkpoint is";
            let (old, new) = (text(old.checkpoint()), text(new.checkpoint()));
            self.add(Finding::new(&["run"], Class::Reset, why).of("checkpoint", old, new));
        }
    }

    /// Adds a change of the group.
    fn group(&mut self, old: &WorkloadVersion, new: &WorkloadVersion) {
        let why = match (&old.group, &new.group) {
            (None, _) if old.orchestrator.is_some() => {
                "it becomes a task in the DAG of the group; the one of its own is taken away"
            }
            (None, _) => "it becomes a task in the DAG of the group",
            (Some(_), None) if new.orchestrator.is_some() => {
                "it gets a DAG of its own, and goes from that of the group"
            }
            (Some(_), None) => "its task goes from the DAG of the group",
            (Some(_), Some(_)) => "its task goes from the DAG of the one group to that of the other",
        };
        let found = Finding::new(&["orchestrator", "group"], Class::InPlace, why);
        self.add(Finding { old: old.group.clone(), new: new.group.clone(), ..found });
    }

    fn datasets(&mut self, field: &str, old: &[Dataset], new: &[Dataset]) {
        let alone = |one: &[Dataset], other: &[Dataset]| -> Option<String> {
            let alone =
                one.iter().filter(|it| !other.contains(it)).map(|it| format!("{} {}", it.kind, it.name));
            let alone: Vec<String> = alone.collect();
            (!alone.is_empty()).then(|| alone.join(", "))
        };
        if old != new {
            let (removed, added) = (alone(old, new), alone(new, old));
            let why = "it is part of the lineage; nothing that runs depends on it";
            self.add(Finding { old: removed, new: added, ..Finding::new(&[field], Class::InPlace, why) });
        }
    }

    fn leaf(&mut self, leaf: &Leaf<'_>, above: &[String]) {
        let path = [above, &leaf.path].concat();
        let Some((class, why)) = self.context.cost_of(&path) else { return };
        let (old, new) = differing_items(leaf.old, leaf.new);
        let long = [&old, &new].into_iter().flatten().any(|text| text.contains('\n'));
        let diff = match (&old, &new) {
            (Some(old), Some(new)) if long => Some(text_diff::lines(old, new)),
            _ => None,
        };
        let line = match (leaf.old, leaf.new) {
            (Some(serde_json::Value::String(old)), Some(serde_json::Value::String(new))) => {
                text_diff::first_changed_line(old, new)
            }
            _ => 0,
        };
        let (old, new) = if diff.is_some() { (None, None) } else { (old, new) };
        self.add(Finding { field: path, what: None, old, new, class, why });
        if let Some(reason) = self.found.last_mut() {
            let block = diff.is_some();
            reason.diff = diff;
            if let Some(at) = reason.at.as_mut().filter(|_| block) {
                at.line += line;
            }
        }
    }

    /// Adds a finding with its place.
    fn add(&mut self, found: Finding) {
        let Finding { field, what, old, new, class, why } = found;
        let spec = field.first().is_some_and(|first| !matches!(first.as_str(), "metadata" | "kind"));
        let full: Vec<&str> =
            spec.then_some("spec").into_iter().chain(field.iter().map(String::as_str)).collect();
        let at = (self.locate)(&full);
        let what = what.map(str::to_owned);
        self.found.push(Reason { field: field.join("."), what, old, new, diff: None, class, why, at });
    }
}

/// Returns the field below `run` that a field of a DAG comes from, or none for fields that are derived from the job or
/// name it.
fn run_field(path: &[String]) -> Option<&'static str> {
    let mut path = path.iter().map(String::as_str);
    Some(match (path.next()?, path.next()) {
        ("schedule", Some("cron")) => "schedule.cron",
        ("schedule", Some("every")) => "schedule.every",
        ("schedule", Some("assets")) => "onAssets",
        ("startDate", _) => "schedule.startDate",
        ("timezone", _) => "schedule.timezone",
        ("catchup", _) => "schedule.catchup",
        ("maxActiveRuns", _) => "schedule.maxActiveRuns",
        ("deadlineSeconds", _) => "schedule.deadline",
        _ => return None,
    })
}

/// Returns the reason for a changed DAG file.
fn dag_file(old: &Orchestrator, new: &Orchestrator) -> Reason {
    let diff = text_diff::lines(&old.content, &new.content);
    let lines = text_diff::changed_line_count(&diff);
    let what = if lines == 1 { "1 line changes".to_owned() } else { format!("{lines} lines change") };
    Reason {
        field: format!("DAG {}", new.file),
        what: Some(what),
        old: None,
        new: None,
        diff: Some(diff),
        class: Class::InPlace,
        why: "Airflow reads it when it next looks at its folder".to_owned(),
        at: None,
    }
}
