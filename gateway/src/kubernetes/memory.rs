//! Sizes of memory in Spark's notation.

/// Returns the MiB of a size such as `2g`, `512m` or `1024`, which is in MiB.
pub(super) fn mebibytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let kibibytes = match &text[digits..] {
        "" | "m" | "mb" | "mi" => number.checked_mul(1 << 10)?,
        "k" | "kb" | "ki" => number,
        "g" | "gb" | "gi" => number.checked_mul(1 << 20)?,
        "t" | "tb" | "ti" => number.checked_mul(1 << 30)?,
        "b" => number.div_ceil(1 << 10),
        _ => return None,
    };
    Some(kibibytes.div_ceil(1 << 10))
}

/// Returns the memory of a container beyond the heap, as Spark's submitter computes it.
pub(super) fn overhead(heap: u64, factor: f64, minimum: u64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a heap has fewer than 2^52 MiB, and a factor is checked to be positive"
    )]
    let by_factor = (heap as f64 * factor) as u64;
    by_factor.max(minimum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_the_notation_of_spark() {
        for (text, expected) in [
            ("2g", Some(2048)),
            ("512m", Some(512)),
            ("1024", Some(1024)),
            ("1T", Some(1 << 20)),
            ("2048k", Some(2)),
            ("1b", Some(1)),
            ("", None),
            ("g", None),
            ("2x", None),
            ("-1g", None),
            ("99999999999999999999g", None),
            ("18446744073709551615t", None),
        ] {
            assert_eq!(mebibytes(text), expected, "{text}");
        }
    }

    #[test]
    fn overhead_has_a_minimum() {
        assert_eq!(
            (overhead(512, 0.1, 384), overhead(8192, 0.1, 384), overhead(2048, 0.4, 384)),
            (384, 819, 819)
        );
    }
}
