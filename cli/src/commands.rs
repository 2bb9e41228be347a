//! What each command does.

mod compile;
mod completions;
pub(crate) mod explain;
mod fmt;
mod graph;
mod init;
mod schema;
mod validate;

use crate::args::{Args, Command};
use crate::failure::{Failure, Verdict};
use crate::out::Console;

pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Verdict, Failure> {
    let project = args.global.project.as_deref();
    match &args.command {
        Command::Validate(args) => validate::run(args, project, console),
        Command::Compile(args) => compile::run(args, project, console),
        Command::Graph(args) => graph::run(args, project, console),
        Command::Schema(args) => schema::run(args, console),
        Command::Fmt(args) => fmt::run(args, project, console),
        Command::Explain(args) => explain::run(args, console),
        Command::Init(args) => init::run(args, console),
        Command::Completions(args) => completions::run(args, console),
    }
}
