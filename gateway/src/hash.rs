//! Hashes as text.

use sha2::{Digest as _, Sha256};

/// Returns half of the SHA-256 of some bytes, as hexadecimal digits.
pub(crate) fn digits(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..16])
}

/// Returns bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}

fn digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn digits_are_those_of_the_standard() {
        assert_eq!(digits(b"abc"), "ba7816bf8f01cfea414140de5dae2223");
    }
}
