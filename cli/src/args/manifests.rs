//! Arguments of the commands about manifests.

use std::path::PathBuf;

use clap::{ValueEnum, ValueHint};

use super::Selection;

pub(super) const VALIDATE: &str = "\
Reports all problems in one run, with their places. Files that git ignores are skipped.

Examples:
  dcp validate                          all manifests of the project
  dcp validate manifests/clicks.yaml    one file
  dcp validate --target prod            with the variables and overlays of the target `prod`
  dcp validate --output github          annotate problems on a pull request
  dcp validate --output sarif > dcp.sarif";

#[derive(Debug, clap::Args)]
pub(crate) struct Validate {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: ReportFormat,
    /// Exit with code 1 if there are warnings
    #[arg(long)]
    pub(crate) deny_warnings: bool,
    /// Print the duration of each step to stderr
    #[arg(long)]
    pub(crate) timings: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Text for people
    Text,
    /// JSON for programs
    Json,
    /// SARIF 2.1.0 for code scanning
    Sarif,
    /// Annotations for GitHub Actions
    Github,
}

pub(super) const COMPILE: &str = "\
Writes nothing if there are errors. Unchanged files are not written again, and outdated files of an earlier compile \
are removed. Other files in the folder are never changed.

Examples:
  dcp compile --out build                   build/<kind>/<domain>/<name>.json and build/dags/*.py
  dcp compile --out build --target prod     for the target `prod`";

#[derive(Debug, clap::Args)]
pub(crate) struct Compile {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// The folder to write to: a new or empty one, or that of an earlier compile
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
    /// Write nothing and exit with code 1 if there are warnings
    #[arg(long)]
    pub(crate) deny_warnings: bool,
}

pub(super) const GRAPH: &str = "\
Examples:
  dcp graph                                  workloads in the order in which data flows
  dcp graph --output dot | dot -Tsvg > graph.svg
  dcp graph --output mermaid                 for Markdown";

#[derive(Debug, clap::Args)]
pub(crate) struct Graph {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: GraphFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Text for people
    Text,
    /// DOT for Graphviz
    Dot,
    /// Mermaid for Markdown
    Mermaid,
    /// JSON for programs
    Json,
}

pub(super) const SCHEMA: &str = "\
Examples:
  dcp schema > manifest.schema.json            then, as the first line of a manifest:
                                               # yaml-language-server: $schema=manifest.schema.json
  dcp schema project > project.schema.json     the same for dcp.yaml";

#[derive(Debug, clap::Args)]
pub(crate) struct Schema {
    /// Kind of file that the schema is for
    #[arg(default_value = "manifest", value_name = "WHICH")]
    pub(crate) which: SchemaOf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// A manifest
    Manifest,
    /// The project file, dcp.yaml
    Project,
    /// The file of clusters, clusters.yaml
    Clusters,
    /// The policy, policy.yaml
    Policy,
    /// The file of providers of secrets, secrets.yaml
    Secrets,
    /// The file of Spark Connect servers, drivers.yaml
    Drivers,
}

pub(super) const FMT: &str = "\
Examples:
  dcp fmt                  all manifests of the project, and its dcp.yaml
  dcp fmt --check          change nothing; list what would change
  dcp fmt - < in > out     from stdin to stdout, for editors";

#[derive(Debug, clap::Args)]
pub(crate) struct Fmt {
    /// Manifests, and folders to search for them; `-` is stdin [default: all of the project]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Change nothing; list the files that would change, and exit with code 1 if there are any
    #[arg(long)]
    pub(crate) check: bool,
}

pub(super) const EXPLAIN: &str = "\
Examples:
  dcp explain DCP0107     or dcp0107, or 107
  dcp explain             list all codes";

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The code of a diagnostic
    pub(crate) code: Option<String>,
}

pub(super) const INIT: &str = "\
Examples:
  dcp init                      in the current folder
  dcp init shop                 in the folder `shop`, created if missing
  dcp init . --name webshop     with a name other than the folder's";

#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The folder of the project
    #[arg(value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// The project's name [default: that of the folder]
    #[arg(long)]
    pub(crate) name: Option<String>,
}

pub(super) const COMPLETIONS: &str = "\
Examples:
  dcp completions bash > ~/.local/share/bash-completion/completions/dcp
  dcp completions zsh > ~/.zfunc/_dcp
  dcp completions fish > ~/.config/fish/completions/dcp.fish";

#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    pub(crate) shell: clap_complete::Shell,
}
