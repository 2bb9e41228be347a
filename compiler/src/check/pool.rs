//! Checks of pools.

use dcp_model::manifest::{Duration, EnvName, PoolDrivers, Run};

use super::Subject;
use crate::diag::Code;

/// The first version of Spark whose Connect server can require a token.
const MIN_SPARK: (u32, u32) = (4, 0);

/// The environment variable that Spark reads the token of a Connect server from.
const TOKEN_VARIABLE: &str = "SPARK_CONNECT_AUTHENTICATE_TOKEN";

const MIN_DURATION: Duration = Duration::from_secs(1);

pub(super) fn check(subject: &mut Subject<'_>) {
    let manifest = subject.manifest;
    let Run::Pool(pool) = &manifest.spec.run else { return };
    engine(subject);
    drivers(subject, &pool.drivers);
    duration(subject, &["spec", "sessions", "idleTimeout"], pool.sessions.idle_timeout);
    duration(subject, &["spec", "recycle", "afterAge"], pool.recycle.after_age);
    token(subject);
}

fn engine(subject: &mut Subject<'_>) {
    let version = &subject.manifest.spec.engine.version;
    if version.spark().is_none_or(|spark| spark >= MIN_SPARK) {
        return;
    }
    let at = subject.at(&["spec", "engine", "version"]);
    let message = format!("the engine `{version}` can't serve a pool");
    let help = "choose 4.0 or later: older servers of Spark Connect can't require a token, so that every user \
                of the network could use them";
    subject.problem(Code::OLD_POOL_ENGINE, message, at, "older than 4.0", help);
}

fn drivers(subject: &mut Subject<'_>, drivers: &PoolDrivers) {
    let PoolDrivers { min_idle, max_idle, max } = *drivers;
    let path = |field| ["spec", "drivers", field];
    let default = |subject: &Subject<'_>, field| if subject.has(&path(field)) { "" } else { ", its default" };
    if min_idle > max {
        let at = subject.at(&path("minIdle"));
        let message = format!("`minIdle` is {min_idle}, and `max` is {max}{}", default(subject, "max"));
        subject.problem(Code::BAD_BOUNDS, message, at, "more than `max`", "lower `minIdle`, or raise `max`");
    }
    let Some(max_idle) = max_idle else { return };
    let at = subject.at(&path("maxIdle"));
    if max_idle < min_idle {
        let default = default(subject, "minIdle");
        let message = format!("`maxIdle` is {max_idle}, and `minIdle` is {min_idle}{default}");
        let help = "raise `maxIdle`, or set a lower `minIdle`";
        subject.problem(Code::BAD_BOUNDS, message, at, "less than `minIdle`", help);
    }
    if max_idle > max {
        let message = format!("`maxIdle` is {max_idle}, and `max` is {max}{}", default(subject, "max"));
        subject.problem(Code::BAD_BOUNDS, message, at, "more than `max`", "lower `maxIdle`, or raise `max`");
    }
}

fn duration(subject: &mut Subject<'_>, path: &[&str], value: Duration) {
    if value >= MIN_DURATION {
        return;
    }
    let at = subject.at(path);
    let field = path.last().copied().unwrap_or_default();
    let message = format!("`{field}` is {value}, and the minimum is {MIN_DURATION}");
    subject.problem(Code::OUT_OF_RANGE, message, at, "too short", "give `1s` or more, such as `1h`");
}

/// Rejects a token of the manifest, because it would replace the one that only dcp knows.
fn token(subject: &mut Subject<'_>) {
    let pods = &subject.manifest.spec.pods;
    let is_token = |name: &EnvName| name.as_str() == TOKEN_VARIABLE;
    if !pods.driver.iter().any(|pod| pod.env.keys().any(is_token)) {
        return;
    }
    let at = subject.key(&["spec", "pods", "driver", "env", TOKEN_VARIABLE]);
    let message = format!("`{TOKEN_VARIABLE}` belongs to the platform");
    let help = "remove it: the backend gives each driver a token of its own";
    subject.problem(Code::RESERVED_CONF, message, at, "can't be set here", help);
}
