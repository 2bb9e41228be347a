//! `dcp supervise`: the supervisor of the local backend, which starts this command itself.

use crate::args;
use crate::failure::{Failure, Verdict};

pub(super) fn run(args: &args::Supervise) -> Result<Verdict, Failure> {
    dcp_gateway::local::supervise(&args.folder).map_err(|error| Failure::new(error.to_string()))?;
    Ok(Verdict::Success)
}
