//! Snapshots of the output of each command.

use insta::assert_snapshot;

use crate::harness::Sandbox;

const BATCH: &str = "manifests/orders-daily.yaml";
const STREAM: &str = "manifests/clicks-per-store.yaml";

#[test]
fn help_teaches() {
    let sandbox = Sandbox::new();
    assert_snapshot!("help", sandbox.run(&["--help"]).shown());
    for command in ["validate", "compile", "graph", "schema", "fmt", "explain", "init", "completions"] {
        assert_snapshot!(format!("help_{command}"), sandbox.run(&[command, "--help"]).shown());
    }
}

#[test]
fn wrong_usage_is_code_2() {
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
    assert_snapshot!("usage_validate", sandbox.run(&["validate", "--outptu", "json"]).shown());
    assert_snapshot!("usage_project", sandbox.run(&["validate", "--project", "nowhere"]).shown());
}

#[test]
fn init_makes_a_project_that_is_valid_for_every_target() {
    let sandbox = Sandbox::new();
    assert_snapshot!("init", sandbox.run(&["init", "shop"]).shown());
    for target in ["dev", "prod"] {
        let ran = sandbox.run_in("shop", &["validate", "--target", target, "--deny-warnings"]);
        assert_eq!((ran.stdout.as_str(), ran.code), ("2 manifests are valid\n", 0), "{}", ran.shown());
    }
    let written = sandbox.read("shop/dcp.yaml");
    assert_snapshot!("init_again", sandbox.run(&["init", "shop"]).shown());
    assert_eq!(sandbox.read("shop/dcp.yaml"), written);
}

#[test]
fn init_gives_editors_the_schemas_that_are_printed() {
    let sandbox = Sandbox::project();
    assert_eq!(sandbox.read(".dcp/schemas/manifest.json"), sandbox.run(&["schema"]).stdout);
    assert_eq!(sandbox.read(".dcp/schemas/project.json"), sandbox.run(&["schema", "project"]).stdout);
    let line = sandbox.read(BATCH).lines().next().expect("it has lines").to_owned();
    let named = line.strip_prefix("# yaml-language-server: $schema=").expect("editors read this line");
    assert!(sandbox.join("manifests").join(named).exists(), "{line}");
}

#[test]
fn validate_says_everything_that_is_wrong() {
    let sandbox = Sandbox::project();
    sandbox
        .edit(STREAM, "      watermark: {source: clicks, column: ts, delay: 10m}\n", "")
        .edit(STREAM, "executors:", "exectuors:")
        .edit(STREAM, "${var.kafka}", "${var.kafak}")
        .edit(BATCH, "0 3 * * *", "0 25 * * *");
    assert_snapshot!("validate_errors", sandbox.run(&["validate"]).ends_with(1).shown());
    assert_snapshot!("validate_one_path", sandbox.run(&["validate", BATCH]).ends_with(1).shown());
    sandbox
        .run_in("manifests", &["validate", "orders-daily.yaml"])
        .ends_with(1)
        .says("[manifests/orders-daily.yaml:");
    sandbox.run(&["validate", "--color", "always", BATCH]).says("\u{1b}[");
}

#[test]
fn validate_shows_labels_of_several_files() {
    let sandbox = Sandbox::project();
    sandbox.write("manifests/twice.yaml", sandbox.read(BATCH));
    assert_snapshot!("validate_twice", sandbox.run(&["validate"]).ends_with(1).shown());
}

#[test]
fn warnings_are_denied_on_demand() {
    let sandbox = Sandbox::project();
    sandbox.edit("dcp.yaml", "      - set:", "      - match: {names: [no-such]}\n        set:");
    assert_snapshot!("validate_warning", sandbox.run(&["validate"]).ends_with(0).shown());
    sandbox.run(&["validate", "--deny-warnings"]).ends_with(1).says("warnings are denied");
    sandbox.run(&["compile", "--out", "build", "--deny-warnings"]).ends_with(1).says("nothing was written");
    assert!(!sandbox.join("build").exists());
}

#[test]
fn quiet_leaves_out_notes_and_praise() {
    let sandbox = Sandbox::project();
    let ran = sandbox.run(&["validate", "--quiet"]).ends_with(0);
    assert_eq!(ran.stdout, "");
    sandbox.edit(STREAM, "      state: {partitions: 40}\n", "");
    sandbox.run(&["validate"]).ends_with(0).says("note[DCP0113]");
    assert_eq!(sandbox.run(&["validate", "-q"]).ends_with(0).stdout, "");
}

#[test]
fn a_broken_project_file_is_told_of_and_nothing_else() {
    let sandbox = Sandbox::project();
    sandbox.run(&["validate", "--target", "prdo"]).ends_with(1).says("did you mean `prod`?");
    sandbox.edit("dcp.yaml", "project:", "projekt:");
    assert_snapshot!("validate_project", sandbox.run(&["validate"]).ends_with(1).shown());
    sandbox.write("dcp.yaml", b"\xff\xfe");
    assert_snapshot!("validate_project_not_utf8", sandbox.run(&["validate"]).ends_with(1).shown());
}

#[test]
fn the_project_is_found_from_below_and_from_elsewhere() {
    let sandbox = Sandbox::new();
    sandbox.run(&["init", "shop", "-q"]).ends_with(0);
    for (folder, args) in [
        ("shop", &["validate"][..]),
        ("shop/manifests", &["validate"]),
        (".", &["validate", "--project", "shop"]),
        (".", &["validate", "shop/manifests"]),
        ("shop", &["validate", "manifests/orders-daily.yaml", "manifests"]),
    ] {
        let ran = sandbox.run_in(folder, args).ends_with(0);
        assert_eq!(ran.stdout, "2 manifests are valid\n", "{}", ran.shown());
    }
    std::fs::create_dir(sandbox.join("empty")).expect("a folder can be made");
    sandbox.run_in("empty", &["validate"]).ends_with(1).says("neither a `dcp.yaml` nor a manifest");
    sandbox.run_in("empty", &["validate", "--target", "prod"]).ends_with(2).says("no `dcp.yaml`");
}

#[test]
fn git_ignored_and_hidden_files_are_left_out() {
    let sandbox = Sandbox::project();
    sandbox
        .write("manifests/.gitignore", "generated/\n")
        .write("manifests/generated/x.yaml", "not a manifest");
    sandbox.write("manifests/.hidden/x.yaml", "not a manifest").write("manifests/.x.yaml", "no");
    sandbox.write("manifests/notes.txt", "not YAML: [");
    assert_eq!(sandbox.run(&["validate"]).ends_with(0).stdout, "2 manifests are valid\n");
}

#[test]
fn explain_finds_pages_and_near_codes() {
    let sandbox = Sandbox::new();
    assert_snapshot!("explain", sandbox.run(&["explain"]).ends_with(0).shown());
    for code in ["DCP0107", "dcp0107", "107"] {
        sandbox.run(&["explain", code]).ends_with(0).says("DCP0107");
    }
    let list = sandbox.run(&["explain"]).ends_with(0).stdout;
    let codes: Vec<&str> = list.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(codes.len() > 50, "{list}");
    for code in codes {
        sandbox.run(&["explain", code]).ends_with(0).says("## What to do");
    }
    assert_snapshot!("explain_unknown", sandbox.run(&["explain", "DCP0197"]).ends_with(2).shown());
}

#[test]
fn schemas_and_completions_are_printed() {
    let sandbox = Sandbox::new();
    for which in [&["schema"][..], &["schema", "manifest"], &["schema", "project"]] {
        let schema = sandbox.run(which).ends_with(0).json();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{which:?}");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        sandbox.run(&["completions", shell]).ends_with(0).says("validate");
    }
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    use std::io::Read as _;
    use std::process::Stdio;

    let sandbox = Sandbox::project();
    let mut command = sandbox.command(&crate::harness::DCP);
    // The output is larger than a pipe's buffer.
    command.arg("schema").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary can be run");
    let mut stdout = child.stdout.take().expect("it is piped");
    stdout.read_exact(&mut [0; 10]).expect("it prints");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn a_folder_without_project_and_manifests_is_an_error() {
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
        sandbox.run(args).ends_with(1).says("has neither a `dcp.yaml` nor a manifest").says("dcp init");
    }
    let left: Vec<_> = std::fs::read_dir(sandbox.path()).expect("it is there").collect();
    assert!(left.is_empty(), "nothing is made there: {left:?}");
}

#[test]
fn validate_above_several_projects_validates_each() {
    let sandbox = Sandbox::new();
    for project in ["one", "two"] {
        sandbox.run(&["init", project, "-q"]).ends_with(0);
    }
    sandbox.run(&["validate"]).ends_with(0).says("project in `one`").says("project in `two`");
    sandbox.edit("two/manifests/orders-daily.yaml", "executors:", "exectuors:");
    let ran = sandbox.run(&["validate"]).ends_with(1).says("unknown field `exectuors`");
    assert_eq!(ran.stdout.matches("[manifests/orders-daily.yaml").count(), 1, "{}", ran.shown());
    sandbox.run(&["validate", "--output", "json"]).ends_with(2).says("name one by `--project`");
    sandbox.run(&["plan"]).ends_with(2).says("is no project, and has `one`, `two` below it");
    sandbox.run(&["--project", "one", "validate", "--output", "json"]).ends_with(0);
}

#[test]
fn a_program_that_is_not_there_is_reported_where_it_is_named() {
    let sandbox = Sandbox::new();
    let manifest = "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {name: a, domain: b, owner: c@example.com}\nspec:\n  \
                    engine: {version: \"4.1\"}\n  run: {manual: {}}\n  job:\n    pyspark:\n      main: jobs/a.py\n      \
                    pyFiles: [s3://code/b.zip, local:///opt/c.zip, lib.zip]\n  dependencies:\n    \
                    archives: [\"env.tar.gz#env\"]\n";
    sandbox.write("dcp.yaml", "project: shop\nmanifests: [a.yaml]\n").write("a.yaml", manifest);
    let ran = sandbox.run(&["validate"]).ends_with(1);
    let ran = ran.says("there is no file `jobs/a.py`").says("a.yaml:9:13").says("there is no file `lib.zip`");
    let ran = ran.says("a.yaml:10:54").says("there is no file `env.tar.gz`").says("DCP0001");
    assert_eq!(ran.stdout.matches("error[DCP0001]").count(), 3, "{}", ran.shown());
    sandbox.write("jobs/a.py", "").write("lib.zip", "").write("env.tar.gz", "");
    sandbox.run(&["validate"]).ends_with(0);
    sandbox.run(&["apply", "--auto-approve"]).ends_with(0);
    sandbox.run(&["plan"]).ends_with(0);
    // The cached result of the manifest is valid only as long as its program exists.
    std::fs::remove_file(sandbox.join("jobs/a.py")).expect("it is there");
    sandbox.run(&["plan"]).ends_with(1).says("there is no file `jobs/a.py`");
}
