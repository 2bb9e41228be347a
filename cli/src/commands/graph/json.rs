//! The graph for programs.

use std::io::{self, Write};

use dcp_compiler::graph::{Link, Node};
use dcp_compiler::source::Sources;
use dcp_model::dataset::Dataset;
use dcp_model::manifest::RunKind;
use serde::Serialize;

use super::View;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    workloads: Vec<Workload<'a>>,
    datasets: Vec<Described<'a>>,
}

#[derive(Serialize)]
struct Workload<'a> {
    address: String,
    job: &'a str,
    run: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    path: &'a str,
    line: usize,
    reads: Vec<Named<'a>>,
    writes: Vec<Named<'a>>,
    waits: Vec<Named<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<&'a str>,
}

#[derive(Serialize)]
struct Named<'a> {
    kind: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct Described<'a> {
    #[serde(flatten)]
    named: Named<'a>,
    external: bool,
    producers: Vec<String>,
    consumers: Vec<String>,
}

pub(super) fn write(view: &View<'_>, sources: &Sources, out: &mut impl Write) -> io::Result<()> {
    let datasets = view.datasets.iter().map(|(dataset, ends)| Described {
        named: named(dataset),
        external: ends.external(),
        producers: view.names(&ends.producers),
        consumers: view.names(&ends.consumers),
    });
    let document = Document {
        version: 1,
        workloads: view.nodes.iter().map(|node| workload(node, sources)).collect(),
        datasets: datasets.collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn workload<'a>(node: &'a Node, sources: &'a Sources) -> Workload<'a> {
    let Node { domain: _, name: _, job, run, at, reads, writes, waits, checkpoint, member, shared: _ } = node;
    Workload {
        address: node.address(),
        job: if *run == RunKind::Pool { run.name() } else { job.name() },
        run: run.name(),
        group: member.as_ref().map(|member| member.group.as_str()),
        path: &sources.get(at.file).path,
        line: sources.position(at.file, at.start).0,
        reads: links(reads),
        writes: links(writes),
        waits: links(waits),
        checkpoint: checkpoint.as_ref().map(|link| link.dataset.name.as_str()),
    }
}

fn links(links: &[Link]) -> Vec<Named<'_>> {
    links.iter().map(|link| named(&link.dataset)).collect()
}

fn named(dataset: &Dataset) -> Named<'_> {
    Named { kind: dataset.kind.name(), name: &dataset.name }
}
