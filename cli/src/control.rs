//! The registry and the DAG folder of a target, for commands that are not asynchronous themselves.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcp_compiler::project::Project;
use dcp_model::primitive::Fingerprint;
use dcp_reconciler::assets::Assets;
use dcp_reconciler::publish::{self, DagFolder};
use dcp_reconciler::reconcile::store::Store;
use dcp_reconciler::reconcile::{ContinuousJobs, Executions, LocalJobs};
use dcp_reconciler::registry::remote::{self, Remote};
use dcp_reconciler::registry::sql::Sql;
use dcp_reconciler::registry::{self, Registry};
use dcp_reconciler::state::{Scope, State};
use dcp_server::client::{Identity, TlsFiles, TokenSource};
use dcp_workspace::project::Workspace;
use dcp_workspace::{FOLDER, files};
use http::Uri;
use http::uri::Scheme;
use jiff::Timestamp;
use tokio::runtime::Runtime;

use crate::credentials;
use crate::failure::Failure;
use crate::private;

/// The variable with the token for a control plane.
pub(crate) const TOKEN: &str = "DCP_TOKEN";

/// The variable with the file of a token for a control plane.
const TOKEN_FILE: &str = "DCP_TOKEN_FILE";

/// The variables with the files of TLS: the authorities of servers, and the certificate of this client.
const AUTHORITY: &str = "DCP_CERTIFICATE_AUTHORITY";
const CERTIFICATE: &str = "DCP_CLIENT_CERTIFICATE";
const KEY: &str = "DCP_CLIENT_KEY";

/// Set to `1` to allow tokens over plain HTTP.
pub(crate) const ALLOW_HTTP: &str = "DCP_ALLOW_HTTP";

/// The connection to a registry.
#[derive(Debug)]
enum RegistryConnection {
    /// In a SQLite file.
    Local(Sql, PathBuf),
    Remote(Box<Remote>),
}

/// A target to plan and apply.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) scope: Scope,
    pub(crate) registry: Box<dyn Registry>,
    connection: RegistryConnection,
    /// The location of the registry, for messages.
    pub(crate) place: String,
    /// The location of DAG files.
    dags: String,
    root: PathBuf,
    runtime: Runtime,
}

impl Control {
    /// Opens the registry of a target. A local one is created if it is missing.
    pub(crate) fn open(home: &Workspace, project: &Project<'_>) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(format!("no threads can be started: {error}")))?;
        let scope = Scope::new(project.file.project.as_str(), project.target.as_deref());
        let dags = project.dags().map_or_else(|| format!("{FOLDER}/dags"), str::to_owned);
        let (registry, connection, place): (Box<dyn Registry>, RegistryConnection, String) = match project
            .server()
        {
            Some(server) => {
                let remote = runtime.block_on(async { connect(server, Some(&home.root)) })?;
                (Box::new(remote.clone()), RegistryConnection::Remote(Box::new(remote)), server.to_owned())
            }
            None => {
                let path = home.root.join(FOLDER).join("state.db");
                let shown = format!("{FOLDER}/state.db");
                if home.root.join(FOLDER).metadata().is_ok_and(|meta| !meta.is_dir()) {
                    let message = format!(
                        "`{FOLDER}` is a file, and dcp keeps what is applied in a folder of that name"
                    );
                    return Err(Failure::new(message).help("move it away, and try again"));
                }
                home.require_project_or_manifest()?;
                dcp_workspace::private::dcp_folder(&home.root)
                    .map_err(|error| Failure::at(&home.root.join(FOLDER), "made a folder", &error))?;
                let sql = runtime.block_on(Sql::sqlite(&path)).map_err(|error| registry_failed(&error))?;
                (Box::new(sql.clone()), RegistryConnection::Local(sql, path), shown)
            }
        };
        Ok(Self { scope, registry, connection, place, dags, root: home.root.clone(), runtime })
    }

    /// Opens the continuous jobs of the target. A remote control plane reads the executions itself.
    pub(crate) fn continuous_jobs(&self, executions: Executions) -> Result<Arc<dyn ContinuousJobs>, Failure> {
        match &self.connection {
            RegistryConnection::Remote(remote) => Ok(Arc::new(Remote::clone(remote))),
            RegistryConnection::Local(registry, path) => {
                let store = self.run(Store::sqlite(path));
                let store = store.map_err(|error| Failure::new(error.to_string()))?;
                let (registry, clock) = (registry.clone(), Timestamp::now);
                Ok(Arc::new(LocalJobs { registry, store, executions, clock }))
            }
        }
    }

    /// Returns the assets of the target.
    pub(crate) fn assets(&self) -> &dyn Assets {
        match &self.connection {
            RegistryConnection::Remote(remote) => &**remote,
            RegistryConnection::Local(registry, _) => registry,
        }
    }

    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub(crate) fn state(&self) -> Result<State, Failure> {
        self.run(self.registry.state(&self.scope)).map_err(|error| registry_failed(&error))
    }

    /// Returns bodies by their fingerprints.
    pub(crate) fn bodies(
        &self,
        wanted: Vec<Fingerprint>,
    ) -> Result<std::collections::HashMap<Fingerprint, String>, Failure> {
        if wanted.is_empty() {
            return Ok(std::collections::HashMap::new());
        }
        let texts =
            self.run(self.registry.bodies(&self.scope, &wanted)).map_err(|error| registry_failed(&error))?;
        Ok(wanted.into_iter().zip(texts).collect())
    }

    pub(crate) fn dags(&self) -> Result<DagFolder, Failure> {
        self.run(async { DagFolder::open(&self.dags, &self.root) }).map_err(|error| dags_failed(&error))
    }
}

/// Returns the options of a command for a server. The caller is identified by the token or the certificate of the
/// environment, or else by the token of the job or the login, or else, for a server on this machine, by the project's token.
pub(crate) fn remote_options(server: &str, root: Option<&Path>) -> Result<remote::Options, Failure> {
    let is_set = |variable| file(variable).is_some();
    if ![TOKEN, TOKEN_FILE, CERTIFICATE].into_iter().any(is_set) {
        let anonymous = options(server, TokenSource::None)?;
        if let Some(token) = credentials::token(&anonymous)? {
            let renewal = Some(credentials::renewal(anonymous));
            return Ok(remote::Options { renewal, ..options(server, token)? });
        }
    }
    service_options(server, root)
}

/// Returns the options of a service that calls another one. It does not use the login of a person.
pub(crate) fn service_options(server: &str, root: Option<&Path>) -> Result<remote::Options, Failure> {
    options(server, token(server, root)?)
}

/// Returns the options for a server with a token, and with the certificates of the environment.
pub(crate) fn options(server: &str, token: impl Into<TokenSource>) -> Result<remote::Options, Failure> {
    let token = token.into();
    if token != TokenSource::None {
        check_encrypted(server)?;
    }
    Ok(remote::Options { tls: tls_files()?, ..remote::Options::new(server, token) })
}

fn token(server: &str, root: Option<&Path>) -> Result<TokenSource, Failure> {
    let token = std::env::var(TOKEN).unwrap_or_default();
    match (token.is_empty(), file(TOKEN_FILE)) {
        (false, None) => Ok(token.into()),
        (true, Some(path)) => Ok(TokenSource::File(path)),
        (false, Some(_)) => Err(Failure::new(format!("{TOKEN} and {TOKEN_FILE} are both set"))
            .help("unset one of them, so that it is clear which token is sent")),
        (true, None) if is_local(server) => {
            let token = root.map(private::existing_token).transpose()?.flatten();
            Ok(token.unwrap_or_default().into())
        }
        (true, None) => Ok(TokenSource::None),
    }
}

/// Returns the files of TLS that the environment names.
fn tls_files() -> Result<TlsFiles, Failure> {
    let identity = match (file(CERTIFICATE), file(KEY)) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let message = format!("{CERTIFICATE} and {KEY} belong together, and one of them is missing");
            return Err(Failure::new(message).help("set both to files in PEM, or none"));
        }
    };
    Ok(TlsFiles { authorities: file(AUTHORITY), identity })
}

/// Returns the path in a variable.
fn file(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|it| !it.is_empty()).map(PathBuf::from)
}

/// Returns true if the environment allows tokens over plain HTTP.
pub(crate) fn allows_http() -> bool {
    std::env::var(ALLOW_HTTP).is_ok_and(|value| value == "1")
}

/// Rejects a server to which a token would go where others can read it.
pub(crate) fn check_encrypted(server: &str) -> Result<(), Failure> {
    match !allows_http() && is_unencrypted(server) {
        true => Err(unencrypted_error(server)),
        false => Ok(()),
    }
}

/// Connects a service to the registry of a control plane.
pub(crate) fn connect_service(server: &str, root: Option<&Path>) -> Result<Remote, Failure> {
    Remote::new(service_options(server, root)?).map_err(|error| registry_failed(&error))
}

/// Connects to the registry of a control plane.
fn connect(server: &str, root: Option<&Path>) -> Result<Remote, Failure> {
    Remote::new(remote_options(server, root)?).map_err(|error| registry_failed(&error))
}

/// Returns the caller's name, from the environment or the machine's list of users. A control plane identifies
/// callers by tokens instead.
pub(crate) fn user_name() -> String {
    let names = ["DCP_USER", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "USER", "LOGNAME"];
    let known = names.into_iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let id = rustix::process::geteuid().as_raw();
    let users = || files::read_anywhere(Path::new("/etc/passwd"), files::LARGE_FILE_LIMIT).ok();
    known.or_else(|| user(&String::from_utf8_lossy(&users()?), id)).unwrap_or_else(|| format!("user {id}"))
}

/// Returns the name of a user in the format of `/etc/passwd`.
fn user(users: &str, id: u32) -> Option<String> {
    let id = id.to_string();
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1) == Some(&id)).then(|| name.to_owned())
    })
}

/// Returns true if requests to a server can be read on the network. Invalid addresses get no requests.
fn is_unencrypted(server: &str) -> bool {
    let Ok(uri) = server.parse::<Uri>() else { return false };
    uri.scheme() == Some(&Scheme::HTTP) && !uri.host().is_some_and(is_this_machine)
}

/// Returns true if a server is at a loopback address.
fn is_local(server: &str) -> bool {
    server.parse::<Uri>().is_ok_and(|uri| uri.host().is_some_and(is_this_machine))
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn unencrypted_error(server: &str) -> Failure {
    let message = format!("a token would go to `{server}` where others can read it: nothing was sent");
    let ways = format!("use `https://`, or set {ALLOW_HTTP}=1 where the network is trusted");
    Failure::new(message).help(ways)
}

pub(crate) fn dags_failed(error: &publish::Error) -> Failure {
    let failure = Failure::new(error.to_string());
    match error.help() {
        Some(help) => failure.help(help),
        None => failure,
    }
}

pub(crate) fn registry_failed(error: &registry::Error) -> Failure {
    use registry::Error;
    let failure = Failure::new(error.to_string());
    match error {
        Error::Moved(_) => failure.help("plan again: what was planned is not what would happen now"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_unencrypted, user};

    #[test]
    fn user_name_is_found_by_id() {
        let users =
            "root:x:0:0:root:/root:/bin/bash\n\n:x:7:7::/:\nada:x:1000:1000:,,,:/home/ada:/bin/sh\nbroken\n";
        assert_eq!(user(users, 0).as_deref(), Some("root"));
        assert_eq!(user(users, 1000).as_deref(), Some("ada"));
        assert_eq!((user(users, 7), user(users, 10), user("", 0)), (None, None, None));
    }

    #[test]
    fn tokens_are_sent_unencrypted_to_this_machine_only() {
        for fine in [
            "https://dcp.example.com",
            "http://localhost:7420",
            "http://LocalHost",
            "http://127.0.0.1:7420",
            "http://127.8.9.1/dcp",
            "http://[::1]:7420",
            "http://[::ffff:127.0.0.1]:7420",
            // These get no requests.
            "http://",
            "no address",
        ] {
            assert!(!is_unencrypted(fine), "{fine}");
        }
        for readable in [
            "http://dcp.example.com:7420",
            "HTTP://dcp.example.com",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://127.0.0.1@example.com",
            "http://0.0.0.0:7420",
            "http://10.0.0.7:7420",
            "http://[2001:db8::1]:7420",
        ] {
            assert!(is_unencrypted(readable), "{readable}");
        }
    }
}
