//! Deletions that the API server rejects with the code 409.

use std::convert::Infallible;

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

fn failure(code: u16) -> Value {
    let reason = if code == 404 { "NotFound" } else { "Conflict" };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "rejected",
        "reason": reason, "code": code,
    })
}

/// Returns a cluster that rejects deletions. `uid` is that of the pod that exists, if there is one.
fn rejecting(uid: Option<&'static str>) -> Cluster {
    let service = tower::service_fn(move |request: Request<Body>| async move {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a-1-driver", "uid": uid}});
        let (code, body) = match (request.method().as_str(), uid) {
            ("DELETE", _) => (409, failure(409)),
            (_, Some(_)) => (200, pod),
            (_, None) => (404, failure(404)),
        };
        let body = Body::from(serde_json::to_vec(&body).expect("it is JSON"));
        Ok::<_, Infallible>(Response::builder().status(code).body(body).expect("the response is valid"))
    });
    let client = Client::new(service, "default");
    let (settings, store) = (Settings::new("main"), Store::default());
    Cluster { client, settings, store, archive: None, clock: || Timestamp::UNIX_EPOCH }
}

#[tokio::test]
async fn a_conflict_is_a_deletion_only_if_the_pod_does_not_exist_any_more() {
    let delete = async |uid| rejecting(uid).delete_pod("sales", "a-1-driver", "uid-1", 5).await;
    assert_eq!(delete(None).await, Ok(()));
    assert_eq!(delete(Some("uid-2")).await, Ok(()));
    let rejected = Error::Unavailable("cluster `main`: a pod can't be deleted: rejected".to_owned());
    assert_eq!(delete(Some("uid-1")).await, Err(rejected));
}
