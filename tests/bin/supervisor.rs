//! Supervises a local application like `dcp supervise`, for tests of the local backend.
//!
//!     dcp-test-supervisor FOLDER

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else { return ExitCode::from(2) };
    match dcp_gateway::local::supervise(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
