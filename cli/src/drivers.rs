//! The Spark Connect servers of a file. The file is read again when it has changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use dcp_connect::proxy::DriverTokens;
use dcp_connect::session::{Driver, DriverState, PoolKey, Share, Size};
use dcp_connect::store::Store;
use dcp_gateway::ConnectKey;
use dcp_gateway::secrets::SecretValue;
use dcp_model::drivers as model;
use dcp_model::drivers::DriverShare;
use dcp_model::manifest::Memory;
use jiff::Timestamp;

use crate::failure::Failure;
use crate::operator_file::{self, CHECK_INTERVAL, load, print, unusable};
use crate::out::Console;
use crate::private;
use crate::service_log;

/// The prefix of the ids of these drivers.
const PREFIX: &str = "fixed:";
const MAX_TOKEN_BYTES: u64 = 4 << 10;

/// The drivers of a file, with their tokens.
#[derive(Clone, Default)]
pub(crate) struct DriversFile(Arc<RwLock<BTreeMap<String, Declared>>>);

struct Declared {
    driver: Driver,
    token: Option<SecretValue>,
}

impl DriversFile {
    /// Returns the drivers of no file.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Reads a file, stores its drivers, and follows its changes. Prints the diagnostics of the file.
    pub(crate) async fn open(path: &Path, store: Store, console: &mut Console) -> Result<Self, Failure> {
        let text = load(path).map_err(|error| Failure::at(path, "read", &error))?;
        let (declared, outcome) = operator_file::read(path, &text, dcp_compiler::drivers::read)?;
        print(&outcome, console)?;
        let file = Self::none();
        let declared = declared.ok_or_else(|| unusable(path))?;
        file.replace(path, &declared)?;
        file.report(&store).await?;
        tokio::spawn(file.clone().follow(path.to_owned(), text, declared, store));
        Ok(file)
    }

    /// Returns the tokens of the drivers of the file, and of those of pools, which are derived from the key.
    pub(crate) fn tokens(&self, key: Option<ConnectKey>) -> DriverTokens {
        let file = self.clone();
        Arc::new(move |id| {
            if id.starts_with(PREFIX) {
                let drivers = file.0.read().unwrap_or_else(PoisonError::into_inner);
                return drivers.get(id)?.token.clone();
            }
            Some(key.as_ref()?.token(&id.parse().ok()?))
        })
    }

    fn replace(&self, path: &Path, declared: &model::DriversFile) -> Result<(), Failure> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut drivers = BTreeMap::new();
        for (name, declared) in &declared.drivers {
            let id = format!("{PREFIX}{name}");
            let token = declared.token_file.as_ref().map(|file| token(&file.resolve(folder))).transpose()?;
            drivers.insert(id.clone(), Declared { driver: driver(id, name.as_str(), declared), token });
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = drivers;
        Ok(())
    }

    /// Stores the drivers. Those that the file does not have any more take no new sessions.
    async fn report(&self, store: &Store) -> Result<(), Failure> {
        let drivers: Vec<Driver> = {
            let drivers = self.0.read().unwrap_or_else(PoisonError::into_inner);
            drivers.values().map(|declared| declared.driver.clone()).collect()
        };
        let is_declared = |id: &str| drivers.iter().any(|driver| driver.id == id);
        let stored = async {
            for driver in &drivers {
                store.report(driver, Timestamp::now()).await?;
            }
            for stored in store.drivers().await? {
                let id = stored.driver.id.as_str();
                match (id.starts_with(PREFIX), is_declared(id), stored.state) {
                    (true, false, DriverState::Open) => _ = store.drain(id, false).await?,
                    (true, true, DriverState::Draining) => store.reopen(id).await?,
                    _ => {}
                }
            }
            Ok::<_, dcp_connect::store::Error>(())
        };
        stored.await.map_err(|error| Failure::new(error.to_string()))
    }

    /// Applies changes of the file until the process ends. A file with errors changes nothing.
    async fn follow(self, path: PathBuf, mut text: Vec<u8>, mut declared: model::DriversFile, store: Store) {
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
            let now = replaced.and(reported).err().map(|failure| failure.message().to_owned());
            // A repeated problem is reported once.
            if let Some(why) = now.as_ref().filter(|_| now != problem) {
                log(&format!("the drivers of `{}` can't be used: {why}", path.display()));
            }
            problem = now;
        }
    }
}

fn driver(id: String, name: &str, declared: &model::Driver) -> Driver {
    let model::Driver { address, domain, pool, engine, cores, memory, share, max_sessions, token_file: _ } =
        declared;
    let pool = pool.as_ref().map_or(name, |pool| pool.as_str()).to_owned();
    Driver {
        id,
        pool: PoolKey { scope: String::new(), domain: domain.to_string(), name: pool },
        address: address.to_string(),
        engine: engine.to_string(),
        share: match share {
            DriverShare::Domain => Share::Domain,
            DriverShare::Private => Share::Private,
        },
        size: Size { cores: cores.map(u64::from), memory: memory.map(Memory::bytes) },
        max_sessions: u64::from(*max_sessions),
        started: Timestamp::UNIX_EPOCH,
    }
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
