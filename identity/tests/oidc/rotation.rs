//! Keys that a provider adds and removes, and the fetches that this causes.

use std::sync::Arc;
use std::time::Duration;

use dcp_identity::oidc::{Algorithm, Schedule};
use dcp_server::{Rejection, Verifier as _};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::keys::SigningKey;
use crate::provider::{Answer, DISCOVERY, KEYS, Provider, document, eager, quick_timer, until};

fn key(kid: &str) -> SigningKey {
    SigningKey::new(kid, Algorithm::EdDsa)
}

#[tokio::test]
async fn new_key_is_fetched_with_the_first_token_that_it_signed() {
    let (old, new) = (key("old"), key("new"));
    let provider = Provider::start(&[&old]).await;
    let verifier = provider.verifier(eager());
    verifier.accepted(&provider.token(&old)).await;
    provider.publish(&[&old, &new]);
    verifier.accepted(&provider.token(&new)).await;
    verifier.accepted(&provider.token(&old)).await;
    assert_eq!(provider.requests(KEYS), 2);
}

#[tokio::test]
async fn removed_key_is_not_known_after_the_next_fetch() {
    let (old, new) = (key("old"), key("new"));
    let provider = Provider::start(&[&old, &new]).await;
    let verifier = provider.verifier(quick_timer());
    let token = provider.token(&old);
    verifier.accepted(&token).await;
    provider.publish(&[&new]);
    until("the key is removed", async || verifier.verify(&token).await.is_err()).await;
    verifier.accepted(&provider.token(&new)).await;
}

#[tokio::test]
async fn key_with_a_known_name_is_replaced_on_the_timer() {
    let (old, new) = (key("a"), key("a"));
    let provider = Provider::start(&[&old]).await;
    let verifier = provider.verifier(quick_timer());
    verifier.accepted(&provider.token(&old)).await;
    provider.publish(&[&new]);
    let token = provider.token(&new);
    until("the key is replaced", async || verifier.verify(&token).await.is_ok()).await;
    verifier.invalid(&provider.token(&old)).await;
}

#[tokio::test]
async fn key_without_a_name_is_replaced_with_the_first_token_of_the_new_one() {
    let (old, new) = (key("a"), key("a"));
    let provider = Provider::start(&[&old]).await;
    let verifier = provider.verifier(eager());
    let token = |key: &SigningKey| key.token_with(&json!({"alg": "EdDSA"}), &provider.claims(&json!({})));
    verifier.accepted(&token(&old)).await;
    provider.publish(&[&new]);
    verifier.accepted(&token(&new)).await;
    verifier.invalid(&token(&old)).await;
}

#[tokio::test]
async fn known_keys_stay_in_use_while_the_provider_fails() {
    let key = key("a");
    let mut provider = Provider::start(&[&key]).await;
    let verifier = provider.verifier(quick_timer());
    let token = provider.token(&key);
    verifier.accepted(&token).await;

    provider.answer(KEYS, Answer::Status(500, String::new()));
    until("the failure is reported", async || verifier.messages().len() == 1).await;
    let requests = provider.requests(KEYS);
    until("keys are fetched again", async || provider.requests(KEYS) > requests + 3).await;
    verifier.accepted(&token).await;
    let message = &verifier.messages()[0];
    assert!(message.contains("status 500") && message.contains("known keys stay in use"), "{message}");

    provider.publish(&[&key]);
    until("the recovery is reported", async || verifier.messages().len() == 2).await;
    provider.stop().await;
    until("the next failure is reported", async || verifier.messages().len() == 3).await;
    verifier.accepted(&token).await;
    assert!(verifier.messages()[2].contains("refused"), "{:?}", verifier.messages());
}

#[tokio::test]
async fn provider_that_starts_late_is_used_once_it_responds() {
    let key = key("a");
    let provider = Provider::start(&[&key]).await;
    provider.answer(DISCOVERY, Answer::Status(503, String::new()));
    let verifier = provider.verifier(eager());
    let token = provider.token(&key);
    assert!(verifier.unavailable(&token).await.contains("status 503"));
    provider.answer(DISCOVERY, Answer::Document(provider.discovery(&json!({}))));
    verifier.accepted(&token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn flood_of_unknown_keys_causes_no_fetch_soon_after_the_last_one() {
    let known = key("a");
    let provider = Provider::start(&[&known]).await;
    let verifier = provider.verifier(Schedule::default());
    verifier.accepted(&provider.token(&known)).await;
    let calls = (0..500).map(|number| {
        let token = provider.token(&key(&format!("unknown-{number}")));
        let oidc = Arc::clone(&verifier.oidc);
        tokio::spawn(async move { oidc.verify(&token).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(call.await.expect("no call panics").is_err());
    }
    assert!(verifier.unavailable(&provider.token(&key("b"))).await.contains("key of the token is unknown"));
    assert_eq!((provider.requests(DISCOVERY), provider.requests(KEYS)), (1, 1));
    verifier.accepted(&provider.token(&known)).await;
}

#[tokio::test]
async fn unknown_key_is_fetched_again_after_the_interval() {
    let (known, unknown) = (key("a"), key("b"));
    let provider = Provider::start(&[&known]).await;
    let schedule = Schedule { min_interval: Duration::from_millis(500), ..Schedule::default() };
    let verifier = provider.verifier(schedule);
    verifier.accepted(&provider.token(&known)).await;
    let token = provider.token(&unknown);
    verifier.unavailable(&token).await;
    assert_eq!(provider.requests(KEYS), 1);
    until("keys are fetched", async || {
        let _ = verifier.verify(&token).await;
        provider.requests(KEYS) == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_calls_share_a_fetch_and_few_wait_for_it() {
    let key = key("a");
    let provider = Provider::start(&[&key]).await;
    let gate = Arc::new(Semaphore::new(0));
    provider.answer(KEYS, Answer::Gated(Arc::clone(&gate), document(&[&key])));
    let verifier = provider.verifier(Schedule { timeout: Duration::from_secs(20), ..Schedule::default() });
    let token = provider.token(&key);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (oidc, token) = (Arc::clone(&verifier.oidc), token.clone());
        calls.spawn(async move { oidc.verify(&token).await });
    }
    // Beyond the limit, calls end without the keys.
    let mut rejected = 0;
    while rejected < 36 {
        let call = calls.join_next().await.expect("calls are rejected").expect("no call panics");
        let Err(Rejection::Unavailable(why)) = call else { panic!("{call:?}") };
        assert!(why.contains("too many calls"), "{why}");
        rejected += 1;
    }
    gate.add_permits(1);
    let accepted = calls.join_all().await.into_iter().filter(|call| matches!(call, Ok(Some(_)))).count();
    assert_eq!((accepted, provider.requests(KEYS)), (64, 1));
}

#[tokio::test]
async fn fetches_end_with_the_verifier() {
    let key = key("a");
    let provider = Provider::start(&[&key]).await;
    let verifier = provider.verifier(quick_timer());
    until("keys are fetched", async || provider.requests(KEYS) > 2).await;
    drop(verifier);
    // A last request may be under way.
    until("fetches end", async || {
        let before = provider.requests(DISCOVERY);
        tokio::time::sleep(Duration::from_millis(200)).await;
        before == provider.requests(DISCOVERY)
    })
    .await;
}
