//! Values of requests and responses.

use serde::{Deserialize, Deserializer, Serialize};

/// The greatest integer that every JSON reader reads exactly.
pub const MAX_EXACT_INTEGER: u64 = (1 << 53) - 1;

/// An integer within bounds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Within<const LEAST: u64, const MOST: u64>(pub u64);

impl<const LEAST: u64, const MOST: u64> TryFrom<u64> for Within<LEAST, MOST> {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        match (LEAST..=MOST).contains(&number) {
            true => Ok(Self(number)),
            false => Err(format!("it has to be from {LEAST} to {MOST}")),
        }
    }
}

/// Deserializes a field that may be missing, but not null.
pub fn non_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}
