//! Invalid input. Each bad file gets a diagnostic within limits of time and memory, and other manifests are still
//! checked.

use std::fmt::Write as _;
use std::path::Path;

use crate::harness::{CommandOutput, DCP, Sandbox};

const MAX_KIB: u64 = 256 * 1024;
/// The limit is one second. It applies to CPU time, because the machine may be busy; builds for tests are slower.
const MAX_SECONDS: f64 = if cfg!(debug_assertions) { 4.0 } else { 1.0 };

/// Runs a command and records its peak memory and CPU time. The timeout ends a command that waits forever.
const MEASURE: &str = "\
import resource, subprocess, sys
limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33))
code = subprocess.run(sys.argv[2:], timeout=60, preexec_fn=limit).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], 'w') as file:
    file.write(f'{used.ru_maxrss} {used.ru_utime + used.ru_stime}')
sys.exit(code)
";

/// Returns a project that has one manifest with a mistake.
fn project() -> Sandbox {
    let sandbox = Sandbox::project();
    sandbox.edit("manifests/orders-daily.yaml", "executors:", "exectuors:");
    sandbox
}

/// Validates within the limits, and checks that both the bad file and the mistake are reported.
#[track_caller]
fn validate(sandbox: &Sandbox, expected: &[&str]) -> CommandOutput {
    let measurements = Sandbox::new();
    let usage_file = measurements.join("used");
    let args = ["validate", "--output", "text"];
    let mut command = sandbox.command(Path::new("python3"));
    command.args(["-c", MEASURE]).arg(&usage_file).arg(&*DCP).args(args);
    let output = command.output().expect("python3 can be run");
    let ran = sandbox.capture(&args, &output).exits_with(1).prints("unknown field `exectuors`");
    let ran = expected.iter().fold(ran, |ran, text| ran.prints(text));
    let used = measurements.read("used");
    let (memory, seconds) = used.split_once(' ').expect("the file has two numbers");
    let memory: u64 = memory.parse().expect("the first is in KiB");
    let seconds: f64 = seconds.parse().expect("the second is in seconds");
    assert!(seconds < MAX_SECONDS, "took {seconds} s");
    assert!(memory < MAX_KIB, "took {memory} KiB");
    assert!(ran.stdout.len() < 64 * 1024, "printed {} bytes", ran.stdout.len());
    ran
}

#[track_caller]
fn assert_reported(content: impl AsRef<[u8]>, expected: &[&str]) {
    let sandbox = project();
    sandbox.write("manifests/bad.yaml", content);
    validate(&sandbox, expected).prints("[manifests/bad.yaml");
}

#[test]
fn manifest_that_is_not_utf8_is_reported() {
    assert_reported(
        b"apiVersion: dcp/v1\nkind: \xff\n",
        &["error[DCP0001]", "is not UTF-8, from its byte 25 on"],
    );
}

#[test]
fn empty_manifest_is_reported() {
    assert_reported("", &["error[DCP0004]"]);
    assert_reported("# nothing\n", &["error[DCP0004]"]);
}

#[test]
fn folder_named_like_a_manifest_is_reported() {
    let sandbox = project();
    std::fs::create_dir(sandbox.join("manifests/bad.yaml")).expect("a folder can be made");
    sandbox.write("manifests/bad.yaml/inner.yaml", "kind: Other");
    validate(&sandbox, &["`manifests/bad.yaml` is a folder", "[manifests/bad.yaml/inner.yaml:1:1]"]);
}

#[test]
fn oversized_manifest_is_reported() {
    let sandbox = project();
    let file = std::fs::File::create(sandbox.join("manifests/bad.yaml")).expect("a file can be made");
    file.set_len(100 * 1024 * 1024).expect("a file can be empty and large");
    validate(&sandbox, &["error[DCP0002]", "has 104857600 bytes"]);
    // Just above the limit. Reading detects the excess as well, for files that grow or report a wrong size.
    sandbox.write("manifests/bad.yaml", vec![b' '; 1024 * 1024 + 1]);
    validate(&sandbox, &["error[DCP0002]"]);
}

#[test]
fn deep_nesting_is_reported() {
    assert_reported("[".repeat(10_000), &["error[DCP0009]"]);
    assert_reported("- ".repeat(10_000), &["error[DCP0009]"]);
    assert_reported("{a: ".repeat(10_000), &["error[DCP0009]"]);
    assert_reported(format!("{}x{}", "[".repeat(10_000), "]".repeat(10_000)), &["error[DCP0009]"]);
}

#[test]
fn alias_bomb_is_reported() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let alias = format!("*a{}, ", level - 1).repeat(10);
        writeln!(bomb, "a{level}: &a{level} [{}]", alias.trim_end_matches(", "))
            .expect("a String can be written to");
    }
    assert_reported(bomb, &["error[DCP0009]"]);
}

#[test]
fn too_many_keys_are_reported() {
    // A million keys exceed the size limit of a manifest; 100,000 keys are within it.
    let keys = |count: u32| (0..count).fold(String::new(), |text, number| text + &format!("{number:x}: 1\n"));
    let sandbox = project();
    sandbox.write("manifests/bad.yaml", keys(1_000_000));
    validate(&sandbox, &["error[DCP0002]"]);
    assert_reported(keys(100_000), &["error[DCP0"]);
    assert_reported(
        format!("apiVersion: dcp/v1\nkind: CoreETL\n{}", keys(100_000)),
        &["99980 more unknown fields"],
    );
}

#[test]
fn overlong_line_is_reported() {
    assert_reported(format!("apiVersion: {}\n", "x".repeat(1_000_000)), &["error[DCP0011]"]);
    assert_reported(format!("{}: [", "日本 ".repeat(100_000)), &["error[DCP0"]);
}

#[test]
fn duplicate_address_is_reported() {
    let sandbox = project();
    sandbox.write("manifests/bad.yaml", sandbox.read("manifests/clicks-per-store.yaml"));
    validate(&sandbox, &["there are two manifests `sales/clicks-per-store`", "first here", "again here"]);
}

#[test]
fn control_characters_are_not_printed() {
    let name = "\\u001b]0;owned\\u0007\\u202e\\r\\n";
    assert_reported(format!("apiVersion: \"{name}\"\nkind: CoreETL\n"), &["error[DCP0011]"]);
    let sandbox = Sandbox::project();
    sandbox.write("manifests/bad.yaml", "apiVersion: x\u{1b}[31m\nkind: \"\u{202e}\u{9b}\"\n");
    sandbox.edit("manifests/orders-daily.yaml", "owner:", "\"on\\e[31mer\":");
    let ran = sandbox.run(&["validate"]).exits_with(1);
    let is_control = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!ran.stdout.contains(is_control), "{:?}", ran.stdout);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn links_out_of_the_project_are_rejected() {
        let sandbox = project();
        let outside = Sandbox::new();
        outside.write("x.yaml", "kind: Other").write("folder/y.yaml", "kind: Other");
        symlink(outside.join("x.yaml"), sandbox.join("manifests/bad.yaml")).expect("links can be made");
        symlink(outside.join("folder"), sandbox.join("manifests/bad")).expect("links can be made");
        let ran = validate(&sandbox, &["`manifests/bad.yaml` lies outside", "`manifests/bad` lies outside"]);
        assert_eq!(ran.stdout.matches("error[DCP0003]").count(), 2, "{}", ran.transcript());
        sandbox
            .run(&["validate", outside.join("x.yaml").to_str().expect("the text is UTF-8")])
            .exits_with(1)
            .prints("DCP0003");
        sandbox.edit("manifests/orders-daily.yaml", "      query: |", "      file: x.sql\n      query: |");
        let text = sandbox.read("manifests/orders-daily.yaml");
        let start = text.find("      query: |").expect("the manifest has a query");
        let end = text.find("      parameters:").expect("the manifest has parameters");
        sandbox.write("manifests/orders-daily.yaml", [&text[..start], &text[end..]].concat());
        outside.write("x.sql", "SELECT secret");
        symlink(outside.join("x.sql"), sandbox.join("x.sql")).expect("links can be made");
        sandbox.run(&["validate"]).exits_with(1).prints("`x.sql` lies outside of the project");
    }

    #[test]
    fn links_within_the_project_are_followed() {
        let sandbox = Sandbox::project();
        std::fs::rename(sandbox.join("manifests"), sandbox.join("real")).expect("a folder can be renamed");
        std::fs::create_dir(sandbox.join("manifests")).expect("a folder can be made");
        symlink("../real", sandbox.join("manifests/linked")).expect("links can be made");
        symlink("..", sandbox.join("real/up")).expect("links can be made");
        symlink("../../real/orders-daily.yaml", sandbox.join("real/orders-daily-too.yaml")).ok();
        std::fs::remove_file(sandbox.join("real/orders-daily-too.yaml")).expect("the file exists");
        assert_eq!(sandbox.run(&["validate"]).exits_with(0).stdout, "2 manifests are valid\n");
    }

    #[test]
    fn broken_links_are_reported() {
        let sandbox = project();
        symlink("gone.yaml", sandbox.join("manifests/dangling.yaml")).expect("links can be made");
        symlink("loop.yaml", sandbox.join("manifests/loop.yaml")).expect("links can be made");
        validate(
            &sandbox,
            &[
                "`manifests/dangling.yaml` is a link to nothing",
                "help: remove the link",
                "`manifests/loop.yaml` can't be read: too many levels of symbolic links",
            ],
        );
        symlink("gone.yaml", sandbox.join("named.yaml")).expect("links can be made");
        sandbox.run(&["validate", "named.yaml"]).exits_with(1).prints("`named.yaml` is a link to nothing");
        std::fs::remove_file(sandbox.join("dcp.yaml")).expect("the file exists");
        symlink("gone.yaml", sandbox.join("dcp.yaml")).expect("links can be made");
        sandbox.run(&["validate"]).exits_with(1).prints("`dcp.yaml` is a link to nothing");
    }

    #[test]
    fn special_files_are_reported() {
        let sandbox = project();
        let made = Command::new("mkfifo").arg(sandbox.join("manifests/bad.yaml")).status();
        assert!(made.expect("mkfifo can be run").success());
        symlink("/dev/zero", sandbox.join("manifests/zero.yaml")).expect("links can be made");
        validate(
            &sandbox,
            &["`manifests/bad.yaml` can't be read: it is not a regular file", "`manifests/zero.yaml`"],
        );
        sandbox.run(&["validate", "manifests/bad.yaml"]).exits_with(1).prints("it is not a regular file");
    }

    fn fifo(path: &Path) {
        _ = std::fs::remove_file(path);
        assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo can be run").success());
    }

    /// Runs a command with a timeout.
    #[track_caller]
    fn run_with_timeout(sandbox: &Sandbox, args: &[&str]) -> CommandOutput {
        let mut command = sandbox.command(Path::new("timeout"));
        command.args(["--kill-after=1", "60"]).arg(&*DCP).args(args);
        sandbox.capture(args, &command.output().expect("timeout, of coreutils, can be run"))
    }

    /// Covers every file of a project that `validate` reads, each replaced by something unreadable.
    #[test]
    fn special_files_are_rejected_at_every_path() {
        let from_file = "apiVersion: dcp/v1\nkind: CoreETL\n\
            metadata: {name: from-file, domain: sales, owner: data-platform@example.com}\n\
            spec: {engine: {version: \"4.1\"}, job: {sql: {file: sql/bad.sql}}, run: {manual: {}}}\n";
        let zero: &dyn Fn(&Path) = &|path| symlink("/dev/zero", path).expect("links can be made");
        let socket: &dyn Fn(&Path) = &|path| drop(UnixListener::bind(path).expect("sockets can be made"));
        for (kind, make, why) in [
            ("a FIFO", &fifo as &dyn Fn(&Path), "it is not a regular file"),
            ("a device", zero, "lies outside of the project"),
            ("a socket", socket, "it is not a regular file"),
        ] {
            for path in [".gitignore", "manifests/.gitignore", "manifests/bad.yaml", "sql/bad.sql"] {
                let sandbox = project();
                // Ignore files above the manifests apply only in a git repository.
                sandbox.write(".git/HEAD", "ref: refs/heads/main\n");
                if path == "sql/bad.sql" {
                    sandbox.write("manifests/from-file.yaml", from_file);
                    std::fs::create_dir(sandbox.join("sql")).expect("a folder can be made");
                }
                make(&sandbox.join(path));
                let ran = validate(&sandbox, &[&format!("`{path}`"), why]);
                assert!(!ran.stderr.contains("panic"), "{kind} at {path}");
            }
            let sandbox = project();
            std::fs::remove_file(sandbox.join("dcp.yaml")).expect("the file exists");
            make(&sandbox.join("dcp.yaml"));
            run_with_timeout(&sandbox, &["validate"]).exits_with(1).prints("`dcp.yaml`").prints(why);
        }
    }

    #[test]
    fn special_ignore_file_above_the_project_is_rejected() {
        let sandbox = Sandbox::new();
        sandbox.write(".git/HEAD", "ref: refs/heads/main\n");
        sandbox.run(&["init", "below/project", "-q"]).exits_with(0);
        fifo(&sandbox.join("below/.gitignore"));
        run_with_timeout(&sandbox, &["--project", "below/project", "validate"])
            .exits_with(1)
            .prints("`[DIR]/below/.gitignore` can't be read: it is not a regular file");
    }

    #[test]
    fn plans_do_not_wait_for_caches_and_saved_plans_that_are_fifos() {
        let sandbox = Sandbox::project();
        run_with_timeout(&sandbox, &["apply", "--auto-approve"]).exits_with(0);
        run_with_timeout(&sandbox, &["plan"]).exits_with(0);
        let cache = sandbox.join(".dcp/cache/default");
        let files: Vec<_> = std::fs::read_dir(&cache).expect("a plan writes it").flatten().collect();
        assert!(!files.is_empty(), "a plan writes the cache");
        for file in &files {
            fifo(&file.path());
        }
        run_with_timeout(&sandbox, &["plan"]).exits_with(0);
        let replaced = files.iter().filter(|file| file.path().is_file()).count();
        assert!(replaced > 0, "the next plan writes it again");
        std::fs::remove_dir_all(sandbox.join(".dcp/cache")).expect("the folder can be removed");
        fifo(&sandbox.join(".dcp/cache"));
        run_with_timeout(&sandbox, &["plan"]).exits_with(0);
        fifo(&sandbox.join("saved.json"));
        run_with_timeout(&sandbox, &["apply", "--auto-approve", "saved.json"])
            .exits_with(1)
            .prints("`saved.json` can't be read: it is not a regular file");
    }

    #[test]
    fn plans_do_not_wait_for_a_repository_whose_files_are_fifos() {
        for name in ["HEAD", "index", "config", "packed-refs"] {
            let sandbox = Sandbox::project();
            let made = sandbox.command(Path::new("git")).args(["init", "-q"]).status();
            assert!(made.expect("git can be run").success());
            fifo(&sandbox.join(".git").join(name));
            run_with_timeout(&sandbox, &["plan"]).exits_with(0);
            run_with_timeout(&sandbox, &["plan", "--since", "HEAD"]).exits_with(1).prints(&format!(
                "git can't say what changed since `HEAD`: `.git/{name}`: it is not a regular file"
            ));
        }
    }

    /// Runs `dcp` without access to unreadable files. Root can read every file, so its capabilities to do that are
    /// dropped.
    #[track_caller]
    fn run_without_capabilities(sandbox: &Sandbox, folder: &str, args: &[&str]) -> CommandOutput {
        const PRIVILEGES: &str = "-dac_override,-dac_read_search";
        if std::fs::read(sandbox.join("manifests/bad.yaml")).is_err() {
            return sandbox.run_in(folder, args);
        }
        let mut command = sandbox.command(Path::new("setpriv"));
        command.current_dir(sandbox.join(folder));
        command.args(["--bounding-set", PRIVILEGES, "--inh-caps", PRIVILEGES]).arg(&*DCP).args(args);
        let output = command.output().expect("setpriv, of util-linux, is there to test this as root");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.starts_with("setpriv:"), "as root, this can't be tested here: {stderr}");
        sandbox.capture(args, &output)
    }

    #[test]
    fn denied_permissions_are_reported() {
        let sandbox = project();
        sandbox.write("manifests/bad.yaml", "x").write("manifests/closed/x.yaml", "x");
        sandbox.run(&["init", "other", "-q"]).exits_with(0);
        let mode = |path: &str, mode: u32| {
            std::fs::set_permissions(sandbox.join(path), std::fs::Permissions::from_mode(mode))
                .expect("the file belongs to this user");
        };
        mode("manifests/bad.yaml", 0);
        mode("manifests/closed", 0);
        std::fs::create_dir(sandbox.join("other/build")).expect("a folder can be made");
        mode("other/build", 0o500);
        run_without_capabilities(&sandbox, ".", &["validate"])
            .exits_with(1)
            .prints("unknown field `exectuors`")
            .prints("`manifests/bad.yaml` can't be read: permission denied")
            .prints("`manifests/closed` can't be read: permission denied");
        run_without_capabilities(&sandbox, "other", &["compile", "--out", "build"])
            .exits_with(1)
            .prints("can't be written: permission denied");
        mode("manifests/closed", 0o700);
        mode("other/build", 0o700);
    }
}

#[test]
fn missing_path_is_reported() {
    let sandbox = project();
    let ran = sandbox.run(&["validate", "manifests/nope.yaml", "manifests"]).exits_with(1);
    ran.prints("there is no file `manifests/nope.yaml`").prints("unknown field `exectuors`");
    sandbox.edit("dcp.yaml", "[manifests]", "[manifests, more]");
    validate(&sandbox, &["there is no file `more`"]);
}
