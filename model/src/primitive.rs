//! Primitives: the jobs, DAGs, continuous jobs and pools that a manifest is compiled into.
//!
//! A primitive is ordered, canonical data with an address and a fingerprint. Primitives with the same meaning are equal
//! byte by byte.

mod canonical;
mod secret_references;

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use canonical::canonical;
pub use secret_references::Secret;

use crate::dag::Dag;
use crate::dataset::Dataset;
use crate::manifest::{
    Continuous, Dependencies, Duration, Job, KubernetesName, Lifecycle, Metadata, Placement, Pods,
    PoolSettings, Resources, Retry, Service, SparkConf, Timeouts,
};

/// The kinds of primitive, in the order in which they are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    CoreEtlJob,
    Orchestrator,
    ContinuousJob,
    Pool,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::CoreEtlJob, Kind::Orchestrator, Kind::ContinuousJob, Kind::Pool];

    pub fn name(self) -> &'static str {
        match self {
            Kind::CoreEtlJob => "CoreEtlJob",
            Kind::Orchestrator => "Orchestrator",
            Kind::ContinuousJob => "ContinuousJob",
            Kind::Pool => "Pool",
        }
    }
}

/// The address of a primitive: `kind/domain/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub domain: String,
    pub name: String,
    pub kind: Kind,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind.name(), self.domain, self.name)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let [kind, domain, name] = parts.as_slice() else {
            return Err(format!("`{text}` is no address: write `kind/domain/name`"));
        };
        let kind = Kind::ALL.into_iter().find(|known| known.name() == *kind);
        match kind {
            Some(kind) => Ok(Self { domain: (*domain).to_owned(), name: (*name).to_owned(), kind }),
            None => Err(format!(
                "`{text}` is of no kind that there is: {}",
                crate::diag::list(Kind::ALL.map(Kind::name), "or")
            )),
        }
    }
}

/// A hash of a primitive's canonical form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Computes the fingerprint of a canonical text.
    pub fn of(canonical: &str) -> Self {
        let digest = Sha256::digest(canonical.as_bytes());
        let mut text = String::with_capacity(2 * digest.len());
        for byte in digest {
            write!(text, "{byte:02x}").expect("writing to a String does not fail");
        }
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the text that [`as_str`](Self::as_str) returns.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(digit)).then(|| Self(text.to_owned()))
    }

    /// Returns a prefix that is long enough for display.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// A primitive with its address and its fingerprint.
#[derive(Debug, Clone, PartialEq)]
pub struct Primitive {
    pub address: Address,
    pub fingerprint: Fingerprint,
    pub body: Body,
}

impl Primitive {
    pub fn new(domain: &str, name: &str, body: Body) -> Self {
        let address = Address { domain: domain.to_owned(), name: name.to_owned(), kind: body.kind() };
        let fingerprint = Fingerprint::of(&body.canonical());
        Self { address, fingerprint, body }
    }
}

/// The content of a primitive.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    CoreEtlJob(Box<CoreEtlJob>),
    Orchestrator(Box<Orchestrator>),
    ContinuousJob(Box<ContinuousJob>),
    Pool(Box<Pool>),
}

impl Body {
    pub fn kind(&self) -> Kind {
        match self {
            Body::CoreEtlJob(_) => Kind::CoreEtlJob,
            Body::Orchestrator(_) => Kind::Orchestrator,
            Body::ContinuousJob(_) => Kind::ContinuousJob,
            Body::Pool(_) => Kind::Pool,
        }
    }

    /// Serializes the content in its only canonical form.
    pub fn canonical(&self) -> String {
        let value = match self {
            Body::CoreEtlJob(job) => serde_json::to_value(job),
            Body::Orchestrator(orchestrator) => serde_json::to_value(orchestrator),
            Body::ContinuousJob(job) => serde_json::to_value(job),
            Body::Pool(pool) => serde_json::to_value(pool),
        };
        canonical(&value.expect("primitives have text as keys, and nothing that JSON can't hold"))
    }

    /// Reads the text that [`canonical`](Self::canonical) returns.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            Kind::CoreEtlJob => Body::CoreEtlJob(serde_json::from_str(text)?),
            Kind::Orchestrator => Body::Orchestrator(serde_json::from_str(text)?),
            Kind::ContinuousJob => Body::ContinuousJob(serde_json::from_str(text)?),
            Kind::Pool => Body::Pool(serde_json::from_str(text)?),
        })
    }
}

/// The static definition of a Spark job: everything that a run needs and that does not change between runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoreEtlJob {
    pub metadata: Metadata,
    pub engine: Engine,
    /// Contains the text of the SQL, even if the manifest refers to a file, and the type of every parameter.
    pub job: Job,
    /// Byte ranges of the statements in the SQL of a batch job, unless the whole text is one statement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<Range<usize>>,
    pub dependencies: Dependencies,
    /// Declared and inferred inputs, in order.
    pub inputs: Vec<Dataset>,
    pub outputs: Vec<Dataset>,
    pub resources: Resources,
    pub retry: Retry,
    pub timeouts: Timeouts,
    pub ttl: Duration,
    pub placement: Placement,
    pub spark: SparkConf,
    pub pods: Pods,
    pub lifecycle: Lifecycle,
    /// The target's provider of secrets, for backends whose drivers get their secrets from the Runner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<KubernetesName>,
    /// The job is a Spark Connect server of a pool. Its backend sets the server's address and token.
    #[serde(default, skip_serializing_if = "is_false")]
    pub connect: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl CoreEtlJob {
    /// Returns the statements of an SQL job in their order, or none if a range is not within the text.
    pub fn sql_statements<'j>(&'j self, sql: &'j str) -> Option<Vec<&'j str>> {
        if self.statements.is_empty() {
            return Some(vec![sql.trim()]);
        }
        self.statements.iter().map(|range| sql.get(range.clone())).collect()
    }
}

/// An engine version, resolved with the platform's table of engines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Engine {
    pub version: String,
    pub image: String,
    pub scala: String,
    pub java: u32,
}

/// The static definition of an Airflow DAG, and its DAG file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Orchestrator {
    pub dag: Dag,
    /// The name and the content of the DAG file.
    pub file: String,
    pub content: String,
}

/// A job that the reconciler keeps running.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContinuousJob {
    /// The address of the job.
    pub job: String,
    pub job_fingerprint: Fingerprint,
    #[serde(flatten)]
    pub run: ContinuousRun,
}

/// The kinds of continuous jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ContinuousRun {
    Service { service: Box<Service> },
    Continuous(Box<Continuous>),
}

impl ContinuousJob {
    /// Returns the name of the kind in manifests.
    pub fn kind(&self) -> &'static str {
        match &self.run {
            ContinuousRun::Service { .. } => "service",
            ContinuousRun::Continuous(_) => "continuous",
        }
    }

    /// Returns the settings of a stream. A service has none.
    pub fn continuous(&self) -> Option<&Continuous> {
        match &self.run {
            ContinuousRun::Service { .. } => None,
            ContinuousRun::Continuous(continuous) => Some(continuous),
        }
    }

    pub fn is_paused(&self) -> bool {
        match &self.run {
            ContinuousRun::Service { service } => service.paused,
            ContinuousRun::Continuous(continuous) => continuous.paused,
        }
    }

    /// Returns the grace period of the driver after a request to stop.
    pub fn grace(&self) -> Duration {
        match &self.run {
            ContinuousRun::Service { service } => service.upgrade.grace,
            ContinuousRun::Continuous(continuous) => continuous.upgrade.grace,
        }
    }
}

/// A pool of drivers that serve Spark Connect. Each driver is an execution of the same job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// The address of the job.
    pub job: String,
    pub job_fingerprint: Fingerprint,
    /// Contains all values, even if they are defaults.
    #[serde(flatten)]
    pub settings: PoolSettings,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Share;

    #[test]
    fn fingerprints_round_trip() {
        let fingerprint = Fingerprint::of("{}");
        assert_eq!(Fingerprint::parse(fingerprint.as_str()), Some(fingerprint.clone()));
        let upper = fingerprint.as_str().to_uppercase();
        for bad in ["", &fingerprint.as_str()[1..], &upper, &"ä".repeat(32)] {
            assert_eq!(Fingerprint::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn continuous_jobs_round_trip() {
        let fingerprint = Fingerprint::of("job");
        let of = |run: &str| {
            format!(r#"{{"job":"CoreEtlJob/a/b","jobFingerprint":"{}",{run}}}"#, fingerprint.as_str())
        };
        let service = r#""service":{"health":{"stableAfter":"5s","startWithin":"1m"},"paused":true,"upgrade":{"grace":"9s","onUnhealthy":"keep"}}"#;
        let continuous = r#""checkpoint":"s3://lake/clicks","health":{"progressWithin":"10m","startWithin":"10m"},"paused":false,"trigger":{"asap":{}},"upgrade":{"grace":"2m","onUnhealthy":"rollback","reset":"ask"}"#;
        for (kind, run) in [("service", service), ("continuous", continuous)] {
            let Ok(Body::ContinuousJob(job)) = Body::parse(Kind::ContinuousJob, &of(run)) else {
                panic!("{kind} can't be read");
            };
            assert_eq!((job.kind(), job.is_paused()), (kind, kind == "service"));
            let written = Body::ContinuousJob(job).canonical();
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&written).ok(),
                serde_json::from_str(&of(run)).ok()
            );
        }
        assert!(Body::parse(Kind::ContinuousJob, &of(r#""paused":false"#)).is_err());
    }

    #[test]
    fn pools_round_trip() {
        let of = |share: &str| {
            format!(
                r#"{{"drivers":{{"max":10,"maxIdle":2,"minIdle":0}},"job":"CoreEtlJob/a/b","jobFingerprint":"{}","recycle":{{"afterAge":"1d","afterSessions":500}},"sessions":{{"idleTimeout":"1h","perDriver":20}},"share":"{share}"}}"#,
                Fingerprint::of("job").as_str()
            )
        };
        for (name, share) in [("domain", Share::Domain), ("private", Share::Private)] {
            let body = Body::parse(Kind::Pool, &of(name)).expect("the pool can be read");
            let Body::Pool(pool) = &body else { panic!("{body:?} is not a pool") };
            assert_eq!((pool.settings.share, pool.settings.drivers.max_idle()), (share, 2));
            assert_eq!(body.canonical(), of(name));
        }
        assert!(Body::parse(Kind::Pool, &of("public")).is_err());
    }

    #[test]
    fn addresses_round_trip() {
        let address: Address = "ContinuousJob/logistics/clicks".parse().expect("well-formed");
        assert_eq!(address.to_string(), "ContinuousJob/logistics/clicks");
        for bad in ["", "a/b", "Job/a/b", "CoreEtlJob/a/b/c"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn statement_ranges_outside_of_the_text_are_rejected() {
        let text = "SELECT 'ß'; SELECT 2";
        let mut job = job();
        assert_eq!(job.sql_statements(text), Some(vec![text]));
        job.statements = vec![0..11, 13..21];
        assert_eq!(job.sql_statements(text), Some(vec!["SELECT 'ß'", "SELECT 2"]));
        for bad in [0..99, 9..11, Range { start: 5, end: 2 }] {
            job.statements = vec![bad];
            assert_eq!(job.sql_statements(text), None);
        }
    }

    fn job() -> CoreEtlJob {
        let job = r#"{"dependencies":{},"engine":{"image":"spark:4.1","java":17,"scala":"2.13","version":"4.1"},
            "inputs":[],"outputs":[],"job":{"sql":{"query":"SELECT 1","returnResult":false}},"lifecycle":{},
            "metadata":{"domain":"sales","name":"totals","owner":"sales"},"placement":{},"pods":{},"spark":{},
            "resources":{"driver":{},"executors":{}},"retry":{},"timeouts":{},"ttl":"1d"}"#;
        serde_json::from_str(job).expect("the job is complete")
    }
}
