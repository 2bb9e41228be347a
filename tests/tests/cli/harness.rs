//! Builds the binary once, and runs it in temporary folders.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use tempfile::TempDir;

/// The binary, built with the profile of this test.
pub(crate) static DCP: LazyLock<PathBuf> = LazyLock::new(|| build("dcp"));

/// Builds a binary with the profile of this test, and returns its path.
pub(crate) fn build(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let profile = test.ancestors().nth(2).expect("cargo puts tests into target/<profile>/deps");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // The whole workspace and one of its tests are selected so that cargo enables the same features of the
    // dependencies as for `cargo test --workspace`. Otherwise it compiles hundreds of them again.
    build.args(["build", "--quiet", "--locked", "--workspace", "--bin", name, "--test", "cli"]);
    build.arg("--manifest-path").arg(dcp_tests::workspace().join("Cargo.toml"));
    build.arg("--target-dir").arg(profile.parent().expect("a profile's folder is in the target folder"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    // Cargo sets these variables for the tests' package. Inherited, they would make build scripts that watch them run
    // again.
    for (key, _) in std::env::vars_os() {
        let ours = |prefix| key.to_str().is_some_and(|key| key.starts_with(prefix));
        if ours("CARGO_PKG_") || ours("CARGO_MANIFEST_") {
            build.env_remove(&key);
        }
    }
    assert!(build.status().expect("cargo can be run").success(), "`{name}` can be built");
    profile.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// A temporary folder to run `dcp` in.
pub(crate) struct Sandbox {
    folder: TempDir,
}

/// The exit code and output of a run.
pub(crate) struct CommandOutput {
    command_line: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let folder =
            tempfile::Builder::new().prefix("dcp-test").tempdir().expect("there is a temporary folder");
        Self { folder }
    }

    /// Creates a copy of the example: a stream, a scheduled job, a program that runs on assets, and a manual one.
    pub(crate) fn quickstart() -> Self {
        let sandbox = Self::new();
        let from = dcp_tests::workspace().join("examples/quickstart");
        let copied = Command::new("cp").arg("-r").arg(from.join(".")).arg(sandbox.path()).status();
        assert!(copied.expect("cp can be run").success());
        sandbox
    }

    /// Creates a project with `dcp init`.
    pub(crate) fn initialized() -> Self {
        let sandbox = Self::new();
        let made = sandbox.run(&["init", "--name", "shop", "--quiet"]);
        assert_eq!((made.code, made.stdout.as_str(), made.stderr.as_str()), (0, "", ""));
        sandbox
    }

    /// Creates a project with a table that is written every night, and a stream from Kafka.
    pub(crate) fn project() -> Self {
        let sandbox = Self::initialized();
        std::fs::remove_dir_all(sandbox.join("manifests")).expect("the folder was created");
        let from = dcp_tests::workspace().join("tests/tests/cli/project");
        let copied = Command::new("cp").arg("-r").arg(from.join(".")).arg(sandbox.path()).status();
        assert!(copied.expect("cp can be run").success());
        sandbox
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn join(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.join(path);
        std::fs::create_dir_all(path.parent().expect("the path is in the sandbox"))
            .expect("folders can be made");
        std::fs::write(path, content).expect("files can be written");
        self
    }

    /// Writes the token of the machine's own user, which may do everything.
    pub(crate) fn write_token(&self, token: &str) -> &Self {
        self.write(".dcp/token", token);
        for (path, mode) in [(".dcp", 0o700), (".dcp/token", 0o600)] {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(self.join(path), permissions).expect("the mode can be set");
        }
        self
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.join(path)).expect("the file exists")
    }

    /// Replaces the first occurrence of a text in a file.
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) -> &Self {
        let text = self.read(path);
        assert!(text.contains(from), "`{path}` has `{from}`");
        self.write(path, text.replacen(from, to, 1))
    }

    /// Returns a command whose environment has only `PATH` from this machine.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .env_clear()
            .env("DCP_USER", "unknown")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> CommandOutput {
        self.run_in(".", args)
    }

    pub(crate) fn run_in(&self, folder: &str, args: &[&str]) -> CommandOutput {
        let output =
            self.command(&DCP).current_dir(self.join(folder)).args(args).stdin(Stdio::null()).output();
        self.capture(args, &output.expect("the binary can be run"))
    }

    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> CommandOutput {
        let mut command = self.command(&DCP);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be run");
        child
            .stdin
            .take()
            .expect("the stream is piped")
            .write_all(input.as_bytes())
            .expect("the program reads its input");
        self.capture(args, &child.wait_with_output().expect("the process or thread ends"))
    }

    pub(crate) fn capture(&self, args: &[&str], output: &Output) -> CommandOutput {
        let text = |bytes: &[u8]| {
            let folder = self.path().canonicalize().expect("the sandbox exists");
            let text = String::from_utf8(bytes.to_vec()).expect("output is UTF-8");
            text.replace(&folder.display().to_string(), "[DIR]")
                .replace(&self.path().display().to_string(), "[DIR]")
        };
        CommandOutput {
            command_line: args.join(" "),
            code: output.status.code().expect("the process exited"),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

impl CommandOutput {
    /// Returns the command, its output and its exit code, as snapshots have them.
    pub(crate) fn transcript(&self) -> String {
        let mut text = format!("$ dcp {}\n", self.command_line);
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                write!(text, "--- {name}\n{stream}").expect("writing to a String does not fail");
            }
        }
        write!(text, "--- exit code {}", self.code).expect("writing to a String does not fail");
        text
    }

    #[track_caller]
    pub(crate) fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.transcript());
        self
    }

    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "no `{text}` in:\n{}",
            self.transcript()
        );
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).expect("stdout is JSON")
    }
}
