//! A control plane as one caller may use it. Every call of its interfaces is checked here, for gRPC and REST alike.
//!
//! | call | role |
//! | --- | --- |
//! | `state`, `state_at`, `bodies`, `revisions`, `history` | `viewer`; what is invisible is left out |
//! | `commit` | `developer` of the domain of each change |
//! | `published` | `developer` of the scope, for own commits; of all its domains, for those of others |
//! | `leader` | `viewer` of any domain |
//! | `jobs`, `events` | `viewer` |
//! | `request` | `operator` |
//! | `complete` | `operator` of the job's domain; of all domains of the scope without a job |
//! | `completions`, `completed` | `viewer` of a domain in the scope |

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use dcp_compiler::airflow;
use dcp_model::primitive::{Address, Body, Fingerprint, Kind, Orchestrator};
use dcp_server::policy::{Names, Resource, Role};
use dcp_server::{Act, Caller, Denied, offload};
use jiff::Timestamp;

use crate::assets::{Assets, Completed, Completion, NewCompletions, Page};
use crate::reconcile::store::Event;
use crate::reconcile::{ContinuousJobs, Leader, Overview, Request, not_applied};
use crate::registry::{Error, Registry, Result, check};
use crate::state::{Applied, Base, Change, Commit, Head, Revision, Scope, State};

/// A part of a control plane that is used as its callers only.
#[derive(Debug)]
pub(crate) struct Protected<T: ?Sized>(Arc<T>);

// A derived implementation would need `T: Clone`.
impl<T: ?Sized> Clone for Protected<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> Protected<T> {
    pub(crate) fn new(part: Arc<T>) -> Self {
        Self(part)
    }

    /// Returns the part as a caller may use it.
    pub(crate) fn used_by(&self, caller: &Caller) -> Guarded<T> {
        Guarded { part: Arc::clone(&self.0), caller: caller.clone() }
    }
}

/// A part of a control plane as one caller may use it.
#[derive(Debug)]
pub(crate) struct Guarded<T: ?Sized> {
    part: Arc<T>,
    caller: Caller,
}

impl<T: ?Sized> Clone for Guarded<T> {
    fn clone(&self) -> Self {
        Self { part: Arc::clone(&self.part), caller: self.caller.clone() }
    }
}

fn resource<'a>(scope: &'a Scope, domain: &'a str) -> Resource<'a> {
    Resource::of(Some(scope.as_str()), domain)
}

/// Returns what a caller is about to do with an address.
fn on<'a>(
    name: &'static str,
    role: Role,
    scope: &'a Scope,
    address: &'a Address,
    subject: &'a str,
) -> Act<'a> {
    Act { resource: resource(scope, &address.domain), subject: Some(subject), ..Act::new(name, role) }
}

fn all_domains(scope: &Scope) -> Resource<'_> {
    Resource { scope: Some(scope.as_str()), domain: None }
}

impl<T: ?Sized> Guarded<T> {
    /// Returns the domains of a scope that the caller may read.
    fn visible_domains(&self, scope: &Scope) -> Names {
        self.caller.visible().domains_in(scope.as_str())
    }

    /// Checks a role for something that the caller named itself.
    async fn authorize(&self, act: Act<'_>) -> Result<()> {
        self.caller.authorize(act).await.map_err(|denied| match denied {
            Denied::Unavailable(why) => Error::Unavailable(why),
            denied => Error::Denied(denied.message(&self.caller, act.role, act.resource)),
        })
    }
}

/// Keeps the part of a state that is visible.
fn visible_state(mut state: State, domains: &Names) -> State {
    let Names::Only(visible) = domains else { return state };
    if visible.is_empty() {
        return State { visible: Some(BTreeSet::new()), ..State::default() };
    }
    state.visible = Some(visible.clone());
    state.entries.retain(|address, _| visible.contains(&address.domain));
    state.applied = state.applied.map(without_counts);
    state
}

/// Removes the numbers of workloads, which are those of all domains.
fn without_counts(applied: Applied) -> Applied {
    Applied { counts: std::collections::BTreeMap::new(), ..applied }
}

/// Maximum number of commits that a caller with a part of the domains can put in place at once.
const MAX_OWN_COMMITS: usize = 100;

/// Returns the domains of the jobs that a changed primitive runs. A primitive that is not what its address says is rejected:
/// a DAG runs with the roles of Airflow, and a job in the namespace of its domain.
fn domains_run(scope: &Scope, change: &Change) -> Result<BTreeSet<String>> {
    let Change { address, body: Some(body), .. } = change else { return Ok(BTreeSet::new()) };
    let invalid = |why: &str| Error::Invalid(format!("the body of `{address}` is invalid: {why}"));
    let of_job = |job: &str| job.parse::<Address>().map(|job| job.domain).map_err(|why| invalid(&why));
    match Body::parse(address.kind, &body.text).map_err(|why| invalid(&why.to_string()))? {
        Body::CoreEtlJob(job) => match job.metadata.domain.as_str() == address.domain {
            true => Ok(BTreeSet::new()),
            false => Err(invalid(&format!("it is of the domain `{}`", job.metadata.domain))),
        },
        Body::ContinuousJob(continuous) => Ok([of_job(&continuous.job)?].into()),
        Body::Pool(pool) => {
            let job = Address { kind: Kind::CoreEtlJob, ..address.clone() }.to_string();
            match pool.job == job {
                true => Ok([address.domain.clone()].into()),
                // Sessions of a domain never run in the namespace of another one.
                false => Err(invalid(&format!("its job is `{}`, and has to be `{job}`", pool.job))),
            }
        }
        Body::Orchestrator(made) => {
            check_dag(scope, address, &made).map_err(|why| invalid(&why))?;
            made.dag.tasks.iter().map(|task| of_job(&task.job)).collect()
        }
    }
}

/// Checks that a DAG is of its scope and its address, and that its file is what dcp renders of it.
fn check_dag(scope: &Scope, address: &Address, made: &Orchestrator) -> std::result::Result<(), String> {
    let Orchestrator { dag, file, content } = made;
    let id = format!("{}__{}", address.domain, address.name);
    if dag.scope != scope.as_str() {
        return Err(format!("its tasks run jobs of the scope `{}`", dag.scope));
    }
    if dag.dag_id != id {
        return Err(format!("its id in Airflow is `{}`, and has to be `{id}`", dag.dag_id));
    }
    if *file != airflow::file_name(&dag.dag_id) || *content != airflow::render(dag) {
        let version = env!("CARGO_PKG_VERSION");
        return Err(format!(
            "its file is not what dcp {version} of this control plane renders of it; use that version"
        ));
    }
    Ok(())
}

/// Returns the roles that a commit needs, each with a domain: for its changes, and for the jobs that they run. The highest
/// roles are first, so that an error names one that suffices.
fn needed_roles(scope: &Scope, commit: &Commit) -> Result<BTreeSet<(Reverse<Role>, String)>> {
    let mut needed = BTreeSet::new();
    for change in &commit.changes {
        needed.insert((Reverse(Role::Developer), change.address.domain.clone()));
        needed
            .extend(domains_run(scope, change)?.into_iter().map(|domain| (Reverse(Role::Operator), domain)));
    }
    Ok(needed)
}

#[async_trait]
impl Registry for Guarded<dyn Registry> {
    async fn state(&self, scope: &Scope) -> Result<State> {
        let domains = self.visible_domains(scope);
        let mut state = visible_state(self.part.state(scope).await?, &domains);
        if domains != Names::All {
            // The caller can put files of its own commits in place only: it does not see the files of others.
            let own = self.own_commits(scope, &state.unpublished).await?;
            state.unpublished.retain(|serial| own.contains(serial));
        }
        Ok(state)
    }

    async fn state_at(&self, scope: &Scope, serial: u64) -> Result<State> {
        let domains = self.visible_domains(scope);
        if domains == Names::none() {
            // As in a scope without commits.
            return check::serial(scope, serial, &Base::default()).map(|()| State::default());
        }
        Ok(visible_state(self.part.state_at(scope, serial).await?, &domains))
    }

    async fn bodies(&self, scope: &Scope, fingerprints: &[Fingerprint]) -> Result<Vec<String>> {
        if let Names::Only(visible) = self.visible_domains(scope) {
            let domains = self.part.domains(scope, fingerprints).await?;
            let mut hidden = fingerprints.iter().zip(&domains).filter(|(_, of)| of.is_disjoint(&visible));
            if let Some((fingerprint, _)) = hidden.next() {
                return Err(check::no_body(fingerprint));
            }
        }
        self.part.bodies(scope, fingerprints).await
    }

    async fn domains(&self, scope: &Scope, fingerprints: &[Fingerprint]) -> Result<Vec<BTreeSet<String>>> {
        let act = Act { resource: all_domains(scope), ..Act::new("bodies", Role::Viewer) };
        self.authorize(act).await?;
        self.part.domains(scope, fingerprints).await
    }

    async fn revisions(&self, scope: &Scope, address: &Address) -> Result<Vec<Revision>> {
        let subject = address.to_string();
        match self.caller.authorize(on("revisions", Role::Viewer, scope, address, &subject)).await {
            Ok(()) => self.part.revisions(scope, address).await,
            Err(Denied::Unavailable(why)) => Err(Error::Unavailable(why)),
            // As of an address that was never applied.
            Err(_) => Ok(Vec::new()),
        }
    }

    async fn history(&self, scope: &Scope, before: Option<u64>, limit: u32) -> Result<Vec<Applied>> {
        let domains = self.visible_domains(scope);
        if domains == Names::none() {
            return Ok(Vec::new());
        }
        let history = self.part.history(scope, before, limit).await?;
        match domains {
            Names::All => Ok(history),
            Names::Only(_) => Ok(history.into_iter().map(without_counts).collect()),
        }
    }

    async fn commit(&self, scope: &Scope, mut commit: Commit) -> Result<Head> {
        if !self.caller.is_unrestricted() {
            let bytes = commit.bytes();
            let of = scope.clone();
            let check = move || needed_roles(&of, &commit).map(|roles| (roles, commit));
            let checked = offload(bytes, check);
            let (roles, checked) = checked.await?;
            for (Reverse(role), domain) in roles {
                let resource = resource(scope, &domain);
                let act = Act { resource, subject: Some(&checked.id), ..Act::new("commit", role) };
                self.authorize(act).await?;
            }
            commit = checked;
        }
        self.part.commit(scope, commit).await
    }

    async fn published(&self, scope: &Scope, serials: &[u64]) -> Result<()> {
        if self.caller.check(Role::Developer, all_domains(scope)).is_ok() {
            return self.part.published(scope, serials).await;
        }
        let own = self.own_commits(scope, serials).await?;
        if let Some(other) = serials.iter().find(|serial| !own.contains(serial)) {
            return Err(Error::Denied(format!(
                "serial {other} of `{scope}` was applied by another caller, and `{}` does not have the role `developer` \
                 for all domains of the scope",
                self.caller.name
            )));
        }
        self.part.published(scope, serials).await
    }
}

impl Guarded<dyn Registry> {
    /// Returns those of some commits that the caller made.
    async fn own_commits(&self, scope: &Scope, serials: &[u64]) -> Result<BTreeSet<u64>> {
        let mut own = BTreeSet::new();
        // Rarely more than one apply of a caller is interrupted.
        for &serial in serials.iter().rev().take(MAX_OWN_COMMITS) {
            let found = self.part.history(scope, Some(serial.saturating_add(1)), 1).await?;
            if found.iter().any(|it| it.serial == serial && *it.by == *self.caller.name) {
                own.insert(serial);
            }
        }
        Ok(own)
    }
}

#[async_trait]
impl ContinuousJobs for Guarded<dyn ContinuousJobs> {
    async fn leader(&self) -> Result<Option<Leader>> {
        self.caller.require_role().map_err(Error::Denied)?;
        self.part.leader().await
    }

    async fn jobs(&self, scope: &Scope, address: Option<&Address>) -> Result<Overview> {
        match self.visible_domains(scope) {
            Names::All => self.part.jobs(scope, address).await,
            Names::Only(visible) if address.is_some_and(|it| !visible.contains(&it.domain)) => {
                Ok(Overview::default())
            }
            Names::Only(visible) => {
                let mut overview = self.part.jobs(scope, address).await?;
                overview.jobs.retain(|job| visible.contains(&job.address.domain));
                Ok(overview)
            }
        }
    }

    async fn request(
        &self,
        scope: &Scope,
        address: &Address,
        request: Request,
        by: &str,
        at: Timestamp,
    ) -> Result<()> {
        let name = match request {
            Request::Pause => "pause",
            Request::Resume => "resume",
            Request::Restart => "restart",
        };
        let subject = address.to_string();
        match self.caller.authorize(on(name, Role::Operator, scope, address, &subject)).await {
            Err(Denied::Unavailable(why)) => Err(Error::Unavailable(why)),
            Ok(()) => self.part.request(scope, address, request, by, at).await,
            Err(Denied::Hidden) => Err(not_applied(scope, address)),
            Err(Denied::Forbidden(why)) => Err(Error::Denied(why)),
        }
    }

    async fn events(&self, scope: &Scope, address: &Address, limit: u32) -> Result<Vec<Event>> {
        let subject = address.to_string();
        match self.caller.authorize(on("events", Role::Viewer, scope, address, &subject)).await {
            Err(Denied::Unavailable(why)) => Err(Error::Unavailable(why)),
            Ok(()) => self.part.events(scope, address, limit).await,
            Err(_) => Ok(Vec::new()),
        }
    }
}

/// Removes the job and the run of a completion if the job is invisible. Assets are known to the whole scope.
fn hide_job(completion: &mut Completion, visible: &Names) {
    let domain = completion.job.as_deref().and_then(|job| job.split_once('/')).map(|(domain, _)| domain);
    if domain.is_some_and(|domain| !visible.include(Some(domain))) {
        completion.job = None;
        completion.run.clear();
        completion.by.clear();
    }
}

#[async_trait]
impl Assets for Guarded<dyn Assets> {
    async fn complete(
        &self,
        scope: &Scope,
        new: &NewCompletions,
        by: &str,
        at: Timestamp,
    ) -> Result<Vec<Completion>> {
        let domain = new.job.as_deref().and_then(|job| job.split_once('/')).map(|(domain, _)| domain);
        let resource = domain.map_or_else(|| all_domains(scope), |domain| resource(scope, domain));
        let act = Act { resource, subject: new.job.as_deref(), ..Act::new("complete", Role::Operator) };
        self.authorize(act).await?;
        self.part.complete(scope, new, by, at).await
    }

    async fn completions(
        &self,
        scope: &Scope,
        after: Option<u64>,
        asset: Option<&str>,
        limit: u32,
    ) -> Result<Page> {
        if self.visible_domains(scope) == Names::none() {
            return Ok(Page { completions: Vec::new(), seen: after.unwrap_or_default() });
        }
        let visible = self.visible_domains(scope);
        let mut page = self.part.completions(scope, after, asset, limit).await?;
        for completion in &mut page.completions {
            hide_job(completion, &visible);
        }
        Ok(page)
    }

    async fn completed(&self, scope: &Scope) -> Result<Vec<Completed>> {
        if self.visible_domains(scope) == Names::none() {
            return Ok(Vec::new());
        }
        let visible = self.visible_domains(scope);
        let mut completed = self.part.completed(scope).await?;
        for asset in &mut completed {
            hide_job(&mut asset.last, &visible);
        }
        Ok(completed)
    }
}

#[cfg(test)]
mod tests;
