//! Identity and output of a manifest. They depend on the seed and the index alone, so that other manifests can read the
//! table.

use super::rng::Rng;
use super::words::{DOMAINS, ENTITIES, Entity, VARIANTS};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sql,
    Pyspark,
    Jar,
    Stream,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    Table(String),
    Topic(String),
    Path(String),
}

#[derive(Debug, Clone)]
pub(super) struct Workload {
    pub(super) seed: u64,
    pub(super) index: usize,
    pub(super) kind: Kind,
    pub(super) domain: &'static str,
    pub(super) name: String,
    pub(super) entity: &'static Entity,
    pub(super) output: Output,
}

impl Workload {
    pub(super) fn new(seed: u64, index: usize) -> Self {
        let mut rng = Rng::new(seed, index as u64 * 2);
        // Percentages: 53 SQL (most of them scheduled), 22 PySpark, 10 jar, 15 stream.
        let kind = match rng.below(100) {
            0..53 => Kind::Sql,
            53..75 => Kind::Pyspark,
            75..85 => Kind::Jar,
            _ => Kind::Stream,
        };
        let domain = rng.pick(DOMAINS);
        let entity = &ENTITIES[rng.below(ENTITIES.len())];
        let variant = rng.pick(VARIANTS);
        let noun = entity.name;
        let name = format!("{noun}-{variant}-{index}");
        let table = || Output::Table(format!("lake.{domain}.{noun}_{variant}_{index}").replace('-', "_"));
        let output = match (kind, rng.below(10)) {
            (Kind::Stream, 0..3) => Output::Topic(format!("{domain}.{noun}.{variant}.{index}")),
            (Kind::Stream | Kind::Jar, 3) => Output::Path(format!("s3://lake/{domain}/{name}")),
            _ => table(),
        };
        Self { seed, index, kind, domain, name, entity, output }
    }

    /// Returns a table to read, often one that an earlier workload writes. Later ones are never read, so there are no
    /// cycles.
    pub(super) fn some_table(&self, rng: &mut Rng) -> String {
        if rng.chance(60)
            && let Some(table) = self.earlier_table(rng)
        {
            return table;
        }
        let entity = &ENTITIES[rng.below(ENTITIES.len())];
        format!("lake.raw_{}.{}", rng.pick(DOMAINS), entity.name).replace('-', "_")
    }

    /// Returns a table of an earlier workload, at most 500 back, because real workloads read tables of related ones.
    pub(super) fn earlier_table(&self, rng: &mut Rng) -> Option<String> {
        for _ in 0..4 {
            let back = rng.between(1, self.index.clamp(1, 500));
            let earlier = Workload::new(self.seed, self.index.checked_sub(back)?);
            if let Output::Table(table) = earlier.output {
                return Some(table);
            }
        }
        None
    }
}
