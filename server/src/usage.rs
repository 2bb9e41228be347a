//! Counts the uses of connections, so that unused ones can be closed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Limits;

/// Streams of health and reflection per connection, which need no token.
const MAX_PUBLIC_STREAMS: usize = 4;

/// Use of one connection. Only admitted calls count: those with a known token and a permit.
#[derive(Clone)]
pub(crate) struct Usage(Arc<Mutex<Counts>>);

struct Counts {
    calls: usize,
    public_streams: usize,
    /// The expiry of the connection until the first admitted call ends.
    deadline: Instant,
    last_call_end: Option<Instant>,
}

/// An admitted call, from its admission to the end of its response.
pub(crate) struct AdmittedCall(Usage);

/// A stream that needs no token.
pub(crate) struct PublicStream(Usage);

impl Usage {
    /// Creates the usage of a connection that expires at a time unless a call is admitted.
    pub(crate) fn new(deadline: Instant) -> Self {
        Self(Arc::new(Mutex::new(Counts { calls: 0, public_streams: 0, deadline, last_call_end: None })))
    }

    pub(crate) fn begin_call(&self) -> AdmittedCall {
        self.counts().calls += 1;
        AdmittedCall(self.clone())
    }

    /// Returns nothing if the connection has the maximum number of open streams.
    pub(crate) fn public_stream(&self) -> Option<PublicStream> {
        let mut counts = self.counts();
        if counts.public_streams >= MAX_PUBLIC_STREAMS {
            return None;
        }
        counts.public_streams += 1;
        Some(PublicStream(self.clone()))
    }

    /// Returns the expiry of the connection; none while admitted calls run.
    pub(crate) fn expires_at(&self, idle: Duration) -> Option<Instant> {
        let counts = self.counts();
        (counts.calls == 0)
            .then(|| counts.last_call_end.map_or(counts.deadline, |last_call_end| last_call_end + idle))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AdmittedCall {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        counts.calls -= 1;
        counts.last_call_end = Some(Instant::now());
    }
}

impl Drop for PublicStream {
    fn drop(&mut self) {
        self.0.counts().public_streams -= 1;
    }
}

/// Connections per peer address.
#[derive(Clone)]
pub(crate) struct Peers {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    limit: usize,
    /// Limit of this machine's own addresses, shared by all its users and proxies.
    local_limit: usize,
}

/// One connection of a peer.
pub(crate) struct PeerPermit(Peers, IpAddr);

impl Peers {
    pub(crate) fn new(limits: &Limits) -> Self {
        let Limits { connections, connections_per_peer: limit, .. } = *limits;
        Self { counts: Arc::default(), limit, local_limit: limit.max(connections - connections / 8) }
    }

    pub(crate) fn take(&self, address: IpAddr) -> Option<PeerPermit> {
        let address = network(address);
        let limit = if address.is_loopback() { self.local_limit } else { self.limit };
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(PeerPermit(self.clone(), address))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PeerPermit {
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
        let streams: Vec<_> = std::iter::from_fn(|| usage.public_stream()).collect();
        assert_eq!((streams.len(), usage.expires_at(idle)), (MAX_PUBLIC_STREAMS, Some(begun)));
        let (first, second) = (usage.begin_call(), usage.begin_call());
        drop(first);
        assert_eq!(usage.expires_at(idle), None);
        drop(second);
        assert!(usage.expires_at(idle).is_some_and(|at| at >= begun + idle));
        drop(streams);
        assert!(usage.public_stream().is_some());
    }

    #[test]
    fn connections_of_one_peer_are_counted_and_limited() {
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
