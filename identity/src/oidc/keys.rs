//! The keys of a provider (RFC 7517), and the choice of the key for a token.

use std::fmt;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

use super::algorithm::{Algorithm, Verification};
use crate::jwt::Jwt;

/// Maximum number of keys of a provider.
const MAX_KEYS: usize = 64;
/// Length of the modulus of an RSA key. Shorter keys are not safe.
const RSA_MODULUS_BYTES: RangeInclusive<usize> = 256..=1024;

/// The keys of a provider that verify signatures.
pub(super) struct KeySet(Vec<Key>);

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

struct Key {
    id: Option<String>,
    /// The only algorithm for which the key may be used.
    algorithm: Option<Algorithm>,
    material: Material,
}

enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The reason why a signature is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unverified {
    /// No known key fits. Newer keys of the provider may.
    UnknownKey,
    /// Several keys fit, and the token names none of them.
    AmbiguousKey,
    WrongSignature,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a document. Keys that can't verify signatures are left out, such as those for encryption.
    pub(super) fn read(document: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(document).map_err(|error| {
            format!("has no list of `keys` (line {}, column {})", error.line(), error.column())
        })?;
        if document.keys.len() > MAX_KEYS {
            return Err(format!("has {} keys, more than {MAX_KEYS}", document.keys.len()));
        }
        let keys = document.keys.into_iter().filter_map(|key| Key::new(serde_json::from_value(key).ok()?));
        Ok(Self(keys.collect()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Verifies the signature of a token with the key that it names, or with the only one that fits.
    pub(super) fn verify(&self, jwt: &Jwt<'_>, algorithm: Algorithm) -> Result<(), Unverified> {
        let id = jwt.header.kid.as_deref();
        let mut fitting = self.0.iter().filter(|key| key.fits(id, algorithm));
        let key = match (fitting.next(), fitting.next()) {
            (Some(key), None) => key,
            (None, _) => return Err(Unverified::UnknownKey),
            (Some(_), Some(_)) => return Err(Unverified::AmbiguousKey),
        };
        match key.material.has_signed(algorithm, jwt.signed, &jwt.signature) {
            true => Ok(()),
            // Without a name, a new key looks like an old one.
            false if id.is_none() => Err(Unverified::UnknownKey),
            false => Err(Unverified::WrongSignature),
        }
    }
}

impl Key {
    /// Returns a key that verifies signatures.
    fn new(jwk: Jwk) -> Option<Self> {
        let is_for_signatures = jwk.r#use.as_deref().is_none_or(|it| it == "sig")
            && jwk.key_ops.as_ref().is_none_or(|all| all.iter().any(|it| it == "verify"));
        if !is_for_signatures {
            return None;
        }
        let algorithm = jwk.alg.as_deref().map(str::parse).transpose().ok()?;
        let material = Material::new(&jwk)?;
        let fits = algorithm.is_none_or(|algorithm: Algorithm| material.fits(&algorithm.verification()));
        fits.then_some(Self { id: jwk.kid, algorithm, material })
    }

    fn fits(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        id.is_none_or(|id| self.id.as_deref() == Some(id))
            && self.algorithm.is_none_or(|only| only == algorithm)
            && self.material.fits(&algorithm.verification())
    }
}

impl Material {
    fn new(jwk: &Jwk) -> Option<Self> {
        match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (number(jwk.n.as_deref())?, number(jwk.e.as_deref())?);
                RSA_MODULUS_BYTES.contains(&n.len()).then_some(Self::Rsa { n, e })
            }
            ("EC", Some("P-256")) => Some(Self::P256(point(jwk, 32)?)),
            ("EC", Some("P-384")) => Some(Self::P384(point(jwk, 48)?)),
            ("OKP", Some("Ed25519")) => Some(Self::Ed25519(bytes(jwk.x.as_deref(), 32)?)),
            _ => None,
        }
    }

    fn fits(&self, verification: &Verification) -> bool {
        matches!(
            (self, verification),
            (Self::Rsa { .. }, Verification::Rsa(_))
                | (Self::P256(_), Verification::P256(_))
                | (Self::P384(_), Verification::P384(_))
                | (Self::Ed25519(_), Verification::Ed25519(_))
        )
    }

    fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let verified = match (self, algorithm.verification()) {
            (Self::Rsa { n, e }, Verification::Rsa(parameters)) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Self::P256(key), Verification::P256(parameters))
            | (Self::P384(key), Verification::P384(parameters))
            | (Self::Ed25519(key), Verification::Ed25519(parameters)) => {
                UnparsedPublicKey::new(parameters, key).verify(message, signature)
            }
            _ => return false,
        };
        verified.is_ok()
    }
}

/// Returns a number without leading zeros, as ring requires it.
fn number(text: Option<&str>) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text?).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(bytes[zeros..].to_vec()).filter(|bytes| !bytes.is_empty())
}

/// Returns bytes of an exact length.
fn bytes(text: Option<&str>, length: usize) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok().filter(|bytes| bytes.len() == length)
}

/// Returns the uncompressed form of a point.
fn point(jwk: &Jwk, length: usize) -> Option<Vec<u8>> {
    const UNCOMPRESSED: u8 = 4;
    let (x, y) = (bytes(jwk.x.as_deref(), length)?, bytes(jwk.y.as_deref(), length)?);
    Some([&[UNCOMPRESSED][..], &x, &y].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed has 32 bytes")
    }

    fn jwk(pair: &Ed25519KeyPair, more: &Value) -> Value {
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        jwk.as_object_mut()
            .expect("it is an object")
            .extend(more.as_object().expect("it is an object").clone());
        jwk
    }

    fn set(keys: &[Value]) -> KeySet {
        KeySet::read(json!({"keys": keys}).to_string().as_bytes()).expect("it is a set")
    }

    fn verified(set: &KeySet, pair: &Ed25519KeyPair, header: &Value) -> Result<(), Unverified> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(&json!({"sub": "ada"})));
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes())));
        set.verify(&Jwt::read(&token).expect("it is a token"), Algorithm::EdDsa)
    }

    #[test]
    fn token_is_verified_by_the_key_that_it_names() {
        let set = set(&[jwk(&pair(1), &json!({"kid": "a"})), jwk(&pair(2), &json!({"kid": "b"}))]);
        let header = |kid: &str| json!({"alg": "EdDSA", "kid": kid});
        assert_eq!(verified(&set, &pair(1), &header("a")), Ok(()));
        assert_eq!(verified(&set, &pair(2), &header("b")), Ok(()));
        assert_eq!(verified(&set, &pair(2), &header("a")), Err(Unverified::WrongSignature));
        assert_eq!(verified(&set, &pair(1), &header("c")), Err(Unverified::UnknownKey));
        assert_eq!(verified(&set, &pair(1), &json!({"alg": "EdDSA"})), Err(Unverified::AmbiguousKey));
    }

    #[test]
    fn token_without_the_name_of_a_key_is_verified_by_the_only_one() {
        let set = set(&[jwk(&pair(1), &json!({})), jwk(&pair(2), &json!({"use": "enc"}))]);
        assert_eq!(verified(&set, &pair(1), &json!({"alg": "EdDSA"})), Ok(()));
        assert_eq!(verified(&set, &pair(2), &json!({"alg": "EdDSA"})), Err(Unverified::UnknownKey));
    }

    #[test]
    fn keys_for_another_purpose_are_left_out() {
        for more in [
            json!({"use": "enc"}),
            json!({"key_ops": ["sign"]}),
            json!({"key_ops": []}),
            json!({"alg": "RS256"}),
            json!({"alg": "HS256"}),
            json!({"alg": "none"}),
            json!({"alg": "RSA-OAEP"}),
            json!({"kty": "oct", "k": "c2VjcmV0"}),
            json!({"kty": "EC"}),
            json!({"kty": "EC", "crv": "P-256"}),
            json!({"kty": "RSA"}),
            json!({"kty": "RSA", "n": "", "e": "AQAB"}),
            json!({"kty": "RSA", "n": "____".repeat(85), "e": "AQAB"}),
            json!({"kty": "RSA", "n": "____".repeat(342), "e": "AQAB"}),
            json!({"crv": "Ed448"}),
            json!({"x": "AQAB"}),
            json!({"x": "!"}),
            json!({"kid": 1}),
            json!({"kty": null}),
        ] {
            assert!(set(&[jwk(&pair(1), &more), json!(1), json!({})]).is_empty(), "{more}");
        }
        for more in [json!({"use": "sig"}), json!({"key_ops": ["sign", "verify"]}), json!({"alg": "Ed25519"})]
        {
            let header = json!({"alg": "EdDSA"});
            assert_eq!(verified(&set(&[jwk(&pair(1), &more)]), &pair(1), &header), Ok(()), "{more}");
        }
    }

    #[test]
    fn key_is_used_for_its_algorithm_only() {
        let rsa = json!({"kty": "RSA", "kid": "a", "alg": "RS256", "n": "____".repeat(86), "e": "AQAB"});
        let set = set(&[rsa]);
        let key = set.0.first().expect("the key is usable");
        for algorithm in Algorithm::ALL {
            assert_eq!(key.fits(Some("a"), algorithm), algorithm == Algorithm::Rs256, "{algorithm}");
        }
    }

    #[test]
    fn documents_without_keys_and_with_too_many_are_rejected() {
        let many = json!({"keys": vec![jwk(&pair(1), &json!({})); MAX_KEYS + 1]}).to_string();
        for document in ["", "[]", "{}", "null", r#"{"keys": {}}"#, r#"{"keys": null}"#, &many] {
            assert!(KeySet::read(document.as_bytes()).is_err());
        }
        assert!(set(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn arbitrary_keys_are_read_and_used_without_a_panic(
            kty in "RSA|EC|OKP|oct", crv in "P-256|P-384|Ed25519|a", n in "[A-Za-z0-9_-]{0,90}|[A-Za-z0-9_-]{344}", alg in 0_usize..9,
        ) {
            let key = json!({"kty": kty, "crv": crv, "n": n, "e": n, "x": n, "y": n});
            let token = crate::jwt::tests::encode(&json!({"alg": "x"}), &json!({}));
            let jwt = Jwt::read(&token).expect("it is a token");
            prop_assert!(set(&[key]).verify(&jwt, Algorithm::ALL[alg]).is_err());
        }

        #[test]
        fn arbitrary_documents_are_read_without_a_panic(document in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = KeySet::read(&document);
        }
    }
}
