use dcp_server::{Rejection, Verified, Verifier as _};
use jiff::ToSpan as _;

use super::*;

type Verification = std::result::Result<Option<(String, Vec<String>)>, Rejection>;

fn now() -> Timestamp {
    Timestamp::now()
}

async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(&folder.path().join("state.db")).await.unwrap();
    (folder, store)
}

fn new(name: &str) -> NewToken {
    NewToken {
        name: name.to_owned(),
        groups: vec!["data".to_owned()],
        created_by: "ada".to_owned(),
        expires: None,
    }
}

/// Returns the name and the groups of a token's holder, or the reason why it is rejected.
async fn verify(tokens: &StoredTokens, text: &str) -> Verification {
    let verified = tokens.verify(text).await?;
    Ok(verified.map(|Verified { caller, .. }| (caller.name.to_string(), caller.groups.to_vec())))
}

fn is_invalid(result: &Verification, why: &str) -> bool {
    matches!(result, Err(Rejection::Invalid(message)) if message.contains(why))
}

#[tokio::test]
async fn a_created_token_identifies_its_holder_at_once() {
    let (_folder, store) = store().await;
    let tokens = StoredTokens::new(store.clone(), now);
    let (ci, text) = store.create(&new("ci"), now()).await.unwrap();
    assert_eq!(verify(&tokens, &text.expose()).await, Ok(Some(("ci".to_owned(), vec!["data".to_owned()]))));
    assert_eq!(store.list().await.unwrap().first().map(|it| &it.hash), Some(&ci.hash));
}

#[tokio::test]
async fn texts_of_another_kind_are_left_to_other_verifiers() {
    let (_folder, store) = store().await;
    let tokens = StoredTokens::new(store, now);
    for text in ["", "0123456789abcdef", "eyJhbGciOiJSUzI1NiJ9.e30.x"] {
        assert_eq!(verify(&tokens, text).await, Ok(None));
    }
}

#[tokio::test]
async fn wrong_revoked_and_expired_tokens_are_rejected() {
    let (_folder, store) = store().await;
    let (revoked, text) = store.create(&new("ci"), now()).await.unwrap();
    assert!(
        store.revoke(&revoked.id, now()).await.unwrap() && !store.revoke("nothing", now()).await.unwrap()
    );
    let tokens = StoredTokens::new(store.clone(), now);
    assert!(is_invalid(&verify(&tokens, &text.expose()).await, "revoked"));

    let past = NewToken { expires: Some(now() - 1.second()), ..new("old") };
    let (expired, text) = store.create(&past, now()).await.unwrap();
    let tokens = StoredTokens::new(store.clone(), now);
    assert!(is_invalid(&verify(&tokens, &text.expose()).await, "expired"));
    assert!(!expired.is_valid(now()));

    let (_, text) = store.create(&new("ci"), now()).await.unwrap();
    let mut wrong = text.expose();
    let last = if wrong.pop() == Some('0') { '1' } else { '0' };
    wrong.push(last);
    let tokens = StoredTokens::new(store.clone(), now);
    assert!(is_invalid(&verify(&tokens, &wrong).await, "unknown"));
    assert!(is_invalid(&verify(&tokens, &TokenText::generate().expose()).await, "unknown"));
}

#[tokio::test]
async fn a_token_is_not_cached_beyond_its_expiry() {
    let (_folder, store) = store().await;
    let soon = NewToken { expires: Some(now() + 2.seconds()), ..new("ci") };
    let (_, text) = store.create(&soon, now()).await.unwrap();
    let tokens = StoredTokens::new(store, now);
    let verified = tokens.verify(&text.expose()).await.unwrap().expect("the token is valid");
    assert!(verified.lifetime <= std::time::Duration::from_secs(2), "{verified:?}");
}

#[tokio::test]
async fn the_database_does_not_have_the_secret() {
    let (folder, store) = store().await;
    let (_, text) = store.create(&new("ci"), now()).await.unwrap();
    store.database.close().await;
    let text = text.expose();
    let secret = text.rsplit('_').next().unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
    }
}

#[tokio::test]
async fn a_use_is_recorded() {
    let (_folder, store) = store().await;
    let (_, text) = store.create(&new("ci"), now()).await.unwrap();
    let tokens = StoredTokens::new(store.clone(), now);
    verify(&tokens, &text.expose()).await.unwrap();
    tokens.record_use().await;
    assert!(store.list().await.unwrap()[0].used.is_some());
}
