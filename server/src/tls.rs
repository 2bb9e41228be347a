//! TLS of a server. Its certificate, its key and the authorities of client certificates can be replaced while it runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::{Error, pem};

/// Interval at which files are checked for changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The texts of a server's TLS, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// The certificate with its chain.
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
    /// The authorities of client certificates. Without them, clients are not asked for certificates.
    pub client_authorities: Option<Vec<u8>>,
}

/// The files of a server's TLS.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_authorities: Option<PathBuf>,
}

/// The current TLS configuration of a server.
#[derive(Clone)]
pub struct Tls(watch::Receiver<Arc<ServerConfig>>);

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pem").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Pem {
    /// Builds the TLS configuration. Errors do not quote the texts, as these have a key.
    fn config(&self) -> Result<Arc<ServerConfig>, Error> {
        let chain =
            pem::certificates(&self.certificate).map_err(|why| error(&format!("the certificate {why}")))?;
        let key = pem::key(&self.key).map_err(|why| error(&format!("the file of the key {why}")))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|why| error(&why.to_string()))?;
        let builder = match &self.client_authorities {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let roots = pem::authorities(authorities)
                    .map_err(|why| error(&format!("the file of client authorities {why}")))?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|why| error(&format!("client authorities: {why}")))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|why| error(&why.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed session would have the client certificate of an authority that may be removed meanwhile.
        if self.client_authorities.is_some() {
            config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Arc::new(config))
    }
}

fn error(what: &str) -> Error {
    Error::Tls(what.to_owned())
}

impl TlsFiles {
    fn read(&self) -> Result<Pem, Error> {
        let read = |path: &PathBuf| pem::read(path).map_err(|why| error(&why.to_string()));
        Ok(Pem {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_authorities: self.client_authorities.as_ref().map(read).transpose()?,
        })
    }
}

impl Tls {
    /// Creates a configuration that does not change.
    pub fn new(pem: &Pem) -> Result<Self, Error> {
        Ok(Self(watch::channel(pem.config()?).1))
    }

    /// Reads files, and follows their changes in a task of the current runtime. Files with an error change nothing;
    /// `log` receives what happens.
    pub fn open(files: TlsFiles, log: fn(&str)) -> Result<Self, Error> {
        let pem = files.read()?;
        let (sender, receiver) = watch::channel(pem.config()?);
        tokio::spawn(follow(files, pem, sender, log));
        Ok(Self(receiver))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.borrow()))
    }

    /// Waits until the configuration changes.
    pub(crate) async fn changed(&mut self) {
        // Without a sender, it never changes.
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Applies changes of the files until the server ends.
async fn follow(files: TlsFiles, mut current: Pem, sender: watch::Sender<Arc<ServerConfig>>, log: fn(&str)) {
    // The last reported problem, so that each is reported once.
    let mut reported = None;
    while !sender.is_closed() {
        tokio::time::sleep(CHECK_INTERVAL).await;
        let changed = match files.read() {
            Ok(pem) if pem == current => {
                reported = None;
                continue;
            }
            read => read.and_then(|pem| pem.config().map(|config| (pem, config))),
        };
        match changed {
            Ok((pem, config)) => {
                sender.send_replace(config);
                (current, reported) = (pem, None);
                log("the certificates were read again");
            }
            // While a certificate and its key are replaced one after the other, they do not belong together.
            Err(why) => {
                let why = why.to_string();
                if reported.as_ref() != Some(&why) {
                    log(&format!("the certificates have changed, and the old ones stay in use: {why}"));
                    reported = Some(why);
                }
            }
        }
    }
}
