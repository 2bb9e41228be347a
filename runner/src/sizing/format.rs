//! Formats figures for reasons.

/// Formats bytes with at most three significant digits: `1.2 GiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [(u32, &str); 5] = [(50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let Some((power, unit)) = UNITS.into_iter().find(|(power, _)| bytes >> power > 0) else {
        return format!("{bytes} B");
    };
    let tenths = (u128::from(bytes) * 10) >> power;
    if tenths < 100 && tenths % 10 != 0 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", tenths / 10)
    }
}

pub(super) fn mib(mib: u64) -> String {
    bytes(mib.saturating_mul(1 << 20))
}

/// Formats a duration: `45 s`, `12 min`, `3.5 h`.
pub(super) fn millis(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..120_000 => format!("{} s", millis / 1_000),
        120_000..7_200_000 => format!("{} min", millis / 60_000),
        _ => format!("{}.{} h", millis / 3_600_000, millis % 3_600_000 / 360_000),
    }
}

/// Returns the words for the runs that a reason refers to.
pub(super) fn last_runs(count: usize) -> String {
    if count == 1 { "the last run".to_owned() } else { format!("the last {count} runs") }
}

/// Formats a count: `1 core`, `4 cores`.
pub(super) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    #[test]
    fn figures_have_few_digits() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1 << 20, "1 MiB"),
            ((5 << 30) / 4, "1.2 GiB"),
            (400 << 20, "400 MiB"),
            (1536 << 20, "1.5 GiB"),
            (u64::MAX, "16383 PiB"),
        ] {
            assert_eq!(super::bytes(bytes), expected);
        }
        for (millis, expected) in [
            (7, "7 ms"),
            (45_999, "45 s"),
            (720_000, "12 min"),
            (12_600_000, "3.5 h"),
            (u64::MAX, "5124095576030.4 h"),
        ] {
            assert_eq!(super::millis(millis), expected);
        }
    }
}
