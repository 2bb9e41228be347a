//! TLS connections of a client. The files of certificates are read for each connection, so that they can be replaced.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service;

use crate::pem;

/// Files for TLS, as PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The only authorities that may sign certificates of servers; those of the system if omitted.
    pub authorities: Option<PathBuf>,
    /// The certificate of this client, with its chain.
    pub identity: Option<Identity>,
}

/// The certificate of a client, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl TlsFiles {
    /// Reads the files, and returns the configuration of a connection.
    pub(super) fn config(&self) -> io::Result<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = builder.with_root_certificates(match &self.authorities {
            Some(path) => Arc::new(read(path, pem::authorities)?),
            None => system_roots()?,
        });
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let (chain, key) = (read(certificate, pem::certificates)?, read(key, pem::key)?);
                let why = "and its key do not belong together";
                builder.with_client_auth_cert(chain, key).map_err(|_| unusable(certificate, why))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Returns the authorities of the system, which are read once.
fn system_roots() -> io::Result<Arc<RootCertStore>> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let mut roots = RootCertStore::empty();
    // A few certificates of a system are often unusable.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let why = "this system has no certificate authorities: install its package `ca-certificates`, or set \
                   DCP_CERTIFICATE_AUTHORITY to a file of them";
        return Err(io::Error::new(ErrorKind::InvalidData, why));
    }
    Ok(Arc::clone(ROOTS.get_or_init(|| Arc::new(roots))))
}

/// Reads a file of certificates or a key.
fn read<T>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, &'static str>) -> io::Result<T> {
    let text = pem::read(path).map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
    parse(&text).map_err(|why| unusable(path, why))
}

/// Returns an error that a retry does not change.
fn unusable(path: &Path, why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("`{}` {why}", path.display()))
}

/// Connects to servers with TLS.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    files: Arc<TlsFiles>,
}

impl Connector {
    pub(super) fn new(files: TlsFiles) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self { tcp, files: Arc::new(files) }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, files) = (self.tcp.call(uri.clone()), Arc::clone(&self.files));
        Box::pin(async move {
            let config = files.config()?;
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(host)?;
            let stream = connecting.await?.into_inner();
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                let why = "the server does not offer HTTP/2 over TLS";
                return Err(io::Error::new(ErrorKind::InvalidData, why).into());
            }
            Ok(TokioIo::new(stream))
        })
    }
}
