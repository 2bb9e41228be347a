//! Counts the uses of connections, so that unused ones can be closed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Limits;

/// Streams of health and reflection per connection, which need no token.
const OPEN_STREAMS: usize = 4;

/// Use of one connection. Only admitted calls count: those with a known token and a permit.
#[derive(Clone)]
pub(crate) struct Usage(Arc<Mutex<Counts>>);

struct Counts {
    calls: usize,
    open_streams: usize,
    /// The expiry of the connection until the first admitted call ends.
    until: Instant,
    last: Option<Instant>,
}

/// An admitted call, from its admission to the end of its response.
pub(crate) struct InUse(Usage);

/// A stream that needs no token.
pub(crate) struct OpenStream(Usage);

impl Usage {
    /// Creates the usage of a connection that expires at a time unless a call is admitted.
    pub(crate) fn new(until: Instant) -> Self {
        Self(Arc::new(Mutex::new(Counts { calls: 0, open_streams: 0, until, last: None })))
    }

    pub(crate) fn admitted(&self) -> InUse {
        self.counts().calls += 1;
        InUse(self.clone())
    }

    /// Returns nothing if the connection has the maximum number of open streams.
    pub(crate) fn open_stream(&self) -> Option<OpenStream> {
        let mut counts = self.counts();
        if counts.open_streams >= OPEN_STREAMS {
            return None;
        }
        counts.open_streams += 1;
        Some(OpenStream(self.clone()))
    }

    /// Returns the expiry of the connection; none while admitted calls run.
    pub(crate) fn expires(&self, idle: Duration) -> Option<Instant> {
        let counts = self.counts();
        (counts.calls == 0).then(|| counts.last.map_or(counts.until, |last| last + idle))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        counts.calls -= 1;
        counts.last = Some(Instant::now());
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.counts().open_streams -= 1;
    }
}

/// Connections per peer address.
#[derive(Clone)]
pub(crate) struct Peers {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    limit: usize,
    /// Limit of this machine's own addresses, shared by all its users and proxies.
    local: usize,
}

/// One connection of a peer.
pub(crate) struct Share(Peers, IpAddr);

impl Peers {
    pub(crate) fn new(limits: &Limits) -> Self {
        let Limits { connections, connections_per_peer: limit, .. } = *limits;
        Self { counts: Arc::default(), limit, local: limit.max(connections - connections / 8) }
    }

    pub(crate) fn take(&self, address: IpAddr) -> Option<Share> {
        let address = network(address);
        let limit = if address.is_loopback() { self.local } else { self.limit };
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Share(self.clone(), address))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Self(peers, address) = self;
        if let Entry::Occupied(mut count) = peers.counts().entry(*address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Returns the addresses that one peer can choose from freely: for IPv6, its /64 network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_admitted_calls_extend_the_life_of_a_connection() {
        let (begun, idle) = (Instant::now(), Duration::from_mins(1));
        let usage = Usage::new(begun);
        let streams: Vec<_> = std::iter::from_fn(|| usage.open_stream()).collect();
        assert_eq!((streams.len(), usage.expires(idle)), (OPEN_STREAMS, Some(begun)));
        let (first, second) = (usage.admitted(), usage.admitted());
        drop(first);
        assert_eq!(usage.expires(idle), None);
        drop(second);
        assert!(usage.expires(idle).is_some_and(|at| at >= begun + idle));
        drop(streams);
        assert!(usage.open_stream().is_some());
    }

    #[test]
    fn each_peer_has_its_share() {
        let limits = Limits { connections: 80, connections_per_peer: 2, ..Limits::default() };
        let peers = Peers::new(&limits);
        let take = |address: &str| peers.take(address.parse().unwrap());
        let held = (take("10.0.0.1").unwrap(), take("10.0.0.1").unwrap());
        assert!(take("10.0.0.1").is_none() && take("::ffff:10.0.0.1").is_none());
        assert!(take("10.0.0.2").is_some());
        drop(held.0);
        let again = take("10.0.0.1");
        assert!(again.is_some());
        let network = (take("2001:db8::1"), take("2001:db8::2"));
        assert!(take("2001:db8::ffff:3").is_none() && take("2001:db8:0:1::1").is_some());
        drop(network);
        let local: Vec<_> = std::iter::from_fn(|| take("127.0.0.1")).collect();
        assert_eq!(local.len(), 70);
        drop((local, again, held.1));
        assert!(peers.counts().is_empty());
    }
}
