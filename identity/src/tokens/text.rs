//! The text of a token: `dcp_ID_SECRET`. The database has the id, and a salted hash of the secret.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

const PREFIX: &str = "dcp_";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;

/// The text of a token. Only its holder has it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText {
    id: String,
    secret: String,
}

/// A salted hash, in hexadecimal. The secret has 256 random bits, so that a fast hash suffices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SaltedHash {
    pub(super) salt: String,
    pub(super) hash: String,
}

impl TokenText {
    pub(super) fn generate() -> Self {
        Self {
            id: hex(&rand::random::<[u8; ID_BYTES]>()),
            secret: hex(&rand::random::<[u8; SECRET_BYTES]>()),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Returns the text to give to the holder.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenText").field("id", &self.id).finish_non_exhaustive()
    }
}

impl FromStr for TokenText {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (id, secret) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or(())?;
        let is_hex = |text: &str, bytes: usize| {
            text.len() == 2 * bytes
                && text.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it))
        };
        match is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES) {
            true => Ok(Self { id: id.to_owned(), secret: secret.to_owned() }),
            false => Err(()),
        }
    }
}

impl SaltedHash {
    pub(super) fn of(token: &TokenText) -> Self {
        let salt = hex(&rand::random::<[u8; 16]>());
        Self { hash: hash(&salt, token), salt }
    }

    pub(super) fn matches(&self, token: &TokenText) -> bool {
        hash(&self.salt, token).as_bytes().ct_eq(self.hash.as_bytes()).into()
    }
}

fn hash(salt: &str, token: &TokenText) -> String {
    hex(&Sha256::new().chain_update(salt).chain_update(&token.secret).finalize())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_matches_its_token_only_and_has_a_salt_of_its_own() {
        let token = TokenText::generate();
        let (first, second) = (SaltedHash::of(&token), SaltedHash::of(&token));
        assert!(first.matches(&token) && second.matches(&token) && first != second);
        let other = TokenText { secret: TokenText::generate().secret, ..token.clone() };
        assert!(!first.matches(&other));
        assert!(!first.hash.contains(&token.secret));
    }

    #[test]
    fn only_the_exact_text_is_a_token() {
        let token = TokenText::generate();
        let text = token.expose();
        assert_eq!(text.parse(), Ok(token));
        for wrong in
            [&text[..text.len() - 1], &text.to_uppercase(), &text.replacen("dcp_", "dcq_", 1), "", "dcp__"]
        {
            assert_eq!(wrong.parse::<TokenText>(), Err(()), "{wrong}");
        }
        assert_eq!(format!("{text}0").parse::<TokenText>(), Err(()));
    }

    #[test]
    fn debug_output_does_not_have_the_secret() {
        let token = TokenText::generate();
        assert!(!format!("{token:?}").contains(&token.secret));
    }
}
