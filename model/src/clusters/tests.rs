use serde_json::json;

use super::*;

fn cluster(fields: &serde_json::Value) -> Cluster {
    let mut value = json!({"kind": "kubernetes", "credentials": {"inCluster": true}});
    let map = value.as_object_mut().expect("it is a map");
    map.extend(fields.as_object().expect("it is a map").clone());
    serde_json::from_value(value).expect("the cluster is valid")
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).expect("it is a domain")
}

#[test]
fn omitted_fields_have_defaults() {
    let cluster = cluster(&json!({}));
    assert_eq!((cluster.weight, cluster.capacity.applications), (1, None));
    assert_eq!((cluster.records.as_str(), cluster.service_account.as_str()), ("dcp", "spark"));
    assert_eq!(cluster.namespaces.of(&domain("sales")).as_deref(), Some("sales"));
    assert_eq!((cluster.allow, cluster.operator), (Allow::default(), Operator::Native));
}

#[test]
fn listed_namespaces_take_precedence() {
    let both = cluster(&json!({"namespaces": {"default": "spark-{domain}", "domains": {"sales": "shop"}}}));
    assert_eq!(both.namespaces.of(&domain("sales")).as_deref(), Some("shop"));
    assert_eq!(both.namespaces.of(&domain("hr")).as_deref(), Some("spark-hr"));
    let listed = cluster(&json!({"namespaces": {"domains": {"sales": "shop"}}}));
    assert_eq!(listed.namespaces.of(&domain("hr")), None);
}

#[test]
fn allowed_domains_have_a_namespace() {
    let allowed = |fields: &serde_json::Value| {
        cluster(fields).allowed_domains().map(|all| all.into_iter().cloned().collect::<Vec<_>>())
    };
    assert_eq!(allowed(&json!({})), None);
    assert_eq!(allowed(&json!({"domains": ["b", "a"]})), Some(vec![domain("a"), domain("b")]));
    let listed = json!({"domains": {"sales": "shop"}});
    assert_eq!(allowed(&json!({"namespaces": listed})), Some(vec![domain("sales")]));
    let both = json!({"namespaces": listed, "domains": ["hr", "sales"]});
    assert_eq!(allowed(&both), Some(vec![domain("sales")]));
}

#[test]
fn credentials_are_of_exactly_one_kind() {
    for good in [
        json!({"kubeconfig": "a"}),
        json!({"kubeconfig": "a", "context": "b"}),
        json!({"inCluster": true}),
        json!({"server": "https://a", "tokenFile": "t"}),
        json!({"server": "https://a", "tokenFile": "t", "certificateAuthority": "c"}),
    ] {
        let read: Credentials = serde_json::from_value(good.clone()).expect("it is one kind");
        assert_eq!(serde_json::to_value(read).expect("it can be written"), good);
    }
    for bad in [
        json!({}),
        json!({"inCluster": false}),
        json!({"kubeconfig": "a", "inCluster": true}),
        json!({"inCluster": true, "context": "b"}),
        json!({"server": "https://a"}),
        json!({"kubeconfig": "a", "tokenFile": "t"}),
    ] {
        assert!(serde_json::from_value::<Credentials>(bad.clone()).is_err(), "{bad}");
    }
}
