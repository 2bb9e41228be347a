//! The providers of secrets of a Runner: those of this machine, and those of a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcp_gateway::secrets::{
    Authentication, Aws, AwsSettings, Declared, Environment, Folder, Provider, Providers, Template, Vault,
    VaultSettings,
};
use dcp_model::manifest::KubernetesName;
use dcp_model::providers as model;
use dcp_workspace::FOLDER;

use crate::failure::Failure;
use crate::operator_file;
use crate::out::Console;

/// The variable that names the file of providers, for commands without an option for it.
pub(crate) const FILE_VARIABLE: &str = "DCP_SECRETS_FILE";

/// Returns the file of providers that the environment names.
pub(crate) fn file_of_environment() -> Option<PathBuf> {
    std::env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Returns the providers of a Runner whose files are below a folder. Prints the diagnostics of the file, or has the first
/// one in the error without a console.
pub(crate) fn open(
    root: &Path,
    file: Option<&Path>,
    console: Option<&mut Console>,
) -> Result<Providers, Failure> {
    let machine = Providers::of_machine(Some(root.join(FOLDER).join("secrets")));
    let Some(path) = file else { return Ok(machine) };
    let text = operator_file::load(path).map_err(|error| Failure::at(path, "read", &error))?;
    let read = operator_file::read(path, &text, dcp_compiler::providers::read)?;
    let declared = match console {
        Some(console) => {
            operator_file::print(&read.1, console)?;
            read.0.ok_or_else(|| operator_file::unusable(path))?
        }
        None => operator_file::changed(read).map_err(|failure| {
            Failure::new(format!("`{}` can't be used: {}", path.display(), failure.message()))
        })?,
    };
    let shown = path.display();
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut providers = BTreeMap::new();
    for (name, provider) in &declared.providers {
        let of_provider =
            |error: dcp_gateway::Error| Failure::new(format!("`{shown}`: provider `{name}`: {error}"));
        let domains = (!provider.domains.is_empty())
            .then(|| provider.domains.iter().map(ToString::to_string).collect());
        let provider = connect(provider, folder).map_err(of_provider)?;
        providers.insert(name.to_string(), Declared { provider, domains });
    }
    Ok(machine.with_declared(providers, declared.default.as_ref().map(KubernetesName::to_string)))
}

/// Returns a provider. It sends no request.
fn connect(provider: &model::Provider, folder: &Path) -> dcp_gateway::Result<Arc<dyn Provider>> {
    let template = |path: &model::SecretPath| Template::new(path.as_str(), provider.is_of_one_domain());
    let model::Provider { domains: _, environment, files, vault, aws_secrets_manager } = provider;
    // The schema requires exactly one of them.
    if let Some(model::Environment { prefix }) = environment {
        return Ok(Arc::new(Environment::new(prefix.as_str())));
    }
    if let Some(it) = vault {
        let settings = VaultSettings {
            address: it.address.to_string(),
            namespace: it.namespace.as_ref().map(ToString::to_string),
            mount: it.mount.to_string(),
            path: template(&it.path)?,
            authentication: authentication(&it.login, folder),
            certificate_authority: it.certificate_authority.as_ref().map(|path| path.resolve(folder)),
        };
        return Ok(Arc::new(Vault::new(settings)?));
    }
    if let Some(it) = aws_secrets_manager {
        let settings = AwsSettings {
            region: it.region.as_ref().map(ToString::to_string),
            endpoint: it.endpoint.as_ref().map(ToString::to_string),
            name: template(&it.name)?,
        };
        return Ok(Arc::new(Aws::new(settings)?));
    }
    let files = files.as_ref().map(|files| files.folder.resolve(folder)).unwrap_or_default();
    Ok(Arc::new(Folder::of_domains(files)))
}

fn authentication(login: &model::Login, folder: &Path) -> Authentication {
    let model::Login { token_file, kubernetes, app_role } = login;
    if let Some(model::KubernetesLogin { role, mount, token_file }) = kubernetes {
        let of_pod = || PathBuf::from(dcp_gateway::secrets::SERVICE_ACCOUNT_TOKEN);
        return Authentication::Kubernetes {
            mount: mount.to_string(),
            role: role.clone(),
            token_file: token_file.as_ref().map_or_else(of_pod, |path| path.resolve(folder)),
        };
    }
    if let Some(model::AppRoleLogin { role_id, secret_id_file, mount }) = app_role {
        return Authentication::AppRole {
            mount: mount.to_string(),
            role_id: role_id.clone(),
            secret_id_file: secret_id_file.resolve(folder),
        };
    }
    Authentication::TokenFile(token_file.as_ref().map(|path| path.resolve(folder)).unwrap_or_default())
}
