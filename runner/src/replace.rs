//! Decides which of several executions with one exclusive key proceeds. Pure.

use crate::execution::Id;

/// Another live execution that holds the key or waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    pub id: Id,
    /// None if it was submitted without an order; any execution with an order replaces it.
    pub order: Option<i64>,
    pub has_key: bool,
}

/// The result of an execution's claim of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// No execution holds the key.
    Free,
    /// An execution of a lower order holds the key, and is to be cancelled.
    Held(Id),
    /// An execution of a higher order holds the key or waits for it.
    Newer(Id),
    /// The claiming execution has ended.
    Ended,
}

/// Decides by the orders, and by the ids if the orders are equal.
pub fn decide(id: &Id, order: Option<i64>, rivals: &[Rival]) -> Claim {
    let newest = rivals.iter().max_by_key(|rival| (rival.order, &rival.id));
    if let Some(newest) = newest.filter(|rival| (rival.order, &rival.id) > (order, id)) {
        return Claim::Newer(newest.id.clone());
    }
    rivals.iter().find(|rival| rival.has_key).map_or(Claim::Free, |rival| Claim::Held(rival.id.clone()))
}
