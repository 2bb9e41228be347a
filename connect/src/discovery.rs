//! Drivers that dcp did not start: Spark Connect servers on clusters, as the file of drivers declares them.
//!
//! A driver is one run of a container: a pod that is replaced, or whose container starts again, is another driver, and sessions of
//! the old one have ended. Any number of proxies may watch the same pods. A proxy that can't watch them concludes nothing: an end is
//! recorded if the watch reports it, or if a complete list that was read later does not have the pod.

mod state;
mod watch;

use std::collections::BTreeMap;

use dcp_gateway::kubernetes::ConnectServer;
use jiff::{SignedDuration, Timestamp};

use crate::session::{Driver, Pool, PoolKey, Share, Size};
use crate::store::{Error, Store};

pub use watch::Discovery;

/// The prefix of the ids of these drivers.
const PREFIX: &str = "cluster:";
/// Time beyond the idle timeout after which a session counts as ended. Proxies store the use of sessions with a delay.
pub(crate) const IDLE_MARGIN: SignedDuration = SignedDuration::from_mins(2);

/// The drivers of a domain in a namespace of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name of its entry in the file.
    pub name: String,
    pub namespace: String,
    /// The labels of the pods.
    pub labels: BTreeMap<String, String>,
    pub domain: String,
    pub pool: String,
    /// The version of Spark, if it is not that of the pod's label.
    pub engine: Option<String>,
    pub share: Share,
    pub size: Size,
    pub max_sessions: u64,
    pub idle_timeout: SignedDuration,
}

impl Source {
    /// Returns whether a driver is of this source.
    fn has(&self, id: &str) -> bool {
        source(id) == Some(&*self.name)
    }

    fn key(&self) -> PoolKey {
        PoolKey { scope: String::new(), domain: self.domain.clone(), name: self.pool.clone() }
    }

    /// Returns the pool of the drivers, for which sessions wait while none runs.
    pub fn pool(&self) -> Pool {
        let engine = self.engine.clone().unwrap_or_default();
        let (share, size) = (self.share, self.size);
        Pool { key: self.key(), engine, share, size, starts: false, min_idle: 0, revision: 0 }
    }

    /// Returns the id of a server as a driver. Another pool of the entry has other drivers.
    fn id(&self, server: &ConnectServer) -> String {
        let Self { name, domain, pool, .. } = self;
        let ConnectServer { pod, uid, restarts, .. } = server;
        let id = format!("{PREFIX}{name}/{domain}/{pool}/{pod}/{}", uid.get(..8).unwrap_or(uid));
        if *restarts == 0 { id } else { format!("{id}.{restarts}") }
    }

    /// Returns a server as a driver, if its version is known.
    fn driver(&self, server: &ConnectServer) -> Option<Driver> {
        Some(Driver {
            id: self.id(server),
            pool: self.key(),
            address: server.address.to_string(),
            engine: self.engine.clone().or_else(|| server.version.clone())?,
            share: self.share,
            size: self.size,
            max_sessions: self.max_sessions,
            started: server.started,
        })
    }
}

/// Returns the name of the source of a driver, if it is one on a cluster.
pub fn source(id: &str) -> Option<&str> {
    id.strip_prefix(PREFIX)?.split('/').next()
}

/// Stores a driver that dcp did not start, and marks its sessions as ended that have been unused for longer than the idle timeout.
pub async fn report(
    store: &Store,
    driver: &Driver,
    idle_timeout: SignedDuration,
    at: Timestamp,
) -> Result<(), Error> {
    store.report(driver, at).await?;
    if let Ok(unused_since) = at.checked_sub(idle_timeout).and_then(|since| since.checked_sub(IDLE_MARGIN)) {
        store.expire(&driver.id, unused_since, at).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionKey;
    use crate::store::Bound;

    pub(super) fn of_team() -> Source {
        Source {
            name: "team".to_owned(),
            namespace: "spark".to_owned(),
            labels: BTreeMap::new(),
            domain: "logistics".to_owned(),
            pool: "notebooks".to_owned(),
            engine: None,
            share: Share::Domain,
            size: Size::default(),
            max_sessions: 10,
            idle_timeout: SignedDuration::from_hours(1),
        }
    }

    pub(super) fn server(pod: &str, uid: &str) -> ConnectServer {
        ConnectServer {
            pod: pod.to_owned(),
            uid: uid.to_owned(),
            restarts: 0,
            address: ([10, 0, 0, 7], 15002).into(),
            version: Some("4.1.1".to_owned()),
            started: Timestamp::UNIX_EPOCH,
            is_ready: true,
        }
    }

    #[test]
    fn id_has_the_source_and_changes_with_each_start() {
        let (source, server) = (of_team(), server("server", "0123456789-abc"));
        let first = source.id(&server);
        assert_eq!(first, "cluster:team/logistics/notebooks/server/01234567");
        assert_eq!(source.id(&ConnectServer { restarts: 2, ..server }), format!("{first}.2"));
        assert!(source.has(&first) && !Source { name: "tea".to_owned(), ..of_team() }.has(&first));
        assert_eq!(super::source("fixed:team"), None);
    }

    #[test]
    fn version_is_that_of_the_entry_or_of_the_label() {
        let unknown = ConnectServer { version: None, ..server("server", "1") };
        assert_eq!(of_team().driver(&unknown), None);
        let source = Source { engine: Some("4.0".to_owned()), ..of_team() };
        let engine = |server| source.driver(server).unwrap().engine;
        assert_eq!((engine(&unknown), engine(&server("server", "1"))), ("4.0".to_owned(), "4.0".to_owned()));
        assert_eq!(of_team().driver(&server("server", "1")).unwrap().engine, "4.1.1");
    }

    #[tokio::test]
    async fn unused_sessions_of_a_reported_driver_end() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::sqlite(&folder.path().join("state.db")).await.unwrap();
        let driver = of_team().driver(&server("server", "1")).unwrap();
        let begin = "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
        let hour = SignedDuration::from_hours(1);
        report(&store, &driver, hour, begin).await.unwrap();
        store.set_open(&driver.id, begin).await.unwrap();
        let key =
            SessionKey { domain: "logistics".to_owned(), user: "ada".to_owned(), session: "1".to_owned() };
        assert_eq!(store.bind(&key, &driver.id, begin).await.unwrap(), Bound::New);
        for (after, live) in [(hour, 1), (hour + IDLE_MARGIN, 0)] {
            report(&store, &driver, hour, begin + after).await.unwrap();
            assert_eq!(store.driver(&driver.id).await.unwrap().unwrap().live, live);
        }
    }
}
