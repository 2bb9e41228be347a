//! Responses to `Config`, in which the driver's token is redacted.

use super::fields::{Malformed, Value, append_bytes, fields};

/// The field of the pairs of a response, and those of a pair.
const PAIRS: u32 = 2;
const KEY: u32 = 1;
const VALUE: u32 = 2;

/// The end of the name of the setting with the token. A client may ask for settings without a prefix, so that the beginning is
/// missing.
const TOKEN_SETTING: &[u8] = b"authenticate.token";

/// Redacts the token of a driver in a response: the value of its setting, and each value that contains it. Returns nothing
/// if the response does not have it.
pub(crate) fn redacted(message: &[u8], token: Option<&str>) -> Result<Option<Vec<u8>>, Malformed> {
    let mut kept = Vec::new();
    let mut is_changed = false;
    for field in fields(message) {
        let field = field?;
        match field.value {
            Value::Bytes(pair) if field.number == PAIRS && has_token(pair, token)? => {
                append_bytes(&mut kept, PAIRS, &redacted_pair(pair)?);
                is_changed = true;
            }
            _ => kept.extend_from_slice(field.bytes),
        }
    }
    Ok(is_changed.then_some(kept))
}

fn has_token(pair: &[u8], token: Option<&str>) -> Result<bool, Malformed> {
    for field in fields(pair) {
        let field = field?;
        let Value::Bytes(text) = field.value else { continue };
        let is_setting = field.number == KEY && text.ends_with(TOKEN_SETTING);
        let is_value = field.number == VALUE && token.is_some_and(|token| contains(text, token.as_bytes()));
        if is_setting || is_value {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns a pair with its key and Spark's text for values that are not shown. Clients require a value.
fn redacted_pair(pair: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut kept = Vec::new();
    for field in fields(pair) {
        let field = field?;
        if field.number == KEY {
            kept.extend_from_slice(field.bytes);
        }
    }
    append_bytes(&mut kept, VALUE, REDACTED);
    Ok(kept)
}

/// The text that Spark shows instead of values that match `spark.redaction.regex`.
const REDACTED: &[u8] = b"*********(redacted)";

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(pairs: &[(&str, Option<&str>)]) -> Vec<u8> {
        let mut message = Vec::new();
        append_bytes(&mut message, 1, b"session");
        for (key, value) in pairs {
            let mut pair = Vec::new();
            append_bytes(&mut pair, KEY, key.as_bytes());
            if let Some(value) = value {
                append_bytes(&mut pair, VALUE, value.as_bytes());
            }
            append_bytes(&mut message, PAIRS, &pair);
        }
        append_bytes(&mut message, 4, b"server session");
        message
    }

    #[test]
    fn token_of_the_driver_is_redacted() {
        let (token, hidden) = ("0123456789abcdef", Some("*********(redacted)"));
        let of_setting = |key, value| response(&[("a", Some("b")), (key, value)]);
        for key in ["spark.connect.authenticate.token", "connect.authenticate.token", "authenticate.token"] {
            let kept = redacted(&of_setting(key, Some(token)), None).unwrap();
            assert_eq!(kept, Some(of_setting(key, hidden)), "{key}");
        }
        let kept = redacted(&of_setting("spark.x", Some("token=0123456789abcdef;")), Some(token)).unwrap();
        assert_eq!(kept, Some(of_setting("spark.x", hidden)));
        assert_eq!(redacted(&of_setting("spark.x", Some("0123")), Some(token)), Ok(None));
        assert_eq!(redacted(&of_setting("spark.x", Some("")), Some("")), Ok(None));
    }
}
