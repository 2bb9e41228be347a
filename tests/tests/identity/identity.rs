//! Access tokens that npm's oidc-provider issues.

use std::sync::Arc;
use std::time::Duration;

use dcp_identity::Oidc;
use dcp_identity::oidc::{Issuer, Options, Schedule};
use dcp_tests::oidc_provider::OidcProvider;

use crate::server::Server;

const CALLER: &str = "corp:airflow [corp:data] by oidc corp";

/// Returns a server that accepts the tokens of a provider, and fetches its keys as often as needed.
async fn serve(issuer: &str) -> Server {
    let schedule = Schedule { min_interval: Duration::ZERO, ..Schedule::default() };
    let groups_claim = Some("groups".to_owned());
    let issuer = Issuer { groups_claim, ..Issuer::new("corp", issuer, "dcp") };
    let oidc = Oidc::new(issuer, Options { schedule, ..Options::default() }).expect("the settings are valid");
    Server::start(vec![Arc::new(oidc)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn access_tokens_of_all_algorithms_are_accepted_and_keys_can_be_rotated() {
    let mut provider = OidcProvider::start();
    let server = serve(provider.issuer()).await;
    assert_eq!(server.caller(&provider.access_token(Some("dcp"))).await, CALLER);
    for algorithm in ["PS256", "ES256", "EdDSA", "RS256"] {
        provider.rotate(algorithm);
        assert_eq!(server.caller(&provider.access_token(Some("dcp"))).await, CALLER, "{algorithm}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn token_of_a_removed_key_is_rejected() {
    let mut provider = OidcProvider::start();
    let server = serve(provider.issuer()).await;
    let tokens = [provider.access_token(Some("dcp")), provider.access_token(Some("dcp"))];
    server.caller(&tokens[0]).await;
    provider.rotate("ES256");
    provider.retire();
    server.caller(&provider.access_token(Some("dcp"))).await;
    let why = server.rejected(&tokens[1]).await;
    assert!(why.contains("no key of the issuer `corp`"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_for_others_are_rejected() {
    let mut provider = OidcProvider::start();
    let server = serve(provider.issuer()).await;
    let for_another = provider.access_token(Some("warehouse"));
    assert!(server.rejected(&for_another).await.contains("another audience; request one for `dcp`"));
    let id_token = provider.id_token();
    assert!(server.rejected(&id_token).await.contains("another audience"));
    let opaque = provider.access_token(None);
    assert!(server.rejected(&opaque).await.contains("unknown"));

    let token = provider.access_token(Some("dcp"));
    let (content, _) = token.rsplit_once('.').expect("it is a JWT");
    let (_, signature) = for_another.rsplit_once('.').expect("it is a JWT");
    assert!(server.rejected(&format!("{content}.{signature}")).await.contains("signature"));
    server.caller(&token).await;

    // The same claims, of another provider.
    let other = OidcProvider::start();
    assert!(server.rejected(&other.access_token(Some("dcp"))).await.contains("unknown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn provider_is_needed_for_its_keys_only() {
    let mut provider = OidcProvider::start();
    let issuer = provider.issuer().to_owned();
    let server = serve(&issuer).await;
    let tokens = [provider.access_token(Some("dcp")), provider.access_token(Some("dcp"))];
    server.caller(&tokens[0]).await;
    provider.stop();
    assert_eq!(server.caller(&tokens[1]).await, CALLER);

    let restarted = serve(&issuer).await;
    let why = restarted.undecided(&tokens[1]).await;
    assert!(why.contains(&issuer) && why.contains("refused"), "{why}");
}
