//! What `dcp` does for each application on this machine, alone: the tests of `local` run it.
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
