//! Arithmetic that keeps sizes stable: bounds, a grid, and thresholds for changes.

/// The bounds of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) least: u64,
    pub(super) most: u64,
}

impl Bounds {
    /// Creates bounds. If they contradict each other, the upper one prevails.
    pub(super) fn new(least: u64, most: u64) -> Self {
        let most = most.max(1);
        Self { least: least.clamp(1, most), most }
    }

    pub(super) fn clamp(self, value: u64) -> u64 {
        value.clamp(self.least, self.most)
    }
}

/// Rounds up to a grid whose steps are between 1/16 and 1/8 of the number, and at least `finest`.
pub(super) fn round_up(value: u64, finest: u64) -> u64 {
    let step = (value / 8).checked_ilog2().map_or(1, |power| 1 << power).max(finest.max(1));
    value.checked_next_multiple_of(step).unwrap_or(value)
}

/// Returns whether the needed size is well above the current one.
pub(super) fn well_above(needed: u64, current: u64) -> bool {
    needed > current.saturating_add(current / 4)
}

/// Returns whether half of the current size is enough. A size that grew to one and a half times the need does not
/// shrink again, so that sizes do not oscillate.
pub(super) fn well_below(needed: u64, current: u64) -> bool {
    needed <= current / 2
}

/// Returns `part` of `whole` in percent, rounded up; 0 if `whole` is 0.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    scaled(part, 100, whole)
}

/// Returns `number * times / by`, rounded up; 0 if `by` is 0.
pub(super) fn scaled(number: u64, times: u64, by: u64) -> u64 {
    if by == 0 {
        return 0;
    }
    u64::try_from((u128::from(number) * u128::from(times)).div_ceil(u128::from(by))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rounding_up_is_close_idempotent_and_monotonic(value in 1u64..1 << 40, finest in 1u64..100) {
            let found = round_up(value, finest);
            prop_assert!(found >= value && found - value < (value / 8).max(finest));
            prop_assert_eq!(round_up(found, finest), found);
            prop_assert!(round_up(value + 1, finest) >= found, "more is never less");
        }

        #[test]
        fn sizes_do_not_oscillate(current in 450u64..1 << 30, needed in 450u64..1 << 30) {
            prop_assert!(!(well_above(needed, current) && well_below(needed, current)));
            // Heaps that turn out to be too small grow like this.
            let grown = round_up(needed + needed.div_ceil(2), 64);
            prop_assert!(!well_below(needed, grown) && !well_above(needed, grown));
        }

        #[test]
        fn arithmetic_accepts_all_numbers(a in any::<u64>(), b in any::<u64>(), c in any::<u64>()) {
            prop_assert!(round_up(a, b) >= a);
            let bounds = Bounds::new(a, b);
            prop_assert!(bounds.least <= bounds.most);
            prop_assert!((bounds.least..=bounds.most).contains(&bounds.clamp(c)));
            let _ = (percent(a, b), scaled(a, b, c), well_above(a, b), well_below(a, b));
        }
    }
}
