//! Reads the links of a workload from its manifest.

use std::collections::BTreeSet;

use dcp_model::dataset::{Dataset, DatasetKind};
use dcp_model::manifest::{
    AssetTrigger, DataRef, Job, Manifest, Output, Run, ScalarOr, Sink, Source, Stream,
};

use super::{Link, Member, Node, Places, dataset_of_sql};
use crate::source::Span;
use crate::sql::{Facts, TableRef};

const STREAM: [&str; 3] = ["spec", "job", "stream"];

impl Node {
    pub(crate) fn new(manifest: &Manifest, facts: Option<&Facts>, places: &impl Places) -> Self {
        let spec = &manifest.spec;
        let mut node = Self {
            domain: manifest.metadata.domain.as_str().to_owned(),
            name: manifest.metadata.name.as_str().to_owned(),
            job: spec.job.kind(),
            run: spec.run.kind(),
            at: places.at(&["metadata", "name"]),
            reads: Vec::new(),
            writes: Vec::new(),
            shared: Vec::new(),
            waits: Vec::new(),
            checkpoint: None,
            member: Member::of(manifest, places).map(Box::new),
        };
        node.reads = listed(&spec.inputs, &["spec", "inputs"], places);
        node.outputs(&spec.outputs, places);
        match &spec.run {
            Run::OnAssets(trigger) => {
                let mode = match trigger {
                    AssetTrigger::All(_) => "all",
                    AssetTrigger::Any(_) => "any",
                };
                node.waits = listed(trigger.assets(), &["spec", "run", "onAssets", mode], places);
            }
            Run::Continuous(continuous) => {
                let at = places.at(&["spec", "run", "continuous", "checkpoint"]);
                node.checkpoint = Some(checkpoint(continuous.checkpoint.as_str(), at));
            }
            Run::Schedule(_) | Run::Manual(_) | Run::Service(_) | Run::Pool(_) => {}
        }
        match &spec.job {
            Job::Stream(stream) => node.stream(stream, places),
            Job::Sql(_) => node.sql(facts, places),
            Job::Pyspark(_) | Job::Jar(_) => {}
        }
        for links in [&mut node.reads, &mut node.writes, &mut node.waits] {
            remove_repeated(links);
        }
        node
    }

    fn outputs(&mut self, outputs: &[Output], places: &impl Places) {
        for (at, output) in outputs.iter().enumerate() {
            let dataset = Dataset::from(&output.data());
            self.shared.extend(output.is_shared().then(|| dataset.clone()));
            let at = places.at(&["spec", "outputs", &at.to_string(), output.field()]);
            self.writes.push(Link { dataset, at });
        }
    }

    fn sql(&mut self, facts: Option<&Facts>, places: &impl Places) {
        let link = |table: &TableRef| Link { dataset: dataset_of_sql(table), at: places.sql_at(&table.at) };
        if let Some(facts) = facts {
            self.reads.extend(facts.reads.iter().map(link));
            self.writes.extend(facts.writes.iter().map(link));
        }
    }

    fn stream(&mut self, stream: &Stream, places: &impl Places) {
        for (name, source) in &stream.sources {
            self.source(name.as_str(), source, places);
        }
        let at = |below: &[&str]| places.at(&[&STREAM[..], &["sink"], below].concat());
        let written = match &stream.sink {
            Sink::Kafka(kafka) => Some((DatasetKind::Topic, kafka.topic.as_str(), at(&["kafka", "topic"]))),
            Sink::Files(files) => Some((DatasetKind::Path, files.path.as_str(), at(&["files", "path"]))),
            Sink::Table(ScalarOr::Scalar(name)) => Some((DatasetKind::Table, name.as_str(), at(&["table"]))),
            Sink::Table(ScalarOr::Map(table)) => {
                Some((DatasetKind::Table, table.name.as_str(), at(&["table", "name"])))
            }
            Sink::Merge(merge) => Some((DatasetKind::Table, merge.table.as_str(), at(&["merge", "table"]))),
            Sink::Jdbc(_) | Sink::Console(_) => None,
        };
        self.writes.extend(written.map(|(kind, name, at)| Link { dataset: Dataset::new(kind, name), at }));
        if let Some(path) = &stream.checkpoint {
            self.checkpoint =
                Some(checkpoint(path.as_str(), places.at(&[&STREAM[..], &["checkpoint"]].concat())));
        }
    }

    fn source(&mut self, name: &str, source: &Source, places: &impl Places) {
        let at = |below: &[&str]| places.at(&[&STREAM[..], &["sources", name], below].concat());
        match source {
            Source::Kafka(kafka) => {
                let topic = |name: &str| Dataset::new(DatasetKind::Topic, name);
                let links =
                    kafka.named_topics().map(|it| Link { dataset: topic(it.as_str()), at: at(&["kafka"]) });
                self.reads.extend(links);
            }
            Source::Files(files) => {
                let dataset = Dataset::new(DatasetKind::Path, files.path.as_str());
                self.reads.push(Link { dataset, at: at(&["files", "path"]) });
            }
            Source::Table(table) => {
                let name = match table {
                    ScalarOr::Scalar(name) => name.as_str(),
                    ScalarOr::Map(table) => table.name.as_str(),
                };
                self.reads.push(Link { dataset: Dataset::new(DatasetKind::Table, name), at: at(&["table"]) });
            }
            Source::Rate(_) => {}
        }
    }
}

/// Returns the links of a list of datasets at a path.
fn listed(all: &[DataRef], path: &[&str], places: &impl Places) -> Vec<Link> {
    let link = |(at, data): (usize, &DataRef)| {
        let at = at.to_string();
        Link { dataset: data.into(), at: places.at(&[path, &[&at, data.kind().name()]].concat()) }
    };
    all.iter().enumerate().map(link).collect()
}

/// Keeps the first link to each dataset.
fn remove_repeated(links: &mut Vec<Link>) {
    let mut seen = BTreeSet::new();
    let again: Vec<bool> = links.iter().map(|link| !seen.insert(&link.dataset)).collect();
    let mut again = again.into_iter();
    links.retain(|_| again.next() == Some(false));
}

fn checkpoint(path: &str, at: Span) -> Link {
    Link { dataset: Dataset::new(DatasetKind::Checkpoint, path), at }
}
