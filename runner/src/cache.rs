//! A cache with bounded memory.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// A cache of values that are costly to make, each with a weight. An entry is evicted if it is not read while entries
/// of the full capacity are added.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    generations: Mutex<Generations<K, V>>,
    /// Maximum total weight of the young entries, and of the old ones.
    capacity: usize,
}

#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    weight: usize,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            generations: Mutex::new(Generations { young: HashMap::new(), old: HashMap::new(), weight: 0 }),
            capacity,
        }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((value, _)) = generations.young.get(key) {
            return Some(value.clone());
        }
        let (key, (value, weight)) = generations.old.remove_entry(key)?;
        let found = value.clone();
        generations.put(key, value, weight, self.capacity);
        Some(found)
    }

    pub(crate) fn put(&self, key: K, value: V, weight: usize) {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner).put(
            key,
            value,
            weight,
            self.capacity,
        );
    }
}

impl<K: Eq + Hash, V> Generations<K, V> {
    fn put(&mut self, key: K, value: V, weight: usize, capacity: usize) {
        if self.weight + weight > capacity {
            (self.old, self.weight) = (std::mem::take(&mut self.young), 0);
        }
        // An entry that exceeds the capacity is not cached.
        if weight <= capacity {
            self.weight += weight;
            if let Some((_, before)) = self.young.insert(key, (value, weight)) {
                self.weight -= before;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_are_read_stay_and_others_are_evicted() {
        let cache = Cache::new(10);
        cache.put("asked for", 'a', 4);
        for number in 0..100 {
            cache.put(["b", "c", "d"][number % 3], 'b', 4);
            assert_eq!(cache.get("asked for"), Some('a'), "{number}");
        }
        for _ in 0..4 {
            cache.put("e", 'e', 6);
            cache.put("f", 'f', 6);
        }
        assert_eq!((cache.get("asked for"), cache.get("f")), (None, Some('f')));
    }

    #[test]
    fn cache_stays_within_its_capacity() {
        let cache = Cache::new(10);
        cache.put(0, (), 11);
        assert_eq!(cache.get(&0), None, "it is too heavy");
        for number in 0..1_000 {
            cache.put(number % 7, (), 3);
            let generations = cache.generations.lock().unwrap();
            let weigh = |of: &HashMap<_, ((), usize)>| of.values().map(|it| it.1).sum::<usize>();
            assert_eq!(weigh(&generations.young), generations.weight);
            assert!(generations.weight <= 10 && weigh(&generations.old) <= 10);
        }
    }
}
