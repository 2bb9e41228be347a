//! The file of providers of secrets, `secrets.yaml`: its text to types and diagnostics.

use dcp_model::manifest::KubernetesName;
use dcp_model::providers::SecretsFile;

use crate::diag::{Code, Diagnostic, list, nearest};
use crate::document;
use crate::schema;
use crate::source::FileId;
use crate::yaml::NodeRef;

/// The usual name of the file of providers.
pub const FILE_NAME: &str = "secrets.yaml";

/// Reads the file of providers. `path` is its path for messages. The providers are missing if there is an error.
///
/// Paths of files are as they are in the file; [`FilePath::resolve`](dcp_model::clusters::FilePath::resolve) completes
/// them.
pub fn read(file: FileId, path: &str, text: &str) -> (Option<SecretsFile>, Vec<Diagnostic>) {
    let kind = document::Kind {
        name: path,
        schema: &schema::SECRETS,
        help_if_empty: "give it a provider: `providers: {main: {files: {folder: /etc/dcp/secrets}}}`",
    };
    let (read, mut diagnostics) = document::read::<SecretsFile>(&kind, file, text);
    for secret in diagnostics.iter_mut().filter(|found| found.code == Code::SECRET_LITERAL) {
        // References to secrets belong to manifests.
        secret.help = Some("keep it in a file, and name the file in `login`".into());
    }
    let Some((providers, tree)) = read else { return (None, diagnostics) };
    diagnostics.extend(check_domains(&providers, tree.root()));
    diagnostics.extend(check_default(&providers, tree.root()));
    let valid = !diagnostics.iter().any(Diagnostic::is_error);
    (valid.then_some(providers), diagnostics)
}

/// Reports providers in which a domain could read the secrets of another one.
fn check_domains(file: &SecretsFile, root: NodeRef<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (name, provider) in file.providers.iter().filter(|(_, provider)| !provider.is_of_one_domain()) {
        let (path, message, help) = match provider.path() {
            Some((path, text)) if !text.has_domain() => (
                path,
                format!("the domains of `{name}` share the secrets of `{}`", text.as_str()),
                "add `{domain}` between slashes, or name the only domain in `domains`",
            ),
            None if provider.environment.is_some() => (
                ["environment"].as_slice(),
                format!("the domains of `{name}` share its variables"),
                "name the only domain in `domains`: names of variables can't separate domains",
            ),
            Some(_) | None => continue,
        };
        let at = root.nearest(["providers", name.as_str()].into_iter().chain(path.iter().copied()));
        let label = "every domain could read these";
        found.push(Diagnostic::new(Code::NOT_ALLOWED, message).at(at.span(), label).help(help));
    }
    found
}

/// Reports a default that is no provider.
fn check_default(file: &SecretsFile, root: NodeRef<'_>) -> Option<Diagnostic> {
    let default = file.default.as_ref().filter(|default| !file.providers.contains_key(*default))?;
    let names = || file.providers.keys().map(KubernetesName::as_str);
    let help = match nearest(default.as_str(), names()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("the providers are {}", list(names(), "and")),
    };
    let message = format!("there is no provider `{default}`");
    Some(Diagnostic::new(Code::NOT_ALLOWED, message).at(root.nearest(["default"]).span(), "").help(help))
}
