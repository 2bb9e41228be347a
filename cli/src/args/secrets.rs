//! Arguments of `dcp secrets`.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

use super::{Format, Selection};

pub(super) const SECRETS: &str = "\
A manifest refers to a key of a secret by `${secret.name/key}`. On Kubernetes, it is one of the namespace of the \
workload's domain. On other backends, the Runner reads it from the provider that the target in dcp.yaml names, or else \
from variables `DCP_SECRET_…` and the folder `.dcp/secrets`.";

pub(super) const CHECK: &str = "\
Prints each secret that the manifests refer to, the fields that have it, where it has to be, and whether it is there. \
It never prints a value. Exits with code 1 if one is missing.

Without `--cluster`, it searches as a Runner of this machine does. On a cluster, it needs the right to `get` secrets in \
the namespaces of the domains, which dcp itself does not need.

Examples:
  dcp secrets check                                        as `dcp up` on this machine finds them
  dcp secrets check --target prod --secrets secrets.yaml   with the provider of the target `prod`
  dcp secrets check --cluster main                         in the namespaces of a cluster
  dcp secrets check manifests/orders.yaml --output json";

#[derive(Debug, clap::Args)]
pub(crate) struct Secrets {
    #[command(subcommand)]
    pub(crate) command: SecretsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Check whether the secrets that manifests refer to exist, without showing their values
    #[command(after_help = CHECK)]
    Check(SecretsCheck),
}

#[derive(Debug, clap::Args)]
pub(crate) struct SecretsCheck {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Search a Kubernetes cluster instead of this machine: one of `--clusters`, or else of the project's clusters.yaml,
    /// or, without such a file, a context of your kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// File of clusters that has the cluster [default: clusters.yaml of the project]
    #[arg(long, value_name = "FILE", requires = "cluster", value_hint = ValueHint::FilePath)]
    pub(crate) clusters: Option<PathBuf>,
    /// File of providers of secrets of the Runner, see docs/secrets.md
    #[arg(long, value_name = "FILE", env = "DCP_SECRETS_FILE", value_hint = ValueHint::FilePath)]
    pub(crate) secrets: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}
