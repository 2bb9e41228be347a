//! The policy of a service. The file is read again when it has changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcp_gateway::kubernetes;
use dcp_identity::oidc::{self, Algorithm, Issuer};
use dcp_identity::{ClientSettings, Oidc, Provider, ServiceAccounts, login, service_accounts};
use dcp_model::manifest::KubernetesName;
use dcp_model::policy::{self as model, Policy, PolicyFile};
use dcp_server::{UserField, Verifier};
use dcp_workspace::project::Outcome;
use tokio::sync::watch;

use crate::clusters;
use crate::failure::Failure;
use crate::operator_file::{self, CHECK_INTERVAL};
use crate::out::Console;
use crate::service_log;

/// A policy that follows its file, and the verifiers of its providers.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) policy: watch::Receiver<Arc<Policy>>,
    pub(crate) verifiers: Vec<Arc<dyn Verifier>>,
    /// The providers that callers without a token may know.
    pub(crate) providers: Vec<Provider>,
    pub(crate) certificates: Option<Certificates>,
}

/// The client certificates that identify callers.
#[derive(Debug)]
pub(crate) struct Certificates {
    pub(crate) authorities: PathBuf,
    pub(crate) user: UserField,
}

/// Reads a policy file, and follows its changes in a task of the current runtime. Prints its diagnostics.
pub(crate) async fn open(path: &Path, console: &mut Console) -> Result<Opened, Failure> {
    let text = operator_file::load(path).map_err(|error| Failure::at(path, "read", &error))?;
    let (declared, outcome) = read(path, &text)?;
    operator_file::print(&outcome, console)?;
    let declared = declared.ok_or_else(|| operator_file::unusable(path))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let verifiers = verifiers(&declared, folder).await?;
    let certificates = declared.client_certificates.as_ref().map(|certificates| Certificates {
        authorities: certificates.certificate_authority.resolve(folder),
        user: match certificates.user {
            model::CertificateUser::CommonName => UserField::CommonName,
            model::CertificateUser::Uri => UserField::Uri,
        },
    });
    let providers = providers(&declared);
    let (sender, policy) = watch::channel(Arc::new(declared.policy()));
    tokio::spawn(follow(path.to_owned(), text, declared, sender));
    Ok(Opened { policy, verifiers, providers, certificates })
}

/// Returns the providers at which callers get tokens: those with a login, and GitHub Actions.
fn providers(policy: &PolicyFile) -> Vec<Provider> {
    let public = policy
        .issuers
        .iter()
        .filter(|(_, issuer)| issuer.login.is_some() || login::is_github(issuer.url.as_str()));
    let provider = |(name, issuer): (&KubernetesName, &model::Issuer)| Provider {
        name: name.as_str().to_owned(),
        url: issuer.url.as_str().to_owned(),
        audience: issuer.audiences.first().cloned().unwrap_or_default(),
        login: issuer.login.as_ref().map(|login| ClientSettings {
            client: login.client.clone(),
            scopes: login.scopes.clone(),
            resource: login.resource.clone(),
            audience: login.audience.clone(),
        }),
    };
    public.map(provider).collect()
}

/// Returns the providers of a policy file, which is in this folder.
pub(crate) fn issuers(policy: &PolicyFile, folder: &Path) -> Result<Vec<Issuer>, Failure> {
    let issuers = policy.issuers.iter().map(|(name, declared)| {
        let mut issuer = Issuer::new(name.as_str(), declared.url.as_str(), "");
        issuer.audiences.clone_from(&declared.audiences);
        if !declared.algorithms.is_empty() {
            issuer.algorithms = declared.algorithms.iter().copied().map(algorithm).collect();
        }
        issuer.user_claim.clone_from(&declared.user);
        issuer.groups_claim.clone_from(&declared.groups);
        issuer.certificate_authority =
            declared.certificate_authority.as_ref().map(|path| path.resolve(folder));
        match issuer.problems().first() {
            None => Ok(issuer),
            Some(problem) => Err(Failure::new(format!(
                "the issuer `{name}` can't be used: `{}` {}",
                problem.field.trim_end_matches("_claim"),
                problem.message
            ))),
        }
    });
    issuers.collect()
}

fn algorithm(declared: model::Algorithm) -> Algorithm {
    match declared {
        model::Algorithm::Rs256 => Algorithm::Rs256,
        model::Algorithm::Rs384 => Algorithm::Rs384,
        model::Algorithm::Rs512 => Algorithm::Rs512,
        model::Algorithm::Ps256 => Algorithm::Ps256,
        model::Algorithm::Ps384 => Algorithm::Ps384,
        model::Algorithm::Ps512 => Algorithm::Ps512,
        model::Algorithm::Es256 => Algorithm::Es256,
        model::Algorithm::Es384 => Algorithm::Es384,
        model::Algorithm::EdDsa => Algorithm::EdDsa,
    }
}

/// Returns the verifiers of a policy file, which is in this folder.
async fn verifiers(policy: &PolicyFile, folder: &Path) -> Result<Vec<Arc<dyn Verifier>>, Failure> {
    let mut verifiers: Vec<Arc<dyn Verifier>> = Vec::new();
    for issuer in issuers(policy, folder)? {
        let options = oidc::Options { log: Arc::new(log), ..oidc::Options::default() };
        let verifier = Oidc::new(issuer, options).map_err(|error| Failure::new(error.to_string()))?;
        verifiers.push(Arc::new(verifier));
    }
    if let Some(accounts) = &policy.service_accounts {
        let client = kubernetes::connect(&clusters::credentials(&accounts.credentials, folder)).await;
        let client = client.map_err(|error| Failure::new(format!("service accounts: {error}")))?;
        let settings = service_accounts::Settings {
            audience: accounts.audience.clone(),
            issuer: accounts.issuer.clone(),
        };
        verifiers.push(Arc::new(ServiceAccounts::new(client, settings)));
    }
    Ok(verifiers)
}

/// Reads the text of a policy file.
pub(crate) fn read(path: &Path, text: &[u8]) -> Result<(Option<PolicyFile>, Outcome), Failure> {
    operator_file::read(path, text, dcp_compiler::policy::read)
}

/// Applies changes of the file until the process ends. A file with errors changes nothing.
async fn follow(path: PathBuf, mut text: Vec<u8>, started: PolicyFile, policy: watch::Sender<Arc<Policy>>) {
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        let changed = match operator_file::load(&path) {
            Ok(changed) if changed != text => changed,
            // An editor may be about to write it.
            _ => continue,
        };
        match read(&path, &changed).and_then(operator_file::changed) {
            Ok(declared) => {
                policy.send_replace(Arc::new(declared.policy()));
                log(&format!("`{}` was read again", path.display()));
                let providers = |file: &PolicyFile| {
                    (file.issuers.clone(), file.service_accounts.clone(), file.client_certificates.clone())
                };
                if providers(&declared) != providers(&started) {
                    log(
                        "changes of `issuers`, `serviceAccounts` and `clientCertificates` take effect at the next start",
                    );
                }
            }
            Err(failure) => log(&format!(
                "`{}` has changed, and the old content stays in force: {}",
                path.display(),
                failure.message()
            )),
        }
        text = changed;
    }
}

fn log(text: &str) {
    service_log::write("the policy", text);
}
