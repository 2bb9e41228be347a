//! Client certificates, and the replacement of certificates while a server runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dcp_server::client::{self, CallError, Client, Identity, Service};
use dcp_server::{Access, Tls, TlsFiles, Token, Tokens, UserField};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::time::timeout;
use tonic_prost::ProstCodec;

use crate::harness::{LONG, Server, TOKEN, send_and_read};

/// An authority, which signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Signs a certificate, and writes it and its key to files in a folder.
    fn sign(&self, folder: &Path, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| folder.join(format!("{name}.{end}"));
        fs::write(path("key"), key.serialize_pem()).unwrap();
        fs::write(path("pem"), certificate.pem()).unwrap();
        Identity { certificate: path("pem"), key: path("key") }
    }
}

/// Returns what gives a certificate a common name and organizations.
fn named(names: &[&str], organizations: &[&str]) -> impl FnOnce(&mut CertificateParams) {
    move |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        // The library replaces a name of the same type.
        let common_names = [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])];
        for (kind, name) in common_names.into_iter().zip(names) {
            params.distinguished_name.push(kind, *name);
        }
        for organization in organizations {
            params.distinguished_name.push(DnType::OrganizationName, *organization);
        }
    }
}

/// A server with TLS, and the files of its certificates.
struct World {
    folder: TempDir,
    authority: Authority,
    server: Server,
}

impl World {
    async fn start(field: UserField) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("dcp test authority");
        let own = authority.sign(folder.path(), "server", |_| {});
        let client_authorities = folder.path().join("clients.pem");
        fs::write(&client_authorities, &authority.pem).unwrap();
        fs::write(folder.path().join("servers.pem"), &authority.pem).unwrap();
        let Identity { certificate, key } = own;
        let files = TlsFiles { certificate, key, client_authorities: Some(client_authorities) };
        let tls = Tls::open(files, |_| {}).unwrap();
        let token = Token { name: "ada".to_owned(), token: TOKEN.to_owned() };
        let access = Access::from(Tokens::new(&[token]).unwrap()).with_certificates(field);
        let server = Server::start(|options| {
            options.tls = Some(tls);
            options.access = Some(access);
        });
        Self { folder, server: server.await, authority }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn client(&self, token: &str, identity: Option<Identity>) -> Client {
        let url = format!("https://localhost:{}", self.server.address.port());
        let tls = client::TlsFiles { authorities: Some(self.path("servers.pem")), identity };
        let options = client::Options { tls, retry_for: Duration::ZERO, ..client::Options::new(url, token) };
        Client::new(options, Service { name: "test server", domain: "test.v1" }).unwrap()
    }

    /// Makes a call, and returns the name of its caller, as the server logs it.
    async fn caller(&self, client: &Client) -> Result<String, CallError> {
        let call = || async {
            let mut grpc = tonic::client::Grpc::new(client.channel());
            grpc.ready().await.map_err(|error| tonic::Status::unknown(error.to_string()))?;
            let path = "/test.v1.Echo/Fast".parse().unwrap();
            grpc.unary(tonic::Request::new(()), path, ProstCodec::<(), ()>::default()).await
        };
        client.call(call).await?;
        let call = self.server.next_logged_call().await;
        Ok(call.split('|').nth(2).unwrap().to_owned())
    }

    async fn rejection(&self, identity: Identity) -> String {
        format!("{:?}", self.caller(&self.client("", Some(identity))).await.unwrap_err())
    }
}

#[tokio::test]
async fn a_client_certificate_identifies_its_caller() {
    let world = World::start(UserField::CommonName).await;
    let sign = |name: &str, change| world.authority.sign(world.folder.path(), name, change);
    let runner = world.authority.sign(world.folder.path(), "runner", named(&["runner"], &["parts"]));
    let of_runner = world.client("", Some(runner.clone()));
    assert_eq!(world.caller(&of_runner).await.unwrap(), "certificate:runner");
    // A token is more specific than the certificate of a connection.
    assert_eq!(world.caller(&world.client(TOKEN, Some(runner.clone()))).await.unwrap(), "ada");
    assert_eq!(world.caller(&world.client(TOKEN, None)).await.unwrap(), "ada");
    let wrong = world.caller(&world.client("wrong-token-wrong-token", Some(runner))).await.unwrap_err();
    assert!(matches!(wrong, CallError::Denied(_)), "a wrong token is no anonymous call: {wrong:?}");

    let nobody = sign("nobody", Box::new(named(&[], &["parts"])) as Box<dyn FnOnce(&mut CertificateParams)>);
    assert!(world.rejection(nobody).await.contains("no common name"));
    let two = sign("two", Box::new(named(&["a", "b"], &[])));
    assert!(world.rejection(two).await.contains("more than one common name"));
    let control = sign("control", Box::new(named(&["a\nb"], &[])));
    assert!(world.rejection(control).await.contains("the name in the client certificate"));
    let pattern = sign("pattern", Box::new(named(&["*"], &[])));
    assert!(world.rejection(pattern).await.contains("the name in the client certificate"));
}

/// Sends a request with a client certificate, as a browser does, and returns the response.
async fn browse(world: &World, identity: &Identity, headers: &str) -> String {
    let pem = |path: &Path| fs::read(path).unwrap();
    let certificates =
        |path: &Path| CertificateDer::pem_slice_iter(&pem(path)).collect::<Result<Vec<_>, _>>().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificates(&world.path("servers.pem")).remove(0)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let key = PrivateKeyDer::from_pem_slice(&pem(&identity.key)).unwrap();
    let config = builder.unwrap().with_root_certificates(roots);
    let mut config = config.with_client_auth_cert(certificates(&identity.certificate), key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, world.server.connect().await).await.unwrap();
    send_and_read(&mut stream, "/who", headers).await
}

#[tokio::test]
async fn a_certificate_is_not_for_pages_of_other_servers() {
    let world = World::start(UserField::CommonName).await;
    let ada = world.authority.sign(world.folder.path(), "ada", named(&["ada"], &[]));
    for headers in
        ["", "sec-fetch-site: none\r\n", "sec-fetch-site: same-origin\r\norigin: https://localhost\r\n"]
    {
        let response = browse(&world, &ada, headers).await;
        assert!(response.ends_with("certificate:ada"), "{headers}: {response}");
    }
    for headers in [
        "origin: https://evil.example\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\norigin: https://localhost\r\n",
    ] {
        let response = browse(&world, &ada, headers).await;
        assert!(response.starts_with("HTTP/1.1 401 "), "{headers}: {response}");
    }
}

#[tokio::test]
async fn a_uri_can_name_the_caller() {
    let world = World::start(UserField::Uri).await;
    let sign = |name: &str, uris: &[&str]| {
        let uris: Vec<_> = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        world.authority.sign(world.folder.path(), name, |params| params.subject_alt_names.extend(uris))
    };
    let one = sign("one", &["spiffe://example.com/runner"]);
    let of_runner = world.client("", Some(one));
    assert_eq!(world.caller(&of_runner).await.unwrap(), "certificate:spiffe://example.com/runner");
    assert!(world.rejection(sign("none", &[])).await.contains("no URI"));
    assert!(world.rejection(sign("two", &["a:b", "a:c"])).await.contains("more than one URI"));
}

#[tokio::test]
async fn certificates_of_others_and_expired_ones_are_rejected() {
    let world = World::start(UserField::CommonName).await;
    let stranger = Authority::new("dcp test authority");
    let forged = stranger.sign(world.folder.path(), "forged", named(&["runner"], &[]));
    let why = world.rejection(forged).await;
    assert!(why.contains("Unavailable") || why.contains("alert"), "{why}");
    let expired = world.authority.sign(world.folder.path(), "expired", |params| {
        named(&["runner"], &[])(params);
        params.not_after = OffsetDateTime::now_utc() - Duration::from_mins(1);
    });
    world.rejection(expired).await;
    let for_servers = world.authority.sign(world.folder.path(), "server-only", |params| {
        named(&["runner"], &[])(params);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    world.rejection(for_servers).await;
    assert_eq!(world.caller(&world.client(TOKEN, None)).await.unwrap(), "ada", "the server still responds");
}

#[tokio::test]
async fn a_certificate_that_expires_on_an_open_connection_is_rejected() {
    let world = World::start(UserField::CommonName).await;
    let short = world.authority.sign(world.folder.path(), "short", |params| {
        named(&["runner"], &[])(params);
        params.not_after = OffsetDateTime::now_utc() + Duration::from_secs(4);
    });
    let client = world.client("", Some(short));
    assert_eq!(world.caller(&client).await.unwrap(), "certificate:runner");
    let rejected = async {
        loop {
            match world.caller(&client).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(error) => return format!("{error:?}"),
            }
        }
    };
    let why = timeout(LONG, rejected).await.expect("it expires");
    assert!(why.contains("certificate has expired"), "{why}");
}

#[tokio::test]
async fn replaced_certificates_are_used_without_a_restart() {
    let world = World::start(UserField::CommonName).await;
    let old = world.authority.sign(world.folder.path(), "old", named(&["old"], &[]));
    let client = world.client("", Some(old));
    assert_eq!(world.caller(&client).await.unwrap(), "certificate:old");

    // A half-replaced pair changes nothing.
    let next = Authority::new("next");
    next.sign(world.folder.path(), "server-next", |_| {});
    fs::write(world.path("clients.pem"), "half").unwrap();
    assert_eq!(world.caller(&client).await.unwrap(), "certificate:old");

    fs::write(world.path("clients.pem"), &next.pem).unwrap();
    fs::write(world.path("servers.pem"), &next.pem).unwrap();
    fs::rename(world.path("server-next.pem"), world.path("server.pem")).unwrap();
    fs::rename(world.path("server-next.key"), world.path("server.key")).unwrap();
    let new = next.sign(world.folder.path(), "new", named(&["new"], &[]));
    let replaced = async {
        while world.caller(&world.client("", Some(new.clone()))).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LONG, replaced).await.expect("the new certificates are used");
    // The connection of the old certificate is closed, and its authority is not accepted any more.
    let rejected = async {
        while world.caller(&client).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LONG, rejected).await.expect("the old certificate is rejected");
}
