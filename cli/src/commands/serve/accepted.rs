//! The callers of a service, and the ways in which they get credentials.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcp_identity::Provider;
use dcp_identity::tokens::StoredTokens;
use dcp_server::{Access, Login, Options, Tls, TlsFiles, Token, Tokens};
use jiff::Timestamp;

use super::{failed, open_audit, open_tokens};
use crate::args::Served;
use crate::control::{ALLOW_HTTP, allows_http};
use crate::failure::Failure;
use crate::out::Console;
use crate::policy::Opened;
use crate::private;
use crate::render::sanitize;

/// The ways in which callers get credentials.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// The code that signs in a browser.
    pub(super) code: Option<String>,
    /// The providers of `dcp login` and of continuous integration.
    pub(super) providers: Vec<Provider>,
}

/// The callers that a service accepts over TCP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) policy: Option<&'a Path>,
    pub(crate) served: &'a Served,
}

impl Accepted<'_> {
    /// Sets access and TLS of a service, and returns the ways to get credentials. Without a policy there is one token,
    /// which the project's own commands read from a file, and which may do everything.
    pub(crate) async fn set(
        self,
        options: &mut Options,
        database: &str,
        root: &Path,
        console: &mut Console,
    ) -> Result<Entry, Failure> {
        let Self { policy, served, .. } = self;
        let Some(path) = policy else {
            self.require_loopback()?;
            let name = crate::control::user_name();
            let (login, code) = Login::new(&name);
            let tokens = Tokens::new(&[Token { name, token: private::token(root)? }]);
            let access = Access::from(tokens.map_err(|error| failed(&error))?);
            options.access = Some(access.with_login(login));
            options.tls = self.tls(None)?;
            return Ok(Entry { code: Some(code), providers: Vec::new() });
        };
        self.require_tls()?;
        let Opened { policy, mut verifiers, certificates, providers } =
            crate::policy::open(path, console).await?;
        let tokens = StoredTokens::new(open_tokens(database).await?, Timestamp::now);
        verifiers.insert(0, Arc::new(tokens));
        let audit = open_audit(database).await?;
        let audit = crate::audit::open(audit, served.keep_audit, served.audit_log.as_deref())?;
        let access = Access::new(verifiers).with_policy(policy).with_audit_log(audit);
        options.access = Some(match &certificates {
            Some(certificates) => access.with_certificates(certificates.user),
            None => access,
        });
        options.tls = self.tls(certificates.map(|it| it.authorities))?;
        Ok(Entry { code: None, providers })
    }

    fn require_loopback(self) -> Result<(), Failure> {
        if self.listen.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        let listen = self.listen;
        let message =
            format!("without `--policy`, dcp listens at a loopback address only, and {listen} is none");
        Err(Failure::usage(message).help("give `--policy FILE`, or listen at 127.0.0.1"))
    }

    /// Rejects an address where others can read the traffic.
    fn require_tls(self) -> Result<(), Failure> {
        let Self { listen, served, .. } = self;
        if served.certificate.is_some() || listen.ip().to_canonical().is_loopback() || allows_http() {
            return Ok(());
        }
        let message = format!("without TLS, tokens could be read on the way to {listen}");
        let help = format!(
            "give `--certificate FILE --key FILE`; behind a proxy that ends TLS, in a trusted network, set {ALLOW_HTTP}=1"
        );
        Err(Failure::usage(message).help(help))
    }

    /// Reads the certificates, and follows their changes.
    fn tls(self, client_authorities: Option<PathBuf>) -> Result<Option<Tls>, Failure> {
        let Served { certificate, key, .. } = self.served;
        let (Some(certificate), Some(key)) = (certificate, key) else {
            return match client_authorities {
                None => Ok(None),
                Some(_) => {
                    let message = "the policy has `clientCertificates`, which need TLS";
                    Err(Failure::usage(message).help("give `--certificate FILE --key FILE`"))
                }
            };
        };
        let files = TlsFiles { certificate: certificate.clone(), key: key.clone(), client_authorities };
        Tls::open(files, log_certificates).map(Some).map_err(|error| failed(&error))
    }
}

fn log_certificates(what: &str) {
    let line = format!("{:.3} {}\n", Timestamp::now(), sanitize(what));
    // A failed write to the log does not stop the service.
    let _ = io::stderr().write_all(line.as_bytes());
}
