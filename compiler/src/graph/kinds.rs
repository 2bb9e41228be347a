//! The kinds of jobs, runs and datasets, for nodes that are read from a cache.

use serde::de::{Deserialize, Deserializer, Error};

/// The name of a kind. The alias keeps serde from borrowing it from what it reads.
pub(super) type Kind = &'static str;

pub(super) fn job<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    known(from, &["sql", "pyspark", "jar", "stream"])
}

pub(super) fn run<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    known(from, &["schedule", "onAssets", "manual", "continuous", "service"])
}

pub(super) fn dataset<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    known(from, &["table", "path", "topic", "asset", "checkpoint"])
}

fn known<'de, D: Deserializer<'de>>(from: D, kinds: &[&'static str]) -> Result<&'static str, D::Error> {
    let text = <&str>::deserialize(from)?;
    kinds.iter().find(|kind| **kind == text).copied().ok_or_else(|| Error::custom("unknown kind"))
}
