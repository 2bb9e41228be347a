//! Weighted rendezvous hashing.

use sha2::{Digest as _, Sha256};

/// Returns the score of a cluster for an application. Over many applications, each of several clusters has the highest
/// score as often as its weight says. The score depends on no other cluster.
pub(super) fn score(application: &str, cluster: &str, weight: u32) -> f64 {
    // The separator is in no name.
    let digest = Sha256::new().chain_update(application).chain_update([0]).chain_update(cluster).finalize();
    let [a, b, c, d, ..]: [u8; 32] = digest.into();
    // Between 0 and 1, and never equal to them.
    let uniform = (f64::from(u32::from_be_bytes([a, b, c, d])) + 0.5) / (f64::from(u32::MAX) + 1.0);
    f64::from(weight) / -uniform.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_finite_and_grow_with_the_weight() {
        for application in 0..1000 {
            let score = |weight| score(&application.to_string(), "main", weight);
            assert!(score(1).is_finite() && score(u32::MAX).is_finite());
            assert!(score(0).abs() < f64::EPSILON && score(1) > 0.0 && score(2) > score(1));
        }
    }

    #[test]
    fn names_are_separated() {
        assert!((score("ab", "c", 1) - score("a", "bc", 1)).abs() > f64::EPSILON);
    }
}
