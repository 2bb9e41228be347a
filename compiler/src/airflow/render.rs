use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::LazyLock;

use dcp_model::dag::{Asset, AssetMode, Dag, Date, EPOCH, Schedule, Task, TemplateValue, Value};
use handlebars::{Handlebars, no_escape};
use serde::Serialize;

use super::Literal;

const TEMPLATE: &str = "dag.py";
/// The number of Airflow's retries of a task, for tries that Airflow has lost. They don't retry failed jobs: the
/// Runner retries jobs, and a further try of the task attaches to the existing execution.
const RETRIES: i64 = 2;
const RETRY_DELAY_SECONDS: i64 = 10;
/// Airflow's limit of active runs for DAGs whose runs replace each other: the old run and the new one.
const REPLACING_ACTIVE_RUNS: u32 = 2;
const IMPORT_WIDTH: usize = 88 - "from airflow.sdk import ".len();

static TEMPLATES: LazyLock<Handlebars<'static>> = LazyLock::new(|| {
    let mut templates = Handlebars::new();
    templates.set_strict_mode(true);
    templates.register_escape_fn(no_escape);
    templates
        .register_template_string(TEMPLATE, include_str!("../../../templates/dag.py.hbs"))
        .expect("the template is compiled in, and every rendering in the tests has parsed it");
    templates
});

/// Returns the text of a DAG file. Equal DAGs have equal text, formatted like the output of `ruff format`.
pub fn render(dag: &Dag) -> String {
    TEMPLATES.render(TEMPLATE, &template_data(dag)).expect(
        "template_data() names every variable of the template for every DAG, which the golden files prove",
    )
}

/// Returns the name of a DAG's file. Different ids have different names, and no name is a path: characters other than
/// ASCII letters, digits, `_`, `-` and dots inside the id are encoded as `%XX`.
pub fn file_name(dag_id: &str) -> String {
    let mut name = String::with_capacity(dag_id.len() + ".py".len());
    for (at, byte) in dag_id.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            b'.' if at > 0 => name.push('.'),
            byte => {
                let _ = write!(name, "%{byte:02X}");
            }
        }
    }
    name + ".py"
}

/// The values that the template can take. There is no variant for text: a value of a manifest must be a [`Literal`],
/// and a [`Slot::Name`] is a constant of this program.
#[derive(Serialize)]
#[serde(untagged)]
enum Slot {
    Literal(Literal),
    Name(&'static str),
    Number(u64),
    Flag(bool),
    Absent(()),
    Many(Vec<Slot>),
    Group(BTreeMap<&'static str, Slot>),
}

impl Slot {
    fn group<const N: usize>(slots: [(&'static str, Slot); N]) -> Self {
        Slot::Group(slots.into())
    }

    fn optional(slot: Option<Slot>) -> Self {
        slot.unwrap_or(Slot::Absent(()))
    }

    fn string(text: &str) -> Self {
        Slot::Literal(Literal::string(text))
    }

    fn argument(name: &'static str, indent: usize, value: &Value) -> Self {
        Slot::Literal(Literal::argument(name, indent, value))
    }

    fn number(number: impl Into<u64>) -> Self {
        Slot::Number(number.into())
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one row for each field of a DAG and each variable of the template"
)]
fn template_data(dag: &Dag) -> Slot {
    let Dag {
        dag_id,
        scope,
        group: _,
        description,
        doc,
        owner,
        tags,
        schedule,
        start_date,
        timezone,
        catchup,
        max_active_runs,
        concurrency_policy: _,
        suspended: _,
        deadline_seconds,
        tasks,
    } = dag;
    let (imports, provider_imports) = (imports(dag), provider_imports(dag));
    let timetable = match schedule {
        Schedule::Cron(expression) => Some(cron(expression, timezone)),
        Schedule::Every(length) => Some(every(length.secs(), start_date.unwrap_or(EPOCH), timezone)),
        Schedule::Assets { .. } | Schedule::Manual => None,
    };
    let suspended = dag.suspended && dag.is_time_triggered();
    let (all, either) = awaited_assets(schedule);
    let waited = |assets: &[Asset]| Slot::Many(assets.iter().map(|it| awaited_asset(scope, it)).collect());
    let tags = Value::List(tags.iter().map(|tag| Value::from(&**tag)).collect());
    let timed =
        deadline_seconds.is_some() || tasks.iter().any(|task| task.execution_timeout_seconds.is_some());
    // Airflow reads a file if `doc_md` ends with ".md". The line break at the end prevents this.
    let doc = format!("{doc}\n");

    Slot::group([
        ("needs_timedelta", Slot::Flag(timed)),
        ("short_import", Slot::Flag(imports.join(", ").len() <= IMPORT_WIDTH)),
        ("imports", Slot::Many(imports.into_iter().map(Slot::Name).collect())),
        ("dag_id", Slot::string(dag_id)),
        ("description", Slot::string(description)),
        ("doc", Slot::Literal(Literal::text("doc_md", 4, &doc))),
        ("timetable", Slot::optional(timetable)),
        ("suspended", Slot::Flag(suspended)),
        ("all", waited(all)),
        ("either", waited(either)),
        ("of_provider", Slot::Many(provider_imports.into_iter().map(Slot::Name).collect())),
        ("start_date", Slot::optional(start_date.map(date))),
        ("timezone", Slot::string(timezone)),
        ("catchup", Slot::argument("catchup", 4, &Value::Bool(*catchup))),
        // The run that replaces another run must be active to do so.
        (
            "max_active_runs",
            Slot::number(if dag.replaces_active_runs() { REPLACING_ACTIVE_RUNS } else { *max_active_runs }),
        ),
        ("deadline", seconds(*deadline_seconds)),
        ("default_args", Slot::argument("default_args", 4, &default_args(owner, tasks))),
        ("tags", Slot::argument("tags", 4, &tags)),
        ("tasks", Slot::Many((0u64..).zip(tasks).map(|(number, one)| task(number, dag, one)).collect())),
        ("edges", Slot::Many(edges(tasks))),
    ])
}

/// Returns the arguments of all tasks, with the owner of tasks that name none.
fn default_args(owner: &str, tasks: &[Task]) -> Value {
    let mut arguments = vec![
        ("retries".into(), Value::Int(RETRIES)),
        ("retry_delay".into(), Value::Int(RETRY_DELAY_SECONDS)),
    ];
    if tasks.is_empty() || tasks.iter().any(|task| task.owner.is_none()) {
        arguments.insert(0, ("owner".into(), Value::from(owner)));
    }
    Value::Dict(arguments)
}

fn task(number: u64, dag: &Dag, task: &Task) -> Slot {
    let Task {
        task_id,
        owner,
        job,
        fingerprint,
        parameters,
        run_parameters,
        outlets,
        execution_timeout_seconds,
        upstream: _,
    } = task;
    let expressions =
        run_parameters.iter().map(|(name, value)| (name.clone(), Value::from(expression(*value)))).collect();
    let parts = run_parameters.iter().filter(|(_, value)| value.identifies_data());
    let partition: Vec<Value> = parts.map(|(name, _)| Value::from(&**name)).collect();
    Slot::group([
        ("number", Slot::Number(number)),
        ("task_id", Slot::string(task_id)),
        ("owner", Slot::optional(owner.as_deref().map(Slot::string))),
        ("scope", Slot::string(&dag.scope)),
        ("job", Slot::string(job)),
        ("fingerprint", Slot::string(fingerprint)),
        ("parameters", dict_argument("parameters", parameters.clone())),
        ("run_parameters", dict_argument("run_parameters", expressions)),
        ("partition", list_argument("partition", partition)),
        ("outlets", Slot::Many(outlets.iter().map(asset).collect())),
        ("timeout", seconds(*execution_timeout_seconds)),
        ("replace", Slot::Flag(dag.replaces_active_runs())),
    ])
}

/// Returns an argument of a task, or nothing if it is empty.
fn dict_argument(name: &'static str, pairs: Vec<(String, Value)>) -> Slot {
    Slot::optional((!pairs.is_empty()).then(|| Slot::argument(name, 8, &Value::Dict(pairs))))
}

fn list_argument(name: &'static str, items: Vec<Value>) -> Slot {
    Slot::optional((!items.is_empty()).then(|| Slot::argument(name, 8, &Value::List(items))))
}

/// Returns the dependencies between tasks, by the numbers of their variables. Unknown ids are passed on, so that
/// Airflow rejects the file: a task that does not wait would be worse.
fn edges(tasks: &[Task]) -> Vec<Slot> {
    let numbers: HashMap<&str, u64> = tasks.iter().map(|task| &*task.task_id).zip(0..).collect();
    let of_task = |(to, task): (u64, &Task)| -> Vec<Slot> {
        let edge = |from: &String| {
            let known = numbers.get(&**from).map(|&from| Slot::group([("from", Slot::Number(from))]));
            Slot::group([
                ("known", Slot::optional(known)),
                ("unknown", Slot::string(from)),
                ("to", Slot::Number(to)),
            ])
        };
        task.upstream.iter().map(edge).collect()
    };
    (0..).zip(tasks).flat_map(of_task).collect()
}

/// Returns the names that the file imports from `airflow.sdk`, in the order in which ruff sorts imports.
fn imports(dag: &Dag) -> Vec<&'static str> {
    let cron = matches!(dag.schedule, Schedule::Cron(_));
    let (all, either) = awaited_assets(&dag.schedule);
    let waits = !all.is_empty() || !either.is_empty();
    let asset = waits || dag.tasks.iter().any(|task| !task.outlets.is_empty());
    let deadline = dag.deadline_seconds.is_some();
    [
        (true, "DAG"),
        (asset, "Asset"),
        (!all.is_empty(), "AssetAll"),
        (waits, "AssetAny"),
        (deadline, "AsyncCallback"),
        (cron, "CronDataIntervalTimetable"),
        (deadline, "DeadlineAlert"),
        (deadline, "DeadlineReference"),
    ]
    .into_iter()
    .filter_map(|(used, name)| used.then_some(name))
    .collect()
}

/// Returns the names that the file imports from `dcp_airflow`, in the order in which ruff sorts imports.
fn provider_imports(dag: &Dag) -> Vec<&'static str> {
    let (all, either) = awaited_assets(&dag.schedule);
    [
        (matches!(dag.schedule, Schedule::Every(_)), "EveryTimetable"),
        (!dag.tasks.is_empty(), "SparkOperator"),
        (dag.suspended && dag.is_time_triggered(), "SuspendedTimetable"),
        (!all.is_empty() || !either.is_empty(), "completed"),
    ]
    .into_iter()
    .filter_map(|(used, name)| used.then_some(name))
    .collect()
}

/// Returns the assets that must all be complete, and the assets of which one is sufficient. A single asset is in the
/// second list.
fn awaited_assets(schedule: &Schedule) -> (&[Asset], &[Asset]) {
    match schedule {
        Schedule::Assets { mode: AssetMode::All, assets } if assets.len() > 1 => (assets, &[]),
        Schedule::Assets { assets, .. } => (&[], assets),
        Schedule::Cron(_) | Schedule::Every(_) | Schedule::Manual => (&[], &[]),
    }
}

/// Returns an asset that the DAG waits for. It can also be completed outside this Airflow.
fn awaited_asset(scope: &str, asset: &Asset) -> Slot {
    let Asset { name, uri } = asset;
    Slot::group([("name", Slot::string(name)), ("uri", Slot::string(uri)), ("scope", Slot::string(scope))])
}

fn asset(asset: &Asset) -> Slot {
    let Asset { name, uri } = asset;
    Slot::group([("name", Slot::string(name)), ("uri", Slot::string(uri))])
}

fn cron(expression: &str, timezone: &str) -> Slot {
    timetable("CronDataIntervalTimetable", vec![argument("", expression), argument("timezone=", timezone)])
}

fn every(seconds: u64, since: Date, timezone: &str) -> Slot {
    let Date { year, month, day } = since;
    let seconds = Slot::group([("name", Slot::Name("seconds=")), ("value", Slot::Number(seconds))]);
    let since = argument("since=", &format!("{year:04}-{month:02}-{day:02}"));
    timetable("EveryTimetable", vec![seconds, since, argument("timezone=", timezone)])
}

fn timetable(class: &'static str, arguments: Vec<Slot>) -> Slot {
    Slot::group([("class", Slot::Name(class)), ("arguments", Slot::Many(arguments))])
}

/// Returns an argument of a timetable. `name` includes the equals sign.
fn argument(name: &'static str, value: &str) -> Slot {
    Slot::group([("name", Slot::Name(name)), ("value", Slot::string(value))])
}

fn date(Date { year, month, day }: Date) -> Slot {
    Slot::group([("year", Slot::number(year)), ("month", Slot::number(month)), ("day", Slot::number(day))])
}

/// Returns a group, because templates treat the number zero as absent.
fn seconds(seconds: Option<u64>) -> Slot {
    Slot::optional(seconds.map(|seconds| Slot::group([("seconds", Slot::Number(seconds))])))
}

/// Returns the template expression of a value of the run.
fn expression(value: TemplateValue) -> &'static str {
    match value {
        TemplateValue::Date => "{{ ds }}",
        TemplateValue::LocalDate => {
            "{{ logical_date.in_timezone(dag.timetable.timezone | default(dag.timezone)) | ds }}"
        }
        TemplateValue::Timestamp => "{{ ts }}",
        TemplateValue::IntervalStart => "{{ data_interval_start | ts }}",
        TemplateValue::IntervalStartDate => {
            "{{ data_interval_start.in_timezone(dag.timetable.timezone | default(dag.timezone)) | ds }}"
        }
        TemplateValue::IntervalEnd => "{{ data_interval_end | ts }}",
        TemplateValue::IntervalEndDate => {
            "{{ data_interval_end.in_timezone(dag.timetable.timezone | default(dag.timezone)) | ds }}"
        }
        TemplateValue::RunAfter => "{{ dag_run.run_after | ts }}",
        TemplateValue::RunAfterDate => "{{ dag_run.run_after | ds }}",
        TemplateValue::RunId => "{{ run_id }}",
    }
}
