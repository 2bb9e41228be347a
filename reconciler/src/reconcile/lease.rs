//! The lease that elects one of several reconcilers.
//!
//! The holder increments a beat, by the rules of [`dcp_runner::lease`]. A reconciler that takes the lease over has the
//! next epoch. A holder that was suspended and continues later may act for a moment: its requests carry its old epoch,
//! and the Runner rejects them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dcp_database::{Database, Result, signed};
use dcp_runner::clock::{Clock, Moment};
use dcp_runner::lease::{LeaseTerm, ObservedHeartbeats};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;

use super::store::Store;

/// The name of the lease for which the reconcilers of one database compete.
pub(super) const LEASE_NAME: &str = "reconciler";

/// Receives messages about problems, and about their end.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// Pause after a term that has ended with an error.
const TERM_PAUSE: Duration = Duration::from_secs(1);

/// Acts while a lease is held.
pub trait Acts: Sync {
    /// Acts during one epoch, until it ends or an error occurs.
    fn act(
        &self,
        epoch: u64,
        handle: LeaseHandle,
    ) -> impl Future<Output = std::result::Result<(), String>> + Send;
}

/// A process that competes for a lease, and acts while it holds it.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    pub store: &'a Store,
    pub name: &'a str,
    /// Time without a heartbeat after which another one takes over.
    pub duration: Duration,
    pub clock: fn() -> Timestamp,
    pub log: &'a Log,
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Candidate<'_> {
    /// Runs terms until `stop`, each while the lease is held. A term begins anew if it has ended.
    pub async fn lead(self, mut stop: watch::Receiver<bool>, acts: &impl Acts) {
        let Self { store, name, duration, clock, log } = self;
        let mut lease = Lease::new(store, name, duration, clock);
        let handle = lease.handle();
        let renewals = async {
            loop {
                if let Err(error) = lease.renew_or_take().await {
                    log(&format!("the lease can't be held: {error}"));
                }
                sleep(lease.pause()).await;
            }
        };
        let terms = async {
            let mut last = (0, None);
            loop {
                let Some(epoch) = handle.epoch() else {
                    sleep(duration / 20).await;
                    continue;
                };
                if last.0 != epoch {
                    log(&format!("it acts, by epoch {epoch}"));
                    last = (epoch, None);
                }
                let ended = acts.act(epoch, handle.clone()).await.err();
                // A repeated problem is reported once.
                if let Some(why) = ended.as_ref().filter(|_| ended != last.1) {
                    log(&format!("it begins anew: {why}"));
                }
                if ended.is_some() {
                    sleep(TERM_PAUSE).await;
                }
                last.1 = ended;
            }
        };
        tokio::select! {
            () = renewals => {}
            () = terms => {}
            _ = stop.wait_for(|it| *it) => {}
        }
        // Releasing the lease saves others the wait for its end.
        let _ = lease.release().await;
    }
}

/// A lease, which one of several reconcilers holds.
#[derive(Debug)]
pub struct Lease {
    database: Database,
    name: String,
    holder: String,
    term: LeaseTerm,
    /// The wall clock, for times that people see.
    time: fn() -> Timestamp,
    held: Arc<Mutex<Option<HeldLease>>>,
    /// The epoch and the beat of another holder.
    observed: ObservedHeartbeats<(), (u64, u64)>,
}

/// A handle that tells tasks whether the lease is held.
#[derive(Debug, Clone)]
pub struct LeaseHandle {
    held: Arc<Mutex<Option<HeldLease>>>,
    term: LeaseTerm,
}

impl LeaseHandle {
    /// Returns the epoch while the lease is certainly held.
    pub fn epoch(&self) -> Option<u64> {
        let held = *self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.filter(|held| self.term.may_act(held.confirmed_at)).map(|held| held.epoch)
    }
}

#[derive(Debug, Clone, Copy)]
struct HeldLease {
    epoch: u64,
    /// The last time when the lease was certainly held.
    confirmed_at: Moment,
}

impl Lease {
    pub fn new(store: &Store, name: &str, duration: Duration, time: fn() -> Timestamp) -> Self {
        Self {
            database: store.database().clone(),
            name: name.to_owned(),
            holder: format!("{:032x}", rand::random::<u128>()),
            term: LeaseTerm::new(duration, Clock::default()),
            time,
            held: Arc::default(),
            observed: ObservedHeartbeats::default(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the epoch while the lease is certainly held.
    pub fn epoch(&self) -> Option<u64> {
        self.handle().epoch()
    }

    pub fn handle(&self) -> LeaseHandle {
        LeaseHandle { held: Arc::clone(&self.held), term: self.term.clone() }
    }

    fn held(&self) -> MutexGuard<'_, Option<HeldLease>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the pause between two turns.
    pub fn pause(&self) -> Duration {
        self.term.heartbeat_interval()
    }

    /// Renews the lease, or takes it if it is free. Returns the epoch if the lease is held.
    pub async fn renew_or_take(&mut self) -> Result<Option<u64>> {
        let confirmed_at = self.term.now();
        let held = *self.held();
        if let Some(HeldLease { epoch, .. }) = held {
            let query = "UPDATE reconcile_leases SET beat = beat + 1, heartbeat = $4 WHERE name = $1 AND epoch = $2 AND holder = $3";
            let query = sqlx::query(query).bind(self.name.as_str()).bind(signed(epoch));
            let query = query.bind(self.holder.as_str()).bind(self.heartbeat_millis());
            let still = self.database.execute(query).await? == 1;
            *self.held() = still.then_some(HeldLease { epoch, confirmed_at });
        } else {
            let taken = self.take().await?;
            *self.held() = taken.map(|epoch| HeldLease { epoch, confirmed_at });
        }
        Ok(self.epoch())
    }

    async fn take(&mut self) -> Result<Option<u64>> {
        let query = sqlx::query("SELECT epoch, holder, beat FROM reconcile_leases WHERE name = $1");
        let rows = self.database.rows(query.bind(self.name.as_str())).await?;
        let Some(row) = rows.first() else {
            let query = "INSERT INTO reconcile_leases (name, epoch, holder, beat, heartbeat) VALUES ($1, 1, $2, 0, $3) \
                ON CONFLICT (name) DO NOTHING";
            let query = sqlx::query(query).bind(self.name.as_str()).bind(self.holder.as_str());
            let query = query.bind(self.heartbeat_millis());
            return Ok((self.database.execute(query).await? == 1).then_some(1));
        };
        let now = (self.database.number(row, 0)?, self.database.number(row, 2)?);
        let is_released = self.database.get::<&str>(row, 1)?.is_empty();
        let is_silent = self.observed.is_silent((), now, &self.term);
        if !is_released && !is_silent {
            return Ok(None);
        }
        let (epoch, beat) = now;
        let query = "UPDATE reconcile_leases SET epoch = epoch + 1, holder = $1, beat = 0, heartbeat = $5 \
            WHERE name = $2 AND epoch = $3 AND beat = $4";
        let query = sqlx::query(query).bind(self.holder.as_str()).bind(self.name.as_str());
        let query = query.bind(signed(epoch)).bind(signed(beat)).bind(self.heartbeat_millis());
        Ok((self.database.execute(query).await? == 1).then_some(epoch + 1))
    }

    fn heartbeat_millis(&self) -> i64 {
        (self.time)().as_millisecond()
    }

    /// Releases the lease, so that others can take it at once.
    pub async fn release(&mut self) -> Result<()> {
        let held = self.held().take();
        if let Some(HeldLease { epoch, .. }) = held {
            let query =
                "UPDATE reconcile_leases SET holder = '' WHERE name = $1 AND epoch = $2 AND holder = $3";
            let query = sqlx::query(query).bind(self.name.as_str()).bind(signed(epoch));
            self.database.execute(query.bind(self.holder.as_str())).await?;
        }
        Ok(())
    }
}
