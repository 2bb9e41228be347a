//! The choice of a driver for a new session: a pure function of the request, the pools and the drivers.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use http::HeaderMap;

use crate::session::{Driver, DriverState, Pool, PoolKey, Share, StoredDriver};

/// The headers by which a client chooses. They are parameters of its URL, such as `;dcp-pool=small`.
pub const DOMAIN: &str = "dcp-domain";
pub const POOL: &str = "dcp-pool";
pub const ENGINE: &str = "dcp-engine";
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
}

impl Request {
    /// Reads the request from the headers of a call. Rejects parameters that dcp does not know.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, String> {
        let mut request = Self::default();
        for (name, value) in headers {
            let Some(_) = name.as_str().strip_prefix(PREFIX) else { continue };
            let field = match name.as_str() {
                DOMAIN => &mut request.domain,
                POOL => &mut request.pool,
                ENGINE => &mut request.engine,
                other => {
                    return Err(format!(
                        "`{other}` is no parameter of dcp; use `{DOMAIN}`, `{POOL}` or `{ENGINE}`"
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
        Ok(request)
    }

    fn accepts(&self, pool: &PoolKey, engine: &str) -> bool {
        self.pool.as_ref().is_none_or(|name| *name == pool.name)
            && self.engine.as_ref().is_none_or(|wanted| is_version(engine, wanted))
    }
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
    /// Whether a driver that may take it is starting.
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
        pools.filter(|it| it.key.domain == domain && request.accepts(&it.key, &it.engine)).collect();
    pools.sort_by_key(|pool| &pool.key);
    let drivers = drivers.filter(|it| {
        let Driver { pool, engine, .. } = &it.driver;
        pool.domain == domain && request.accepts(pool, engine)
    });
    let mut drivers: Vec<&StoredDriver> = drivers.collect();
    if pools.is_empty() && drivers.is_empty() {
        return None;
    }
    let is_starting = drivers.iter().any(|it| it.state == DriverState::Starting);
    drivers.retain(|it| takes(it, user));
    drivers.sort_by_cached_key(|it| {
        let is_other_owner = it.owner.as_deref() != Some(user);
        (is_other_owner && it.driver.share == Share::Private, it.live, hash(session, &it.driver.id))
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
        Pool { key: key(domain, name), engine: engine.to_owned(), share: Share::Domain, starts: true }
    }

    fn driver(id: &str, of: &Pool, live: u64) -> StoredDriver {
        StoredDriver {
            driver: Driver {
                id: id.to_owned(),
                pool: of.key.clone(),
                address: "127.0.0.1:1".to_owned(),
                engine: of.engine.clone(),
                share: of.share,
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
        let expected = Request { domain: Some("a".to_owned()), pool: Some("b".to_owned()), engine: None };
        assert_eq!(request, Ok(expected));
        for (wrong, why) in [
            (&[("dcp-size", "a")][..], "`dcp-size` is no parameter"),
            (&[("dcp-pool", "")], "has to be a name"),
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
            let request =
                Request { pool: pool.map(str::to_owned), engine: engine.map(str::to_owned), domain: None };
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

    proptest! {
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
