//! The load: jobs of about 3 KB, most of it SQL. Each is submitted many times, with tokens like those of a scheduler.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dcp_gateway::End;
use dcp_model::manifest::{Backend, Domain, Name};
use dcp_runner::api::Record;
use dcp_runner::execution::{Attempt, Execution, Id, Phase, Policy, Transition};
use dcp_runner::request::{CanonicalJob, Definition, Submit};
use dcp_runner::store::NewExecution;
use jiff::Timestamp;

use super::now;

const DOMAINS: usize = 10;
const NAMES: usize = 10;

/// Jobs, and a counter that makes each submit unique.
pub(crate) struct Load {
    jobs: Vec<Arc<CanonicalJob>>,
    next: AtomicU64,
}

impl Load {
    pub(crate) fn new() -> Self {
        let job = dcp_tests::job(&format!("  job:\n    sql:\n      query: |\n{}", query()));
        let each = |number: usize| {
            let mut job = job.clone();
            let (domain, name) = (format!("domain-{}", number % DOMAINS), format!("daily-totals-{number}"));
            job.metadata.domain = Domain::parse(&domain).expect("the domain is valid");
            job.metadata.name = Name::parse(&name).expect("the name is valid");
            Arc::new(CanonicalJob::new(job))
        };
        Self { jobs: (0..DOMAINS * NAMES).map(each).collect(), next: AtomicU64::new(0) }
    }

    pub(super) fn jobs(&self) -> &[Arc<CanonicalJob>] {
        &self.jobs
    }

    pub(crate) fn submit(&self) -> Submit {
        self.next().0
    }

    /// Returns the next submit as the record that a Runner stores.
    pub(super) fn new_execution(&self) -> NewExecution {
        let (submit, job) = self.next();
        NewExecution { record: record(&submit, &job, now()), job }
    }

    fn next(&self) -> (Submit, Arc<CanonicalJob>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(number).unwrap_or_default() % self.jobs.len();
        let job = &self.jobs[at];
        let name = job.job().metadata.name.as_str();
        let submit = Submit {
            token: format!("{name}/scheduled__2026-11-21T04:00:00+00:00/run/1/{number:012}"),
            job: Definition::Inline(Arc::clone(job)),
            parameters: std::collections::BTreeMap::new(),
            streaming: None,
            exclusive: None,
            order: None,
            fence: None,
            by: "airflow".to_owned(),
            on_behalf_of: None,
        };
        (submit, Arc::clone(job))
    }

    /// Returns the next submit as an execution that has ended. Phases are distributed by `number`.
    pub(super) fn finished(&self, at: Timestamp, number: u32) -> Record {
        let (submit, job) = self.next();
        let mut record = record(&submit, &job, at);
        let phase = match number % 100 {
            0 => Phase::Cancelled,
            1 | 2 => Phase::Failed,
            _ => Phase::Succeeded,
        };
        let transitions = [
            (Phase::Queued, Phase::Submitting, "the first attempt"),
            (Phase::Submitting, Phase::Pending, "the backend has it"),
            (Phase::Pending, Phase::Running, "the driver runs"),
            (Phase::Running, phase, "the driver ended with 0"),
        ];
        let step =
            |(from, to, why): (_, _, &str)| Transition { at, from, to, attempt: 1, why: why.to_owned() };
        record.history = transitions.into_iter().map(step).collect();
        let end = End::exited(at, Some(0), None);
        record.execution.attempts.push(Attempt {
            number: 1,
            backend: Backend::Local,
            begun: at,
            running: Some(at),
            queued: dcp_runner::execution::Wait::None,
            addresses: dcp_gateway::Addresses::default(),
            cluster: None,
            end: Some(end),
            diagnosis: None,
            adjusted: std::collections::BTreeMap::new(),
        });
        (record.execution.phase, record.execution.ended, record.version) = (phase, Some(at), 5);
        record
    }
}

/// The Runner that owns the executions of the load.
pub(super) const OWNER: &str = "somewhere-0123456789abcdef";

fn record(submit: &Submit, job: &CanonicalJob, at: Timestamp) -> Record {
    let policy = Policy::of(job.job(), None);
    let execution = Execution::new(Id::new(at, rand::random()), policy, Backend::Local, at);
    let request = submit.request(job.fingerprint().clone());
    Record { request, execution, history: Vec::new(), version: 1, owner: OWNER.to_owned(), progress: None }
}

/// Returns a random element.
pub(super) fn random_element<T>(of: &[T]) -> &T {
    &of[rand::random_range(0..of.len())]
}

fn query() -> String {
    let mut text = "        SELECT\n          day, country, channel,\n".to_owned();
    for column in 0..28 {
        let line =
            format!("sum(CASE WHEN kind = 'k{column:02}' THEN amount ELSE 0 END) AS amount_{column:02},\n");
        write!(text, "          {line}").expect("writing to a String does not fail");
    }
    text + "          count(*) AS events\n        FROM lake.events\n        WHERE day >= DATE '2026-01-01'\n        \
            GROUP BY day, country, channel\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_has_about_three_kilobytes() {
        let load = Load::new();
        assert_eq!(load.jobs().len(), 100);
        for job in load.jobs() {
            let text = job.text();
            assert!((2_500..4_000).contains(&text.len()), "{}", text.len());
        }
    }

    #[test]
    fn submits_have_different_tokens() {
        let load = Load::new();
        let tokens: std::collections::BTreeSet<_> = (0..300).map(|_| load.submit().token).collect();
        assert_eq!(tokens.len(), 300);
        assert!(load.submit().check().is_ok());
    }
}
