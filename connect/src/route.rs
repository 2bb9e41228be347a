//! The choice of a driver for a new session: a pure function of the request, the pools and the drivers.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use dcp_model::manifest::Memory;
use http::HeaderMap;

use crate::session::{Driver, DriverState, Pool, PoolKey, Share, Size, StoredDriver};

/// The headers by which a client chooses. They are parameters of its URL, such as `;dcp-pool=small`.
pub const DOMAIN: &str = "dcp-domain";
pub const POOL: &str = "dcp-pool";
pub const ENGINE: &str = "dcp-engine";
/// The minimum of the cores and of the memory of a driver with its executors.
pub const CORES: &str = "dcp-cores";
pub const MEMORY: &str = "dcp-memory";
/// The prefix of all headers for dcp, which no driver gets.
pub(crate) const PREFIX: &str = "dcp-";

/// Maximum length of a chosen name.
const MAX_NAME: usize = 256;

/// The driver that a client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) domain: Option<String>,
    pub(crate) pool: Option<String>,
    pub(crate) engine: Option<String>,
    /// The minimum.
    pub(crate) size: Size,
}

impl Request {
    /// Reads the request from the headers of a call. Rejects parameters that dcp does not know.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, String> {
        let mut request = Self::default();
        let (mut cores, mut memory) = (None, None);
        for (name, value) in headers {
            let Some(_) = name.as_str().strip_prefix(PREFIX) else { continue };
            let field = match name.as_str() {
                DOMAIN => &mut request.domain,
                POOL => &mut request.pool,
                ENGINE => &mut request.engine,
                CORES => &mut cores,
                MEMORY => &mut memory,
                other => {
                    return Err(format!(
                        "`{other}` is no parameter of dcp; use `{DOMAIN}`, `{POOL}`, `{ENGINE}`, `{CORES}` or `{MEMORY}`"
                    ));
                }
            };
            let text = value.to_str().ok().filter(|text| (1..=MAX_NAME).contains(&text.len()));
            let text =
                text.ok_or_else(|| format!("`{name}` has to be a name of 1 to {MAX_NAME} characters"))?;
            if field.replace(text.to_owned()).is_some() {
                return Err(format!("`{name}` is given more than once"));
            }
        }
        request.size = Size {
            cores: cores.as_deref().map(read_cores).transpose()?,
            memory: memory.as_deref().map(read_memory).transpose()?,
        };
        Ok(request)
    }

    fn accepts(&self, pool: &PoolKey, engine: &str, size: Size) -> bool {
        let Size { cores, memory } = self.size;
        is_at_least(size.cores, cores)
            && is_at_least(size.memory, memory)
            && self.pool.as_ref().is_none_or(|name| *name == pool.name)
            && self.engine.as_ref().is_none_or(|wanted| is_version(engine, wanted))
    }
}

fn read_cores(text: &str) -> Result<u64, String> {
    let cores = text.parse::<u32>().ok().filter(|cores| *cores > 0);
    cores
        .map(u64::from)
        .ok_or_else(|| format!("`{CORES}` has to be a whole number from 1, such as `8`, and is `{text}`"))
}

fn read_memory(text: &str) -> Result<u64, String> {
    let memory = Memory::parse(text).map(Memory::bytes);
    memory.map_err(|_| format!("`{MEMORY}` has to be an amount of memory, such as `16g`, and is `{text}`"))
}

/// Returns whether an amount is at least a wanted one. An amount that is not known is too small.
fn is_at_least(amount: Option<u64>, wanted: Option<u64>) -> bool {
    wanted.is_none_or(|wanted| amount.is_some_and(|amount| amount >= wanted))
}

/// Returns whether a version is the wanted one, or one of the wanted series: `4.1.1` is a `4.1`.
fn is_version(version: &str, wanted: &str) -> bool {
    version.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The places that a session may get.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Route {
    /// The drivers to try, the best one first.
    pub(crate) drivers: Vec<String>,
    /// The pool that starts a driver if none of these takes the session.
    pub(crate) waits_for: Option<PoolKey>,
    /// Whether a driver that may take it is starting, or none is open, so that its source may start one.
    pub(crate) is_starting: bool,
}

/// Chooses drivers for a new session of a user in a domain. `pools` and `drivers` are those that the user may use. Fails if no
/// pool is the requested one.
pub(crate) fn route<'a>(
    request: &Request,
    (domain, user, session): (&str, &str, &str),
    pools: impl Iterator<Item = &'a Pool>,
    drivers: impl Iterator<Item = &'a StoredDriver>,
) -> Option<Route> {
    let mut pools: Vec<&Pool> =
        pools.filter(|it| it.key.domain == domain && request.accepts(&it.key, &it.engine, it.size)).collect();
    // The smallest one that is large enough leaves the others to larger queries.
    let order = |size: Size| match request.size {
        Size { cores: None, memory: None } => (0, 0),
        _ => (size.cores.unwrap_or(u64::MAX), size.memory.unwrap_or(u64::MAX)),
    };
    pools.sort_by_key(|pool| (order(pool.size), &pool.key));
    let drivers = drivers.filter(|it| {
        let Driver { pool, engine, size, .. } = &it.driver;
        pool.domain == domain && request.accepts(pool, engine, *size)
    });
    let mut drivers: Vec<&StoredDriver> = drivers.collect();
    if pools.is_empty() && drivers.is_empty() {
        return None;
    }
    let has = |state| drivers.iter().any(|it| it.state == state);
    let is_starting = has(DriverState::Starting) || !has(DriverState::Open);
    drivers.retain(|it| takes(it, user));
    drivers.sort_by_cached_key(|it| {
        let is_other_owner = it.owner.as_deref() != Some(user);
        let is_not_own = is_other_owner && it.driver.share == Share::Private;
        (order(it.driver.size), is_not_own, it.live, hash(session, &it.driver.id))
    });
    let waits_for = pools.into_iter().find(|pool| pool.starts).map(|pool| pool.key.clone());
    let drivers = drivers.into_iter().map(|it| it.driver.id.clone()).collect();
    Some(Route { drivers, waits_for, is_starting })
}

/// Returns whether a driver takes a further session of a user.
fn takes(stored: &StoredDriver, user: &str) -> bool {
    let is_free = match stored.driver.share {
        Share::Domain => true,
        Share::Private => stored.owner.as_deref().is_none_or(|owner| owner == user),
    };
    stored.state == DriverState::Open && stored.live < stored.driver.max_sessions && is_free
}

/// Returns an order of drivers that differs between sessions, so that sessions that begin at once spread.
fn hash(session: &str, driver: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (session, driver).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn key(domain: &str, name: &str) -> PoolKey {
        PoolKey { scope: "shop".to_owned(), domain: domain.to_owned(), name: name.to_owned() }
    }

    fn pool(domain: &str, name: &str, engine: &str) -> Pool {
        Pool {
            key: key(domain, name),
            engine: engine.to_owned(),
            share: Share::Domain,
            size: Size::default(),
            starts: true,
            min_idle: 1,
            revision: 1,
        }
    }

    fn driver(id: &str, of: &Pool, live: u64) -> StoredDriver {
        StoredDriver {
            driver: Driver {
                id: id.to_owned(),
                pool: of.key.clone(),
                address: "127.0.0.1:1".to_owned(),
                engine: of.engine.clone(),
                share: of.share,
                size: of.size,
                max_sessions: 3,
                started: Timestamp::UNIX_EPOCH,
            },
            seen: Timestamp::UNIX_EPOCH,
            state: DriverState::Open,
            opened: None,
            owner: None,
            live,
            total: live,
        }
    }

    fn chosen(request: &Request, user: &str, pools: &[Pool], drivers: &[StoredDriver]) -> Option<Route> {
        route(request, ("logistics", user, "session"), pools.iter(), drivers.iter())
    }

    #[test]
    fn parameters_of_the_url_are_read() {
        let request = Request::read(&headers(&[("dcp-domain", "a"), ("dcp-pool", "b"), ("x-other", "c")]));
        let expected =
            Request { domain: Some("a".to_owned()), pool: Some("b".to_owned()), ..Request::default() };
        assert_eq!(request, Ok(expected));
        for (wrong, why) in [
            (&[("dcp-size", "a")][..], "`dcp-size` is no parameter"),
            (&[("dcp-pool", "")], "has to be a name"),
            (&[("dcp-cores", "0")], "`dcp-cores` has to be a whole number"),
            (&[("dcp-cores", "-1")], "`dcp-cores` has to be a whole number"),
            (&[("dcp-cores", "1.5")], "`dcp-cores` has to be a whole number"),
            (&[("dcp-memory", "16")], "`dcp-memory` has to be an amount of memory"),
            (&[("dcp-memory", "9999999t")], "`dcp-memory` has to be an amount of memory"),
            (&[("dcp-pool", "a"), ("dcp-pool", "b")], "more than once"),
        ] {
            let error = Request::read(&headers(wrong)).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn pool_and_engine_are_those_of_the_request() {
        let (small, large) = (pool("logistics", "small", "4.1.1"), pool("logistics", "large", "4.0.1"));
        let drivers = [driver("s", &small, 0), driver("l", &large, 0)];
        let pools = [small, large];
        let of = |pool: Option<&str>, engine: Option<&str>| {
            let request = Request {
                pool: pool.map(str::to_owned),
                engine: engine.map(str::to_owned),
                ..Request::default()
            };
            chosen(&request, "a", &pools, &drivers).map(|route| route.drivers)
        };
        assert_eq!(of(Some("large"), None), Some(vec!["l".to_owned()]));
        assert_eq!(of(None, Some("4.1")), Some(vec!["s".to_owned()]));
        assert_eq!(of(None, Some("4")).unwrap().len(), 2);
        assert_eq!(of(None, Some("4.10")), None);
        assert_eq!(of(Some("medium"), None), None);
        assert_eq!(of(Some("large"), Some("4.1")), None);
    }

    #[test]
    fn private_driver_serves_its_owner_only() {
        let of = Pool { share: Share::Private, ..pool("logistics", "small", "4.1") };
        let owned = StoredDriver { owner: Some("a".to_owned()), ..driver("owned", &of, 1) };
        let (pools, drivers) = ([of.clone()], [driver("free", &of, 0), owned]);
        let of = |user: &str| chosen(&Request::default(), user, &pools, &drivers).unwrap().drivers;
        assert_eq!(of("a"), ["owned", "free"]);
        assert_eq!(of("b"), ["free"]);
    }

    #[test]
    fn full_pool_has_to_start_a_driver() {
        let of = pool("logistics", "small", "4.1");
        let draining = StoredDriver { state: DriverState::Draining, ..driver("draining", &of, 0) };
        let route =
            chosen(&Request::default(), "a", std::slice::from_ref(&of), &[driver("full", &of, 3), draining]);
        let expected = Route { drivers: Vec::new(), waits_for: Some(of.key.clone()), is_starting: false };
        assert_eq!(route, Some(expected));
    }

    #[test]
    fn session_waits_for_a_driver_that_starts() {
        let of = pool("logistics", "small", "4.1");
        let starting = StoredDriver { state: DriverState::Starting, ..driver("starting", &of, 0) };
        let route = chosen(&Request::default(), "a", &[], &[starting]);
        assert_eq!(route, Some(Route { drivers: Vec::new(), waits_for: None, is_starting: true }));
    }

    #[test]
    fn session_waits_for_a_driver_of_a_pool_that_has_none() {
        let of = Pool { starts: false, ..pool("logistics", "small", "4.1") };
        let draining = StoredDriver { state: DriverState::Draining, ..driver("draining", &of, 0) };
        let waits = Some(Route { drivers: Vec::new(), waits_for: None, is_starting: true });
        assert_eq!(chosen(&Request::default(), "a", std::slice::from_ref(&of), &[]), waits);
        assert_eq!(chosen(&Request::default(), "a", std::slice::from_ref(&of), &[draining]), waits);
        let full = chosen(&Request::default(), "a", std::slice::from_ref(&of), &[driver("full", &of, 3)]);
        assert!(!full.unwrap().is_starting);
    }

    #[test]
    fn size_of_the_request_is_read() {
        let request = Request::read(&headers(&[("dcp-cores", "8"), ("dcp-memory", "2g")])).unwrap();
        assert_eq!(request.size, Size { cores: Some(8), memory: Some(2 << 30) });
    }

    proptest! {
        #[test]
        fn drivers_are_large_enough_and_the_smallest_ones_come_first(
            sizes in proptest::collection::vec((0..4_u64, 0..4_u64, 0..3_u64), 0..12),
            (cores, memory) in (0..4_u64, 0..4_u64),
        ) {
            let known = |number: u64| Some(number).filter(|number| *number > 0);
            let size = |(cores, memory): (u64, u64)| Size { cores: known(cores), memory: known(memory) };
            let numbered = sizes.iter().enumerate();
            let pools: Vec<Pool> = numbered.map(|(at, &(cores, memory, _))| {
                Pool { size: size((cores, memory)), ..pool("logistics", &at.to_string(), "4.1") }
            }).collect();
            let drivers: Vec<_> = pools.iter().zip(&sizes).enumerate()
                .map(|(at, (of, &(_, _, live)))| driver(&at.to_string(), of, live)).collect();
            let request = Request { size: size((cores, memory)), ..Request::default() };
            let is_suitable = |&(has_cores, has_memory, _): &(u64, u64, u64)| has_cores >= cores && has_memory >= memory;
            let route = chosen(&request, "a", &pools, &drivers);
            prop_assert_eq!(route.is_some(), sizes.iter().any(is_suitable));
            let Some(route) = route else { return Ok(()) };
            let found: Vec<_> = route.drivers.iter().map(|id| sizes[id.parse::<usize>().unwrap()]).collect();
            prop_assert_eq!(found.len(), sizes.iter().filter(|size| is_suitable(size)).count());
            let last = |number: u64| known(number).unwrap_or(u64::MAX);
            let order = |&(has_cores, has_memory, live): &(u64, u64, u64)| match cores + memory {
                0 => (0, 0, live),
                _ => (last(has_cores), last(has_memory), live),
            };
            prop_assert!(found.iter().map(order).is_sorted(), "{:?}", found);
            let waits_for = route.waits_for.unwrap().name.parse::<usize>().unwrap();
            let first = sizes.iter().filter(|size| is_suitable(size)).map(order).map(|(a, b, _)| (a, b)).min();
            let (a, b, _) = order(&sizes[waits_for]);
            prop_assert_eq!(Some((a, b)), first);
        }

        #[test]
        fn no_driver_of_another_domain_or_user_is_chosen(
            all in proptest::collection::vec((0..2_usize, 0..4_u64, any::<bool>(), 0..3_usize, any::<bool>()), 0..12),
        ) {
            let domains = ["logistics", "finance"];
            let drivers: Vec<_> = all.iter().enumerate().map(|(at, &(domain, live, is_private, owner, is_open))| {
                let share = if is_private { Share::Private } else { Share::Domain };
                let of = Pool { share, ..pool(domains[domain], "small", "4.1") };
                let owner = [None, Some("a"), Some("b")][owner].map(str::to_owned);
                let state = if is_open { DriverState::Open } else { DriverState::Draining };
                StoredDriver { state, owner, ..driver(&at.to_string(), &of, live) }
            }).collect();
            let pools = domains.map(|domain| pool(domain, "small", "4.1"));
            let route = chosen(&Request::default(), "a", &pools, &drivers).unwrap();
            for id in &route.drivers {
                let stored = &drivers[id.parse::<usize>().unwrap()];
                prop_assert_eq!(&stored.driver.pool.domain, "logistics");
                prop_assert!(stored.state == DriverState::Open && stored.live < 3);
                prop_assert!(stored.driver.share == Share::Domain || stored.owner.as_deref() != Some("b"));
            }
            let loads: Vec<_> = route.drivers.iter()
                .map(|id| &drivers[id.parse::<usize>().unwrap()])
                .filter(|stored| stored.driver.share == Share::Domain)
                .map(|stored| stored.live).collect();
            prop_assert!(loads.is_sorted());
        }
    }
}
