//! `dcp completions`

use std::io::Write as _;

use clap::CommandFactory as _;

use crate::args::{Args, Completions};
use crate::failure::{Failure, Verdict};
use crate::out::Console;

pub(super) fn run(args: &Completions, console: &mut Console) -> Result<Verdict, Failure> {
    // The generator panics if it can't write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "dcp", &mut script);
    console.out.write_all(&script)?;
    Ok(Verdict::Success)
}
