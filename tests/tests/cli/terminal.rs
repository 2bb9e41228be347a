//! The binary at a terminal.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use dcp_tests::fake_spark::FakeSpark;
use serde_json::{Value, json};

use crate::control_plane::{ControlPlane, TOKEN};
use crate::harness::{CommandOutput, DCP, Sandbox};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/terminal.py");

const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";

/// Expected outputs, each with the text to type when it appears.
pub(crate) type Typed<'a> = &'a [(&'a str, &'a str)];

/// Runs `dcp` at a terminal. The result's `stdout` is all of the output, and its `stderr` is the final screen.
fn run_in_terminal(sandbox: &Sandbox, args: &[&str], typed: Typed<'_>) -> CommandOutput {
    run_in_terminal_with(sandbox, args, typed, None, &[])
}

/// Like [`run_in_terminal`], but also creates the file `done` once all expected outputs have appeared.
pub(crate) fn run_in_terminal_with(
    sandbox: &Sandbox,
    args: &[&str],
    typed: Typed<'_>,
    done: Option<&Path>,
    environment: &[(&str, &Path)],
) -> CommandOutput {
    let mut python = sandbox.command("python3".as_ref());
    python.envs(environment.iter().copied());
    python.arg(SCRIPT).env("TERM", "xterm").env("NO_COLOR", "1").env("DCP_TOKEN", TOKEN);
    let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 can be run");
    let command: Vec<_> =
        std::iter::once(DCP.to_str().expect("the text is UTF-8")).chain(args.iter().copied()).collect();
    let task = json!({"argv": command, "columns": 80, "typed": typed, "done": done}).to_string();
    child
        .stdin
        .take()
        .expect("the stream is piped")
        .write_all(task.as_bytes())
        .expect("the program reads its task");
    let mut output = child.wait_with_output().expect("the process or thread ends");
    let report: Value = serde_json::from_slice(&output.stdout).expect("the program prints its result");
    output.stdout = report["output"].as_str().unwrap_or_default().replace("\r\n", "\n").into_bytes();
    let mut ran = sandbox.capture(args, &output);
    report["screen"].as_str().unwrap_or_default().clone_into(&mut ran.stderr);
    assert!(report["code"].is_i64(), "the command did not end:\n{}", ran.transcript());
    assert_eq!(report["is_raw"], false, "the terminal is left in raw mode:\n{}", ran.transcript());
    ran.code = i32::try_from(report["code"].as_i64().unwrap_or_default()).expect("the number is small");
    ran
}

/// Calls that print each kind of output, in this order.
const CALLS: [&str; 32] = [
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
];

#[test]
fn output_of_commands_fits_80_columns() {
    let sandbox = Sandbox::quickstart();
    let help = sandbox.run(&["--help"]).exits_with(0).stdout;
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 20, "{commands:?}");
    let mut calls: Vec<Vec<&str>> = commands.iter().map(|command| vec![*command, "--help"]).collect();
    calls.extend(["runner", "reconciler"].map(|service| vec!["serve", service, "--help"]));
    calls.extend(CALLS.iter().map(|call| call.split(' ').collect::<Vec<_>>()));
    let mut wide = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        if index + 1 == calls.len() {
            sandbox.edit("manifests/orders-daily.yaml", "schedule:", "schedul:");
            let broken = run_in_terminal(&sandbox, &["validate"], &[]);
            wide.extend(too_wide(&broken, "validate"));
        }
        wide.extend(too_wide(&run_in_terminal(&sandbox, call, &[]), &call.join(" ")));
    }
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn pages_of_explain_fit_80_columns() {
    let sandbox = Sandbox::new();
    let list = sandbox.run(&["explain"]).exits_with(0).stdout;
    let codes: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(codes.len() > 80, "{codes:?}");
    let page = |code: &&str| too_wide(&run_in_terminal(&sandbox, &["explain", code], &[]), code);
    let wide: Vec<String> = codes.iter().flat_map(page).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn executions_fit_80_columns() {
    let script = "echo 'Exception in thread \"main\" java.lang.IllegalStateException: the table \
                  lake.mart.orders_of_all_customers_by_day has no column customer_id' >&2; exit 1";
    let (sandbox, fake_spark) = (Sandbox::new(), FakeSpark::with_version("4.1.1", script));
    let name = "orders-of-all-customers-by-day";
    let manifest = crate::run::MANIFEST.replace("name: orders,", &format!("name: {name},"));
    sandbox.write("orders.yaml", &manifest).write("main.py", "");
    sandbox.write("dcp.yaml", "project: shop\nmanifests: [orders.yaml]\n");
    let spark = fake_spark.path("spark");
    let shown = |args: &[&str]| run_in_terminal_with(&sandbox, args, &[], None, &[("SPARK_HOME", &spark)]);
    let ran = shown(&["run", "orders.yaml"]).exits_with(1).prints("IllegalStateException");
    let listed = shown(&["runs"]).exits_with(0);
    let lines: Vec<&str> = listed.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", listed.transcript());
    assert_eq!(lines[1], format!("logistics/{name}"));
    let id = lines[2].split_whitespace().next().unwrap_or_default();
    let details = shown(&["runs", id]).exits_with(0).prints(name);
    let all = [(ran, "run"), (listed, "runs"), (details, "runs ID")];
    let wide: Vec<String> = all.iter().flat_map(|(ran, call)| too_wide(ran, call)).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

fn too_wide(ran: &CommandOutput, call: &str) -> Vec<String> {
    let lines = ran.stdout.lines().map(|line| line.rsplit('\r').next().unwrap_or_default());
    let lines = lines.filter(|line| line.chars().count() > 80);
    lines.map(|line| format!("{call}: {line}")).collect()
}

/// The terminal echoes `^C` after the spinner's line, which must not leave a second line on the screen.
#[test]
fn interrupt_leaves_no_spinner_on_the_screen() {
    let (sandbox, fake_spark) =
        (Sandbox::new(), FakeSpark::with_version("4.1.1", "while true; do sleep 0.02; done"));
    sandbox.write("orders.yaml", crate::run::MANIFEST).write("main.py", "");
    let spark = fake_spark.path("spark");
    let run = ["run", "orders.yaml"];
    let ran =
        run_in_terminal_with(&sandbox, &run, &[("running   1s", CTRL_C)], None, &[("SPARK_HOME", &spark)]);
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| !line.is_empty()).collect();
    let interrupted = lines.iter().position(|line| line.starts_with("interrupted: "));
    let before = interrupted.and_then(|at| lines.get(at.checked_sub(1)?)).copied().unwrap_or_default();
    assert!(before.starts_with("✓ running"), "{}", ran.transcript());
}

#[test]
fn signal_ends_the_prompt_and_restores_the_terminal() {
    let sandbox = Sandbox::quickstart();
    let prompt = ["sql", "--server", "http://127.0.0.1:1"];
    for signal in ["kill -TERM", "kill -HUP"] {
        let typed = [("sql> ", "SELECT 1"), ("SELECT 1", signal)];
        let ran = run_in_terminal(&sandbox, &prompt, &typed).exits_with(1);
        ran.prints(&signal.replace("kill -", "the prompt was ended by SIG"));
    }
}

#[test]
fn apply_asks_for_confirmation() {
    let sandbox = Sandbox::quickstart();
    for no in ["n\n", "\n", "what?\n", CTRL_D, CTRL_C] {
        let ran = run_in_terminal(&sandbox, &["apply"], &[("[y/N]", no)]).exits_with(1);
        assert!(ran.stdout.ends_with("\nnothing was applied\n"), "{}", ran.transcript());
        assert!(!sandbox.join(".dcp/dags/sandbox__pi.py").exists(), "{no:?}");
    }
    run_in_terminal(&sandbox, &["apply"], &[("[y/N]", "yes\n")]).exits_with(0).prints("applied serial 1");
    assert!(sandbox.join(".dcp/dags/sandbox__pi.py").exists());
}

#[test]
fn slow_apply_shows_a_spinner_until_it_ends() {
    let control_plane = ControlPlane::start();
    let sandbox = control_plane.project();
    control_plane.delay_next("commit");
    let spinner_turned = sandbox.join("turned");
    let ran = std::thread::scope(|scope| {
        let ran = scope.spawn(|| {
            let apply = ["apply", "--target", "prod", "--auto-approve"];
            // Each turn of the spinner writes its line again.
            run_in_terminal_with(&sandbox, &apply, &[("committing", ""); 4], Some(&spinner_turned), &[])
        });
        while !spinner_turned.exists() && !ran.is_finished() {
            std::thread::sleep(Duration::from_millis(10));
        }
        control_plane.release();
        ran.join().expect("the process or thread ends")
    });
    assert!(spinner_turned.exists(), "the spinner does not turn:\n{}", ran.transcript());
    ran.exits_with(0).prints("applied serial 1");
}

#[test]
fn apply_that_is_interrupted_twice_reports_an_unknown_result() {
    let control_plane = ControlPlane::start();
    let sandbox = control_plane.project();
    let apply = ["apply", "--target", "prod", "--auto-approve"];
    control_plane.delay_next("commit");
    // The first interrupt may come before the call reaches the control plane.
    let typed = [("committing", CTRL_C), ("interrupt again", CTRL_C)];
    let ran = run_in_terminal(&sandbox, &apply, &typed).exits_with(1);
    control_plane.release();
    ran.prints("whether it was applied is not known").prints("dcp history");
}
