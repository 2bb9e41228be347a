//! Arguments of `dcp clusters`.

use super::Format;

pub(super) const CLUSTERS: &str = "\
Lists the clusters of `dcp up --clusters`, or of the target's Runner: their health, the number of applications that run \
there, and which applications may run there. Use it to see why an execution waits, or to drain a cluster.

Examples:
  dcp clusters                   list all clusters
  dcp clusters main              show one cluster, and the executions that it got lately
  dcp clusters --routes          show the latest choices of a cluster, with the reasons
  dcp clusters --output json";

#[derive(Debug, clap::Args)]
pub(crate) struct ClustersArgs {
    /// The cluster [default: all]
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,
    /// Show the latest choices of a cluster since the start of the Gateway, newest first
    #[arg(long)]
    pub(crate) routes: bool,
    /// Maximum number of choices to show
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub(crate) limit: usize,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}
