//! The pools that are applied.

use std::collections::{BTreeMap, HashMap};

use dcp_model::manifest;
use dcp_model::primitive::{Body, Kind};
use dcp_reconciler::registry::sql::Sql;
use dcp_reconciler::registry::{Registry as _, Result};
use dcp_reconciler::state::{Action, Revision, Scope};
use jiff::SignedDuration;

use super::size;
use crate::session::{Pool, PoolKey, Share, Size};

/// A pool as it is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeclaredPool {
    /// The fingerprint of its job.
    pub(super) job: String,
    /// The revision that replaced drivers last. A driver of an earlier one is replaced.
    pub(super) build: u64,
    /// The newest revision.
    pub(super) revision: u64,
    pub(super) engine: String,
    pub(super) resources: Size,
    pub(super) idle_timeout: SignedDuration,
    pub(super) size: size::Declared,
    /// The author of the newest revision.
    pub(super) author: String,
}

/// The pools of all scopes, with the serials at which they were read.
#[derive(Debug, Default)]
pub(super) struct DeclaredPools {
    serials: HashMap<Scope, u64>,
    pub(super) pools: BTreeMap<PoolKey, DeclaredPool>,
}

impl DeclaredPools {
    /// Reads what has changed.
    pub(super) async fn update(&mut self, registry: &Sql) -> Result<()> {
        for (scope, serial) in registry.scopes().await? {
            let since = self.serials.get(&scope).copied().unwrap_or_default();
            if since < serial {
                self.update_scope(registry, scope, since).await?;
            }
        }
        Ok(())
    }

    async fn update_scope(&mut self, registry: &Sql, scope: Scope, since: u64) -> Result<()> {
        let (serial, changed) = registry.changed(&scope, Kind::Pool, since).await?;
        for changed in changed {
            let (domain, name) = (changed.address.domain.clone(), changed.address.name.clone());
            let key = PoolKey { scope: scope.as_str().to_owned(), domain, name };
            let Some(text) = &changed.body else {
                self.pools.remove(&key);
                continue;
            };
            // A newer dcp may have written it. Its drivers stay as they are.
            let Ok(Body::Pool(pool)) = Body::parse(Kind::Pool, text) else { continue };
            let jobs = registry.bodies(&scope, std::slice::from_ref(&pool.job_fingerprint)).await?;
            let job = jobs.first().and_then(|text| Body::parse(Kind::CoreEtlJob, text).ok());
            let Some(Body::CoreEtlJob(job)) = job else { continue };
            let declared = DeclaredPool {
                build: build(&changed.revisions),
                revision: changed.revisions.iter().map(|it| it.revision).max().unwrap_or_default(),
                job: pool.job_fingerprint.as_str().to_owned(),
                engine: job.engine.version.clone(),
                resources: resources(&job.resources),
                idle_timeout: signed(pool.settings.sessions.idle_timeout),
                size: size(&pool.settings),
                author: changed.author,
            };
            self.pools.insert(key, declared);
        }
        self.serials.insert(scope, serial);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn of(pools: impl IntoIterator<Item = (PoolKey, DeclaredPool)>) -> Self {
        Self { serials: HashMap::new(), pools: pools.into_iter().collect() }
    }

    /// Returns the pools for proxies.
    pub(super) fn listed(&self) -> Vec<Pool> {
        let listed = |(key, declared): (&PoolKey, &DeclaredPool)| Pool {
            key: key.clone(),
            engine: declared.engine.clone(),
            share: declared.size.share,
            size: declared.resources,
            starts: true,
            min_idle: declared.size.min_idle,
            revision: declared.revision,
        };
        self.pools.iter().map(listed).collect()
    }
}

/// Returns the newest revision whose plan replaced drivers, or that created the pool.
fn build(revisions: &[Revision]) -> u64 {
    let mut in_order: Vec<&Revision> = revisions.iter().collect();
    in_order.sort_by_key(|it| it.revision);
    let (mut build, mut exists) = (0, false);
    for Revision { revision, action, fingerprint, .. } in in_order {
        if *action == Action::Redeploy || *action == Action::Reset || !exists {
            build = *revision;
        }
        exists = fingerprint.is_some();
    }
    build
}

fn size(settings: &manifest::PoolSettings) -> size::Declared {
    size::Declared {
        share: match settings.share {
            manifest::Share::Domain => Share::Domain,
            manifest::Share::Private => Share::Private,
        },
        min_idle: u64::from(settings.drivers.min_idle),
        max_idle: u64::from(settings.drivers.max_idle()),
        max: u64::from(settings.drivers.max),
        sessions_per_driver: u64::from(settings.sessions.per_driver),
        recycle_after: signed(settings.recycle.after_age),
        recycle_sessions: u64::from(settings.recycle.after_sessions),
    }
}

/// Returns the size of a driver: that of all its executors, where the queries run.
fn resources(resources: &manifest::Resources) -> Size {
    let executors = &resources.executors;
    let number = u64::from(executors.max.or(executors.instances).unwrap_or(1));
    Size {
        cores: Some(number * u64::from(executors.cores)),
        memory: Some(number.saturating_mul(executors.memory.bytes())),
    }
}

fn signed(duration: manifest::Duration) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(duration.secs()).unwrap_or(i64::MAX))
}
