use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kube::client::Body;
use serde_json::{Value, json};
use tower::BoxError;

use super::*;
use crate::jwt::tests::encode;

const NAME: &str = "system:serviceaccount:sales:airflow";

fn settings() -> Settings {
    Settings { audience: "dcp".to_owned(), issuer: Some("https://cluster.example".to_owned()) }
}

fn token() -> String {
    encode(&json!({"alg": "RS256"}), &json!({"iss": "https://cluster.example", "sub": NAME}))
}

/// Returns a verifier whose API server responds with a status and a document to each request.
fn with_server<F>(respond: impl Fn(Value) -> F + Clone + Send + 'static) -> ServiceAccounts
where
    F: Future<Output = Result<(u16, Value), BoxError>> + Send + 'static,
{
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let respond = respond.clone();
        async move {
            assert_eq!(request.uri().path(), "/apis/authentication.k8s.io/v1/tokenreviews");
            let body = request.into_body().collect_bytes().await?;
            let (status, document) = respond(serde_json::from_slice(&body)?).await?;
            let response = http::Response::builder().status(status);
            Ok::<_, BoxError>(response.body(Body::from(document.to_string().into_bytes()))?)
        }
    });
    ServiceAccounts::new(Client::new(service, "default"), settings())
}

fn review(status: &Value) -> Value {
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {}, "status": status})
}

fn refusal(code: u16, message: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": message, "reason": "x", "code": code})
}

fn accepted() -> Value {
    json!({
        "authenticated": true,
        "audiences": ["dcp"],
        "user": {"username": NAME, "groups": ["system:serviceaccounts", "system:serviceaccounts:sales"]},
    })
}

async fn verify(code: u16, document: Value) -> Result<Option<Verified>, Rejection> {
    let verifier = with_server(move |_| {
        let document = document.clone();
        async move { Ok((code, document)) }
    });
    verifier.verify(&token()).await
}

#[tokio::test]
async fn token_and_audience_are_sent_and_the_account_is_the_caller() {
    let verifier = with_server(|sent| async move {
        assert_eq!(sent["spec"], json!({"token": token(), "audiences": ["dcp"]}));
        Ok((201, review(&accepted())))
    });
    let accepted = verifier.verify(&token()).await.expect("it is accepted").expect("it is of this kind");
    let groups = vec!["system:serviceaccounts".to_owned(), "system:serviceaccounts:sales".to_owned()];
    assert_eq!(accepted.caller, Caller::new(NAME, groups, Credential::ServiceAccount));
    assert_eq!(accepted.lifetime, LIFETIME);
    assert!(!format!("{verifier:?}").contains("ey"));
}

#[tokio::test]
async fn tokens_that_the_api_server_does_not_accept_are_invalid() {
    for (change, value) in [
        ("authenticated", json!(false)),
        ("authenticated", json!(null)),
        ("audiences", json!(null)),
        ("audiences", json!([])),
        ("audiences", json!(["https://kubernetes.default.svc"])),
        ("user", json!(null)),
        ("user", json!({"username": "corp:ada", "groups": []})),
        ("user", json!({"username": ""})),
    ] {
        let mut status = accepted();
        status[change] = value;
        let result = verify(201, review(&status)).await;
        assert!(matches!(result, Err(Rejection::Invalid(_))), "{status}: {result:?}");
    }
    let result = verify(201, review(&json!({"error": format!("it has\n{}", "expired ".repeat(100))}))).await;
    let Err(Rejection::Invalid(why)) = result else { panic!("{result:?}") };
    assert!(why.contains("it hasexpired") && why.len() < 500, "{why}");
}

#[tokio::test]
async fn failed_reviews_leave_the_token_undecided() {
    for (code, document, expected) in [
        (
            403,
            refusal(403, "tokenreviews is forbidden: User \"a\""),
            "User \"a\"; bind the cluster role `system:auth-",
        ),
        (401, refusal(401, "Unauthorized"), "credentials of dcp"),
        (500, refusal(500, "etcd is down"), "status 500: etcd is down"),
        (404, json!("no such page"), "status 404"),
        (201, json!("no review"), "no TokenReview"),
        (201, json!({"status": {"authenticated": "yes"}}), "no TokenReview"),
    ] {
        let result = verify(code, document).await;
        let Err(Rejection::Unavailable(why)) = result else { panic!("{result:?}") };
        assert!(why.contains(expected), "{why}");
    }
    // Without a status, nothing is known.
    assert!(verify(201, json!({"metadata": {}, "spec": {}})).await.is_err());
    let broken = with_server(|_| async { Err("connection refused".into()) });
    let result = broken.verify(&token()).await;
    assert_eq!(result, Err(unavailable("the API server does not respond: connection refused")),);
}

#[tokio::test]
async fn tokens_of_other_kinds_are_not_sent() {
    let verifier = with_server(|_| async { Err("no request is expected".into()) });
    let other = encode(&json!({"alg": "RS256"}), &json!({"iss": "https://login.example", "sub": NAME}));
    let unnamed = encode(&json!({"alg": "RS256"}), &json!({"sub": NAME}));
    for token in ["", "0123456789abcdef", &other, &unnamed] {
        assert_eq!(verifier.verify(token).await, Ok(None), "{token}");
    }
}

#[test]
fn without_an_issuer_the_subject_decides_the_kind() {
    for (claims, expected) in [
        (json!({"iss": "https://any.example", "sub": NAME}), true),
        (json!({"sub": NAME}), true),
        (json!({"sub": "ada"}), false),
        (json!({"sub": 1}), false),
        (json!({}), false),
    ] {
        let token = encode(&json!({"alg": "RS256"}), &claims);
        let jwt = Jwt::read(&token).expect("it is a token");
        assert_eq!(is_service_account(&jwt, None), expected, "{claims}");
    }
}

#[tokio::test(start_paused = true)]
async fn reviews_are_limited_in_number_and_time() {
    let running = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&running);
    let verifier = Arc::new(with_server(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        std::future::pending()
    }));
    let calls = (0..MAX_REVIEWS + 3).map(|_| {
        let verifier = Arc::clone(&verifier);
        tokio::spawn(async move { verifier.verify(&token()).await })
    });
    let calls: Vec<_> = calls.collect();
    let mut messages = Vec::new();
    for call in calls {
        let result = call.await.expect("no call panics");
        let Err(Rejection::Unavailable(why)) = result else { panic!("{result:?}") };
        messages.push(why);
    }
    assert_eq!(running.load(Ordering::SeqCst), MAX_REVIEWS);
    let number_of = |part: &str| messages.iter().filter(|why| why.contains(part)).count();
    assert_eq!(
        (number_of("does not respond in time"), number_of("too many")),
        (MAX_REVIEWS, 3),
        "{messages:?}"
    );
}
