//! The `dcp` binary: arguments, printing, and the wiring of the parts.

mod args;
mod audit;
mod cluster;
mod clusters;
mod commands;
mod control;
mod credentials;
mod drivers;
mod failure;
mod interrupt;
mod jobs;
mod logins;
mod operator_file;
mod out;
mod policy;
mod pools;
mod private;
mod progress;
mod providers;
mod render;
mod runs;
mod sandboxes;
mod select;
mod service_log;
mod sessions;
mod socket;
mod write;

use std::process::ExitCode;

use clap::Parser as _;

/// Manifests are compiled to many small objects on all cores at once. This allocator is far faster for them than
/// the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let mut console = out::Console::new(args.global.color, args.global.quiet);
    let ended = commands::run(&args, &mut console);
    let ended = ended.and_then(|verdict| console.flush().map(|()| verdict).map_err(Into::into));
    match ended {
        Ok(verdict) => verdict.into(),
        Err(failure) => {
            failure.print(&mut console);
            failure.code.into()
        }
    }
}
