//! What is told of continuous jobs, and what can be asked for: in this process, or of a control plane.

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;
use dcp_model::primitive::{Address, Kind};
use jiff::Timestamp;

use super::declared::declared;
use super::store::{Event, Key, Store};
use super::{Acting, Desired, Kept, Wish};
use crate::registry::sql::Sql;
use crate::registry::{Error, Registry as _, Result};
use crate::state::Scope;

/// What is known of a continuous job where it is kept. How its run is, the Runner tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub address: Address,
    /// Nothing where it was deleted.
    pub desired: Option<Desired>,
    pub wish: Wish,
    pub kept: Kept,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Pause,
    Resume,
    Restart,
}

/// What continuous jobs are told of and asked for by. Both of its forms pass the same suite, in `tests/tests/keep`.
#[async_trait]
pub trait Keep: fmt::Debug + Send + Sync {
    /// Who acts, if anybody ever did.
    async fn acting(&self) -> Result<Option<Acting>>;

    /// The jobs of a scope that are declared, or not gone yet; or the one of an address.
    async fn jobs(&self, scope: &Scope, address: Option<&Address>) -> Result<Vec<Told>>;

    /// Asks for something. Who has it done is the one who acts.
    async fn ask(&self, scope: &Scope, address: &Address, ask: Ask, by: &str, at: Timestamp) -> Result<()>;

    /// What was decided of a job last, the newest first.
    async fn events(&self, scope: &Scope, address: &Address, limit: u32) -> Result<Vec<Event>>;
}

/// What is kept in a database that can be reached.
#[derive(Debug, Clone)]
pub struct Here {
    pub registry: Sql,
    pub store: Store,
}

fn key(scope: &Scope, address: &Address) -> Key {
    Key { scope: scope.to_string(), address: address.to_string() }
}

#[async_trait]
impl Keep for Here {
    async fn acting(&self) -> Result<Option<Acting>> {
        Ok(self.store.acting(super::lease::LEASE).await?)
    }

    async fn jobs(&self, scope: &Scope, address: Option<&Address>) -> Result<Vec<Told>> {
        let (_, all) = declared(&self.registry, scope, 0).await?;
        let mut wishes: HashMap<Key, Wish> =
            self.store.wishes(0).await?.into_iter().map(|(key, wish, _)| (key, wish)).collect();
        let mut kept: HashMap<Key, Kept> =
            self.store.jobs().await?.into_iter().map(|(key, memory)| (key, memory.kept)).collect();
        let mut told = Vec::new();
        for (at, declared) in all.into_iter().filter(|(at, _)| address.is_none_or(|wanted| wanted == at)) {
            let key = key(scope, &at);
            let desired = declared.map_err(|why| Error::Corrupt(format!("`{at}` can't be read: {why}")))?;
            let (wish, kept) = (wishes.remove(&key), kept.remove(&key));
            let (wish, kept) = (wish.unwrap_or_default(), kept.unwrap_or_default());
            if desired.is_some() || kept.run.is_some() {
                told.push(Told { address: at, desired, wish, kept });
            }
        }
        Ok(told)
    }

    async fn ask(&self, scope: &Scope, address: &Address, ask: Ask, by: &str, at: Timestamp) -> Result<()> {
        let is_declared =
            self.registry.revisions(scope, address).await?.first().is_some_and(|it| it.fingerprint.is_some());
        if address.kind != Kind::ContinuousJob || !is_declared {
            let Address { domain, name, .. } = address;
            return Err(Error::NotFound(format!(
                "no continuous job `{domain}/{name}` is applied to `{scope}`"
            )));
        }
        let key = key(scope, address);
        match ask {
            Ask::Pause => self.store.pause(&key, true, by, at).await?,
            Ask::Resume => self.store.pause(&key, false, by, at).await?,
            Ask::Restart => self.store.restart(&key, by, at).await?,
        }
        Ok(())
    }

    async fn events(&self, scope: &Scope, address: &Address, limit: u32) -> Result<Vec<Event>> {
        Ok(self.store.events(&key(scope, address), limit).await?)
    }
}
