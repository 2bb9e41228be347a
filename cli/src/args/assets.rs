//! Arguments of `dcp assets`.

use super::Format;

pub(super) const ASSETS: &str = "\
An asset is `table:NAME`, `topic:NAME`, `path:NAME` or `asset:NAME`. Airflow reports the assets that a run has \
completed. Assets of `onAssets` can also be completed by a continuous job, by another system over gRPC \
(`dcp.control.v1.Assets`), or by hand.

Examples:
  dcp assets                               list all assets and their last completions
  dcp assets table:lake.mart.orders        show one asset: upstream, downstream, completions
  dcp assets complete table:lake.raw.orders --partition day=2026-11-20 --run load-4711";

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Assets {
    #[command(subcommand)]
    pub(crate) command: Option<AssetsCommand>,
    /// The asset, `kind:name` [default: all]
    #[arg(value_name = "ASSET")]
    pub(crate) asset: Option<String>,
    /// Maximum number of completions to show for one asset
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    pub(crate) limit: u32,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum AssetsCommand {
    /// Record that assets are complete, and start the workloads that wait for them
    #[command(after_help = COMPLETE)]
    Complete(Complete),
}

const COMPLETE: &str = "\
A run completes an asset once: repeating the command with the same --run is safe.

Examples:
  dcp assets complete table:lake.raw.orders --run load-4711
  dcp assets complete path:s3://landing/clicks topic:clicks --partition hour=2026-11-20T14";

#[derive(Debug, clap::Args)]
pub(crate) struct Complete {
    /// The assets, `kind:name` each
    #[arg(value_name = "ASSET", required = true)]
    pub(crate) assets: Vec<String>,
    /// Complete part of the assets [default: all of it]
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) partition: String,
    /// Id of the run that completed them, the same in each repetition [default: a new one each time]
    #[arg(long, value_name = "ID")]
    pub(crate) run: Option<String>,
    /// The target of `dcp.yaml` [default: the one marked as default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) target: Option<String>,
}
