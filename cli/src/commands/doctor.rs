//! `dcp doctor`

mod cluster;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use dcp_gateway::local::installation::{Installation, Installations};
use dcp_workspace::FOLDER;
use dcp_workspace::project::Workspace;

use crate::args;
use crate::failure::{Failure, Verdict};
use crate::out::{Console, ERROR, GOOD, HELP, WARNING};
use crate::render::{sanitize, titled};

/// The result of a check, with a remedy if it failed.
struct Finding {
    state: State,
    what: &'static str,
    found: String,
    help: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Passed,
    Failed,
    /// Only some jobs need it.
    Warning,
}

pub(super) fn run(
    args: &args::Doctor,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let home = Workspace::find(project, &[])?;
    if args.cluster.is_some() {
        return cluster::run(args, &home, console);
    }
    let installations = Installations::find(|name| std::env::var_os(name));
    let mut findings = vec![java(&installations)];
    findings.extend(sparks(&installations));
    findings.push(python(&installations));
    findings.push(folder(&home));
    let passed = print(&findings, console)?;
    let end =
        if passed { "jobs can be run on this machine" } else { "no job can be run on this machine yet" };
    writeln!(console.out, "\n{end}")?;
    Ok(if passed { Verdict::Success } else { Verdict::Errors })
}

/// Prints findings. Returns true if none has failed.
fn print(findings: &[Finding], console: &mut Console) -> Result<bool, Failure> {
    let look = console.out.look;
    let width = findings.iter().map(|it| it.what.len()).fold(8, usize::max);
    for Finding { state, what, found, help } in findings {
        let (mark, style) = match state {
            State::Passed => ('✓', GOOD),
            State::Failed => ('✗', ERROR),
            State::Warning => ('!', WARNING),
        };
        let title = format!("{mark} {what:<width$}");
        writeln!(console.out, "{}", titled(0, &title, style, &sanitize(found), look))?;
        if let Some(help) = help {
            writeln!(console.out, "{}", titled(width + 3, "help:", HELP, help, look))?;
        }
    }
    Ok(findings.iter().all(|it| it.state != State::Failed))
}

fn java(installations: &Installations) -> Finding {
    let what = "java";
    let help =
        "install a Java 17 or newer, such as Debian's `openjdk-17-jre-headless`, or name one in JAVA_HOME";
    let Some(java) = &installations.java else {
        let found = "there is none in JAVA_HOME or in PATH".to_owned();
        return Finding { state: State::Failed, what, found, help: Some(help.to_owned()) };
    };
    let said = Command::new(java).arg("-version").output();
    // Java prints its version to stderr, in quotes: `openjdk version "17.0.13"`.
    let said = said.map(|it| String::from_utf8_lossy(&it.stderr).into_owned()).unwrap_or_default();
    let version = said.split('"').nth(1).unwrap_or_default().to_owned();
    let major: Option<u32> = version.split(['.', '-']).next().and_then(|it| it.parse().ok());
    let path = java.display();
    match major {
        Some(17..) => {
            Finding { state: State::Passed, what, found: format!("{version} at {path}"), help: None }
        }
        Some(_) => {
            let found = format!("{version} at {path} is too old for Spark 4");
            Finding { state: State::Failed, what, found, help: Some(help.to_owned()) }
        }
        None => {
            let found = format!("{path} does not say which version it is");
            Finding { state: State::Failed, what, found, help: Some(help.to_owned()) }
        }
    }
}

fn sparks(installations: &Installations) -> Vec<Finding> {
    let what = "spark";
    let one = |it: &Installation| Finding {
        state: State::Passed,
        what,
        found: format!("{} at {}", it.version, it.home.display()),
        help: None,
    };
    if !installations.found.is_empty() {
        return installations.found.iter().map(one).collect();
    }
    let found = format!("there is none; looked at {}", installations.searched.join("; "));
    let help = "name one in SPARK_HOME, or install one in a place that dcp searches:\n\
        python3 -m venv ~/.cache/dcp/spark/4.1\n\
        ~/.cache/dcp/spark/4.1/bin/pip install pyspark==4.1.1";
    vec![Finding { state: State::Failed, what, found, help: Some(help.to_owned()) }]
}

fn python(installations: &Installations) -> Finding {
    let what = "python";
    let own = installations.found.iter().find_map(|it| it.python.clone());
    let found = own.or_else(|| installations.python.clone().map(Into::into));
    if let Some(found) = found {
        return Finding { state: State::Passed, what, found: found.display().to_string(), help: None };
    }
    let there = Command::new("python3").arg("--version").output();
    match there {
        Ok(said) if said.status.success() => {
            let found = String::from_utf8_lossy(&said.stdout).trim().to_owned();
            Finding { state: State::Passed, what, found: format!("{found}, `python3` in PATH"), help: None }
        }
        _ => {
            let help = "install Python 3.10 or newer; SQL, streams and PySpark programs need it".to_owned();
            let found = "there is no `python3` in PATH".to_owned();
            Finding { state: State::Warning, what, found, help: Some(help) }
        }
    }
}

/// Checks that the folder for the state of runs is writable.
fn folder(home: &Workspace) -> Finding {
    let what = "folder";
    let folder = home.root.join(FOLDER);
    let tried = dcp_workspace::private::dcp_folder(&home.root).and_then(tempfile::NamedTempFile::new_in);
    match tried {
        Ok(_) => {
            let found = format!("{} can be written", folder.display());
            Finding { state: State::Passed, what, found, help: None }
        }
        Err(error) => {
            let found = format!("{} can't be written: {error}", folder.display());
            let help = "what is run is remembered there: make it writable for this user".to_owned();
            Finding { state: State::Failed, what, found, help: Some(help) }
        }
    }
}
