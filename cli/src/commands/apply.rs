//! `dcp apply`, and the steps that it shares with other commands that apply a plan.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use dcp_reconciler::apply::{self, ApplyResult, CommitMetadata, Target};
use dcp_reconciler::plan::{Allowed, Consent as Needed, Plan, Workload};
use dcp_reconciler::registry::{self};
use dcp_reconciler::state::Action;
use dcp_reconciler::state::State;
use dcp_workspace::files;
use dcp_workspace::project::Workspace;
use jiff::Timestamp;

use super::plan;
use crate::args::{self, Consent, Format, Selection};
use crate::control::Control;
use crate::failure::{Failure, Verdict};
use crate::interrupt::Interrupts;
use crate::jobs;
use crate::out::{BOLD, Console, GOOD};
use crate::progress::{CommitState, Progress};
use crate::render::format_count;

pub(super) fn run(
    args: &args::Apply,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let args::Apply { paths, target, select, consent } = args;
    if let [path] = paths.as_slice()
        && path.extension().is_some_and(|it| it == "json")
    {
        return apply_saved(path, target.as_deref(), project, consent, console);
    }
    let home = Workspace::find(project, paths)?;
    let selection = Selection { paths: paths.clone(), target: target.clone() };
    match plan::plan(&home, &selection, select, None, console)? {
        Some(planned) => {
            if let Some(message) = planned.hidden.message(&planned.plan.scope) {
                let help = "name the workloads that are yours: --select 'DOMAIN/*'";
                return Err(Failure::new(format!("{message}; nothing was applied")).help(help));
            }
            confirm_and_apply(ApplyCommand::Apply, &planned.plan, &planned.control, consent, console)
        }
        None => Ok(Verdict::Errors),
    }
}

/// Applies a saved plan, without changes.
fn apply_saved(
    path: &Path,
    target: Option<&str>,
    project: Option<&Path>,
    consent: &Consent,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let text = files::read_named(path, files::LARGE_FILE_LIMIT)?;
    let text = String::from_utf8(text).map_err(|error| error.to_string());
    let plan = text.and_then(|text| Plan::read(&text).map_err(|error| error.to_string()));
    let plan = plan.map_err(|error| {
        let message = format!("`{}` can't be applied: {error}", path.display());
        Failure::new(message).help("plan again: dcp plan --out FILE")
    })?;
    let home = Workspace::find(project, &[])?;
    // A saved plan names its own target.
    let planned = plan.scope.as_str().split_once('/').map(|(_, target)| target.to_owned());
    if target.is_some() && target != planned.as_deref() {
        let message = format!("`{}` is a plan for `{}`", path.display(), plan.scope);
        return Err(Failure::usage(message).help("leave out --target: a saved plan knows its own"));
    }
    let project = home.project(planned.as_deref());
    let control = Control::open(&home, &project)?;
    if control.scope != plan.scope {
        let message =
            format!("`{}` is a plan for `{}`, and this is `{}`", path.display(), plan.scope, control.scope);
        return Err(Failure::usage(message).help("name its project: --project DIR"));
    }
    confirm_and_apply(ApplyCommand::Apply, &plan, &control, consent, console)
}

/// A command that applies a plan, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApplyCommand {
    Apply,
    Destroy,
    Rollback,
}

impl ApplyCommand {
    fn question(self) -> &'static str {
        match self {
            Self::Apply => "Apply this? [y/N]",
            Self::Destroy => "Destroy this? [y/N]",
            Self::Rollback => "Roll back to this? [y/N]",
        }
    }

    /// Returns the message for a plan that was not applied.
    fn not_applied(self) -> &'static str {
        match self {
            Self::Apply => "nothing was applied",
            Self::Destroy => "nothing was destroyed",
            Self::Rollback => "nothing was rolled back",
        }
    }

    /// Returns the help for running the command without a question.
    fn non_interactive_help(self) -> &'static str {
        match self {
            Self::Apply => "look at the plan (`dcp plan`), and then add --auto-approve",
            Self::Destroy => "read the plan above, and run `dcp destroy --auto-approve`",
            Self::Rollback => "read the plan above, and add --auto-approve to `dcp rollback`",
        }
    }
}

/// Shows a plan, requests confirmation, and applies it.
pub(super) fn confirm_and_apply(
    by: ApplyCommand,
    plan: &Plan,
    control: &Control,
    consent: &Consent,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let look = console.out.look;
    let state = control.state()?;
    if state.base != plan.base {
        return Err(stale_plan(plan, &state, control));
    }
    // A question needs the plan above it.
    if consent.output == Format::Text && (!console.quiet || !consent.auto_approve) {
        plan::show(plan, look, console)?;
        console.flush()?;
    }
    let dags = control.dags()?;
    let target = Target { registry: &*control.registry, dags: &dags, scope: &control.scope };
    let repaired = control.run(apply::repair(target, &state)).map_err(|error| failed(&error))?;
    if repaired > 0 && consent.output == Format::Text && !console.quiet {
        let line =
            format!("an earlier apply was interrupted: {} put in place", format_count(repaired, "DAG file"));
        writeln!(console.out, "{}", look.paint(BOLD, line))?;
    }
    if plan.is_empty() {
        report(None, repaired, &state, consent.output, console)?;
        return Ok(Verdict::Success);
    }
    check_consent(by, plan, consent)?;
    if !consent.auto_approve && !confirm(by, control, consent.output, console)? {
        writeln!(console.out, "{}", by.not_applied())?;
        return Ok(Verdict::Errors);
    }
    let done = perform(target, plan, control, console)?;
    report(Some(&done), repaired, &state, consent.output, console)?;
    let is_continuous =
        |it: &Workload| matches!(it.run.as_str(), "continuous" | "service") && it.action != Action::Delete;
    if consent.output == Format::Text
        && !console.quiet
        && plan.workloads.iter().any(is_continuous)
        && jobs::has_reconciler(control) == Some(false)
    {
        writeln!(console.out, "no reconciler is running, so continuous jobs will not start; run `dcp up`")?;
    }
    Ok(Verdict::Success)
}

/// Applies a plan, shows its progress, and stops on an interrupt.
fn perform(
    target: Target<'_>,
    plan: &Plan,
    control: &Control,
    console: &mut Console,
) -> Result<ApplyResult, Failure> {
    let who = CommitMetadata { id: random_id(), by: crate::control::user_name(), at: Timestamp::now() };
    let progress = Mutex::new(Progress::new(&mut console.err, console.quiet));
    let progress = || progress.lock().unwrap_or_else(PoisonError::into_inner);
    let ended = control.run(async {
        let mut interrupts = Interrupts::new()?;
        let mut on_step = |step| progress().report(step);
        let work = apply::apply(target, plan, &who, &mut on_step);
        Ok::<_, io::Error>(interrupts.run_until_interrupted(work, || progress().may_stop()).await)
    });
    progress().finish();
    match ended? {
        Some(done) => done.map_err(|error| failed(&error)),
        None => {
            let commit_state = progress().commit_state;
            if commit_state == CommitState::Nothing {
                // Leftovers are harmless, and the next apply removes them.
                let _ = control.run(target.dags.discard(&who.id));
            }
            Err(interrupted(commit_state))
        }
    }
}

fn stale_plan(plan: &Plan, state: &State, control: &Control) -> Failure {
    let now = state.applied.as_ref().map_or_else(String::new, |applied| {
        format!(": serial {} was applied by {}", applied.serial, crate::render::sanitize(&applied.by))
    });
    let message = match plan.base.lineage == state.base.lineage || plan.base.lineage.is_none() {
        true => format!("the plan was made against serial {}, and the state moved on{now}", plan.base.serial),
        false => format!("the plan was made against another state than that in `{}`", control.place),
    };
    Failure::new(message).help(
        "plan again: what was planned is not what would happen now; `dcp history` tells what was applied",
    )
}

fn check_consent(by: ApplyCommand, plan: &Plan, consent: &Consent) -> Result<(), Failure> {
    let allowed = Allowed {
        resets: consent.allow_reset.iter().cloned().collect(),
        deletions: consent.allow_delete.iter().cloned().collect(),
    };
    let refused = allowed.refused(plan);
    let Some(first) = refused.first() else { return Ok(()) };
    let never = refused.iter().find(|workload| workload.consent == Needed::Refused);
    if let Some(workload) = never {
        let message = format!("`{}` has `lifecycle.preventDestroy`: {}", workload.id(), by.not_applied());
        return Err(Failure::new(message)
            .help("apply the manifest without `preventDestroy` first, or leave the workload as it is"));
    }
    let message = match refused.len() {
        1 => format!("`{}` needs consent: {}", first.id(), by.not_applied()),
        many => format!("{many} workloads need consent, `{}` first of all: {}", first.id(), by.not_applied()),
    };
    let flags = refused.iter().take(5).map(|workload| match workload.consent {
        Needed::Reset => format!("--allow-reset {}", workload.id()),
        _ => format!("--allow-delete {}", workload.id()),
    });
    let more = if refused.len() > 5 { " …" } else { "" };
    let flags = flags.collect::<Vec<_>>().join(" ");
    Err(Failure::new(message).help(format!("if that is what you want, add {flags}{more}")))
}

fn confirm(
    by: ApplyCommand,
    control: &Control,
    output: Format,
    console: &mut Console,
) -> Result<bool, Failure> {
    let unconfirmed =
        |why: &str| Err(Failure::new(format!("{why}: {}", by.not_applied())).help(by.non_interactive_help()));
    if output == Format::Json {
        return unconfirmed("with --output json nothing is asked");
    }
    if !(io::stdin().is_terminal() && console.out.look.terminal) {
        return unconfirmed("there is no terminal to ask on");
    }
    // Before the question is shown, so that an interrupt during the question is handled.
    let interrupts = control.run(async { Interrupts::new() })?;
    write!(console.out, "\n{} ", console.out.look.paint(BOLD, by.question()))?;
    console.flush()?;
    match control.run(read_answer(interrupts))? {
        Some(answer) => Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")),
        None => {
            // The line of the question has no end yet.
            writeln!(console.out)?;
            Ok(false)
        }
    }
}

/// Reads a line from stdin; none at its end or on an interrupt.
async fn read_answer(mut interrupts: Interrupts) -> io::Result<Option<String>> {
    let (sender, line) = tokio::sync::oneshot::channel();
    // No runtime waits for this thread, which may never end.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        // It fails only if the command does not wait any more.
        let _ = sender.send(read.map(|_| Some(line).filter(|line| !line.is_empty())));
    });
    match interrupts.run_until_interrupted(line, || true).await {
        Some(Ok(answer)) => answer,
        Some(Err(_)) | None => Ok(None),
    }
}

/// Describes the state after an interrupted apply.
fn interrupted(commit_state: CommitState) -> Failure {
    match commit_state {
        CommitState::Nothing => Failure::new("interrupted: nothing was applied"),
        CommitState::Committing => {
            Failure::new("interrupted during the commit: whether it was applied is not known")
                .help("`dcp history` tells; if it was, the next `dcp apply` puts its DAG files in place")
        }
        CommitState::Committed(serial) => Failure::new(format!(
            "interrupted after the commit of serial {serial}: its DAG files may not be in place"
        ))
        .help("nothing is lost: the next `dcp apply` puts them in place"),
    }
}

fn failed(error: &apply::Error) -> Failure {
    match error {
        apply::Error::Registry(error @ registry::Error::Moved(head)) => {
            let by = head.applied.as_ref().map(|it| format!(" by {}", crate::render::sanitize(&it.by)));
            let by = by.unwrap_or_default();
            let message = format!("{error}{by}, while this was about to be applied: nothing of it was");
            Failure::new(message).help("plan again, and see what they did: dcp history")
        }
        apply::Error::Registry(error) => crate::control::registry_failed(error),
        apply::Error::Unpublished { .. } => Failure::new(error.to_string())
            .help("nothing is lost: run `dcp apply` again to put the files in place"),
        apply::Error::Dags(error) => crate::control::dags_failed(error),
        apply::Error::Plan(_) => Failure::new(error.to_string()).help("plan again: dcp plan"),
    }
}

fn report(
    done: Option<&ApplyResult>,
    repaired: usize,
    state: &State,
    format: Format,
    console: &mut Console,
) -> Result<(), Failure> {
    let base = done.map_or(&state.base, |done| &done.head.base);
    let counts = done.and_then(|done| done.head.applied.as_ref()).map(|applied| &applied.counts);
    let (written, removed) = done.map_or((0, 0), |done| (done.written, done.removed));
    match format {
        Format::Json => {
            let value = serde_json::json!({
                "changed": done.is_some(),
                "serial": base.serial,
                "lineage": base.lineage,
                "counts": counts,
                "dags": {"written": written, "removed": removed, "repaired": repaired},
            });
            writeln!(console.out, "{value:#}")?;
        }
        Format::Text if console.quiet => {}
        Format::Text if done.is_none() => {
            if repaired > 0 {
                writeln!(console.out, "what is applied is as it should be now")?;
            }
        }
        Format::Text => {
            let look = console.out.look;
            let dags = match (written, removed) {
                (0, 0) => String::new(),
                (written, 0) => format!("; {} written", format_count(written, "DAG file")),
                (written, removed) => {
                    format!("; {} written, {removed} removed", format_count(written, "DAG file"))
                }
            };
            let line = look.paint(GOOD, format!("applied serial {}", base.serial));
            writeln!(console.out, "\n{line}{dags}")?;
        }
    }
    Ok(())
}

fn random_id() -> String {
    let id: u128 = rand::random();
    format!("{id:032x}")
}
