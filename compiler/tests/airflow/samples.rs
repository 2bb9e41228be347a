use dcp_model::dag::{Asset, AssetMode, Dag, Date, Schedule, Task, TemplateValue, Value};
use dcp_model::manifest::{ConcurrencyPolicy, Duration};

/// Returns a DAG of every shape, with the name of its golden file.
pub(crate) fn all() -> Vec<(&'static str, Dag)> {
    vec![
        ("cron", cron()),
        ("every", every()),
        (
            "every_from_a_date",
            Dag { start_date: Some(Date { year: 2026, month: 1, day: 1 }), catchup: true, ..every() },
        ),
        ("suspended", Dag { suspended: true, ..cron() }),
        ("suspended_every", Dag { suspended: true, ..every() }),
        ("replace", Dag { concurrency_policy: ConcurrencyPolicy::Replace, ..every() }),
        ("assets_any", assets(AssetMode::Any)),
        ("assets_all", assets(AssetMode::All)),
        ("assets_one", assets_one()),
        ("manual", dag("adhoc__backfill", Schedule::Manual, vec![task("backfill")])),
        ("tasks", tasks()),
        ("owners", owners()),
        ("deadline", Dag { deadline_seconds: Some(5400), ..cron() }),
        ("empty", dag("adhoc__empty", Schedule::Manual, vec![])),
    ]
}

fn dag(dag_id: &str, schedule: Schedule, tasks: Vec<Task>) -> Dag {
    Dag {
        dag_id: dag_id.to_owned(),
        scope: "shop/prod".to_owned(),
        group: false,
        description: "Orders of a day, by customer".to_owned(),
        doc: "# Orders\n\nManifest: `manifests/orders.yaml`, address: `CoreEtlJob/logistics/orders`.\n\nOwner: team-logistics"
            .to_owned(),
        owner: "team-logistics".to_owned(),
        tags: vec!["dcp".to_owned(), "logistics".to_owned()],
        schedule,
        start_date: None,
        timezone: "UTC".to_owned(),
        catchup: false,
        max_active_runs: 1,
        concurrency_policy: ConcurrencyPolicy::Queue,
        suspended: false,
        deadline_seconds: None,
        tasks,
    }
}

fn task(task_id: &str) -> Task {
    Task {
        task_id: task_id.to_owned(),
        owner: None,
        job: format!("CoreEtlJob/logistics/{task_id}"),
        fingerprint: "sha256:0123456789abcdef".to_owned(),
        parameters: vec![],
        run_parameters: vec![],
        outlets: vec![],
        execution_timeout_seconds: None,
        upstream: vec![],
    }
}

fn asset(name: &str) -> Asset {
    Asset { name: name.to_owned(), uri: format!("s3://lake/{name}") }
}

fn cron() -> Dag {
    let options = Value::Dict(vec![
        ("full_refresh".to_owned(), Value::Bool(false)),
        ("limit".to_owned(), Value::None),
        ("columns".to_owned(), Value::List(vec!["order_id".into(), "customer".into(), "größe".into()])),
    ]);
    let mut one = task("orders-daily");
    one.parameters = vec![
        ("region".to_owned(), "EU \"central\" {{ not_a_template }}".into()),
        ("batch".to_owned(), Value::Int(-500)),
        ("options".to_owned(), options),
    ];
    one.run_parameters = TemplateValue::ALL.into_iter().map(|value| (format!("{value:?}"), value)).collect();
    one.outlets = vec![asset("orders")];
    one.execution_timeout_seconds = Some(3600);
    Dag {
        description: "Aufträge des Tages, 毎日の注文 — \"alle\"".to_owned(),
        start_date: Some(Date { year: 2026, month: 1, day: 1 }),
        timezone: "Europe/Berlin".to_owned(),
        catchup: true,
        max_active_runs: 3,
        ..dag("logistics__orders-daily", Schedule::Cron("0 2 * * *".to_owned()), vec![one])
    }
}

fn every() -> Dag {
    let mut one = task("counts");
    one.run_parameters = vec![
        ("from".to_owned(), TemplateValue::IntervalStart),
        ("to".to_owned(), TemplateValue::IntervalEnd),
        ("day".to_owned(), TemplateValue::IntervalStartDate),
    ];
    let schedule = Schedule::Every(Duration::from_secs(5400));
    Dag { timezone: "Europe/Berlin".to_owned(), ..dag("logistics__counts", schedule, vec![one]) }
}

fn assets(mode: AssetMode) -> Dag {
    let mut one = task("report");
    one.run_parameters = vec![("run".to_owned(), TemplateValue::RunId)];
    let assets = vec![asset("orders"), asset("customers")];
    dag("logistics__report", Schedule::Assets { mode, assets }, vec![one])
}

fn assets_one() -> Dag {
    let assets =
        vec![asset("a-table-with-a-name-that-does-not-fit-into-one-line-of-a-file-beside-its-scope")];
    let mut one = task("report");
    one.run_parameters =
        vec![("day".to_owned(), TemplateValue::RunAfterDate), ("run".to_owned(), TemplateValue::RunId)];
    dag("logistics__report", Schedule::Assets { mode: AssetMode::All, assets }, vec![one])
}

fn owners() -> Dag {
    let mut dag = Dag { group: true, owner: "a@example.com, b@example.com".to_owned(), ..tasks() };
    for (task, owner) in dag.tasks.iter_mut().zip(["a", "b", "a"]) {
        task.owner = Some(format!("{owner}@example.com"));
    }
    dag
}

fn tasks() -> Dag {
    let mut clean = task("clean");
    clean.upstream = vec!["load".to_owned()];
    let mut report = task("report");
    report.upstream = vec!["load".to_owned(), "clean".to_owned()];
    report.outlets = vec![asset("report"), asset("report_index")];
    dag("logistics__nightly", Schedule::Cron("@daily".to_owned()), vec![task("load"), clean, report])
}
