//! Callers with tokens of service accounts, which the API server reviews.

use std::time::Duration;

use dcp_gateway::kubernetes::{Credentials, connect};
use dcp_identity::ServiceAccounts;
use dcp_identity::service_accounts::{LIFETIME, Settings};
use dcp_server::{Caller, Credential, Rejection, Verified, Verifier as _};
use dcp_tests::cluster::{TestCluster, parsed};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::permissions::server;
use super::{LONG_TIMEOUT, unique};

/// The issuer of tokens of the cluster.
const ISSUER: &str = "https://kubernetes.default.svc";

fn verifier(client: Client, issuer: Option<&str>) -> ServiceAccounts {
    ServiceAccounts::new(client, Settings { audience: "dcp".to_owned(), issuer: issuer.map(str::to_owned) })
}

/// Returns the accounts of a namespace that is created for a test.
async fn accounts(client: &Client, namespace: &str) -> Api<ServiceAccount> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let object = parsed(json!({"metadata": {"name": namespace}}));
    namespaces.create(&PostParams::default(), &object).await.expect("the namespace is new");
    Api::namespaced(client.clone(), namespace)
}

/// Creates an account.
async fn create(accounts: &Api<ServiceAccount>, name: &str) {
    let account = parsed(json!({"metadata": {"name": name}}));
    accounts.create(&PostParams::default(), &account).await.expect("the account is new");
}

/// Returns a token of an account; without audiences, one for the API server.
async fn token(accounts: &Api<ServiceAccount>, name: &str, audiences: &[&str]) -> String {
    let request: TokenRequest = parsed(json!({"metadata": {}, "spec": {"audiences": audiences}}));
    let issued = accounts.create_token_request(name, &PostParams::default(), &request).await;
    issued.expect("the account exists").status.expect("a token is issued").token
}

async fn accepted(verifier: &ServiceAccounts, token: &str) -> Verified {
    verifier.verify(token).await.expect("the token is accepted").expect("it is of a service account")
}

async fn invalid(verifier: &ServiceAccounts, token: &str) -> String {
    let result = verifier.verify(token).await;
    let Err(Rejection::Invalid(why)) = result else { unreachable!("{result:?}") };
    why
}

#[tokio::test]
async fn token_for_dcp_is_accepted_and_tokens_for_others_are_not() {
    let cluster = TestCluster::shared().await;
    let client = cluster.client().await;
    let namespace = unique("tokens");
    let accounts = accounts(&client, &namespace).await;
    create(&accounts, "airflow").await;
    let expected = Caller::new(
        &format!("system:serviceaccount:{namespace}:airflow"),
        vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ],
        Credential::ServiceAccount,
    );
    for issuer in [None, Some(ISSUER)] {
        let verifier = verifier(client.clone(), issuer);
        for audiences in [&["dcp"][..], &["vault", "dcp"]] {
            let holder = accepted(&verifier, &token(&accounts, "airflow", audiences).await).await;
            assert_eq!(holder, Verified { caller: expected.clone(), lifetime: LIFETIME });
        }
        for audiences in [&[][..], &["vault"]] {
            let why = invalid(&verifier, &token(&accounts, "airflow", audiences).await).await;
            assert!(why.contains("audience `dcp`"), "{why}");
        }
        let token = token(&accounts, "airflow", &["dcp"]).await;
        let (content, _) = token.rsplit_once('.').expect("it is a JWT");
        invalid(&verifier, &format!("{content}.{}", "A".repeat(342))).await;
    }
    let of_another = verifier(client, Some("https://another.example"));
    assert_eq!(of_another.verify(&token(&accounts, "airflow", &["dcp"]).await).await, Ok(None));
}

#[tokio::test]
async fn token_of_a_deleted_account_is_rejected() {
    let cluster = TestCluster::shared().await;
    let client = cluster.client().await;
    let accounts = accounts(&client, &unique("deleted-account")).await;
    create(&accounts, "airflow").await;
    let verifier = verifier(client, None);
    let token = token(&accounts, "airflow", &["dcp"]).await;
    accepted(&verifier, &token).await;
    accounts.delete("airflow", &DeleteParams::default()).await.expect("the account exists");
    // The API server caches results for some seconds.
    let rejected = async {
        while !matches!(verifier.verify(&token).await, Err(Rejection::Invalid(_))) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, rejected).await.expect("the token is rejected");
}

#[tokio::test]
async fn account_of_dcp_needs_the_right_to_review_tokens() {
    let cluster = TestCluster::shared().await;
    let client = cluster.client().await;
    let namespace = unique("reviewer");
    let accounts = accounts(&client, &namespace).await;
    create(&accounts, "dcp").await;
    create(&accounts, "airflow").await;
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, token(&accounts, "dcp", &[]).await).expect("the folder is writable");
    let credentials = Credentials::Server {
        url: server(&cluster),
        token_file,
        certificate_authority: Some(cluster.folder().join("keys/ca.crt")),
    };
    let reviewer = verifier(connect(&credentials).await.expect("the credentials are usable"), None);
    let token = token(&accounts, "airflow", &["dcp"]).await;

    let result = reviewer.verify(&token).await;
    let Err(Rejection::Unavailable(why)) = result else { unreachable!("{result:?}") };
    let account = format!("system:serviceaccount:{namespace}:dcp");
    assert!(why.contains(&account) && why.contains("bind the cluster role `system:auth-delegator`"), "{why}");

    let bindings: Api<ClusterRoleBinding> = Api::all(client);
    let binding = parsed(json!({
        "metadata": {"name": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": "dcp", "namespace": namespace}],
    }));
    bindings.create(&PostParams::default(), &binding).await.expect("the binding is new");
    let accepted = async {
        while reviewer.verify(&token).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG_TIMEOUT, accepted).await.expect("the right is in force");
    bindings.delete(&namespace, &DeleteParams::default()).await.expect("the binding exists");
}

#[tokio::test]
async fn cluster_that_does_not_respond_leaves_tokens_undecided() {
    let cluster = TestCluster::shared().await;
    let client = cluster.client().await;
    let accounts = accounts(&client, &unique("unreachable")).await;
    create(&accounts, "airflow").await;
    let token = token(&accounts, "airflow", &["dcp"]).await;
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let nobody = dcp_tests::cluster::kubeconfig_of_nobody(folder.path());
    let client = connect(&dcp_tests::cluster::kubeconfig(nobody)).await.expect("the file is usable");
    let result = verifier(client, None).verify(&token).await;
    let Err(Rejection::Unavailable(why)) = result else { unreachable!("{result:?}") };
    assert!(why.contains("does not respond"), "{why}");
}
