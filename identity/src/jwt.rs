//! JSON Web Tokens in their compact form.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// A signed token. Its content is a claim of the sender until the signature is verified.
pub(crate) struct Jwt<'a> {
    pub(crate) header: Header,
    pub(crate) claims: Map<String, Value>,
    /// The bytes that are signed.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
}

#[derive(Deserialize)]
pub(crate) struct Header {
    pub(crate) alg: String,
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
    /// The names of extensions that a receiver has to understand.
    pub(crate) crit: Option<IgnoredAny>,
}

impl<'a> Jwt<'a> {
    /// Reads a token; none if it has another form.
    pub(crate) fn read(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        Some(Self {
            header: serde_json::from_slice(&decode(header)?).ok()?,
            claims: serde_json::from_slice(&decode(claims)?).ok()?,
            signed: signed.as_bytes(),
            signature: decode(signature)?,
        })
    }

    /// Returns a claim that is text.
    pub(crate) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Returns a token whose signature is arbitrary bytes.
    pub(crate) fn encode(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode("signature"))
    }

    #[test]
    fn parts_of_a_token_are_decoded() {
        let token = encode(&json!({"alg": "RS256", "kid": "a", "x": 1}), &json!({"iss": "b", "exp": 1}));
        let jwt = Jwt::read(&token).expect("it is a token");
        assert_eq!((jwt.header.alg.as_str(), jwt.header.kid.as_deref()), ("RS256", Some("a")));
        assert_eq!((jwt.text("iss"), jwt.text("exp"), jwt.text("sub")), (Some("b"), None, None));
        assert_eq!(jwt.signature, b"signature");
        assert_eq!(jwt.signed, token.rsplit_once('.').expect("it has a signature").0.as_bytes());
    }

    #[test]
    fn texts_of_another_form_are_no_tokens() {
        let token = encode(&json!({"alg": "RS256"}), &json!({}));
        assert!(Jwt::read(&token).is_some());
        let array = encode(&json!({"alg": "RS256"}), &json!([]));
        let untyped = encode(&json!({"alg": 1}), &json!({}));
        let without_algorithm = encode(&json!({}), &json!({}));
        for wrong in ["", ".", "..", "a.b.c", "0123456789abcdef", &array, &untyped, &without_algorithm] {
            assert!(Jwt::read(wrong).is_none(), "{wrong}");
        }
        for wrong in [format!("{token}."), format!("{token}.a"), format!("{token}="), format!(" {token}")] {
            assert!(Jwt::read(&wrong).is_none(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_read_without_a_panic(text in "[a-zA-Z0-9_.=-]{0,200}|.{0,200}") {
            let _ = Jwt::read(&text);
        }
    }
}
