use super::*;

const SERVER: &str = "https://dcp.example.com";

fn provider(name: &str, has_login: bool) -> Provider {
    let login = has_login.then(|| ClientSettings {
        client: "dcp-cli".to_owned(),
        scopes: vec!["openid".to_owned()],
        resource: None,
        audience: None,
    });
    let url = format!("https://{name}.example.com");
    Provider { name: name.to_owned(), url, audience: "dcp".to_owned(), login }
}

fn chosen(names: &[(&str, bool)], issuer: Option<&str>) -> Result<String, String> {
    let providers = names.iter().map(|(name, has_login)| provider(name, *has_login)).collect();
    choose(SERVER, providers, issuer)
        .map(|(provider, _)| provider.name)
        .map_err(|failure| format!("{failure:?}"))
}

#[test]
fn the_only_provider_with_a_login_is_chosen() {
    assert_eq!(chosen(&[("corp", true), ("github", false)], None).as_deref(), Ok("corp"));
    assert_eq!(chosen(&[("corp", true), ("partner", true)], Some("partner")).as_deref(), Ok("partner"));
    let several = chosen(&[("corp", true), ("partner", true)], None).unwrap_err();
    assert!(
        several.contains("`partner`") && several.contains("`corp`") && several.contains("--issuer"),
        "{several}"
    );
    let unknown = chosen(&[("corp", true)], Some("github")).unwrap_err();
    assert!(unknown.contains("no login at `github`") && unknown.contains("`corp`"), "{unknown}");
    for none in [&[][..], &[("github", false)]] {
        assert!(chosen(none, None).unwrap_err().contains("has no logins"));
    }
    let hostile = chosen(&[("a\u{1b}[31m", true), ("b", true)], None).unwrap_err();
    assert!(!hostile.contains('\u{1b}') && !hostile.contains("u{1b}"), "{hostile}");
}
