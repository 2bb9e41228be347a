//! Plans, for people and for pull requests. These modules only format a plan.

mod github;
mod headline;
mod markdown;
mod text;

use dcp_reconciler::plan::{Class, Consent, GivenUp, Live, Plan, Workload};
use dcp_reconciler::state::Action;

use super::jobs::format_amount;
use super::{format_count, sanitize};

pub(crate) use github::github;
use headline::headline;
pub(crate) use markdown::markdown;
pub(crate) use text::text;

/// Returns the workloads in display order: dangerous ones first, new ones last.
fn by_danger(plan: &Plan) -> Vec<&Workload> {
    let mut all: Vec<&Workload> = plan.workloads.iter().collect();
    all.sort_by_key(|workload| danger(workload));
    all
}

fn danger(workload: &Workload) -> u8 {
    match (workload.consent, workload.action) {
        (Consent::Refused, _) => 0,
        (_, Action::Reset) => 1,
        (Consent::Delete, _) => 2,
        (_, Action::Redeploy) if is_unsure(workload) => 3,
        (_, Action::Redeploy) => 4,
        (_, Action::Delete) => 5,
        (_, Action::Update | Action::None) => 6,
        (_, Action::Create) => 7,
    }
}

/// Returns true if it is unknown whether Spark can continue from the checkpoint.
fn is_unsure(workload: &Workload) -> bool {
    workload.reasons.iter().any(|reason| reason.class == Class::Unknown)
}

fn is_dangerous(workload: &Workload) -> bool {
    danger(workload) <= 3
}

/// Summarizes the effect of the action on the running job.
fn meaning(workload: &Workload) -> String {
    let cost = cost(workload);
    let (condition, input_rate, scaled, state_rows) = match &workload.live {
        Live::Seen { condition, input_rate, scaled, state_rows, .. } => {
            (condition, input_rate, scaled, state_rows)
        }
        Live::Pool { state, drivers, sessions, users } => {
            return format!("{cost}; live: {}", live_pool(state, *drivers, *sessions, *users));
        }
        Live::NotContinuous | Live::Unknown => return cost,
    };
    let scaled = scaled.as_ref().map(|scaled| format!(", {scaled}")).unwrap_or_default();
    let rate = input_rate.map(|rate| format!(", {} rows/s", format_amount(rate))).unwrap_or_default();
    let state = state_rows.filter(|rows| *rows > 0 && workload.action == Action::Reset);
    let state = state.map(|rows| format!(", {rows} rows of state")).unwrap_or_default();
    format!("{cost}; live: {condition}{rate}{scaled}{state}")
}

/// Describes the drivers and sessions of a pool.
fn live_pool(state: &str, drivers: u64, sessions: u64, users: u64) -> String {
    if drivers == 0 {
        return sanitize(state);
    }
    let count = |number: u64, what: &str| format_count(usize::try_from(number).unwrap_or(usize::MAX), what);
    let of = if users == 0 { String::new() } else { format!(" of {}", count(users, "user")) };
    let (drivers, sessions) = (count(drivers, "driver"), count(sessions, "session"));
    format!("{}, {drivers}, {sessions}{of}", sanitize(state))
}

fn cost(workload: &Workload) -> String {
    let continuous = workload.run == "continuous";
    let service = workload.run == "service";
    let pool = workload.run == "pool";
    let other_kind = workload.reasons.iter().any(|reason| reason.field == "kind");
    match workload.action {
        Action::None => "nothing changes".to_owned(),
        Action::Create => match (workload.job.as_str(), workload.run.as_str()) {
            (job, "continuous") => format!("{job}, kept running"),
            (job, "service") => format!("{job}, a service"),
            (_, "pool") => "a pool of Spark Connect drivers".to_owned(),
            (job, "group") => format!("{job}, in a group"),
            (job, "manual") => format!("{job}, when asked to"),
            (job, "onAssets") => format!("{job}, on assets"),
            (job, _) => format!("{job}, by schedule"),
        },
        Action::Update if pool && !other_kind => "no driver is replaced".to_owned(),
        Action::Update => "nothing restarts".to_owned(),
        Action::Redeploy if pool && other_kind => "it is stopped, and becomes a pool".to_owned(),
        Action::Redeploy if pool => "new sessions get new drivers".to_owned(),
        Action::Redeploy if service => "restarts once".to_owned(),
        Action::Redeploy if !continuous => {
            format!("it is stopped, and started by `{}`", workload.run)
        }
        Action::Redeploy if is_unsure(workload) => "restarts; Spark may refuse it".to_owned(),
        Action::Redeploy => "restarts once, checkpoint kept".to_owned(),
        Action::Reset => "the checkpoint can't be kept".to_owned(),
        Action::Delete if continuous => "the stream is stopped".to_owned(),
        Action::Delete if service => "the service is stopped".to_owned(),
        Action::Delete if pool => "all its sessions end".to_owned(),
        Action::Delete if workload.run == "group" => "its task is taken away".to_owned(),
        Action::Delete => "its DAG is taken away".to_owned(),
    }
}

/// Names the jobs and pools whose live state is unknown, and the reasons.
fn unknown(plan: &Plan) -> impl Iterator<Item = String> {
    let is_unknown = |it: &&Workload| it.live == Live::Unknown && it.action != Action::Create;
    let unknown = || plan.workloads.iter().filter(is_unknown);
    let jobs = named(unknown().filter(|it| !it.changes_pool())).map(|named| {
        format!("how {named} runs is not known: the Runner does not answer, or has forgotten the run")
    });
    let pools = named(unknown().filter(|it| it.changes_pool())).map(|named| {
        format!("the sessions of {named} are not known: the proxy for Spark Connect does not answer")
    });
    jobs.into_iter().chain(pools)
}

/// Names the first of some workloads, and counts the others; none if there is none.
fn named<'a>(workloads: impl Iterator<Item = &'a Workload>) -> Option<String> {
    let ids: Vec<String> = workloads.map(Workload::id).collect();
    let (first, others) = ids.split_first()?;
    let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    Some(format!("{first}{more}"))
}

/// Describes the applied revisions that were given up, with a remedy.
fn given_up(plan: &Plan) -> Vec<String> {
    let line = |it: &GivenUp| {
        let id = sanitize(&format!("{}/{}", it.domain, it.name));
        let running = match it.running {
            Some(running) => format!("revision {running} runs in its place"),
            None => "nothing runs in its place".to_owned(),
        };
        let why = sanitize(&it.why);
        let revision = it.revision;
        format!(
            "revision {revision} of {id} was given up, and {running}: {why}; apply a change that mends it"
        )
    };
    plan.given_up.iter().map(line).collect()
}

/// Returns the option that gives consent, or the reason why there is none.
fn consent(workload: &Workload) -> Option<String> {
    let id = workload.id();
    match workload.consent {
        Consent::NotNeeded => None,
        Consent::GivenByManifest => Some("consent: given by the manifest, `upgrade.reset: allow`".to_owned()),
        Consent::Reset => Some(format!("consent: dcp apply --allow-reset {id}")),
        Consent::Delete => Some(format!("consent: dcp apply --allow-delete {id}")),
        Consent::Refused => {
            Some("refused: `lifecycle.preventDestroy` is set; apply without it first".to_owned())
        }
    }
}
