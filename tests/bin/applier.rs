//! Applies a saved plan to the local registry of a project, and kills itself at a step.
//!
//!     dcp-test-applier PROJECT PLAN STEP

use std::path::Path;
use std::process::{Command, ExitCode};

use dcp_reconciler::apply::{CommitMetadata, Step, Target, apply};
use dcp_reconciler::plan::Plan;
use dcp_reconciler::publish::DagFolder;
use dcp_reconciler::registry::sql::Sql;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let [_, project, plan, kill_at] = args.as_slice() else { return ExitCode::from(2) };
    let project = Path::new(project);
    let text = std::fs::read_to_string(plan).expect("the plan exists");
    let plan = Plan::read(&text).expect("the plan is valid");
    let registry = Sql::sqlite(&project.join(".dcp/state.db")).await.expect("the registry can be opened");
    let dags = DagFolder::open(".dcp/dags", project).expect("the folder can be opened");
    let target = Target { registry: &registry, dags: &dags, scope: &plan.scope };
    let who = CommitMetadata {
        id: format!("killed-at-{kill_at}"),
        by: "test".to_owned(),
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    let mut on_step = |step| {
        let name = match step {
            Step::Begun { .. } => "begun",
            Step::Staged => "staged",
            Step::Committed { .. } => "committed",
            Step::Switched => "switched",
            Step::Removed => "removed",
            Step::Published => "published",
        };
        if name == kill_at {
            // SIGKILL, so that the process neither cleans up nor prints anything.
            let killed = Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status();
            killed.expect("the process can be killed");
            loop {
                std::thread::park();
            }
        }
    };
    match apply(target, &plan, &who, &mut on_step).await {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
