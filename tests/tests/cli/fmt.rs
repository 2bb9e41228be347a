//! Changes that `dcp fmt` makes to files.

use insta::assert_snapshot;

use crate::harness::Sandbox;

const BATCH: &str = "manifests/orders-daily.yaml";

/// Returns a project with superfluous spaces in one manifest.
fn untidy() -> Sandbox {
    let sandbox = Sandbox::project();
    sandbox.run(&["fmt", "-q"]).ends_with(0);
    sandbox.edit(BATCH, "domain: sales", "domain:   sales   # here");
    sandbox
}

#[test]
fn what_init_makes_is_formatted() {
    let sandbox = Sandbox::project();
    assert_snapshot!("fmt_init", sandbox.run(&["fmt", "--check"]).ends_with(0).shown());
}

#[test]
fn check_lists_and_changes_nothing() {
    let sandbox = untidy();
    let before = sandbox.read(BATCH);
    assert_snapshot!("fmt_check", sandbox.run(&["fmt", "--check"]).ends_with(1).shown());
    assert_eq!(sandbox.read(BATCH), before);
}

#[test]
fn files_are_formatted_once_and_keep_their_comments() {
    let sandbox = untidy();
    assert_snapshot!("fmt", sandbox.run(&["fmt"]).ends_with(0).shown());
    assert!(sandbox.read(BATCH).contains("domain: sales  # here"), "{}", sandbox.read(BATCH));
    assert_snapshot!("fmt_again", sandbox.run(&["fmt"]).ends_with(0).shown());
}

#[cfg(unix)]
#[test]
fn files_keep_their_permissions_and_links_stay_links() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let sandbox = untidy();
    let path = sandbox.join(BATCH);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("it is ours");
    std::fs::rename(&path, sandbox.join("elsewhere.yaml")).expect("a file can be moved");
    symlink("../elsewhere.yaml", &path).expect("links can be made");
    sandbox.run(&["fmt"]).ends_with(0).says("formatted manifests/orders-daily.yaml");
    assert!(path.symlink_metadata().expect("it is there").is_symlink());
    let mode = path.metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(sandbox.read("elsewhere.yaml").contains("domain: sales  # here"));
}

#[test]
fn a_file_that_can_not_be_read_does_not_keep_others_from_being_formatted() {
    let sandbox = untidy();
    sandbox.write("manifests/bad.yaml", "a: [\n").write("manifests/binary.yaml", b"\xff");
    assert_snapshot!("fmt_bad", sandbox.run(&["fmt"]).ends_with(1).shown());
    assert_eq!(sandbox.read("manifests/bad.yaml"), "a: [\n");
}

#[test]
fn stdin_goes_to_stdout() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run_with_input(&["fmt", "-"], "a:   1   # one\n").ends_with(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("a: 1  # one\n", ""));
    sandbox.run_with_input(&["fmt", "-", "--check"], "a:   1\n").ends_with(1);
    sandbox.run_with_input(&["fmt", "-", "--check"], "a: 1\n").ends_with(0);
    let bad = sandbox.run_with_input(&["fmt", "-"], "a: [\n").ends_with(1).says("[stdin:");
    assert_eq!(bad.stdout, "");
}
