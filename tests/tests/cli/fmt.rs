//! Changes that `dcp fmt` makes to files.

use insta::assert_snapshot;

use crate::harness::Sandbox;

const BATCH: &str = "manifests/orders-daily.yaml";

/// Returns a project with superfluous spaces in one manifest.
fn untidy() -> Sandbox {
    let sandbox = Sandbox::project();
    sandbox.run(&["fmt", "-q"]).exits_with(0);
    sandbox.edit(BATCH, "domain: sales", "domain:   sales   # here");
    sandbox
}

#[test]
fn project_of_init_is_formatted() {
    let sandbox = Sandbox::project();
    assert_snapshot!("fmt_init", sandbox.run(&["fmt", "--check"]).exits_with(0).transcript());
}

#[test]
fn check_lists_files_without_changing_them() {
    let sandbox = untidy();
    let before = sandbox.read(BATCH);
    assert_snapshot!("fmt_check", sandbox.run(&["fmt", "--check"]).exits_with(1).transcript());
    assert_eq!(sandbox.read(BATCH), before);
}

#[test]
fn fmt_is_idempotent_and_keeps_comments() {
    let sandbox = untidy();
    assert_snapshot!("fmt", sandbox.run(&["fmt"]).exits_with(0).transcript());
    assert!(sandbox.read(BATCH).contains("domain: sales  # here"), "{}", sandbox.read(BATCH));
    assert_snapshot!("fmt_again", sandbox.run(&["fmt"]).exits_with(0).transcript());
}

#[cfg(unix)]
#[test]
fn fmt_keeps_permissions_and_links() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let sandbox = untidy();
    let path = sandbox.join(BATCH);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640))
        .expect("the file belongs to this user");
    std::fs::rename(&path, sandbox.join("elsewhere.yaml")).expect("a file can be moved");
    symlink("../elsewhere.yaml", &path).expect("links can be made");
    sandbox.run(&["fmt"]).exits_with(0).prints("formatted manifests/orders-daily.yaml");
    assert!(path.symlink_metadata().expect("the file exists").is_symlink());
    let mode = path.metadata().expect("the file exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(sandbox.read("elsewhere.yaml").contains("domain: sales  # here"));
}

#[test]
fn unreadable_file_does_not_stop_formatting_of_others() {
    let sandbox = untidy();
    sandbox.write("manifests/bad.yaml", "a: [\n").write("manifests/binary.yaml", b"\xff");
    assert_snapshot!("fmt_bad", sandbox.run(&["fmt"]).exits_with(1).transcript());
    assert_eq!(sandbox.read("manifests/bad.yaml"), "a: [\n");
}

#[test]
fn stdin_is_formatted_to_stdout() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run_with_input(&["fmt", "-"], "a:   1   # one\n").exits_with(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("a: 1  # one\n", ""));
    sandbox.run_with_input(&["fmt", "-", "--check"], "a:   1\n").exits_with(1);
    sandbox.run_with_input(&["fmt", "-", "--check"], "a: 1\n").exits_with(0);
    let bad = sandbox.run_with_input(&["fmt", "-"], "a: [\n").exits_with(1).prints("[stdin:");
    assert_eq!(bad.stdout, "");
}
