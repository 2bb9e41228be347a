//! The implementations of the commands.

mod apply;
mod assets;
mod audit;
mod cancel;
mod clusters;
mod compile;
mod completions;
mod connect;
mod destroy;
mod doctor;
mod drift;
mod events;
pub(crate) mod explain;
mod fmt;
mod graph;
mod history;
mod init;
mod login;
mod logout;
mod logs;
mod plan;
mod policy;
mod pools;
mod request;
mod result;
mod rollback;
mod run;
mod runs;
mod sandbox;
mod schema;
mod secrets;
mod serve;
mod show;
mod sql;
mod status;
mod supervise;
mod token;
mod up;
mod validate;
mod whoami;

use dcp_reconciler::reconcile::Request;

use crate::args::{Args, Command};
use crate::failure::{Failure, Verdict};
use crate::out::Console;

#[expect(clippy::too_many_lines, reason = "it has one line for each command")]
pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Verdict, Failure> {
    let project = args.global.project.as_deref();
    match &args.command {
        Command::Validate(args) => validate::run(args, project, console),
        Command::Compile(args) => compile::run(args, project, console),
        Command::Plan(args) => plan::run(args, project, console),
        Command::Apply(args) => apply::run(args, project, console),
        Command::Destroy(args) => destroy::run(args, project, console),
        Command::Rollback(args) => rollback::run(args, project, console),
        Command::History(args) => history::run(args, project, console),
        Command::Show(args) => show::run(args, project, console),
        Command::Drift(args) => drift::run(args, project, console),
        Command::Run(args) => run::run(args, project, console),
        Command::Runs(args) => runs::run(args, project, console),
        Command::Logs(args) => logs::run(args, project, console),
        Command::Cancel(args) => cancel::run(args, project, console),
        Command::Result(args) => result::run(args, project, console),
        Command::Sql(args) => sql::run(args, project, console),
        Command::Connect(args) => connect::run(args, project, console),
        Command::Sandbox(args) => sandbox::run(args, project, console),
        Command::Pools(args) => pools::run(args, project, console),
        Command::Status(args) => status::run(args, project, console),
        Command::Pause(args) => request::run(Request::Pause, args, project, console),
        Command::Resume(args) => request::run(Request::Resume, args, project, console),
        Command::Restart(args) => request::run(Request::Restart, args, project, console),
        Command::Events(args) => events::run(args, project, console),
        Command::Assets(args) => assets::run(args, project, console),
        Command::Clusters(args) => clusters::run(args, project, console),
        Command::Secrets(args) => secrets::run(args, project, console),
        Command::Doctor(args) => doctor::run(args, project, console),
        Command::Supervise(args) => supervise::run(args),
        Command::Up(args) => up::run(args, project, console),
        Command::Serve(args) => serve::run(args, console),
        Command::Audit(args) => audit::run(args, project, console),
        Command::Login(args) => login::run(args, project, console),
        Command::Logout(args) => logout::run(args, project, console),
        Command::Whoami(args) => whoami::run(args, project, console),
        Command::Policy(args) => policy::run(args, console),
        Command::Token(args) => token::run(args, project, console),
        Command::Graph(args) => graph::run(args, project, console),
        Command::Schema(args) => schema::run(args, console),
        Command::Fmt(args) => fmt::run(args, project, console),
        Command::Explain(args) => explain::run(args, console),
        Command::Init(args) => init::run(args, console),
        Command::Completions(args) => completions::run(args, console),
    }
}
