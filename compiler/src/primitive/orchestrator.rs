//! The Airflow DAG of a workload.

use std::fmt::Write as _;

use super::lower::Input;
use super::{Orchestrator, Primitive};
use crate::airflow::{self, Asset, AssetMode, Dag, Date, RunValue, Schedule, Task};
use crate::graph;
use crate::model::{AssetTrigger, DataRef, Manifest, Run, RunValue as Wanted, ScalarOr};

/// Airflow takes no longer tag.
const MAX_TAG: usize = 100;

pub(super) fn orchestrator(input: &Input<'_>, job: &Primitive) -> Orchestrator {
    let dag = dag(input, job);
    Orchestrator { file: airflow::file_name(&dag.dag_id), content: airflow::render(&dag), dag }
}

fn dag(input: &Input<'_>, job: &Primitive) -> Dag {
    let Manifest { metadata, spec, .. } = input.manifest;
    let schedule = match &spec.run {
        Run::Schedule(schedule) => Some(schedule),
        Run::OnAssets(_) | Run::Manual(_) | Run::Continuous(_) => None,
    };
    Dag {
        dag_id: format!("{}__{}", metadata.domain, metadata.name),
        scope: input.scope.to_owned(),
        description: metadata.description.clone().unwrap_or_default(),
        doc: doc(input, job),
        owner: metadata.owner.clone(),
        tags: tags(input.manifest),
        schedule: when(&spec.run),
        start_date: schedule
            .and_then(|schedule| schedule.start_date.as_ref())
            .map(|date| date_of(date.civil())),
        timezone: schedule.map_or_else(|| "UTC".to_owned(), |schedule| schedule.timezone.as_str().to_owned()),
        catchup: schedule.is_some_and(|schedule| schedule.catchup),
        max_active_runs: schedule.map_or(1, |schedule| schedule.max_active_runs),
        deadline_seconds: schedule.and_then(|schedule| schedule.deadline).map(crate::model::Duration::secs),
        tasks: vec![task(input, job)],
    }
}

fn date_of(date: jiff::civil::Date) -> Date {
    let part = |number: i8| u8::try_from(number).expect("months and days are above zero");
    Date {
        year: u16::try_from(date.year()).expect("a Date is of a year that is above zero"),
        month: part(date.month()),
        day: part(date.day()),
    }
}

fn when(run: &Run) -> Schedule {
    match run {
        Run::Schedule(schedule) => Schedule::Cron(schedule.cron.as_str().to_owned()),
        Run::OnAssets(trigger) => {
            let mode = match trigger {
                AssetTrigger::All(_) => AssetMode::All,
                AssetTrigger::Any(_) => AssetMode::Any,
            };
            let mut assets: Vec<Asset> =
                trigger.assets().iter().map(|data: &DataRef| Asset::from(&graph::dataset(data))).collect();
            assets.sort_by(|a, b| a.name.cmp(&b.name));
            assets.dedup();
            Schedule::Assets { mode, assets }
        }
        Run::Manual(_) | Run::Continuous(_) => Schedule::Manual,
    }
}

fn task(input: &Input<'_>, job: &Primitive) -> Task {
    let mut outlets: Vec<Asset> = input.writes.iter().map(|link| Asset::from(&link.dataset)).collect();
    outlets.sort_by(|a, b| a.name.cmp(&b.name));
    Task {
        task_id: input.manifest.metadata.name.as_str().to_owned(),
        job: job.address.to_string(),
        fingerprint: job.fingerprint.as_str().to_owned(),
        parameters: Vec::new(),
        run_parameters: run_parameters(input.manifest),
        outlets,
        execution_timeout_seconds: None,
        upstream: Vec::new(),
    }
}

/// Parameters whose value is something of the run. Defaults are part of the job, and known to the Runner.
fn run_parameters(manifest: &Manifest) -> Vec<(String, RunValue)> {
    let scheduled = matches!(manifest.spec.run, Run::Schedule(_));
    let parameters = manifest.spec.job.parameters().into_iter().flatten();
    let from_run = parameters.filter_map(|(name, parameter)| match parameter {
        ScalarOr::Map(parameter) => Some((name, parameter.run?)),
        ScalarOr::Scalar(_) => None,
    });
    let value = |wanted: Wanted| match (wanted, scheduled) {
        (Wanted::Date, true) => RunValue::LocalDate,
        (Wanted::Timestamp, true) => RunValue::Timestamp,
        // A run that is for no date in particular is for the moment at which it runs.
        (Wanted::Date, false) => RunValue::RunAfterDate,
        (Wanted::Timestamp, false) => RunValue::RunAfter,
        (Wanted::IntervalStart, _) => RunValue::IntervalStart,
        (Wanted::IntervalEnd, _) => RunValue::IntervalEnd,
        (Wanted::RunId, _) => RunValue::RunId,
    };
    from_run.map(|(name, wanted)| (name.as_str().to_owned(), value(wanted))).collect()
}

fn tags(manifest: &Manifest) -> Vec<String> {
    let metadata = &manifest.metadata;
    let labels = metadata.labels.iter().map(|(key, value)| format!("{}:{}", key.as_str(), value.as_str()));
    let fixed = ["dcp".to_owned(), metadata.domain.as_str().to_owned()];
    fixed.into_iter().chain(labels.filter(|label| label.len() <= MAX_TAG)).collect()
}

fn doc(input: &Input<'_>, job: &Primitive) -> String {
    let metadata = &input.manifest.metadata;
    let mut doc = String::new();
    if let Some(description) = &metadata.description {
        doc.push_str(description);
        doc.push_str("\n\n");
    }
    let owner = &metadata.owner;
    let (path, address, fingerprint) = (input.path, &job.address, job.fingerprint.short());
    write!(doc, "- manifest: `{path}`\n- job: `{address}` at `{fingerprint}`\n- owner: {owner}\n")
        .expect("writing to a String does not fail");
    doc
}
