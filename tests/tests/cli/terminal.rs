//! The binary at a terminal.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use dcp_tests::machine::Machine;
use serde_json::{Value, json};

use crate::harness::{DCP, Ran, Sandbox};
use crate::plane::{Plane, TOKEN};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/terminal.py");

const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";

/// Expected outputs, each with the text to type when it appears.
type Typed<'a> = &'a [(&'a str, &'a str)];

/// Runs `dcp` at a terminal. The result's `stdout` is all of the output, and its `stderr` is the final screen.
fn at_terminal(sandbox: &Sandbox, args: &[&str], typed: Typed<'_>) -> Ran {
    watched(sandbox, args, typed, None, &[])
}

/// Like [`at_terminal`], but also creates the file `done` once all expected outputs have appeared.
fn watched(
    sandbox: &Sandbox,
    args: &[&str],
    typed: Typed<'_>,
    done: Option<&Path>,
    environment: &[(&str, &Path)],
) -> Ran {
    let mut python = sandbox.command("python3".as_ref());
    python.envs(environment.iter().copied());
    python.arg(SCRIPT).env("TERM", "xterm").env("NO_COLOR", "1").env("DCP_TOKEN", TOKEN);
    let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 is there");
    let command: Vec<_> =
        std::iter::once(DCP.to_str().expect("it is UTF-8")).chain(args.iter().copied()).collect();
    let task = json!({"argv": command, "columns": 80, "typed": typed, "done": done}).to_string();
    child.stdin.take().expect("it is piped").write_all(task.as_bytes()).expect("it reads its task");
    let mut output = child.wait_with_output().expect("it ends");
    let told: Value = serde_json::from_slice(&output.stdout).expect("it reports the result");
    output.stdout = told["output"].as_str().unwrap_or_default().replace("\r\n", "\n").into_bytes();
    let mut ran = sandbox.ran(args, &output);
    told["screen"].as_str().unwrap_or_default().clone_into(&mut ran.stderr);
    assert!(told["code"].is_i64(), "it did not end:\n{}", ran.shown());
    ran.code = i32::try_from(told["code"].as_i64().unwrap_or_default()).expect("it is a small number");
    ran
}

#[test]
fn output_of_commands_fits_80_columns() {
    let sandbox = Sandbox::quickstart();
    let help = sandbox.run(&["--help"]).ends_with(0).stdout;
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 20, "{commands:?}");
    let mut calls: Vec<Vec<&str>> = commands.iter().map(|command| vec![*command, "--help"]).collect();
    calls.extend(["runner", "reconciler"].map(|service| vec!["serve", service, "--help"]));
    for call in [
        "validate",
        "plan",
        "apply --auto-approve",
        "apply --auto-approve",
        "plan",
        "history",
        "show",
        "drift",
        "graph",
        "assets",
        "status",
        "runs",
        "doctor",
        "explain",
        "explain DCP0107",
        "explain DCP9999",
        "events logistics/orders",
        "runs nope",
        "result nope",
        "logs nope",
        "cancel nope",
        "pause a/b",
        "resume a/b",
        "restart a/b",
        "init",
        "run nope/nope",
        "run manifests/pi.yaml",
        "rollback 7",
        "fmt --check",
        "schema nope",
        "--nope",
        "destroy --auto-approve",
    ] {
        calls.push(call.split(' ').collect());
    }
    let mut wide = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        if index + 1 == calls.len() {
            sandbox.edit("manifests/orders-daily.yaml", "schedule:", "schedul:");
            let broken = at_terminal(&sandbox, &["validate"], &[]);
            wide.extend(too_wide(&broken, "validate"));
        }
        wide.extend(too_wide(&at_terminal(&sandbox, call, &[]), &call.join(" ")));
    }
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn pages_of_explain_fit_80_columns() {
    let sandbox = Sandbox::new();
    let list = sandbox.run(&["explain"]).ends_with(0).stdout;
    let codes: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(codes.len() > 80, "{codes:?}");
    let page = |code: &&str| too_wide(&at_terminal(&sandbox, &["explain", code], &[]), code);
    let wide: Vec<String> = codes.iter().flat_map(page).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn executions_fit_80_columns() {
    let script = "echo 'Exception in thread \"main\" java.lang.IllegalStateException: the table \
                  lake.mart.orders_of_all_customers_by_day has no column customer_id' >&2; exit 1";
    let (sandbox, machine) = (Sandbox::new(), Machine::of_version("4.1.1", script));
    let name = "orders-of-all-customers-by-day";
    let manifest = crate::run::MANIFEST.replace("name: orders,", &format!("name: {name},"));
    sandbox.write("orders.yaml", &manifest).write("main.py", "");
    sandbox.write("dcp.yaml", "project: shop\nmanifests: [orders.yaml]\n");
    let spark = machine.path("spark");
    let shown = |args: &[&str]| watched(&sandbox, args, &[], None, &[("SPARK_HOME", &spark)]);
    let ran = shown(&["run", "orders.yaml"]).ends_with(1).says("IllegalStateException");
    let listed = shown(&["runs"]).ends_with(0);
    let lines: Vec<&str> = listed.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", listed.shown());
    assert_eq!(lines[1], format!("logistics/{name}"));
    let id = lines[2].split_whitespace().next().unwrap_or_default();
    let details = shown(&["runs", id]).ends_with(0).says(name);
    let all = [(ran, "run"), (listed, "runs"), (details, "runs ID")];
    let wide: Vec<String> = all.iter().flat_map(|(ran, call)| too_wide(ran, call)).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

fn too_wide(ran: &Ran, call: &str) -> Vec<String> {
    let lines = ran.stdout.lines().map(|line| line.rsplit('\r').next().unwrap_or_default());
    let lines = lines.filter(|line| line.chars().count() > 80);
    lines.map(|line| format!("{call}: {line}")).collect()
}

/// The terminal echoes `^C` after the spinner's line, which must not leave a second line on the screen.
#[test]
fn interrupt_leaves_no_spinner_on_the_screen() {
    let (sandbox, machine) =
        (Sandbox::new(), Machine::of_version("4.1.1", "while true; do sleep 0.02; done"));
    sandbox.write("orders.yaml", crate::run::MANIFEST).write("main.py", "");
    let spark = machine.path("spark");
    let run = ["run", "orders.yaml"];
    let ran = watched(&sandbox, &run, &[("running   1s", CTRL_C)], None, &[("SPARK_HOME", &spark)]);
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| !line.is_empty()).collect();
    let interrupted = lines.iter().position(|line| line.starts_with("interrupted: "));
    let before = interrupted.and_then(|at| lines.get(at.checked_sub(1)?)).copied().unwrap_or_default();
    assert!(before.starts_with("✓ running"), "{}", ran.shown());
}

#[test]
fn what_is_asked_is_answered() {
    let sandbox = Sandbox::quickstart();
    for no in ["n\n", "\n", "what?\n", CTRL_D, CTRL_C] {
        let ran = at_terminal(&sandbox, &["apply"], &[("[y/N]", no)]).ends_with(1);
        assert!(ran.stdout.ends_with("\nnothing was applied\n"), "{}", ran.shown());
        assert!(!sandbox.join(".dcp/dags/sandbox__pi.py").exists(), "{no:?}");
    }
    at_terminal(&sandbox, &["apply"], &[("[y/N]", "yes\n")]).ends_with(0).says("applied serial 1");
    assert!(sandbox.join(".dcp/dags/sandbox__pi.py").exists());
}

#[test]
fn an_apply_that_takes_long_comes_to_its_end() {
    let plane = Plane::start();
    let sandbox = plane.project();
    plane.hold("commit");
    let turned = sandbox.join("turned");
    let ran = std::thread::scope(|scope| {
        let ran = scope.spawn(|| {
            let apply = ["apply", "--target", "prod", "--auto-approve"];
            // Each turn of the spinner writes its line again.
            watched(&sandbox, &apply, &[("committing", ""); 4], Some(&turned), &[])
        });
        while !turned.exists() && !ran.is_finished() {
            std::thread::sleep(Duration::from_millis(10));
        }
        plane.let_go();
        ran.join().expect("it ends")
    });
    assert!(turned.exists(), "the spinner does not turn:\n{}", ran.shown());
    ran.ends_with(0).says("applied serial 1");
}

#[test]
fn an_apply_that_is_interrupted_says_where_it_is() {
    let plane = Plane::start();
    let sandbox = plane.project();
    let apply = ["apply", "--target", "prod", "--auto-approve"];
    plane.hold("commit");
    // The first interrupt may come before the call reaches the control plane.
    let typed = [("committing", CTRL_C), ("interrupt again", CTRL_C)];
    let ran = at_terminal(&sandbox, &apply, &typed).ends_with(1);
    plane.let_go();
    ran.says("whether it was applied is not known").says("dcp history");
}
