//! Documents of providers that are wrong, too large, too slow or missing.

use std::sync::Arc;
use std::time::Duration;

use dcp_identity::Oidc;
use dcp_identity::oidc::{Algorithm, Error, Issuer, Options, Schedule};
use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use crate::keys::SigningKey;
use crate::provider::{Answer, DISCOVERY, KEYS, Provider, eager, verifier_of};

fn key() -> SigningKey {
    SigningKey::new("a", Algorithm::EdDsa)
}

/// Returns the message about a provider that gives an answer.
async fn message(path: &str, answer: impl FnOnce(&Provider) -> Answer) -> String {
    message_within(Duration::from_secs(20), path, answer).await
}

async fn message_within(timeout: Duration, path: &str, answer: impl FnOnce(&Provider) -> Answer) -> String {
    let key = key();
    let provider = Provider::start(&[&key]).await;
    provider.answer(path, answer(&provider));
    let verifier = provider.verifier(Schedule { timeout, ..Schedule::default() });
    let why = verifier.unavailable(&provider.token(&key)).await;
    assert!(why.contains(&format!("`corp` can't be verified now: `{}{path}` ", provider.issuer)), "{why}");
    assert_eq!(verifier.messages().len(), 1, "{:?}", verifier.messages());
    why
}

#[tokio::test]
async fn discovery_document_of_another_issuer_is_not_used() {
    for issuer in ["https://evil.example", "", "http://localhost"] {
        let why = message(DISCOVERY, |it| Answer::Document(it.discovery(&json!({"issuer": issuer})))).await;
        assert!(why.contains(&format!("of the issuer `{issuer}`")), "{why}");
    }
    let why = message(DISCOVERY, |it| {
        Answer::Document(it.discovery(&json!({"issuer": format!("{}/", it.issuer)})))
    });
    assert!(why.await.contains("to the letter"));
}

#[tokio::test]
async fn keys_are_not_fetched_without_encryption() {
    let changes = json!({"jwks_uri": "http://keys.example/keys"});
    let why = message(DISCOVERY, |it| Answer::Document(it.discovery(&changes))).await;
    assert!(why.contains("`https:`"), "{why}");
}

#[tokio::test]
async fn documents_of_other_forms_are_not_used() {
    for text in ["", "<html>", "[]", "{}", "{\"keys\": 1}", "\u{feff}{\"keys\": []}"] {
        for path in [DISCOVERY, KEYS] {
            message(path, |_| Answer::Document(text.to_owned())).await;
        }
    }
    let many = json!({"keys": vec![key().jwk(); 65]}).to_string();
    assert!(message(KEYS, |_| Answer::Document(many)).await.contains("65 keys"));
}

#[tokio::test]
async fn large_documents_are_not_read_to_their_end() {
    for path in [DISCOVERY, KEYS] {
        assert!(message(path, |_| Answer::Endless).await.contains("larger than 256 KiB"));
    }
    let large = format!("{{\"keys\": [{}]}}", " ".repeat(256 << 10));
    assert!(message(KEYS, |_| Answer::Document(large)).await.contains("larger than 256 KiB"));
}

#[tokio::test]
async fn slow_documents_are_given_up() {
    // Long enough for a good document on a busy machine.
    let timeout = Duration::from_secs(2);
    let messages = tokio::join!(
        message_within(timeout, DISCOVERY, |_| Answer::Slow),
        message_within(timeout, DISCOVERY, |_| Answer::Silence),
        message_within(timeout, KEYS, |_| Answer::Slow),
        message_within(timeout, KEYS, |_| Answer::Silence),
    );
    for why in <[String; 4]>::from(messages) {
        assert!(why.contains("in time"), "{why}");
    }
}

#[tokio::test]
async fn other_statuses_are_failures() {
    for path in [DISCOVERY, KEYS] {
        for status in [201, 204, 304, 401, 404, 429, 500, 503] {
            let why = message(path, |_| Answer::Status(status, String::new())).await;
            assert!(why.contains(&status.to_string()), "{why}");
        }
        message(path, |_| Answer::Truncated).await;
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let key = key();
    let elsewhere = Provider::start(&[&key]).await;
    for status in [301, 302, 303, 307, 308] {
        for path in [DISCOVERY, KEYS] {
            let location = format!("location: {}{path}\r\n", elsewhere.issuer);
            assert!(message(path, |_| Answer::Status(status, location)).await.contains("redirect"));
        }
    }
    assert_eq!(elsewhere.requests(DISCOVERY) + elsewhere.requests(KEYS), 0);
}

#[tokio::test]
async fn provider_without_usable_keys_is_reported() {
    let key = key();
    let provider = Provider::start(&[]).await;
    let verifier = provider.verifier(eager());
    assert!(verifier.invalid(&provider.token(&key)).await.contains("no key"));
    assert!(verifier.messages()[0].contains("no key for signatures"), "{:?}", verifier.messages());
}

#[tokio::test]
async fn provider_that_does_not_listen_is_named_with_the_cause() {
    let key = key();
    let mut provider = Provider::start(&[&key]).await;
    provider.stop().await;
    let verifier = provider.verifier(Schedule::default());
    let why = verifier.unavailable(&provider.token(&key)).await;
    assert!(why.contains(&provider.issuer) && why.contains("refused"), "{why}");
    // Another call waits for no fetch.
    assert_eq!(verifier.unavailable(&provider.token(&key)).await, why);
}

#[tokio::test]
async fn certificate_of_a_provider_is_verified() {
    let key = key();
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("it can be created");
    let private = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("it is a key");
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], private)
        .expect("both belong together");
    let provider = Provider::start_with(&[&key], Some(TlsAcceptor::from(Arc::new(config)))).await;
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, cert.pem()).expect("the folder is writable");
    let with_authority =
        |path| Issuer { certificate_authority: Some(path), ..Issuer::new("corp", &provider.issuer, "dcp") };

    let verifier = verifier_of(with_authority(path), Schedule::default());
    assert_eq!(verifier.accepted(&provider.token(&key)).await, "corp:ada");
    let strangers = provider.verifier(Schedule::default());
    let why = strangers.unavailable(&provider.token(&key)).await;
    assert!(why.contains("certificate"), "{why}");

    std::fs::write(folder.path().join("empty.pem"), "nothing").expect("the folder is writable");
    for name in ["missing.pem", "empty.pem"] {
        let error = Oidc::new(with_authority(folder.path().join(name)), Options::default());
        let error = error.expect_err("the file is not usable");
        assert!(matches!(error, Error::Client { .. }) && error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn wrong_settings_are_rejected_at_the_start() {
    let error = Oidc::new(Issuer::new("a:b", "http://login.example", "dcp"), Options::default());
    let text = error.expect_err("the settings are wrong").to_string();
    assert!(text.contains("`name`") && text.contains("`url`"), "{text}");
}
