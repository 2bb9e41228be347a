//! A shell that runs all commands of a document, so that folders, functions and background jobs persist.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::harness::{DCP, Sandbox};

/// Marks the end of a command's output; the exit code follows.
const END_MARKER: &str = "--- the command has ended with";
/// Timeout of a command: a stream may have to restart on a busy machine.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(10);
/// The folder that documents show in place of the sandbox.
const DOCUMENTED_HOME: &str = "/home/ada";
/// Replaces `cargo install`, because the test has a binary already.
const CARGO_SCRIPT: &str =
    "#!/bin/sh\ncase \"$*\" in \"install --path cli --locked\"*) ;; *) exit 1 ;; esac\n";

pub(super) struct Shell {
    bash: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    folder: PathBuf,
}

impl Shell {
    pub(super) fn new(sandbox: &Sandbox) -> Self {
        let programs = sandbox.join(".programs");
        std::fs::create_dir(&programs).expect("the temporary folder is writable");
        let cargo = programs.join("cargo");
        std::fs::write(&cargo, CARGO_SCRIPT).expect("the temporary folder is writable");
        std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755))
            .expect("the file belongs to this user");
        let folder = DCP.parent().expect("a binary is in a folder");
        let inherited = std::env::var("PATH").unwrap_or_default();
        let mut command = sandbox.command(Path::new("bash"));
        command
            .args(["--noprofile", "--norc"])
            .env("PATH", format!("{}:{}:{inherited}", programs.display(), folder.display()))
            .env("DCP_USER", "ada")
            .envs(
                ["HOME", "DCP_CACHE", "JAVA_HOME"].iter().filter_map(|it| Some((it, std::env::var_os(it)?))),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut bash = command.spawn().expect("bash can be run");
        let mut input = bash.stdin.take().expect("the stream is piped");
        input.write_all(b"exec 2>&1\n").expect("bash reads its input");
        let output = BufReader::new(bash.stdout.take().expect("the stream is piped"));
        let (send, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let folder = sandbox.path().canonicalize().expect("the sandbox exists");
        Self { bash, input, lines, folder }
    }

    /// Runs a command to its end, and returns its output.
    pub(super) fn run(&mut self, command: &str) -> String {
        write!(self.input, "{{ {command}\n}} </dev/null\nprintf '\\n{END_MARKER} %s\\n' $?\n")
            .expect("bash reads");
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        let mut written = String::new();
        let code = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            assert!(line.is_ok(), "`{command}` has not ended; it wrote:\n{written}");
            let line = line.unwrap_or_default();
            match line.strip_prefix(END_MARKER) {
                Some(code) => break code.trim().to_owned(),
                None => written.extend([line.as_str(), "\n"]),
            }
        };
        let failed = written.lines().any(|line| line.starts_with("error"));
        assert_eq!(code != "0", failed, "`{command}` ended with {code}, and wrote:\n{written}");
        let written = written.replace(&self.folder.display().to_string(), DOCUMENTED_HOME);
        let written = match std::env::var("HOME") {
            Ok(home) if home.len() > 1 => written.replace(&home, DOCUMENTED_HOME),
            _ => written,
        };
        let written = written.trim_matches('\n');
        if written.is_empty() { String::new() } else { format!("{written}\n") }
    }
}

impl Drop for Shell {
    /// Kills processes that the commands left running, even after a failure.
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.bash.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.bash.wait();
        dcp_tests::fake_spark::kill_processes_of(&self.folder);
    }
}
