//! Plans of workloads in groups, whose tasks are in one DAG.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use dcp_model::primitive::Primitive;

use crate::manifests::{STATELESS, STREAM};
use crate::{FINE, Files, compiled, golden, plan, shown};

/// Returns a path and a manifest that is in a group, if one is given.
fn member(name: &str, reads: &str, run: &str, group: Option<&str>) -> (String, String) {
    let group = group.map_or_else(String::new, |group| format!("  orchestrator: {{group: {group}}}\n"));
    let text = format!(
        "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{name: {name}, domain: shop, owner: a@example.com}}\nspec:\n  \
         engine: {{version: \"4.1\"}}\n  job: {{sql: {{query: INSERT INTO lake.{name} SELECT * FROM {reads}}}}}\n  \
         run: {run}\n{group}"
    );
    (format!("{name}.yaml"), text)
}

const NIGHT: &str = "{schedule: {cron: \"0 2 * * *\"}}";
const MORNING: &str = "{schedule: {cron: \"0 5 * * *\", timezone: Europe/Berlin}}";
const ON_CLEAN: &str = "{onAssets: {all: [{table: lake.clean}]}}";

/// Returns a group of three: `clean` reads the table that `orders` writes, and `report` waits for the table of `clean`.
fn nightly(run: &str) -> Files {
    Files::from([
        member("orders", "lake.raw", run, Some("nightly")),
        member("clean", "lake.orders", run, Some("nightly")),
        member("report", "lake.clean", ON_CLEAN, Some("nightly")),
    ])
}

fn with(mut files: Files, changed: (String, String)) -> Files {
    files.insert(changed.0, changed.1);
    files
}

fn without(mut files: Files, name: &str) -> Files {
    files.remove(&format!("{name}.yaml"));
    files
}

/// A title, the applied manifests, and the new ones.
type Change = (&'static str, Files, Files);

fn changes_within_groups() -> Vec<Change> {
    let group = || nightly(NIGHT);
    vec![
        ("nothing", group(), group()),
        ("a group comes", Files::new(), group()),
        ("a group goes", group(), Files::new()),
        (
            "one more, between two others",
            group(),
            with(
                with(group(), member("check", "lake.orders", NIGHT, Some("nightly"))),
                member("clean", "lake.check", NIGHT, Some("nightly")),
            ),
        ),
        (
            "one is changed",
            group(),
            with(group(), member("clean", "lake.orders WHERE id > 0", NIGHT, Some("nightly"))),
        ),
        ("one goes", group(), without(group(), "report")),
        ("all but one go", group(), without(without(group(), "report"), "clean")),
        ("all are run at another time", group(), nightly(MORNING)),
        ("all are run by hand", group(), nightly("{manual: {}}")),
    ]
}

/// The stream `copy`, with its own checkpoint, run by the schedule of the group.
fn scheduled_stream() -> String {
    let (sink, run) =
        ("format: parquet}}\n", "  run:\n    continuous: {checkpoint: \"s3://lake/checkpoints/copy\"}");
    let checkpoint = "      checkpoint: \"s3://lake/checkpoints/copy\"\n";
    STATELESS
        .replace("logistics", "shop")
        .replace(sink, &format!("{sink}{checkpoint}"))
        .replace(run, &format!("  run: {NIGHT}\n  orchestrator: {{group: nightly}}"))
}

fn own(name: &str) -> (String, String) {
    member(name, "lake.raw", NIGHT, None)
}

fn changes_of_membership() -> Vec<Change> {
    let group = || nightly(NIGHT);
    vec![
        ("one gets a DAG of its own", group(), with(group(), member("report", "lake.clean", ON_CLEAN, None))),
        (
            "one comes from a DAG of its own",
            with(group(), own("orders")),
            with(group(), member("orders", "lake.raw", NIGHT, Some("nightly"))),
        ),
        (
            "one goes to another group",
            group(),
            with(group(), member("report", "lake.clean", ON_CLEAN, Some("late"))),
        ),
    ]
}

fn changes_of_names() -> Vec<Change> {
    let group = || nightly(NIGHT);
    vec![
        (
            "another name for the group",
            group(),
            group().into_iter().map(|(path, text)| (path, text.replace("nightly", "early"))).collect(),
        ),
        ("another name for one of them", without(group(), "report"), {
            let (path, text) = member("tidy", "lake.orders", NIGHT, Some("nightly"));
            with(
                without(without(group(), "report"), "clean"),
                (path, text.replace("lake.tidy", "lake.clean")),
            )
        }),
    ]
}

fn changes_of_kinds() -> Vec<Change> {
    let group = || nightly(NIGHT);
    let stream = |text: String| ("s.yaml".to_owned(), text);
    let edited_stream = STREAM.replace("logistics", "shop").replace("name: clicks", "name: nightly");
    vec![
        ("a group in place of a workload of that name", Files::from([own("nightly")]), group()),
        ("a workload in place of a group of that name", group(), Files::from([own("nightly")])),
        ("a group in place of a stream of that name", Files::from([stream(edited_stream)]), group()),
        (
            "a stream is run by a schedule in a group",
            with(group(), stream(STATELESS.replace("logistics", "shop"))),
            with(group(), stream(scheduled_stream())),
        ),
    ]
}

#[test]
fn changes_of_groups() {
    let mut text = String::new();
    let cases =
        [changes_within_groups(), changes_of_membership(), changes_of_names(), changes_of_kinds()].concat();
    for (title, old, new) in &cases {
        let plan = plan(old, new);
        writeln!(text, "## {title}\n{}", shown(&plan)).expect(FINE);
        let mut seen = BTreeSet::new();
        let steps = || plan.workloads.iter().flat_map(|workload| &workload.steps);
        assert!(steps().all(|step| seen.insert(&step.address)), "{title}: an address has two steps");
        let changed: BTreeSet<String> = {
            let (old, new) = (compiled_or_none(old), compiled_or_none(new));
            let all = old.iter().chain(&new).map(|it| it.address.to_string());
            let of = |all: &[Primitive], address: &str| {
                all.iter().find(|it| it.address.to_string() == address).map(|it| it.fingerprint.clone())
            };
            all.filter(|address| of(&old, address) != of(&new, address)).collect()
        };
        let planned = steps().map(|step| step.address.clone()).collect();
        assert_eq!(changed, planned, "{title}: all that differs has a step");
    }
    golden("groups.out", &text);
}

fn compiled_or_none(files: &Files) -> Vec<Primitive> {
    if files.is_empty() { Vec::new() } else { compiled(files).primitives }
}
