//! The file of providers of secrets, `secrets.yaml`: where a Runner reads the secrets of drivers that it starts itself.
//!
//! The operator of the Runner writes it. An author of manifests who could choose an address would get the Runner's token.

mod text;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clusters::FilePath;
use crate::manifest::{Domain, Format, KubernetesName};

pub use text::{EnginePath, SecretPath, SecretServer, VariablePrefix};

/// Returns the formats of fields that only this file has.
pub fn formats() -> impl Iterator<Item = &'static Format> {
    text::FORMATS.iter()
}

/// The providers of secrets of a Runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretsFile {
    /// The providers by name. Targets in `dcp.yaml` refer to the names.
    #[schemars(extend("minProperties" = 1, "propertyNames" = {"format": "kubernetes-name"}))]
    pub providers: BTreeMap<KubernetesName, Provider>,
    /// The provider of jobs whose target names none. If omitted, variables `DCP_SECRET_…` of the Runner and the folder
    /// `.dcp/secrets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<KubernetesName>,
}

/// A provider: exactly one of `environment`, `files`, `vault` and `awsSecretsManager`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("exactlyOneOf" = ["environment", "files", "vault", "awsSecretsManager"]))]
pub struct Provider {
    /// The domains whose jobs may use the provider. If omitted, all domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub domains: Vec<Domain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault: Option<Vault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_secrets_manager: Option<AwsSecretsManager>,
}

impl Provider {
    /// Returns the path of the secrets of a domain at the provider, with the name of its field.
    pub fn path(&self) -> Option<(&'static [&'static str], &SecretPath)> {
        let vault = self.vault.as_ref().map(|it| (["vault", "path"].as_slice(), &it.path));
        vault.or_else(|| {
            self.aws_secrets_manager.as_ref().map(|it| (["awsSecretsManager", "name"].as_slice(), &it.name))
        })
    }

    /// Returns true if the secrets of the provider belong to one domain.
    pub fn is_of_one_domain(&self) -> bool {
        self.domains.len() == 1
    }
}

/// Variables of the Runner's environment, of one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// The beginning of the names of variables. The name and the key of a secret follow, in upper case.
    pub prefix: VariablePrefix,
}

/// Files on the machine of the Runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Files {
    /// The folder of the files `<domain>/<secret>/<key>`. Only their owner may be able to read them.
    pub folder: FilePath,
}

/// A server with the HTTP interface of Vault's key-value engine, version 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vault {
    /// The URL of the server.
    pub address: SecretServer,
    /// The namespace of Vault Enterprise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["data/platform"]))]
    pub namespace: Option<EnginePath>,
    /// The path of the key-value engine.
    #[serde(default = "Vault::default_mount")]
    pub mount: EnginePath,
    /// The path of a secret below `mount`. The keys of the secret are those of the references.
    pub path: SecretPath,
    pub login: Login,
    /// The path of a file with the certificates, in PEM, that verify the server. If omitted, those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<FilePath>,
}

/// The login of the Runner: exactly one of `tokenFile`, `kubernetes` and `appRole`. Files are read again for each login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("exactlyOneOf" = ["tokenFile", "kubernetes", "appRole"]))]
pub struct Login {
    /// The path of a file with a token, such as one that an agent of the server renews.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<FilePath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesLogin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_role: Option<AppRoleLogin>,
}

/// A login by the service account of the Runner's pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesLogin {
    /// The role at the server.
    #[schemars(length(min = 1, max = 256))]
    pub role: String,
    /// The path of the login method.
    #[serde(default = "KubernetesLogin::default_mount")]
    pub mount: EnginePath,
    /// The path of a file with the token of the service account. If omitted, that of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<FilePath>,
}

/// A login by the id of a role and a secret id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppRoleLogin {
    /// The id of the role.
    #[schemars(length(min = 1, max = 256))]
    pub role_id: String,
    /// The path of a file with the secret id.
    pub secret_id_file: FilePath,
    /// The path of the login method.
    #[serde(default = "AppRoleLogin::default_mount")]
    pub mount: EnginePath,
}

/// AWS Secrets Manager. Credentials are those of the default chain: variables, profiles, the identity of a pod or machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsSecretsManager {
    /// The region. If omitted, that of the Runner's environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["eu-central-1"]))]
    pub region: Option<KubernetesName>,
    /// The URL of another endpoint than that of AWS, such as one of a VPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SecretServer>,
    /// The name of a secret. Without `{key}`, its content is a JSON object with the keys; with it, the value itself.
    pub name: SecretPath,
}

fn engine_path(text: &str) -> EnginePath {
    EnginePath::parse(text).expect("the default is a path")
}

impl Vault {
    fn default_mount() -> EnginePath {
        engine_path("secret")
    }
}

impl KubernetesLogin {
    fn default_mount() -> EnginePath {
        engine_path("kubernetes")
    }
}

impl AppRoleLogin {
    fn default_mount() -> EnginePath {
        engine_path("approle")
    }
}
