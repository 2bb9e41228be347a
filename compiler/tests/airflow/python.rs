//! Runs Python to check generated code. The tests fail on machines without Python, because nothing else can check it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde::Serialize;

/// Runs `script` once, with one line of JSON for each input, and returns its output.
pub(crate) fn run<T: Serialize>(script: &str, inputs: &[T]) -> String {
    let mut child = Command::new("python3")
        .args(["-I", "-c", script])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("these tests need python3 in PATH");
    let lines: String = inputs.iter().map(|input| serde_json::to_string(input).unwrap() + "\n").collect();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // A script stops reading when it finds a problem, and its output is the better message.
    let _ = writer.join().unwrap();
    assert!(output.status.success(), "python3 failed, its message is above");
    String::from_utf8(output.stdout).unwrap()
}
