//! Airflow DAGs of workloads and of groups.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use dcp_model::dag::{Asset, AssetMode, Dag, Date, Schedule, Task, TemplateValue};
use dcp_model::dataset::Dataset;
use dcp_model::manifest::{AssetTrigger, DataRef, Manifest, ParameterType, Run, RunValue, ScalarOr};
use dcp_model::primitive::{Body, Fingerprint, Orchestrator, Primitive};

use super::Input;
use crate::airflow::{self, NOT_APPLIED};
use crate::graph::{Graph, Group};

/// Airflow's maximum length of a tag.
const MAX_TAG: usize = 100;

const INFALLIBLE: &str = "writing to a String does not fail";

/// The part of a workload in a DAG.
#[derive(Debug)]
pub(crate) struct Part {
    task_id: String,
    /// The address and the fingerprint of the job.
    job: String,
    fingerprint: Fingerprint,
    /// The path of the manifest.
    path: String,
    scope: String,
    owner: String,
    description: Option<String>,
    domain: String,
    labels: Vec<String>,
    /// Parameters whose value is a property of the run. Defaults are part of the job, and known to the Runner.
    wanted: Vec<(String, RunValue, ParameterType)>,
    outlets: Vec<Asset>,
}

impl Part {
    pub(super) fn of(input: &Input<'_>, job: &Primitive) -> Self {
        let Manifest { metadata, spec, .. } = input.manifest;
        let mut outlets: Vec<Asset> = input.writes.iter().map(|link| Asset::from(&link.dataset)).collect();
        outlets.sort_by(|a, b| a.name.cmp(&b.name));
        let parameters = spec.job.parameters().into_iter().flatten();
        let wanted = parameters.filter_map(|(name, parameter)| match parameter {
            ScalarOr::Map(parameter) => Some((name.as_str().to_owned(), parameter.run?, parameter.kind)),
            ScalarOr::Scalar(_) => None,
        });
        let labels =
            metadata.labels.iter().map(|(key, value)| format!("{}:{}", key.as_str(), value.as_str()));
        Self {
            task_id: metadata.name.as_str().to_owned(),
            job: job.address.to_string(),
            fingerprint: job.fingerprint.clone(),
            path: input.path.to_owned(),
            scope: input.scope.to_owned(),
            owner: metadata.owner.clone(),
            description: metadata.description.clone(),
            domain: metadata.domain.as_str().to_owned(),
            labels: labels.collect(),
            wanted: wanted.collect(),
            outlets,
        }
    }

    fn task(&self, run: &Run) -> Task {
        let wanted = self.wanted.iter();
        Task {
            task_id: self.task_id.clone(),
            owner: None,
            job: self.job.clone(),
            fingerprint: self.fingerprint.as_str().to_owned(),
            parameters: Vec::new(),
            run_parameters: wanted
                .map(|(name, wanted, kind)| (name.clone(), template_value(*wanted, *kind, run)))
                .collect(),
            outlets: self.outlets.clone(),
            execution_timeout_seconds: None,
            upstream: Vec::new(),
        }
    }
}

/// Returns the DAG of a workload that has its own DAG.
pub(super) fn own_dag(part: &Part, run: &Run) -> Orchestrator {
    let mut doc = part.description.as_ref().map_or_else(String::new, |text| format!("{text}\n\n"));
    let Part { path, job, fingerprint, owner, .. } = part;
    let fingerprint = fingerprint.short();
    write!(doc, "- manifest: `{path}`\n- job: `{job}` at `{fingerprint}`\n- owner: {owner}\n{NOT_APPLIED}")
        .expect(INFALLIBLE);
    with_file(Dag {
        description: part.description.clone().unwrap_or_default(),
        doc,
        owner: owner.clone(),
        tasks: vec![part.task(run)],
        ..dag(&part.task_id, &[part], run)
    })
}

/// Returns the DAGs of all groups. `parts` has an entry for each node that is in a group.
pub(crate) fn group_dags(graph: &Graph, parts: &BTreeMap<usize, Part>) -> Vec<Primitive> {
    let group = |group: &Group<'_>| {
        let part = |at| parts.get(at).expect("all workloads of a group have primitives");
        let parts: Vec<&Part> = group.members.iter().map(part).collect();
        let run = group.run().expect("a group in which each waits for another is refused as a circle");
        let body = Body::Orchestrator(Box::new(group_dag(group, &parts, run)));
        Primitive::new(group.domain, group.name, body)
    };
    graph.groups().iter().map(group).collect()
}

fn group_dag(group: &Group<'_>, parts: &[&Part], run: &Run) -> Orchestrator {
    let owners: BTreeSet<&str> = parts.iter().map(|part| part.owner.as_str()).collect();
    let task = |(part, upstream): (&&Part, Vec<String>)| {
        // Airflow derives the owners of the tasks and of the DAG from these.
        let owner = (owners.len() > 1).then(|| part.owner.clone());
        Task { owner, upstream, ..part.task(run) }
    };
    let tasks: Vec<Task> = parts.iter().zip(group.upstream()).map(task).collect();
    let names: Vec<&str> = parts.iter().map(|part| part.task_id.as_str()).collect();
    with_file(Dag {
        group: true,
        description: names.join(", "),
        doc: doc(parts),
        owner: owners.into_iter().collect::<Vec<_>>().join(", "),
        tasks,
        ..dag(group.name, parts, run)
    })
}

/// Returns a DAG with the properties of its run and its domain.
fn dag(name: &str, parts: &[&Part], run: &Run) -> Dag {
    let first = parts.first().expect("a DAG has tasks");
    let schedule = match run {
        Run::Schedule(schedule) => Some(schedule),
        Run::OnAssets(_) | Run::Manual(_) | Run::Continuous(_) | Run::Service(_) | Run::Pool(_) => None,
    };
    let start_date = schedule.and_then(|schedule| schedule.start_date.as_ref());
    Dag {
        dag_id: format!("{}__{name}", first.domain),
        scope: first.scope.clone(),
        group: false,
        description: String::new(),
        doc: String::new(),
        owner: String::new(),
        tags: tags(&first.domain, parts),
        schedule: dag_schedule(run),
        start_date: start_date.map(|date| date_of(date.civil())),
        timezone: schedule.map_or_else(|| "UTC".to_owned(), |schedule| schedule.timezone.as_str().to_owned()),
        catchup: schedule.is_some_and(|schedule| schedule.catchup),
        max_active_runs: schedule.map_or(1, |schedule| schedule.max_active_runs),
        concurrency_policy: schedule.map_or_else(Default::default, |schedule| schedule.concurrency_policy),
        suspended: schedule.is_some_and(|schedule| schedule.suspended),
        deadline_seconds: schedule
            .and_then(|schedule| schedule.deadline)
            .map(dcp_model::manifest::Duration::secs),
        tasks: Vec::new(),
    }
}

fn with_file(dag: Dag) -> Orchestrator {
    Orchestrator { file: airflow::file_name(&dag.dag_id), content: airflow::render(&dag), dag }
}

fn date_of(date: jiff::civil::Date) -> Date {
    let part = |number: i8| u8::try_from(number).expect("months and days are above zero");
    Date {
        year: u16::try_from(date.year()).expect("a Date is of a year that is above zero"),
        month: part(date.month()),
        day: part(date.day()),
    }
}

fn dag_schedule(run: &Run) -> Schedule {
    match run {
        Run::Schedule(schedule) => match (&schedule.cron, schedule.every) {
            (Some(cron), _) => Schedule::Cron(cron.as_str().to_owned()),
            (None, Some(every)) => Schedule::Every(every),
            (None, None) => Schedule::Manual,
        },
        Run::OnAssets(trigger) => {
            let mode = match trigger {
                AssetTrigger::All(_) => AssetMode::All,
                AssetTrigger::Any(_) => AssetMode::Any,
            };
            let mut assets: Vec<Asset> =
                trigger.assets().iter().map(|data: &DataRef| Asset::from(&Dataset::from(data))).collect();
            assets.sort_by(|a, b| a.name.cmp(&b.name));
            assets.dedup();
            Schedule::Assets { mode, assets }
        }
        Run::Manual(_) | Run::Continuous(_) | Run::Service(_) | Run::Pool(_) => Schedule::Manual,
    }
}

/// Returns the property of the run for a parameter of a type.
fn template_value(wanted: RunValue, kind: ParameterType, run: &Run) -> TemplateValue {
    let scheduled = matches!(run, Run::Schedule(_));
    // A timestamp as a date is the day of the timestamp.
    let day = kind == ParameterType::Date;
    match wanted {
        RunValue::Date if scheduled => TemplateValue::LocalDate,
        RunValue::Timestamp if scheduled && day => TemplateValue::LocalDate,
        RunValue::Timestamp if scheduled => TemplateValue::Timestamp,
        // Runs that are not scheduled use the time at which they run.
        RunValue::Date => TemplateValue::RunAfterDate,
        RunValue::Timestamp if day => TemplateValue::RunAfterDate,
        RunValue::Timestamp => TemplateValue::RunAfter,
        RunValue::IntervalStart if day => TemplateValue::IntervalStartDate,
        RunValue::IntervalStart => TemplateValue::IntervalStart,
        RunValue::IntervalEnd if day => TemplateValue::IntervalEndDate,
        RunValue::IntervalEnd => TemplateValue::IntervalEnd,
        RunValue::RunId => TemplateValue::RunId,
    }
}

fn tags(domain: &str, parts: &[&Part]) -> Vec<String> {
    let labels: BTreeSet<&String> =
        parts.iter().flat_map(|part| &part.labels).filter(|label| label.len() <= MAX_TAG).collect();
    let mut tags = vec!["dcp".to_owned()];
    tags.extend((domain != "dcp").then(|| domain.to_owned()));
    tags.extend(labels.into_iter().cloned());
    tags
}

/// Returns the documentation of a group: the descriptions of its workloads, and then the list of its tasks.
fn doc(parts: &[&Part]) -> String {
    let mut doc = String::new();
    let described: Vec<_> = parts.iter().filter_map(|it| Some((it, it.description.as_ref()?))).collect();
    for (part, description) in &described {
        write!(doc, "### {}\n\n{description}\n\n", part.task_id).expect(INFALLIBLE);
    }
    if !described.is_empty() {
        doc.push_str("### Tasks\n\n");
    }
    for Part { task_id, job, fingerprint, path, owner, .. } in parts {
        let fingerprint = fingerprint.short();
        writeln!(doc, "- `{task_id}`: manifest `{path}`, job `{job}` at `{fingerprint}`, owner {owner}")
            .expect(INFALLIBLE);
    }
    doc + NOT_APPLIED
}
