//! Helpers of the tests that use several crates.

pub mod cluster;
pub mod commits;
pub mod connect;
pub mod fake_spark;
pub mod kafka;
pub mod moto;
pub mod oidc_provider;
pub mod postgres;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use dcp_compiler::compile::{Compilation, Compiler, Goal, PROJECT_FILE};
use dcp_compiler::diag::{Diagnostic, Severity};
use dcp_compiler::project::{FILE_NAME, Project};
use dcp_compiler::providers;
use dcp_compiler::source::{SourceFile, Sources};
use dcp_compiler::{clusters, drivers, policy};
use dcp_model::primitive::{Body, CoreEtlJob, Primitive};

/// The token of servers that tests start.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Returns the options of a server with one caller, identified by [`TOKEN`].
///
/// # Panics
/// If the name is not valid for a caller.
pub fn server_options(name: &str) -> dcp_server::Options {
    let token = dcp_server::Token { name: name.to_owned(), token: TOKEN.to_owned() };
    dcp_server::Options::new(dcp_server::Tokens::new(&[token]).expect("the token is valid"))
}

/// Returns the `OpenAPI` document of all that dcp serves, as `dcp up` serves it.
pub fn openapi() -> String {
    let parts = [
        dcp_runner::rest::document(),
        dcp_reconciler::rest::document(),
        dcp_identity::rest::document(),
        dcp_connect::rest::document(),
    ];
    dcp_server::rest::document(parts)
}

/// Returns the root folder of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace").to_owned()
}

/// Returns a free port of this machine, for a server that must know its port before it starts, or none that listens. The kernel
/// gives no port of this range to a socket that does not name its port.
///
/// # Panics
/// If no port is free.
pub fn free_port() -> u16 {
    // The kernel's own are 32768 and above.
    let mut ports = std::iter::repeat_with(|| rand::random_range(20_000..32_768)).take(1000);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.find(is_free).expect("a port is free")
}

/// Returns an address of this machine with a free port.
///
/// # Panics
/// If no port is free.
pub fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// Returns the home of the Spark that `scripts/spark` installs.
///
/// # Panics
/// If the installation fails.
pub fn spark_home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let mut command = Command::new(workspace().join("scripts/spark"));
        let done = command.stderr(Stdio::inherit()).output().expect("the program can be run");
        assert!(done.status.success(), "Spark can't be installed");
        String::from_utf8(done.stdout).expect("the path is UTF-8").trim().into()
    })
}

/// Returns true if tests must write golden files instead of comparing them.
pub fn update_golden() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// Splits a text into files. Each begins with a line `# file: <name>`; text before the first such line is
/// `manifest.yaml`.
pub fn split_files(text: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut name = "manifest.yaml".to_owned();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("# file: ") {
            Some(next) => next.trim().clone_into(&mut name),
            None => files.entry(name.clone()).or_insert_with(String::new).push_str(line),
        }
    }
    files.retain(|name, text| name != "manifest.yaml" || !text.trim().is_empty());
    files
}

/// Compiles files like `dcp`: `dcp.yaml` is the project, and the other YAML files are manifests. A file of clusters,
/// drivers or providers that is the only file is read as such.
pub fn compile(files: &BTreeMap<String, String>, target: Option<&str>) -> Compilation {
    if let Some(((name, text), 1)) = files.first_key_value().map(|first| (first, files.len())) {
        let found = match name.as_str() {
            clusters::FILE_NAME => Some(clusters::read(PROJECT_FILE, name, text).1),
            drivers::FILE_NAME => Some(drivers::read(PROJECT_FILE, name, text).1),
            policy::FILE_NAME => Some(policy::read(PROJECT_FILE, name, text).1),
            _ => None,
        };
        if let Some(found) = found {
            let source = SourceFile { path: name.as_str().into(), text: text.as_str().into() };
            return Compilation::of_project(source, found);
        }
    }
    if let (Some(text), 1) = (files.get(providers::FILE_NAME), files.len()) {
        let source = SourceFile { path: providers::FILE_NAME.into(), text: text.as_str().into() };
        let (_, found) = providers::read(PROJECT_FILE, providers::FILE_NAME, text);
        return Compilation::of_project(source, found);
    }
    let project_text = files.get(FILE_NAME).cloned();
    let (project, found) = match &project_text {
        Some(text) => Project::read(PROJECT_FILE, text, target),
        None => (Some(Project::none()), Vec::new()),
    };
    let source = project_text.as_deref().map(|text| SourceFile { path: FILE_NAME.into(), text: text.into() });
    let project = match (project, &source) {
        (Some(project), _) => project,
        (None, Some(source)) => return Compilation::of_project(source.clone(), found),
        (None, None) => unreachable!("only a file that was read can be refused"),
    };
    let compiler = Compiler {
        project: &project,
        project_source: source,
        project_diagnostics: found,
        goal: Goal::Compile,
    };
    let is_manifest =
        |name: &&String| Path::new(name).extension().is_some_and(|it| it == "yaml") && *name != FILE_NAME;
    let manifests = files.keys().filter(is_manifest);
    let analyses = manifests.enumerate().map(|(index, path)| compiler.analyze(index, path, files)).collect();
    compiler.link(analyses)
}

/// Returns the job of a manifest with this `spec`, to which an engine and a manual run are added.
///
/// # Panics
/// If the manifest has any problem.
pub fn job(spec: &str) -> CoreEtlJob {
    let manifest = format!(
        "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{name: job, domain: tests, owner: tests}}\nspec:\n  \
         engine: {{version: \"4.1\"}}\n  run: {{manual: {{}}}}\n{spec}"
    );
    let compiled = compile(&BTreeMap::from([("manifest.yaml".to_owned(), manifest)]), None);
    // Notes are no problem: some SQL can only be checked by Spark.
    let mut wrong = compiled.diagnostics;
    wrong.retain(|diagnostic| diagnostic.severity != Severity::Note);
    assert_eq!(describe(&compiled.sources, &wrong), "");
    let job = compiled.primitives.into_iter().find_map(|primitive| match primitive.body {
        Body::CoreEtlJob(job) => Some(*job),
        _ => None,
    });
    job.expect("the manifest has a job")
}

/// Returns the primitives of the continuous job `logistics/clicks`.
///
/// # Panics
/// If the manifest has an error.
pub fn continuous_job() -> Vec<Primitive> {
    let manifest = "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {name: clicks, domain: logistics, owner: tests}\n\
                    spec:\n  engine: {version: \"4.1\"}\n  job: {pyspark: {main: main.py}}\n  \
                    run: {continuous: {checkpoint: \"s3://checkpoints/clicks\"}}\n";
    let files = [("manifest.yaml", manifest), ("main.py", "")];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    let compiled = compile(&files, None);
    assert!(!compiled.has_errors(), "{}", describe(&compiled.sources, &compiled.diagnostics));
    compiled.primitives
}

/// Formats diagnostics as plain text, with all their labels and help.
pub fn describe(sources: &Sources, diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let mut line = |line: String| writeln!(text, "{line}").expect("writing to a String does not fail");
        line(format!("{} {}: {}", diagnostic.severity.name(), diagnostic.code, diagnostic.message));
        for label in &diagnostic.labels {
            let (row, column) = sources.position(label.span.file, label.span.start);
            let file = sources.get(label.span.file);
            let shown = file.text.get(label.span.range()).expect("a label is within its file");
            let shown: String = shown.lines().next().unwrap_or_default().chars().take(50).collect();
            line(format!("  {}:{row}:{column} `{shown}` {}", file.path, label.text).trim_end().to_owned());
        }
        if let Some(help) = &diagnostic.help {
            line(format!("  help: {help}"));
        }
    }
    text
}

/// Defines a test for each rule, a function of the caller's `suite` that gets the value of `$fixture`. Implementations of
/// the same contract share a suite.
#[macro_export]
#[expect(clippy::crate_in_macro_def, reason = "the suite is the caller's")]
macro_rules! rules {
    ($fixture:expr; $($rule:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $rule() {
                crate::suite::$rule($fixture.await).await;
            }
        )+
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn free_port_is_none_that_the_kernel_chooses() {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let range = range.expect("the kernel has a range of ports");
        let first = range.split_whitespace().next().and_then(|it| it.parse().ok());
        assert!(super::free_port() < first.expect("the range begins with a number"), "{range}");
    }
}
