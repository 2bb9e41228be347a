use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::jwt::tests::encode;

const NOW: i64 = 1_800_000_000;
/// The latest `exp` of an expired token, and the latest `nbf` of a valid one.
const BOUNDS: [f64; 2] = [1_799_999_940.0, 1_800_000_060.0];

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("the time is valid")
}

fn issuer() -> Issuer {
    let groups_claim = Some("groups".to_owned());
    Issuer { groups_claim, ..Issuer::new("corp", "https://login.example", "dcp") }
}

/// Returns the holder of a token with some other claims; null removes one.
fn with(issuer: &Issuer, header: &Value, changes: &Value) -> Result<Verified, String> {
    let mut claims = json!({"iss": issuer.url, "sub": "ada", "aud": "dcp", "exp": NOW + 60});
    for (claim, value) in changes.as_object().expect("it is an object") {
        match value {
            Value::Null => _ = claims.as_object_mut().expect("it is an object").remove(claim),
            value => claims[claim] = value.clone(),
        }
    }
    let token = encode(header, &claims);
    holder(issuer, &Jwt::read(&token).expect("it is a token"), now())
}

fn claims(changes: &Value) -> Result<Verified, String> {
    with(&issuer(), &json!({"alg": "RS256"}), changes)
}

#[test]
fn caller_has_the_name_and_groups_of_the_token_with_the_prefix_of_the_issuer() {
    let verified = claims(&json!({"groups": ["data", "b c"]})).expect("the token is accepted");
    let groups = vec!["corp:data".to_owned(), "corp:b c".to_owned()];
    assert_eq!(verified.caller, Caller::new("corp:ada", groups, Credential::Oidc("corp".into())));
    let one = claims(&json!({"groups": "data"})).expect("the token is accepted");
    assert_eq!(*one.caller.groups, ["corp:data"]);
    assert!(claims(&json!({})).expect("the token is accepted").caller.groups.is_empty());

    let without = Issuer { groups_claim: None, ..issuer() };
    let verified =
        with(&without, &json!({"alg": "RS256"}), &json!({"groups": 1})).expect("groups are not read");
    assert!(verified.caller.groups.is_empty());
}

#[test]
fn each_missing_claim_is_rejected_by_its_name() {
    for claim in ["exp", "aud", "sub"] {
        let why = claims(&json!({claim: null})).expect_err("the claim is needed");
        assert!(why.contains(&format!("no `{claim}`")), "{why}");
    }
    let by_name = Issuer { user_claim: "preferred_username".to_owned(), ..issuer() };
    let header = json!({"alg": "RS256"});
    assert!(with(&by_name, &header, &json!({})).is_err());
    assert!(with(&by_name, &header, &json!({"preferred_username": "lovelace", "sub": null})).is_err());
    let verified = with(&by_name, &header, &json!({"preferred_username": "lovelace"}));
    assert_eq!(&*verified.expect("the token is accepted").caller.name, "corp:lovelace");
}

#[test]
fn claims_of_a_wrong_type_are_rejected() {
    for changes in [
        json!({"sub": 1}),
        json!({"sub": ""}),
        json!({"sub": "a\nb"}),
        json!({"sub": "a".repeat(256)}),
        json!({"sub": ["ada"]}),
        json!({"aud": 1}),
        json!({"aud": {}}),
        json!({"aud": ["dcp", 1]}),
        json!({"aud": true}),
        json!({"exp": "never"}),
        json!({"exp": [NOW + 60]}),
        json!({"exp": 1e300}),
        json!({"exp": u64::MAX}),
        json!({"exp": true}),
        json!({"nbf": "now"}),
        json!({"groups": 1}),
        json!({"groups": [1]}),
        json!({"groups": [""]}),
        json!({"groups": ["a\u{0}"]}),
        json!({"groups": {"a": true}}),
    ] {
        assert!(claims(&changes).is_err(), "{changes}");
    }
}

#[test]
fn token_is_valid_between_its_times_and_a_minute_around_them() {
    for (changes, is_valid) in [
        (json!({"exp": NOW - 59}), true),
        (json!({"exp": NOW - 60}), false),
        (json!({"exp": 1_799_999_940.5}), true),
        (json!({"exp": -1}), false),
        (json!({"exp": i64::MIN}), false),
        (json!({"exp": i64::MAX}), true),
        (json!({"nbf": NOW + 60}), true),
        (json!({"nbf": NOW + 61}), false),
        (json!({"nbf": 1_800_000_060.5}), false),
        (json!({"nbf": i64::MIN}), true),
    ] {
        assert_eq!(claims(&changes).is_ok(), is_valid, "{changes}");
    }
}

#[test]
fn verified_token_lives_until_it_expires_and_at_most_five_minutes() {
    for (expiry, seconds) in [(NOW - 59, 0), (NOW, 0), (NOW + 7, 7), (NOW + 299, 299), (NOW + 9_999, 300)] {
        let verified = claims(&json!({"exp": expiry})).expect("the token is accepted");
        assert_eq!(verified.lifetime, Duration::from_secs(seconds), "{expiry}");
    }
}

#[test]
fn one_of_the_audiences_has_to_be_ours() {
    for audience in [json!("dcp"), json!(["other", "dcp"])] {
        assert!(claims(&json!({"aud": audience})).is_ok(), "{audience}");
    }
    for audience in [json!("other"), json!("dcp2"), json!("DCP"), json!("dcp other"), json!([]), json!([""])]
    {
        assert!(claims(&json!({"aud": audience})).is_err(), "{audience}");
    }
}

#[test]
fn e_mail_address_has_to_be_verified() {
    let by_address = Issuer { user_claim: "email".to_owned(), ..issuer() };
    let with = |changes: Value| with(&by_address, &json!({"alg": "RS256"}), &changes);
    let address = "ada@login.example";
    assert!(with(json!({"email": address, "email_verified": true})).is_ok());
    for verified in [json!(null), json!(false), json!("true"), json!(1)] {
        assert!(with(json!({"email": address, "email_verified": verified})).is_err(), "{verified}");
    }
    // The address of a caller who is named by `sub` does not matter.
    assert!(claims(&json!({"email": address, "email_verified": false})).is_ok());
}

#[test]
fn tokens_of_other_types_are_rejected() {
    for kind in ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", "jwt"] {
        assert!(with(&issuer(), &json!({"alg": "RS256", "typ": kind}), &json!({})).is_ok(), "{kind}");
    }
    for kind in ["logout+jwt", "dpop+jwt", "secevent+jwt", "at+jwt2", ""] {
        assert!(with(&issuer(), &json!({"alg": "RS256", "typ": kind}), &json!({})).is_err(), "{kind}");
    }
    for critical in [json!(["b64"]), json!([]), json!("a")] {
        let header = json!({"alg": "RS256", "crit": critical});
        assert!(with(&issuer(), &header, &json!({})).is_err(), "{header}");
    }
}

#[test]
fn id_tokens_are_rejected() {
    for changes in [
        json!({"nonce": "n"}),
        json!({"at_hash": "h"}),
        json!({"c_hash": "h"}),
        json!({"s_hash": "h"}),
        json!({"azp": "dcp"}),
        json!({"client_id": "dcp"}),
        json!({"aud": ["dcp"], "azp": "dcp"}),
    ] {
        assert!(claims(&changes).is_err(), "{changes}");
        // The provider says that it is an access token.
        let verified = with(&issuer(), &json!({"alg": "RS256", "typ": "at+jwt"}), &changes);
        assert!(verified.is_ok(), "{changes}");
    }
    for changes in
        [json!({"azp": "web"}), json!({"client_id": "web"}), json!({"aud": ["dcp", "web"], "azp": "dcp"})]
    {
        assert!(claims(&changes).is_ok(), "{changes}");
    }
}

/// The claims that GitHub documents for a job, for an audience of dcp.
fn of_github(subject: &str) -> Value {
    json!({
        "iss": "https://token.actions.githubusercontent.com", "sub": subject, "aud": "dcp",
        "nbf": NOW - 600, "iat": NOW, "exp": NOW + 300, "jti": "9e7d1c0a-5f0b-4d3e-8f3d-1a2b3c4d5e6f",
        "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true", "sha": "9f3c2ab",
        "repository": "example/shop", "repository_id": "74", "repository_owner": "example",
        "repository_owner_id": "65", "repository_visibility": "private", "actor": "ada", "actor_id": "12",
        "run_id": "8222997048", "run_number": "10", "run_attempt": "2", "event_name": "push", "head_ref": "",
        "base_ref": "", "workflow": "dcp", "workflow_ref": "example/shop/.github/workflows/dcp.yaml@refs/heads/main",
        "job_workflow_ref": "example/shop/.github/workflows/dcp.yaml@refs/heads/main",
        "runner_environment": "github-hosted", "environment": "prod",
    })
}

/// The claims that GitLab documents for a job, for an audience of dcp.
fn of_gitlab(subject: &str) -> Value {
    json!({
        "iss": "https://gitlab.com", "sub": subject, "aud": "dcp", "nbf": NOW - 5, "iat": NOW, "exp": NOW + 3600,
        "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b", "namespace_id": "68413579", "namespace_path": "example",
        "project_id": "46573356", "project_path": "example/shop", "project_visibility": "private",
        "user_id": "184239", "user_login": "ada", "user_email": "ada@example.com", "user_access_level": "owner",
        "groups_direct": ["example", "example/data"], "pipeline_id": "1519139981", "pipeline_source": "push",
        "job_id": "8222997048", "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main",
        "ref_protected": "true", "sha": "9f3c2ab", "runner_id": 12_270_835, "runner_environment": "gitlab-hosted",
        "ci_config_ref_uri": "gitlab.com/example/shop//.gitlab-ci.yml@refs/heads/main", "ci_config_sha": "9f3c2ab",
    })
}

#[test]
fn id_tokens_of_continuous_integration_are_accepted() {
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": "a", "x5t": "b"});
    for (claims, subject) in [
        (of_github as fn(&str) -> Value, "repo:example/shop:ref:refs/heads/main"),
        (of_github, "repo:example/shop:environment:prod"),
        (of_github, "repo:example/shop:pull_request"),
        (of_gitlab, "project_path:example/shop:ref_type:branch:ref:main"),
    ] {
        let claims = claims(subject);
        let url = claims["iss"].as_str().expect("it is a text");
        let issuer =
            Issuer { groups_claim: Some("groups_direct".to_owned()), ..Issuer::new("ci", url, "dcp") };
        let verified = with(&issuer, &header, &claims).expect("the token is accepted");
        assert_eq!(*verified.caller.name, *format!("ci:{subject}"));
        let groups: &[&str] = if url.contains("gitlab") { &["ci:example", "ci:example/data"] } else { &[] };
        assert_eq!(*verified.caller.groups, *groups);
        // The default audience of GitHub is the owner of the repository.
        let for_others = Issuer { audiences: vec!["https://github.com/example".to_owned()], ..issuer };
        assert!(with(&for_others, &header, &claims).is_err());
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (NOW - 100..NOW + 100).prop_map(Value::from),
        "dcp|ada|.{0,9}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(Value::from))
}

proptest! {
    #[test]
    fn accepted_claims_have_all_properties(
        exp in any_json(), nbf in any_json(), aud in any_json(), sub in any_json(), groups in any_json(),
    ) {
        let changes = json!({"exp": exp, "nbf": nbf, "aud": aud, "sub": sub, "groups": groups});
        if let Ok(Verified { caller, lifetime }) = claims(&changes) {
            prop_assert!(exp.as_f64().is_some_and(|exp| exp > BOUNDS[0]));
            prop_assert!(nbf.is_null() || nbf.as_f64().is_some_and(|nbf| nbf <= BOUNDS[1]));
            prop_assert!(aud == "dcp" || aud.as_array().is_some_and(|all| all.contains(&json!("dcp"))));
            prop_assert_eq!(caller.name.strip_prefix("corp:"), sub.as_str());
            prop_assert!(caller.groups.iter().all(|group| group.starts_with("corp:")));
            prop_assert!(lifetime <= MAX_LIFETIME);
        }
    }
}
