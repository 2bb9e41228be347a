//! Numbers that hold still: bounds, a grid, and how far off a size must be before it is left.

/// What a size may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) least: u64,
    pub(super) most: u64,
}

impl Bounds {
    /// Bounds that contradict each other leave the upper one.
    pub(super) fn new(least: u64, most: u64) -> Self {
        let most = most.max(1);
        Self { least: least.clamp(1, most), most }
    }

    pub(super) fn clamp(self, value: u64) -> u64 {
        value.clamp(self.least, self.most)
    }
}

/// Up to the grid, whose steps are between an eighth and a sixteenth of the number, and not below `finest`.
pub(super) fn up(value: u64, finest: u64) -> u64 {
    let step = (value / 8).checked_ilog2().map_or(1, |power| 1 << power).max(finest.max(1));
    value.checked_next_multiple_of(step).unwrap_or(value)
}

/// Whether it is well above what there is.
pub(super) fn well_above(wish: u64, now: u64) -> bool {
    wish > now.saturating_add(now / 4)
}

/// Whether it is well below: half of it is enough. What is shrunk to this and then grows by a half is above it no more,
/// so that nothing goes to and fro.
pub(super) fn well_below(wish: u64, now: u64) -> bool {
    wish <= now / 2
}

/// `part` of `whole` in hundredths; 0 of nothing.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    scaled(part, 100, whole)
}

/// `number` times `times` by `by`, rounded up; 0 where nothing is to be divided by.
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
        fn the_grid_is_near_above_and_holds_still(value in 1u64..1 << 40, finest in 1u64..100) {
            let found = up(value, finest);
            prop_assert!(found >= value && found - value < (value / 8).max(finest));
            prop_assert_eq!(up(found, finest), found);
            prop_assert!(up(value + 1, finest) >= found, "more is never less");
        }

        #[test]
        fn what_was_left_is_not_come_back_to(now in 450u64..1 << 30, wish in 450u64..1 << 30) {
            prop_assert!(!(well_above(wish, now) && well_below(wish, now)));
            // As heaps grow that turn out to be too small.
            let grown = up(wish + wish.div_ceil(2), 64);
            prop_assert!(!well_below(wish, grown) && !well_above(wish, grown));
        }

        #[test]
        fn everything_has_an_answer(a in any::<u64>(), b in any::<u64>(), c in any::<u64>()) {
            prop_assert!(up(a, b) >= a);
            let bounds = Bounds::new(a, b);
            prop_assert!(bounds.least <= bounds.most);
            prop_assert!((bounds.least..=bounds.most).contains(&bounds.clamp(c)));
            let _ = (percent(a, b), scaled(a, b, c), well_above(a, b), well_below(a, b));
        }
    }
}
