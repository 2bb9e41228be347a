//! The control plane as a gRPC service, `dcp.control.v1`, over any registry. `dcp_server::serve` serves it.
//!
//! All requests have limits.

mod assets;
mod commit;
mod control;
mod jobs;
mod request;

use std::sync::Arc;

use dcp_proto::control::v1::assets_server::AssetsServer;
use dcp_proto::control::v1::continuous_jobs_server::ContinuousJobsServer;
use dcp_proto::control::v1::control_server::ControlServer;
use dcp_server::Services;
use jiff::Timestamp;

use crate::assets::Assets;
use crate::guarded::Protected;
use crate::reconcile::ContinuousJobs;
use crate::registry::Registry;
use control::ControlService;

/// Options of the control plane.
#[derive(Debug, Clone)]
pub struct Options {
    pub limits: Limits,
    /// The clock that sets the time of a commit.
    pub clock: fn() -> Timestamp,
}

impl Default for Options {
    fn default() -> Self {
        Self { limits: Limits::default(), clock: dcp_server::clock }
    }
}

/// Limits of a commit.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Changes in one commit.
    pub changes: u64,
    /// Bytes of one body.
    pub body: usize,
    /// Bytes of all bodies of one commit.
    pub commit: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { changes: 500_000, body: 4 << 20, commit: 512 << 20 }
    }
}

/// Bytes of a message beside the largest body.
const MESSAGE_OVERHEAD: usize = 256 << 10;

/// Adds the service of a registry.
pub fn add(services: Services, registry: Arc<dyn Registry>, options: Options) -> Services {
    let Options { limits, clock } = options;
    let largest = limits.body.saturating_add(MESSAGE_OVERHEAD);
    let control = ControlServer::new(ControlService { registry: Protected::new(registry), limits, clock });
    services.with(control.max_decoding_message_size(largest))
}

/// Adds the service of continuous jobs.
pub fn add_jobs(services: Services, jobs: Arc<dyn ContinuousJobs>, clock: fn() -> Timestamp) -> Services {
    services.with(ContinuousJobsServer::new(jobs::JobsService { jobs: Protected::new(jobs), clock }))
}

/// Adds the service of assets.
pub fn add_assets(services: Services, assets: Arc<dyn Assets>, clock: fn() -> Timestamp) -> Services {
    services.with(AssetsServer::new(assets::AssetsService { assets: Protected::new(assets), clock }))
}
