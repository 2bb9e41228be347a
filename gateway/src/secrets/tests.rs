use super::*;

/// A provider of one domain's secrets.
#[derive(Debug)]
struct Fixed(&'static str, &'static [(&'static str, &'static str)]);

#[async_trait]
impl Provider for Fixed {
    async fn get(&self, domain: &str, secret: &SecretKey) -> Result<Option<SecretValue>> {
        let found = self.1.iter().find(|(name, _)| domain == self.0 && secret.to_string() == *name);
        Ok(found.map(|(_, value)| SecretValue::new(*value)))
    }

    fn location(&self, domain: &str, secret: &SecretKey) -> String {
        format!("{domain}:{secret}")
    }
}

fn references(names: &[&str]) -> References {
    let one = |name: &&str| {
        let (secret, key) = name.split_once('/').expect("it has a key");
        let secret = SecretKey::new(secret, key, "f").expect("the names are valid");
        (secret, format!("spark.conf.{}", name.replace('/', ".")))
    };
    names.iter().map(one).collect()
}

fn providers() -> Providers {
    let of = |domains: Option<&str>| Declared {
        provider: Arc::new(Fixed("sales", &[("db/user", "dcp"), ("db/password", "canary")])),
        domains: domains.map(|domain| [domain.to_owned()].into()),
    };
    let declared = [("main".to_owned(), of(None)), ("hr".to_owned(), of(Some("hr")))];
    Providers::default().with_declared(declared.into(), None)
}

#[tokio::test]
async fn an_application_gets_the_values_of_its_references() {
    let found = providers().resolve(Some("main"), "sales", &references(&["db/user", "db/password"])).await;
    let found = found.expect("all exist");
    let secret = SecretKey::new("db", "password", "f").expect("the names are valid");
    assert_eq!(found.get(&secret), Some("canary"));
    assert!(!format!("{found:?}").contains("canary"));
}

#[tokio::test]
async fn a_missing_secret_is_rejected_by_field_with_its_location() {
    for (domain, name) in [("sales", "db/key"), ("hr", "db/user")] {
        let error = providers()
            .resolve(Some("main"), domain, &references(&[name]))
            .await
            .expect_err(name)
            .to_string();
        let expected = format!(
            "`spark.conf.{}`: the provider does not have the secret `{name}`",
            name.replace('/', ".")
        );
        assert!(error.starts_with(&expected) && error.ends_with(&format!("{domain}:{name}")), "{error}");
    }
}

#[tokio::test]
async fn a_provider_that_is_not_declared_or_of_other_domains_is_rejected() {
    let of = async |name: &str| providers().resolve(Some(name), "sales", &references(&["db/user"])).await;
    let error = of("absent").await.expect_err("it is not declared").to_string();
    assert!(error.starts_with("`secrets`: ") && error.contains("hr, main"), "{error}");
    let error = of("hr").await.expect_err("it is of another domain").to_string();
    assert!(error.starts_with("`secrets`: ") && error.contains("`sales`"), "{error}");
}

#[tokio::test]
async fn the_default_provider_is_for_applications_that_name_none() {
    let providers = Providers { default: Some("main".to_owned()), ..providers() };
    providers.resolve(None, "sales", &references(&["db/user"])).await.expect("it exists");
}

#[test]
fn missing_secrets_of_this_machine_are_found_without_a_request() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let providers = Providers::of_machine(Some(folder.path().to_owned()));
    let error =
        providers.check(None, "sales", &references(&["s3.main/secret-key"])).expect_err("it is missing");
    assert!(error.to_string().contains("DCP_SECRET_S3_MAIN_SECRET_KEY"), "{error}");
    self::providers().check(Some("main"), "sales", &references(&["db/absent"])).expect("a request is needed");
}

#[tokio::test]
async fn a_folder_has_a_folder_for_each_domain() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().expect("the temporary folder is writable");
    let path = root.path().join("sales/db");
    std::fs::create_dir_all(&path).expect("folders can be created");
    std::fs::write(path.join("password"), "p\"a=s: \\s\n").expect("files can be written");
    let set_mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path.join("password"), permissions).expect("the file belongs to this user");
    };
    set_mode(0o600);
    let folder = Folder::of_domains(root.path().to_owned());
    let secret = SecretKey::new("db", "password", "f").expect("the names are valid");
    let value = folder.get("sales", &secret).await.expect("it can be read");
    assert_eq!(value, Some(SecretValue::new("p\"a=s: \\s")));
    for domain in ["hr", "..", "", "../sales", "hr/../sales"] {
        assert_eq!(folder.get(domain, &secret).await, Ok(None), "{domain}");
    }
    set_mode(0o640);
    let error = folder.get("sales", &secret).await.expect_err("others can read it").to_string();
    assert!(error.contains("chmod 600"), "{error}");
}

#[test]
fn servers_get_tokens_by_https_only() {
    for (address, is_valid) in [
        ("https://vault.example.com:8200", true),
        ("http://127.0.0.1:8200", true),
        ("http://[::1]:8200/x", true),
        ("http://localhost", true),
        ("http://vault.example.com", false),
        ("http://localhost.example.com", false),
        ("https://user:password@vault.example.com", false),
        ("https://vault.example.com?x", false),
        ("file:///etc/passwd", false),
        ("vault", false),
    ] {
        let checked = vault::check_address(address);
        assert_eq!(checked.is_ok(), is_valid, "{address}: {checked:?}");
        assert!(!format!("{checked:?}").contains("password"));
    }
}
