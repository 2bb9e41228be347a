//! A cache with bounded memory.

use std::fmt;
use std::hash::{Hash, RandomState};

use quick_cache::sync::{Cache as Weighted, DefaultLifecycle};
use quick_cache::{Equivalent, OptionsBuilder, Weighter};

/// The number of entries that the cache is prepared for; there may be more.
const EXPECTED_ENTRIES: usize = 4096;

/// A cache of values that are costly to make, each with a weight. Entries that were not read for long are evicted.
pub(crate) struct Cache<K, V>(Weighted<K, (V, usize), ByWeight, RandomState>);

#[derive(Debug, Clone)]
struct ByWeight;

impl<K, V> Weighter<K, (V, usize)> for ByWeight {
    fn weight(&self, _: &K, (_, weight): &(V, usize)) -> u64 {
        *weight as u64
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// Creates a cache for entries of a total weight.
    pub(crate) fn new(capacity: usize) -> Self {
        // One shard, as the capacity would be divided, and one entry may have a large part of it.
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(capacity.min(EXPECTED_ENTRIES))
            .weight_capacity(capacity as u64)
            .build()
            .expect("all required options are set");
        Self(Weighted::with_options(options, ByWeight, RandomState::new(), DefaultLifecycle::default()))
    }

    pub(crate) fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        self.0.get(key).map(|(value, _)| value)
    }

    /// Adds an entry, unless it exceeds the capacity.
    pub(crate) fn put(&self, key: K, value: V, weight: usize) {
        self.0.insert(key, (value, weight));
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_are_read_stay_and_the_weight_is_limited() {
        let cache = Cache::new(1_000);
        cache.put(0, 'a', 100);
        for number in 1..10_000 {
            cache.put(number, 'b', 100);
            assert_eq!(cache.get(&0), Some('a'), "{number}");
            assert!(cache.0.weight() <= 1_000);
        }
        let kept = (0..10_000).filter(|number| cache.get(number).is_some()).count();
        assert!((1..=10).contains(&kept), "{kept} entries are kept");
        cache.put(-1, 'c', 1_001);
        assert_eq!(cache.get(&-1), None, "it exceeds the capacity");
    }
}
