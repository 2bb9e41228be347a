//! The Spark Connect servers of a file. The file is read again when it has changed.

mod clusters;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use dcp_connect::discovery;
use dcp_connect::proxy::DriverTokens;
use dcp_connect::session::{Driver, DriverState, PoolKey, Share, Size};
use dcp_connect::store::Store;
use dcp_gateway::ConnectKey;
use dcp_gateway::secrets::SecretValue;
use dcp_model::clusters::FilePath;
use dcp_model::drivers as model;
use dcp_model::drivers::DriverShare;
use dcp_model::manifest::{Duration, Memory};
use jiff::{SignedDuration, Timestamp};

use crate::failure::Failure;
use crate::operator_file::{self, CHECK_INTERVAL, load, print, unusable};
use crate::out::Console;
use crate::private;
use crate::service_log;

use clusters::Watches;

/// The prefix of the ids of drivers at fixed addresses.
const PREFIX: &str = "fixed:";
const MAX_TOKEN_BYTES: u64 = 4 << 10;

/// The drivers of a file, with their tokens.
#[derive(Clone, Default)]
pub(crate) struct DriversFile(Arc<RwLock<Content>>);

/// The content of a file.
#[derive(Default)]
struct Content {
    /// The drivers at fixed addresses, by id.
    fixed: BTreeMap<String, Declared>,
    /// The tokens of drivers on clusters, by the name of their entry.
    of_clusters: BTreeMap<String, Option<SecretValue>>,
}

struct Declared {
    driver: Driver,
    idle_timeout: SignedDuration,
    token: Option<SecretValue>,
}

impl DriversFile {
    /// Reads a file, stores its drivers, and follows its changes. Prints the diagnostics of the file. Without a file, the
    /// stored drivers of an earlier one take no new sessions.
    pub(crate) async fn open(
        path: Option<&Path>,
        store: Store,
        console: &mut Console,
    ) -> Result<Self, Failure> {
        let Some(path) = path else {
            let file = Self::default();
            file.report(&store).await?;
            store.set_pools(false, &[]).await.map_err(|error| Failure::new(error.to_string()))?;
            return Ok(file);
        };
        let text = load(path).map_err(|error| Failure::at(path, "read", &error))?;
        let (declared, outcome) = operator_file::read(path, &text, dcp_compiler::drivers::read)?;
        print(&outcome, console)?;
        let file = Self::default();
        let declared = declared.ok_or_else(|| unusable(path))?;
        file.replace(path, &declared)?;
        file.report(&store).await?;
        let mut watches = Watches::new(path, store.clone());
        watches.follow(&declared).await?;
        tokio::spawn(file.clone().follow(path.to_owned(), text, declared, store, watches));
        Ok(file)
    }

    /// Returns the tokens of the drivers of the file, and of those of pools, which are derived from the key.
    pub(crate) fn tokens(&self, key: Option<ConnectKey>) -> DriverTokens {
        let file = self.clone();
        Arc::new(move |id| {
            let content = file.0.read().unwrap_or_else(PoisonError::into_inner);
            if id.starts_with(PREFIX) {
                return content.fixed.get(id)?.token.clone();
            }
            if let Some(entry) = discovery::source(id) {
                return content.of_clusters.get(entry)?.clone();
            }
            Some(key.as_ref()?.token(&id.parse().ok()?))
        })
    }

    fn replace(&self, path: &Path, declared: &model::DriversFile) -> Result<(), Failure> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let token_of =
            |file: &Option<FilePath>| file.as_ref().map(|file| token(&file.resolve(folder))).transpose();
        let mut content = Content::default();
        for (name, declared) in &declared.drivers {
            let (id, token) = (format!("{PREFIX}{name}"), token_of(&declared.token_file)?);
            let driver = driver(id.clone(), name.as_str(), declared);
            let idle_timeout = signed(declared.idle_timeout);
            content.fixed.insert(id, Declared { driver, idle_timeout, token });
        }
        for (name, declared) in &declared.clusters {
            content.of_clusters.insert(name.to_string(), token_of(&declared.token_file)?);
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = content;
        Ok(())
    }

    /// Stores the drivers. Those that the file does not have any more take no new sessions.
    async fn report(&self, store: &Store) -> Result<(), Failure> {
        let (drivers, entries): (Vec<(Driver, SignedDuration)>, BTreeSet<String>) = {
            let content = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let fixed = content.fixed.values().map(|it| (it.driver.clone(), it.idle_timeout));
            (fixed.collect(), content.of_clusters.keys().cloned().collect())
        };
        let is_fixed = |id: &str| drivers.iter().any(|(driver, _)| driver.id == id);
        let stored = async {
            for (driver, idle_timeout) in &drivers {
                discovery::report(store, driver, *idle_timeout, Timestamp::now()).await?;
            }
            for stored in store.drivers().await? {
                let id = stored.driver.id.as_str();
                let is_declared = match discovery::source(id) {
                    Some(entry) => entries.contains(entry),
                    None => !id.starts_with(PREFIX) || is_fixed(id),
                };
                match (is_declared, stored.state) {
                    (false, DriverState::Open | DriverState::Starting) => _ = store.drain(id, false).await?,
                    (true, DriverState::Draining) if is_fixed(id) => store.reopen(id).await?,
                    _ => {}
                }
            }
            Ok::<_, dcp_connect::store::Error>(())
        };
        stored.await.map_err(|error| Failure::new(error.to_string()))
    }

    /// Applies changes of the file until the process ends. A file with errors changes nothing.
    async fn follow(
        self,
        path: PathBuf,
        mut text: Vec<u8>,
        mut declared: model::DriversFile,
        store: Store,
        mut watches: Watches,
    ) {
        let mut problem = None;
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            if let Ok(new) = load(&path)
                && new != text
            {
                let read = operator_file::read(&path, &new, dcp_compiler::drivers::read);
                let read = read.and_then(operator_file::changed);
                match read {
                    Ok(new) => {
                        log(&format!("`{}` was read again", path.display()));
                        declared = new;
                    }
                    Err(failure) => log(&format!(
                        "`{}` has changed, and the old content stays in force: {}",
                        path.display(),
                        failure.message()
                    )),
                }
                text = new;
            }
            // A file with a token may have changed, too.
            let replaced = self.replace(&path, &declared);
            let reported = self.report(&store).await;
            let followed = watches.follow(&declared).await;
            let now = replaced.and(reported).and(followed).err().map(|failure| failure.message().to_owned());
            // A repeated problem is reported once.
            if let Some(why) = now.as_ref().filter(|_| now != problem) {
                log(&format!("the drivers of `{}` can't be used: {why}", path.display()));
            }
            problem = now;
        }
    }
}

fn driver(id: String, name: &str, declared: &model::Driver) -> Driver {
    let model::Driver { address, domain, pool, engine, cores, memory, share, max_sessions, .. } = declared;
    let pool = pool.as_ref().map_or(name, |pool| pool.as_str()).to_owned();
    Driver {
        id,
        pool: PoolKey { scope: String::new(), domain: domain.to_string(), name: pool },
        address: address.to_string(),
        engine: engine.to_string(),
        share: share_of(*share),
        size: size_of(*cores, *memory),
        max_sessions: u64::from(*max_sessions),
        started: Timestamp::UNIX_EPOCH,
    }
}

fn share_of(share: DriverShare) -> Share {
    match share {
        DriverShare::Domain => Share::Domain,
        DriverShare::Private => Share::Private,
    }
}

fn size_of(cores: Option<u32>, memory: Option<Memory>) -> Size {
    Size { cores: cores.map(u64::from), memory: memory.map(Memory::bytes) }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(duration.secs()).unwrap_or(i64::MAX))
}

fn token(path: &Path) -> Result<SecretValue, Failure> {
    let help = "make it readable for this user alone: chmod 600 FILE";
    let text = private::read(path, MAX_TOKEN_BYTES, help)?;
    let text = text.ok_or_else(|| Failure::new(format!("`{}` does not exist", path.display())))?;
    Ok(SecretValue::new(text.trim()))
}

fn log(text: &str) {
    service_log::write("the proxy", text);
}
