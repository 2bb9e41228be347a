//! The access to a service over TCP: its callers, its TLS, and the sources of credentials.

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
use crate::service_log;

/// The sources of the credentials of callers, which a service prints or lists.
#[derive(Debug, Default)]
pub(crate) struct CredentialSources {
    /// The code that signs in a browser.
    pub(super) code: Option<String>,
    /// The providers of `dcp login` and of continuous integration.
    pub(super) providers: Vec<Provider>,
}

/// The access to a service over TCP, by its arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TcpAccess<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) policy: Option<&'a Path>,
    pub(crate) served: &'a Served,
}

impl TcpAccess<'_> {
    /// Sets access and TLS of a service, and returns the sources of credentials. Without a policy there is one token,
    /// which the project's own commands read from a file, and which may do everything.
    pub(crate) async fn apply(
        self,
        options: &mut Options,
        database: &str,
        root: &Path,
        console: &mut Console,
    ) -> Result<CredentialSources, Failure> {
        let Self { policy, served, .. } = self;
        let Some(path) = policy else {
            self.require_loopback()?;
            let name = crate::control::user_name();
            let (login, code) = Login::new(&name);
            let tokens = Tokens::new(&[Token { name, token: private::token(root)? }]);
            let access = Access::from(tokens.map_err(|error| failed(&error))?);
            options.access = Some(access.with_login(login));
            options.tls = self.tls(None)?;
            return Ok(CredentialSources { code: Some(code), providers: Vec::new() });
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
        Ok(CredentialSources { code: None, providers })
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
        let log = |text: &str| service_log::write("certificates", text);
        Tls::open(files, log).map(Some).map_err(|error| failed(&error))
    }
}
