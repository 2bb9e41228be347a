//! A cache with bounded memory.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// A cache of values that are costly to make, each with a weight. An entry is evicted if it is not read while entries
/// of the full capacity are added.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    ages: Mutex<Ages<K, V>>,
    /// Maximum total weight of the young entries, and of the old ones.
    most: usize,
}

#[derive(Debug)]
struct Ages<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    weight: usize,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self { ages: Mutex::new(Ages { young: HashMap::new(), old: HashMap::new(), weight: 0 }), most }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((value, _)) = ages.young.get(key) {
            return Some(value.clone());
        }
        let (key, (value, weight)) = ages.old.remove_entry(key)?;
        let found = value.clone();
        ages.put(key, value, weight, self.most);
        Some(found)
    }

    pub(crate) fn put(&self, key: K, value: V, weight: usize) {
        self.ages.lock().unwrap_or_else(PoisonError::into_inner).put(key, value, weight, self.most);
    }
}

impl<K: Eq + Hash, V> Ages<K, V> {
    fn put(&mut self, key: K, value: V, weight: usize, most: usize) {
        if self.weight + weight > most {
            (self.old, self.weight) = (std::mem::take(&mut self.young), 0);
        }
        // An entry that exceeds the capacity is not cached.
        if weight <= most {
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
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let recent = Recent::new(10);
        recent.put("asked for", 'a', 4);
        for number in 0..100 {
            recent.put(["b", "c", "d"][number % 3], 'b', 4);
            assert_eq!(recent.get("asked for"), Some('a'), "{number}");
        }
        for _ in 0..4 {
            recent.put("e", 'e', 6);
            recent.put("f", 'f', 6);
        }
        assert_eq!((recent.get("asked for"), recent.get("f")), (None, Some('f')));
    }

    #[test]
    fn no_more_is_kept_than_is_allowed() {
        let recent = Recent::new(10);
        recent.put(0, (), 11);
        assert_eq!(recent.get(&0), None, "it is too heavy");
        for number in 0..1_000 {
            recent.put(number % 7, (), 3);
            let ages = recent.ages.lock().unwrap();
            let weigh = |of: &HashMap<_, ((), usize)>| of.values().map(|it| it.1).sum::<usize>();
            assert_eq!(weigh(&ages.young), ages.weight);
            assert!(ages.weight <= 10 && weigh(&ages.old) <= 10);
        }
    }
}
