//! The job of the drivers of a pool.

use std::collections::BTreeMap;

use super::{
    ClassName, Jar, Job, Kind, Manifest, PoolManifest, PoolSettings, PoolSpec, Retry, Run, Spec, Timeouts,
};

/// The class that serves Spark Connect, which is part of Spark since 4.0.
pub const CONNECT_SERVER: &str = "org.apache.spark.sql.connect.service.SparkConnectServer";

/// Turns a pool into a workload whose job is a driver of the pool. The checks and the compiler treat both alike.
impl From<PoolManifest> for Manifest {
    fn from(pool: PoolManifest) -> Self {
        let PoolManifest { api_version, kind: _, metadata, spec } = pool;
        let PoolSpec {
            engine,
            resources,
            share,
            drivers,
            sessions,
            recycle,
            dependencies,
            placement,
            spark,
            pods,
            ttl,
            lifecycle,
        } = spec;
        let class = ClassName::parse(CONNECT_SERVER).expect("it is the name of a class");
        let job = Job::Jar(Jar { main: None, class, args: Vec::new(), parameters: BTreeMap::new() });
        let spec = Spec {
            engine,
            job,
            dependencies,
            inputs: Vec::new(),
            outputs: Vec::new(),
            run: Run::Pool(Box::new(PoolSettings { share, drivers, sessions, recycle })),
            orchestrator: None,
            resources,
            // A driver that has ended has lost its sessions, so the pool starts another one instead.
            retry: Retry { attempts: 1, remedies: 0, ..Retry::default() },
            timeouts: Timeouts::default(),
            ttl,
            placement,
            spark,
            pods,
            lifecycle,
        };
        Self { api_version, kind: Kind::Pool, metadata, spec }
    }
}
