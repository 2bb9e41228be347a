//! Tokens that are accepted, and tokens that are not.

use dcp_identity::oidc::{Algorithm, Issuer, Schedule};
use dcp_server::{Caller, Credential};
use ring::hmac;
use serde_json::json;

use crate::keys::{SigningKey, signed};
use crate::provider::{NOW, Provider, verifier_of};

#[tokio::test]
async fn tokens_of_every_algorithm_are_accepted() {
    let keys: Vec<_> =
        Algorithm::ALL.into_iter().map(|algorithm| SigningKey::new(algorithm.name(), algorithm)).collect();
    let provider = Provider::start(&keys.iter().collect::<Vec<_>>()).await;
    let verifier = provider.verifier(Schedule::default());
    for key in &keys {
        assert_eq!(verifier.accepted(&provider.token(key)).await, "corp:ada", "{}", key.kid);
    }
}

#[tokio::test]
async fn caller_has_the_claims_of_the_issuer() {
    let key = SigningKey::new("a", Algorithm::Es256);
    let provider = Provider::start(&[&key]).await;
    let issuer = Issuer {
        user_claim: "email".to_owned(),
        groups_claim: Some("roles".to_owned()),
        audiences: vec!["other".to_owned(), "dcp".to_owned()],
        ..Issuer::new("corp", &provider.issuer, "")
    };
    let verifier = verifier_of(issuer, Schedule::default());
    let changes = json!({"email": "ada@corp.example", "email_verified": true, "roles": ["data"], "aud": ["web", "dcp"]});
    let token = key.token(&provider.claims(&changes));
    let accepted = verifier.verify(&token).await.expect("it is accepted").expect("it is of this kind");
    let groups = vec!["corp:data".to_owned()];
    let expected = Caller::new("corp:ada@corp.example", groups, Credential::Oidc("corp".into()));
    assert_eq!(accepted.caller, expected);
}

#[tokio::test]
async fn tokens_of_other_issuers_are_of_another_kind() {
    let key = SigningKey::new("a", Algorithm::EdDsa);
    let provider = Provider::start(&[&key]).await;
    let verifier = provider.verifier(Schedule::default());
    let other = |issuer: serde_json::Value| key.token(&provider.claims(&json!({"iss": issuer})));
    let tokens = [
        other(json!("https://login.example")),
        other(json!(format!("{}/", provider.issuer))),
        other(json!(provider.issuer.to_uppercase())),
        other(json!([provider.issuer])),
        other(json!(null)),
        "0123456789abcdef".to_owned(),
        String::new(),
    ];
    for token in tokens {
        assert_eq!(verifier.verify(&token).await, Ok(None), "{token}");
    }
}

#[tokio::test]
async fn wrong_claims_are_rejected_though_the_signature_is_right() {
    let key = SigningKey::new("a", Algorithm::EdDsa);
    let provider = Provider::start(&[&key]).await;
    let verifier = provider.verifier(Schedule::default());
    for (changes, expected) in [
        (json!({"exp": null}), "no `exp`"),
        (json!({"aud": null}), "no `aud`"),
        (json!({"sub": null}), "no `sub`"),
        (json!({"aud": "web"}), "another audience; request one for `dcp`"),
        (json!({"aud": ["web", "dcp2"]}), "another audience"),
        (json!({"exp": NOW - 60}), "has expired"),
        (json!({"nbf": NOW + 61}), "not valid yet"),
    ] {
        let why = verifier.invalid(&key.token(&provider.claims(&changes))).await;
        assert!(why.contains(expected), "{changes}: {why}");
    }
    for changes in [json!({"exp": NOW - 59}), json!({"nbf": NOW + 60}), json!({"aud": ["web", "dcp"]})] {
        verifier.accepted(&key.token(&provider.claims(&changes))).await;
    }
}

#[tokio::test]
async fn forged_signatures_are_rejected() {
    let (key, forger) = (SigningKey::new("a", Algorithm::Es256), SigningKey::new("a", Algorithm::Es256));
    let provider = Provider::start(&[&key]).await;
    let verifier = provider.verifier(Schedule::default());
    let (token, forgery) = (provider.token(&key), provider.token(&forger));
    verifier.accepted(&token).await;
    assert!(verifier.invalid(&forgery).await.contains("signature"));

    // The content of one token with the signature of another one.
    let admin = key.token(&provider.claims(&json!({"sub": "admin"})));
    let (content, _) = admin.rsplit_once('.').expect("it is a token");
    let (_, signature) = token.rsplit_once('.').expect("it is a token");
    verifier.invalid(&format!("{content}.{signature}")).await;
    for signature in ["", "AAAA", &signature[..40], &format!("{signature}AAAA"), &"A".repeat(86)] {
        verifier.invalid(&format!("{content}.{signature}")).await;
    }
}

#[tokio::test]
async fn algorithm_of_the_header_does_not_choose_the_verification() {
    let key = SigningKey::new("a", Algorithm::Rs256);
    let provider = Provider::start(&[&key]).await;
    let verifier = provider.verifier(Schedule::default());
    let claims = provider.claims(&json!({}));
    let header = |algorithm: &str| json!({"alg": algorithm, "kid": "a"});

    for secret in [&include_bytes!("rsa.pub.pem")[..], include_bytes!("rsa.pub.pem").trim_ascii_end()] {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let sign = |message: &[u8]| hmac::sign(&secret, message).as_ref().to_vec();
        let why = verifier.invalid(&signed(&header("HS256"), &claims, sign)).await;
        assert!(why.contains("algorithm"), "{why}");
    }
    for algorithm in ["none", "None", "NONE", "", "HS512", "ES256K", "RSA-OAEP"] {
        verifier.invalid(&signed(&header(algorithm), &claims, |_| Vec::new())).await;
    }
    // The key is for RS256 only.
    for other in [Algorithm::Rs512, Algorithm::Ps256] {
        let token = SigningKey::new("a", other).token(&claims);
        assert!(!matches!(verifier.verify(&token).await, Ok(Some(_))), "{other}");
    }
    verifier.accepted(&key.token(&claims)).await;
}

#[tokio::test]
async fn algorithms_that_the_issuer_does_not_use_are_rejected() {
    let key = SigningKey::new("a", Algorithm::Rs256);
    let provider = Provider::start(&[&key]).await;
    let algorithms = vec![Algorithm::Es256, Algorithm::EdDsa];
    let issuer = Issuer { algorithms, ..Issuer::new("corp", &provider.issuer, "dcp") };
    let verifier = verifier_of(issuer, Schedule::default());
    assert!(verifier.invalid(&provider.token(&key)).await.contains("ES256, EdDSA"));
}

#[tokio::test]
async fn keys_in_the_token_are_not_used() {
    let (key, forger) = (SigningKey::new("a", Algorithm::EdDsa), SigningKey::new("a", Algorithm::EdDsa));
    let provider = Provider::start(&[&key]).await;
    let verifier = provider.verifier(Schedule::default());
    let header = json!({
        "alg": "EdDSA", "kid": "a", "jwk": forger.jwk(), "jku": "https://evil.example/keys", "x5u": "https://evil.example",
    });
    verifier.invalid(&forger.token_with(&header, &provider.claims(&json!({})))).await;
}

#[tokio::test]
async fn messages_and_debug_output_do_not_quote_tokens() {
    let key = SigningKey::new("a", Algorithm::EdDsa);
    let provider = Provider::start(&[&key]).await;
    let verifier = provider.verifier(Schedule::default());
    let token = key.token(&provider.claims(&json!({"sub": "secret-subject", "exp": NOW - 100})));
    let why = verifier.invalid(&token).await;
    let shown = format!("{why} {:?}", verifier.oidc);
    assert!(!shown.contains("secret-subject") && !shown.contains(&token[..20]), "{shown}");
}
