use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use std::path::Path;

use super::*;

const SERVER: &str = "https://dcp.example.com:7420";

fn login(server: &str, expires: Option<Timestamp>, refresh_token: Option<&str>) -> Login {
    Login {
        server: server.to_owned(),
        issuer: "https://login.example.com".to_owned(),
        client: "dcp-cli".to_owned(),
        scopes: vec!["openid".to_owned()],
        resource: None,
        audience: None,
        // Nothing listens here.
        token_endpoint: "http://127.0.0.1:1/token".to_owned(),
        revocation_endpoint: None,
        access_token: "canary".to_owned(),
        expires,
        refresh_token: refresh_token.map(str::to_owned),
    }
}

fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

fn stored(login: &Login) -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store(home.path().join("state/dcp/logins"));
    store.save(login).unwrap();
    (home, store)
}

#[test]
fn an_address_has_one_form() {
    for server in [
        "https://dcp.example.com",
        "HTTPS://DCP.example.com/",
        "https://dcp.example.com:443",
        "https://dcp.example.com:443//",
    ] {
        assert_eq!(canonical(server).as_deref(), Some("https://dcp.example.com:443"), "{server}");
    }
    assert_eq!(canonical("http://[::1]:7420/a/").as_deref(), Some("http://[::1]:7420/a"));
    assert_eq!(canonical("http://localhost").as_deref(), Some("http://localhost:80"));
    for server in [
        "unix:///tmp/a",
        "ftp://a",
        "dcp.example.com",
        "/a",
        "",
        "https://ada@dcp.example.com",
        "https://a?b",
    ] {
        assert_eq!(canonical(server), None, "{server}");
    }
}

#[test]
fn a_login_is_readable_by_this_user_only() {
    let (home, store) = stored(&login(SERVER, None, None));
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
    let path = store.path(SERVER, "json");
    assert_eq!((mode(&path), mode(&store.0)), (0o600, 0o700));
    assert_eq!(store.token(SERVER).unwrap().as_deref(), Some("canary"));

    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let failure = store.token(SERVER).unwrap_err();
    assert!(failure.message().contains("others can read"), "{failure:?}");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(store.token(SERVER).is_err());
    assert!(store.remove(SERVER).unwrap() && !store.remove(SERVER).unwrap());
    assert_eq!(store.token(SERVER).unwrap(), None);
    drop(home);
}

#[test]
fn a_token_is_for_the_server_of_its_login_only() {
    let (_home, store) = stored(&login(SERVER, None, None));
    let other = "https://dcp.example.com:7421";
    assert_eq!(store.token(other).unwrap(), None);
    fs::rename(store.path(SERVER, "json"), store.path(other, "json")).unwrap();
    assert!(store.token(other).unwrap_err().message().contains("is no login for"));
}

#[test]
fn a_damaged_file_is_rejected_without_quoting_it() {
    let (_home, store) = stored(&login(SERVER, None, None));
    for text in ["", "{}", "canary", "{\"accessToken\": \"canary\"}"] {
        fs::write(store.path(SERVER, "json"), text).unwrap();
        let failure = store.token(SERVER).unwrap_err();
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
    }
}

#[test]
fn a_login_is_refreshed_in_the_minute_before_it_expires() {
    let now = Timestamp::now();
    let step = |seconds: Option<i64>, refresh_token: Option<&str>| {
        let expires = seconds.map(|seconds| now + SignedDuration::from_secs(seconds));
        login(SERVER, expires, refresh_token).step(now)
    };
    assert_eq!(step(None, Some("r")), Step::Use);
    assert_eq!((step(Some(61), Some("r")), step(Some(61), None)), (Step::Use, Step::Use));
    assert_eq!((step(Some(60), Some("r")), step(Some(60), None)), (Step::Refresh, Step::Use));
    assert_eq!((step(Some(-9), Some("r")), step(Some(0), None)), (Step::Refresh, Step::LogIn));
}

#[test]
fn an_expired_login_names_the_command_that_renews_it() {
    let (_home, store) = stored(&login(SERVER, Some(in_seconds(-1)), None));
    let failure = format!("{:?}", store.token(SERVER).unwrap_err());
    assert!(failure.contains("has expired") && failure.contains("dcp login --server"), "{failure}");
    assert!(!failure.contains("canary"), "{failure}");
}

#[test]
fn a_valid_token_is_used_while_the_provider_can_not_be_reached() {
    let (_home, store) = stored(&login(SERVER, Some(in_seconds(30)), Some("r")));
    assert_eq!(store.token(SERVER).unwrap().as_deref(), Some("canary"));
    store.save(&login(SERVER, Some(in_seconds(-1)), Some("r"))).unwrap();
    let failure = format!("{:?}", store.token(SERVER).unwrap_err());
    assert!(failure.contains("can't refresh it") && failure.contains("dcp login"), "{failure}");
}

#[test]
fn new_tokens_replace_old_ones_and_a_missing_refresh_token_does_not() {
    let now = Timestamp::now();
    let lifetime = Some(Duration::from_mins(5));
    let grant = Grant { access_token: "new".to_owned(), refresh_token: None, lifetime };
    let old = login(SERVER, None, Some("old"));
    let login = old.clone().with(grant.clone(), now);
    assert_eq!((login.access_token.as_str(), login.refresh_token.as_deref()), ("new", Some("old")));
    assert_eq!(login.expires, now.checked_add(SignedDuration::from_mins(5)).ok());
    let rotated = Grant { refresh_token: Some("next".to_owned()), lifetime: Some(Duration::MAX), ..grant };
    let login = old.with(rotated, now);
    assert_eq!((login.refresh_token.as_deref(), login.expires), (Some("next"), None));
    assert!(!format!("{login:?}").contains("next"));
}
