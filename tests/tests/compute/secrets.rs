//! Providers of secrets, and the logs of drivers that have secrets.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use dcp_gateway::application::{PodSpec, SECRETS};
use dcp_gateway::secrets::{
    Authentication, Declared, Provider as _, Providers, SecretValue, Template, Vault, VaultSettings,
};
use dcp_gateway::{Compute as _, SecretKey};
use dcp_tests::fake_spark::FakeSpark;
use serde_json::json;

use crate::files::{assert_absent, write_secret};
use crate::local::{SUPERVISOR, application, name, wait_for_end};

const CANARY: &str = "canary-7a2e+/\"x";

/// A server with the protocol of Vault's key-value engine. It ends with this process.
struct Server {
    address: String,
    /// The first lines, headers and bodies of all requests.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a server that answers a request, of which it gets all lines, with a status and a body.
    fn start(answer: impl Fn(&str) -> (&'static str, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = format!("http://{}", listener.local_addr().expect("it has an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.expect("a client connects"));
                let (mut request, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                        break;
                    }
                    let lower = line.to_ascii_lowercase();
                    if let Some(value) = lower.strip_prefix("content-length:") {
                        length = value.trim().parse().expect("a length is a number");
                    }
                    request.push_str(&lower);
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("the body arrives");
                request.push_str(&String::from_utf8_lossy(&body));
                let (status, body) = answer(&request);
                seen.lock().expect("no thread has panicked").push(request);
                let head =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
                // A client may have closed the connection.
                let _ = reader.get_mut().write_all(format!("{head}\r\n{body}").as_bytes());
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no thread has panicked").clone()
    }

    fn vault(&self, authentication: Authentication) -> Vault {
        Vault::new(VaultSettings {
            address: self.address.clone(),
            namespace: Some("team".to_owned()),
            mount: "kv".to_owned(),
            path: Template::new("dcp/{domain}/{name}", false).expect("the template is valid"),
            authentication,
            certificate_authority: None,
        })
        .expect("the settings are valid")
    }
}

fn token_file(folder: &Path, token: &str) -> Authentication {
    let path = folder.join("token");
    std::fs::write(&path, format!("{token}\n")).expect("the temporary folder is writable");
    Authentication::TokenFile(path)
}

fn secret(key: &str) -> SecretKey {
    SecretKey::new("shop-db", key, "f").expect("the names are valid")
}

fn found(values: &serde_json::Value) -> (&'static str, String) {
    ("200 OK", json!({"data": {"data": values, "metadata": {"version": 1}}}).to_string())
}

#[tokio::test]
async fn a_secret_of_the_domain_is_read_with_the_token_of_the_file() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let server =
        Server::start(|request| match request.starts_with("get /v1/kv/data/dcp/sales/shop-db http") {
            true => found(&json!({"password": CANARY, "port": 1})),
            false => ("404 Not Found", json!({"errors": []}).to_string()),
        });
    let vault = server.vault(token_file(folder.path(), "t0ken-of-dcp"));
    let value = vault.get("sales", &secret("password")).await.expect("the server responds");
    assert_eq!(value.as_ref().map(SecretValue::expose), Some(CANARY));
    assert!(!format!("{value:?} {vault:?}").contains("canary"));
    assert_eq!(vault.get("sales", &secret("user")).await, Ok(None), "the secret has no such key");
    assert_eq!(vault.get("hr", &secret("password")).await, Ok(None), "another domain has another path");
    vault.get("sales", &secret("port")).await.expect_err("a number is no text");
    let requests = server.requests();
    assert!(requests.iter().all(|it| it.contains("x-vault-token: t0ken-of-dcp\r\n")), "{requests:?}");
    assert!(requests.iter().all(|it| it.contains("x-vault-namespace: team\r\n")), "{requests:?}");
}

#[tokio::test]
async fn a_login_is_repeated_once_its_token_is_rejected() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let jwt = folder.path().join("jwt");
    std::fs::write(&jwt, "the-jwt").expect("the temporary folder is writable");
    let logins = Mutex::new(0);
    let server = Server::start(move |request| {
        let mut logins = logins.lock().expect("no thread has panicked");
        if request.starts_with("post /v1/auth/k8s/login ") {
            *logins += 1;
            assert!(request.ends_with(r#"{"jwt":"the-jwt","role":"dcp"}"#), "{request}");
            let auth = json!({"client_token": format!("token-{logins}"), "lease_duration": 3600});
            return ("200 OK", json!({"auth": auth}).to_string());
        }
        match request.contains("x-vault-token: token-2\r\n") {
            true => found(&json!({"password": CANARY})),
            false => ("403 Forbidden", json!({"errors": ["permission denied"]}).to_string()),
        }
    });
    let role = "dcp".to_owned();
    let vault = server.vault(Authentication::Kubernetes { mount: "k8s".to_owned(), role, token_file: jwt });
    for _ in 0..2 {
        let value = vault.get("sales", &secret("password")).await.expect("the second token is accepted");
        assert!(value.is_some());
    }
    let logins = server.requests().iter().filter(|it| it.starts_with("post ")).count();
    assert_eq!(logins, 2, "the token of the second login is used again");
}

#[tokio::test]
async fn failures_of_a_server_show_no_token_and_follow_no_redirect() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let elsewhere = Server::start(|_| found(&json!({"password": "x"})));
    let location = elsewhere.address.clone();
    let answers = [
        ("403 Forbidden", json!({"errors": ["permission denied"]}).to_string(), "no right to read"),
        ("500 Internal Server Error", "oops".to_owned(), "responds with 500"),
        ("200 OK", "no json".to_owned(), "malformed"),
        ("200 OK", "x".repeat(5 << 20), "too long"),
        (
            Box::leak(format!("307 Temporary Redirect\r\nLocation: {location}/").into_boxed_str()),
            String::new(),
            "responds with 307",
        ),
    ];
    for (status, body, expected) in answers {
        let server = Server::start(move |_| (status, body.clone()));
        let vault = server.vault(token_file(folder.path(), "t0ken-of-dcp"));
        let error = vault.get("sales", &secret("password")).await.expect_err(expected).to_string();
        assert!(error.contains(expected) && !error.contains("t0ken"), "{error}");
    }
    assert!(elsewhere.requests().is_empty(), "the token is sent to no other server");
    let gone = Server { address: "http://127.0.0.1:1".to_owned(), requests: Arc::default() };
    let vault = gone.vault(token_file(folder.path(), "t0ken-of-dcp"));
    let error = vault.get("sales", &secret("password")).await.expect_err("there is no server").to_string();
    assert!(error.contains("127.0.0.1:1") && !error.contains("t0ken"), "{error}");
}

/// Prints its secret in several forms, also by a process that the driver leaves behind.
const PRINTS: &str = "\
echo \"plain $PASSWORD.\"; printf 'base64 '; printf %s \"$PASSWORD\" | base64 -w0; echo
python3 -c 'import json, os, urllib.parse; p = os.environ[\"PASSWORD\"]; print(json.dumps({\"p\": p}), urllib.parse.quote(p, \"\"))'
echo \"error $PASSWORD\" >&2
for part in $(seq 1 20000); do printf '%s' \"$PASSWORD\"; done; echo
(sleep 0.2; echo \"late $PASSWORD\") &
echo last";

/// Returns an application with a secret in a variable.
fn with_variable(name: &str) -> dcp_gateway::SparkApplication {
    let mut application = application(name);
    "sales".clone_into(&mut application.metadata.namespace);
    let from = json!({"secretKeyRef": {"name": "shop-db", "key": "password"}});
    application.spec.driver_spec = PodSpec {
        pod_template_spec: json!({"spec": {"containers": [{"env": [{"name": "PASSWORD", "valueFrom": from}]}]}}),
    };
    application
}

#[tokio::test]
async fn the_log_of_a_driver_has_no_value_of_a_secret() {
    let fake_spark = FakeSpark::new(PRINTS);
    write_secret(&fake_spark, "shop-db/password", CANARY);
    let providers = Providers::of_machine(Some(fake_spark.path("secrets")));
    let local = fake_spark.local_backend(SUPERVISOR).with_secrets(providers);
    local.create(&with_variable("a-1")).await.expect("the application starts");
    assert!(wait_for_end(&local, &name("a-1")).await.succeeded);
    let log = local.logs(&name("a-1"), &"".parse().expect("it is short"), 1 << 20).await;
    let log = String::from_utf8(log.expect("the log can be read").bytes).expect("it is UTF-8");
    for line in ["plain ….\n", "base64 …\n", "{\"p\": \"…\"} …\n", "error …\n", "last\n"] {
        assert!(log.contains(line), "{line}\n{}", &log[..log.len().min(2000)]);
    }
    assert_eq!(log.matches('…').count(), 20_005 + log.matches("late …\n").count());
    assert_absent(&fake_spark.path("runs"), "canary");
}

#[tokio::test]
async fn a_job_gets_its_secrets_from_the_provider_of_its_target() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let server = Server::start(|request| match request.contains("/dcp/sales/shop-db ") {
        true => found(&json!({"password": CANARY})),
        false => ("404 Not Found", String::new()),
    });
    let provider = Arc::new(server.vault(token_file(folder.path(), "t0ken-of-dcp")));
    let declared = [("vault".to_owned(), Declared { provider, domains: None })].into();
    let fake_spark = FakeSpark::new("printf %s \"$PASSWORD\" | sha256sum > digest");
    let providers = Providers::default().with_declared(declared, None);
    let local = fake_spark.local_backend(SUPERVISOR).with_secrets(providers);
    let mut of = with_variable("a-1");
    of.spec.spark_conf.insert(SECRETS.to_owned(), "vault".to_owned());
    local.accepts(&of).expect("a request is sent only when it starts");
    assert!(server.requests().is_empty());
    local.create(&of).await.expect("the application starts");
    assert!(wait_for_end(&local, &name("a-1")).await.succeeded);
    assert_eq!(
        fake_spark.lines("digest"),
        ["c294c49d09e18d649a079465b18cccbd120cf7e5d6f71636b57037177be74c15  -"]
    );
    assert_absent(&fake_spark.path("runs"), "canary");
    assert_absent(&fake_spark.path("runs"), "t0ken");

    let mut of = with_variable("a-2");
    "hr".clone_into(&mut of.metadata.namespace);
    of.spec.spark_conf.insert(SECRETS.to_owned(), "vault".to_owned());
    let error = local.create(&of).await.expect_err("another domain has no such secret").to_string();
    assert!(error.starts_with("`pods.driver.env.PASSWORD`: the provider does not have"), "{error}");
    of.spec.spark_conf.insert(SECRETS.to_owned(), "other".to_owned());
    let error = local.accepts(&of).expect_err("there is no such provider").to_string();
    assert!(error.starts_with("`secrets`: "), "{error}");
}
