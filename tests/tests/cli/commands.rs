//! Snapshots of the output of each command.

use insta::assert_snapshot;

use crate::harness::Sandbox;

const BATCH: &str = "manifests/orders-daily.yaml";
const STREAM: &str = "manifests/clicks-per-store.yaml";

#[test]
fn help_matches_the_snapshots() {
    let sandbox = Sandbox::new();
    assert_snapshot!("help", sandbox.run(&["--help"]).transcript());
    for command in ["validate", "compile", "graph", "schema", "fmt", "explain", "init", "completions"] {
        assert_snapshot!(format!("help_{command}"), sandbox.run(&[command, "--help"]).transcript());
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let sandbox = Sandbox::project();
    for args in [
        &[][..],
        &["frobnicate"],
        &["validate", "--output", "xml"],
        &["compile"],
        &["validate", "--project", "nowhere"],
        &["validate", "--project", "dcp.yaml"],
        &["init", "x", "--name", "No Name"],
        &["completions", "cmd"],
        &["explain", "DCP9999"],
        &["fmt", "-", "manifests"],
    ] {
        assert_eq!(sandbox.run(args).code, 2, "{args:?}");
    }
    assert_snapshot!("usage_validate", sandbox.run(&["validate", "--outptu", "json"]).transcript());
    assert_snapshot!("usage_project", sandbox.run(&["validate", "--project", "nowhere"]).transcript());
}

#[test]
fn init_creates_a_valid_project_for_every_target() {
    let sandbox = Sandbox::new();
    assert_snapshot!("init", sandbox.run(&["init", "shop"]).transcript());
    for target in ["dev", "prod"] {
        let ran = sandbox.run_in("shop", &["validate", "--target", target, "--deny-warnings"]);
        assert_eq!((ran.stdout.as_str(), ran.code), ("2 manifests are valid\n", 0), "{}", ran.transcript());
    }
    let written = sandbox.read("shop/dcp.yaml");
    assert_snapshot!("init_again", sandbox.run(&["init", "shop"]).transcript());
    assert_eq!(sandbox.read("shop/dcp.yaml"), written);
}

#[test]
fn init_writes_the_schemas_for_editors() {
    let sandbox = Sandbox::project();
    assert_eq!(sandbox.read(".dcp/schemas/manifest.json"), sandbox.run(&["schema"]).stdout);
    assert_eq!(sandbox.read(".dcp/schemas/project.json"), sandbox.run(&["schema", "project"]).stdout);
    let line = sandbox.read(BATCH).lines().next().expect("the file has lines").to_owned();
    let named = line.strip_prefix("# yaml-language-server: $schema=").expect("editors read this line");
    assert!(sandbox.join("manifests").join(named).exists(), "{line}");
}

#[test]
fn validate_reports_all_problems() {
    let sandbox = Sandbox::project();
    sandbox
        .edit(STREAM, "      watermark: {source: clicks, column: ts, delay: 10m}\n", "")
        .edit(STREAM, "executors:", "exectuors:")
        .edit(STREAM, "${var.kafka}", "${var.kafak}")
        .edit(BATCH, "0 3 * * *", "0 25 * * *");
    assert_snapshot!("validate_errors", sandbox.run(&["validate"]).exits_with(1).transcript());
    assert_snapshot!("validate_one_path", sandbox.run(&["validate", BATCH]).exits_with(1).transcript());
    sandbox
        .run_in("manifests", &["validate", "orders-daily.yaml"])
        .exits_with(1)
        .prints("[manifests/orders-daily.yaml:");
    sandbox.run(&["validate", "--color", "always", BATCH]).prints("\u{1b}[");
}

#[test]
fn validate_shows_labels_of_several_files() {
    let sandbox = Sandbox::project();
    sandbox.write("manifests/twice.yaml", sandbox.read(BATCH));
    assert_snapshot!("validate_twice", sandbox.run(&["validate"]).exits_with(1).transcript());
}

#[test]
fn deny_warnings_fails_on_warnings() {
    let sandbox = Sandbox::project();
    sandbox.edit("dcp.yaml", "      - set:", "      - match: {names: [no-such]}\n        set:");
    assert_snapshot!("validate_warning", sandbox.run(&["validate"]).exits_with(0).transcript());
    sandbox.run(&["validate", "--deny-warnings"]).exits_with(1).prints("warnings are denied");
    sandbox
        .run(&["compile", "--out", "build", "--deny-warnings"])
        .exits_with(1)
        .prints("nothing was written");
    assert!(!sandbox.join("build").exists());
}

#[test]
fn quiet_omits_notes_and_success_messages() {
    let sandbox = Sandbox::project();
    let ran = sandbox.run(&["validate", "--quiet"]).exits_with(0);
    assert_eq!(ran.stdout, "");
    sandbox.edit(STREAM, "      state: {partitions: 40}\n", "");
    sandbox.run(&["validate"]).exits_with(0).prints("note[DCP0113]");
    assert_eq!(sandbox.run(&["validate", "-q"]).exits_with(0).stdout, "");
}

#[test]
fn invalid_project_file_is_the_only_reported_problem() {
    let sandbox = Sandbox::project();
    sandbox.run(&["validate", "--target", "prdo"]).exits_with(1).prints("did you mean `prod`?");
    sandbox.edit("dcp.yaml", "project:", "projekt:");
    assert_snapshot!("validate_project", sandbox.run(&["validate"]).exits_with(1).transcript());
    sandbox.write("dcp.yaml", b"\xff\xfe");
    assert_snapshot!("validate_project_not_utf8", sandbox.run(&["validate"]).exits_with(1).transcript());
}

#[test]
fn project_is_found_from_subfolders_and_by_option() {
    let sandbox = Sandbox::new();
    sandbox.run(&["init", "shop", "-q"]).exits_with(0);
    for (folder, args) in [
        ("shop", &["validate"][..]),
        ("shop/manifests", &["validate"]),
        (".", &["validate", "--project", "shop"]),
        (".", &["validate", "shop/manifests"]),
        ("shop", &["validate", "manifests/orders-daily.yaml", "manifests"]),
    ] {
        let ran = sandbox.run_in(folder, args).exits_with(0);
        assert_eq!(ran.stdout, "2 manifests are valid\n", "{}", ran.transcript());
    }
    std::fs::create_dir(sandbox.join("empty")).expect("a folder can be made");
    sandbox.run_in("empty", &["validate"]).exits_with(1).prints("neither a `dcp.yaml` nor a manifest");
    sandbox.run_in("empty", &["validate", "--target", "prod"]).exits_with(2).prints("no `dcp.yaml`");
}

#[test]
fn git_ignored_and_hidden_files_are_skipped() {
    let sandbox = Sandbox::project();
    sandbox
        .write("manifests/.gitignore", "generated/\n")
        .write("manifests/generated/x.yaml", "not a manifest");
    sandbox.write("manifests/.hidden/x.yaml", "not a manifest").write("manifests/.x.yaml", "no");
    sandbox.write("manifests/notes.txt", "not YAML: [");
    assert_eq!(sandbox.run(&["validate"]).exits_with(0).stdout, "2 manifests are valid\n");
}

#[test]
fn explain_shows_pages_and_suggests_similar_codes() {
    let sandbox = Sandbox::new();
    assert_snapshot!("explain", sandbox.run(&["explain"]).exits_with(0).transcript());
    for code in ["DCP0107", "dcp0107", "107"] {
        sandbox.run(&["explain", code]).exits_with(0).prints("DCP0107");
    }
    let list = sandbox.run(&["explain"]).exits_with(0).stdout;
    let codes: Vec<&str> = list.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(codes.len() > 50, "{list}");
    for code in codes {
        sandbox.run(&["explain", code]).exits_with(0).prints("## What to do");
    }
    assert_snapshot!("explain_unknown", sandbox.run(&["explain", "DCP0197"]).exits_with(2).transcript());
}

#[test]
fn schemas_and_completions_are_printed() {
    let sandbox = Sandbox::new();
    for which in [&["schema"][..], &["schema", "manifest"], &["schema", "project"]] {
        let schema = sandbox.run(which).exits_with(0).json();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{which:?}");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        sandbox.run(&["completions", shell]).exits_with(0).prints("validate");
    }
}

#[test]
fn closed_stdout_is_not_an_error() {
    use std::io::Read as _;
    use std::process::Stdio;

    let sandbox = Sandbox::project();
    let mut command = sandbox.command(&crate::harness::DCP);
    // The output is larger than a pipe's buffer.
    command.arg("schema").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary can be run");
    let mut stdout = child.stdout.take().expect("the stream is piped");
    stdout.read_exact(&mut [0; 10]).expect("the program prints");
    drop(stdout);
    let output = child.wait_with_output().expect("the process or thread ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn folder_without_project_and_manifests_is_an_error() {
    let sandbox = Sandbox::new();
    for args in [
        &["validate"][..],
        &["plan"],
        &["compile", "--out", "build"],
        &["graph"],
        &["up"],
        &["status"],
        &["events", "shop/orders"],
        &["pause", "shop/orders"],
        &["history"],
        &["assets"],
        &["runs"],
        &["logs", "shop/orders"],
    ] {
        sandbox.run(args).exits_with(1).prints("has neither a `dcp.yaml` nor a manifest").prints("dcp init");
    }
    let left: Vec<_> = std::fs::read_dir(sandbox.path()).expect("the file exists").collect();
    assert!(left.is_empty(), "files were created: {left:?}");
}

#[test]
fn validate_above_several_projects_validates_each() {
    let sandbox = Sandbox::new();
    for project in ["one", "two"] {
        sandbox.run(&["init", project, "-q"]).exits_with(0);
    }
    sandbox.run(&["validate"]).exits_with(0).prints("project in `one`").prints("project in `two`");
    sandbox.edit("two/manifests/orders-daily.yaml", "executors:", "exectuors:");
    let ran = sandbox.run(&["validate"]).exits_with(1).prints("unknown field `exectuors`");
    assert_eq!(ran.stdout.matches("[manifests/orders-daily.yaml").count(), 1, "{}", ran.transcript());
    sandbox.run(&["validate", "--output", "json"]).exits_with(2).prints("name one by `--project`");
    sandbox.run(&["plan"]).exits_with(2).prints("is no project, and has `one`, `two` below it");
    sandbox.run(&["--project", "one", "validate", "--output", "json"]).exits_with(0);
}

#[test]
fn missing_program_is_reported_at_its_field() {
    let sandbox = Sandbox::new();
    let manifest = "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {name: a, domain: b, owner: c@example.com}\nspec:\n  \
                    engine: {version: \"4.1\"}\n  run: {manual: {}}\n  job:\n    pyspark:\n      main: jobs/a.py\n      \
                    pyFiles: [s3://code/b.zip, local:///opt/c.zip, lib.zip]\n  dependencies:\n    \
                    archives: [\"env.tar.gz#env\"]\n";
    sandbox.write("dcp.yaml", "project: shop\nmanifests: [a.yaml]\n").write("a.yaml", manifest);
    let ran = sandbox.run(&["validate"]).exits_with(1);
    let ran =
        ran.prints("there is no file `jobs/a.py`").prints("a.yaml:9:13").prints("there is no file `lib.zip`");
    let ran = ran.prints("a.yaml:10:54").prints("there is no file `env.tar.gz`").prints("DCP0001");
    assert_eq!(ran.stdout.matches("error[DCP0001]").count(), 3, "{}", ran.transcript());
    sandbox.write("jobs/a.py", "").write("lib.zip", "").write("env.tar.gz", "");
    sandbox.run(&["validate"]).exits_with(0);
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    sandbox.run(&["plan"]).exits_with(0);
    // The cached result of the manifest is valid only as long as its program exists.
    std::fs::remove_file(sandbox.join("jobs/a.py")).expect("the file exists");
    sandbox.run(&["plan"]).exits_with(1).prints("there is no file `jobs/a.py`");
}
