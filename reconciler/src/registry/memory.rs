//! A registry in memory, for tests only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dcp_model::primitive::{Address, Fingerprint};

use super::check::{self, LastRevision};
use super::{Error, Registry, Result};
use crate::state::{Applied, Base, Commit, Entry, Head, Revision, Scope, State};

#[derive(Debug, Default)]
pub struct Memory {
    scopes: Mutex<HashMap<Scope, Log>>,
}

/// The history of a scope.
#[derive(Debug, Default, Clone)]
struct Log {
    /// The commit of serial `n` is at `n - 1`.
    applies: Vec<Applied>,
    /// Revisions, oldest first.
    revisions: BTreeMap<Address, Vec<Revision>>,
    bodies: HashMap<Fingerprint, String>,
    unpublished: BTreeSet<u64>,
}

impl Memory {
    fn scopes(&self) -> MutexGuard<'_, HashMap<Scope, Log>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, scope: &Scope) -> Log {
        self.scopes().get(scope).cloned().unwrap_or_default()
    }
}

impl Log {
    fn head(&self) -> Head {
        let (Some(first), Some(last)) = (self.applies.first(), self.applies.last()) else {
            return Head::default();
        };
        let base = Base { lineage: Some(first.id.clone()), serial: last.serial };
        Head { base, applied: Some(last.clone()) }
    }

    fn at(&self, serial: u64) -> State {
        let head = Self {
            applies: self.applies.iter().filter(|it| it.serial <= serial).cloned().collect(),
            ..Self::default()
        }
        .head();
        let entry = |revisions: &Vec<Revision>| {
            let last = revisions.iter().rfind(|it| it.serial <= serial)?.clone();
            Some(Entry { fingerprint: last.fingerprint?, revision: last.revision, serial: last.serial })
        };
        let entries = self.revisions.iter().filter_map(|(at, all)| Some((at.clone(), entry(all)?))).collect();
        State { base: head.base, applied: head.applied, entries, ..State::default() }
    }

    fn commit(&mut self, commit: Commit) -> Result<Head> {
        let present = self.head();
        if let Some(earlier) = self.applies.iter().find(|it| it.id == commit.id) {
            let lineage = present.base.lineage.unwrap_or_default();
            return check::repeated(&commit, &lineage, earlier.clone());
        }
        if present.base != commit.base {
            return Err(Error::Moved(Box::new(present)));
        }
        let head = commit.head();
        let mut next = Vec::with_capacity(commit.changes.len());
        for change in &commit.changes {
            let last = self.revisions.get(&change.address).and_then(|all| all.last());
            let last =
                last.map(|it| LastRevision { revision: it.revision, present: it.fingerprint.is_some() });
            next.push(check::next_revision(change, last)?);
        }
        for (change, revision) in commit.changes.into_iter().zip(next) {
            let fingerprint = change.body.as_ref().map(|body| body.fingerprint.clone());
            let revision =
                Revision { revision, serial: head.base.serial, action: change.action, fingerprint };
            self.revisions.entry(change.address).or_default().push(revision);
            self.bodies.extend(change.body.map(|body| (body.fingerprint, body.text)));
        }
        self.applies.extend(head.applied.clone());
        self.unpublished.insert(head.base.serial);
        Ok(head)
    }
}

#[async_trait]
impl Registry for Memory {
    async fn state(&self, scope: &Scope) -> Result<State> {
        let log = self.log(scope);
        Ok(State { unpublished: log.unpublished.iter().copied().collect(), ..log.at(u64::MAX) })
    }

    async fn state_at(&self, scope: &Scope, serial: u64) -> Result<State> {
        let log = self.log(scope);
        check::serial(scope, serial, &log.head().base)?;
        Ok(log.at(serial))
    }

    async fn bodies(&self, scope: &Scope, fingerprints: &[Fingerprint]) -> Result<Vec<String>> {
        let log = self.log(scope);
        let body = |it: &Fingerprint| log.bodies.get(it).cloned().ok_or_else(|| check::no_body(it));
        fingerprints.iter().map(body).collect()
    }

    async fn domains(&self, scope: &Scope, fingerprints: &[Fingerprint]) -> Result<Vec<BTreeSet<String>>> {
        let log = self.log(scope);
        let had = |fingerprint: &Fingerprint| {
            let all = log.revisions.iter().filter(|(_, revisions)| {
                revisions.iter().any(|it| it.fingerprint.as_ref() == Some(fingerprint))
            });
            all.map(|(address, _)| address.domain.clone()).collect()
        };
        Ok(fingerprints.iter().map(had).collect())
    }

    async fn revisions(&self, scope: &Scope, address: &Address) -> Result<Vec<Revision>> {
        Ok(self.log(scope).revisions.remove(address).unwrap_or_default().into_iter().rev().collect())
    }

    async fn history(&self, scope: &Scope, before: Option<u64>, limit: u32) -> Result<Vec<Applied>> {
        let applies = self.log(scope).applies.into_iter().rev();
        let earlier = applies.filter(|it| before.is_none_or(|before| it.serial < before));
        Ok(earlier.take(limit as usize).collect())
    }

    async fn commit(&self, scope: &Scope, commit: Commit) -> Result<Head> {
        check::commit(scope, &commit)?;
        self.scopes().entry(scope.clone()).or_default().commit(commit)
    }

    async fn published(&self, scope: &Scope, serials: &[u64]) -> Result<()> {
        if let Some(log) = self.scopes().get_mut(scope) {
            log.unpublished.retain(|serial| !serials.contains(serial));
        }
        Ok(())
    }
}
