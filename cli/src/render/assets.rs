//! Assets, for people and for programs.

use std::collections::{BTreeMap, BTreeSet};

use dcp_reconciler::assets::lineage::{AssetUsers, Direction, Lineage, Node, Step};
use dcp_reconciler::assets::{Completed, Completion};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::run::{format_duration, time};
use super::{aligned, format_count, sanitize};
use crate::out::{BOLD, DIM, GOOD, Look, NOTE};

/// The state of assets.
pub(crate) struct AssetsView<'a> {
    pub(crate) lineage: &'a Lineage,
    /// The completed assets, by name.
    pub(crate) completed: &'a BTreeMap<String, Completed>,
    pub(crate) now: Timestamp,
}

/// An asset, with its last completions, newest first.
pub(crate) struct AssetDetails<'a> {
    pub(crate) asset: &'a str,
    pub(crate) last: &'a [Completion],
}

impl AssetsView<'_> {
    pub(crate) fn has(&self, asset: &str) -> bool {
        self.lineage.assets.contains_key(asset) || self.completed.contains_key(asset)
    }

    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.lineage.assets.keys().chain(self.completed.keys()).map(String::as_str).collect()
    }

    fn ends(&self, asset: &str) -> AssetUsers {
        self.lineage.assets.get(asset).cloned().unwrap_or_default()
    }

    fn since(&self, asset: &str) -> String {
        match self.completed.get(asset) {
            Some(it) => format!("{} ago", format_duration(self.now.duration_since(it.last.at))),
            None => "never".to_owned(),
        }
    }
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { sanitize(text) }
}

/// Returns the first name, and the number of others.
fn some(names: &BTreeSet<String>) -> String {
    match names.first() {
        None => "-".to_owned(),
        Some(first) if names.len() == 1 => sanitize(first),
        Some(first) => format!("{} +{}", sanitize(first), names.len() - 1),
    }
}

pub(crate) fn table(known: &AssetsView<'_>, look: Look) -> Vec<String> {
    let names = known.names();
    if names.is_empty() {
        return vec!["there are no assets: nothing that is applied reads or writes any".to_owned()];
    }
    let head = ["ASSET", "COMPLETE", "PARTITION", "REPORTED BY", "WRITTEN BY", "READ BY"].map(str::to_owned);
    let row = |name: &&str| {
        let (ends, last) = (known.ends(name), known.completed.get(*name).map(|it| &it.last));
        [
            sanitize(name),
            known.since(name),
            or_none(last.map(|it| it.partition.as_str()).unwrap_or_default()),
            or_none(last.map(|it| it.origin.as_str()).unwrap_or_default()),
            some(&ends.writers),
            some(&ends.readers.union(&ends.waiters).cloned().collect()),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(names.iter().map(row)).collect();
    let mut rows = aligned(&rows, look.limit()).into_iter();
    let mut lines: Vec<String> =
        rows.next().map(|head| look.paint(BOLD, head.join("  ").trim_end())).into_iter().collect();
    lines.extend(rows.zip(&names).map(|(mut row, name)| {
        let style = if known.completed.contains_key(*name) { GOOD } else { DIM };
        row[1] = look.paint(style, &row[1]);
        row.join("  ").trim_end().to_owned()
    }));
    lines
}

pub(crate) fn details(one: &AssetDetails<'_>, known: &AssetsView<'_>, look: Look) -> Vec<String> {
    let asset = one.asset;
    let mut lines = vec![look.paint(BOLD, sanitize(asset))];
    for (title, way) in [("upstream", Direction::Up), ("downstream", Direction::Down)] {
        lines.push(format!("  {}", look.paint(NOTE, title)));
        let steps = known.lineage.walk(asset, way);
        if steps.is_empty() {
            let nothing = match way {
                Direction::Up => "nothing that is applied writes it",
                Direction::Down => "nothing that is applied reads it",
            };
            lines.push(format!("    {nothing}"));
        }
        lines.extend(steps.iter().map(|it| step(it, known, way, look)));
    }
    lines.push(format!("  {}", look.paint(NOTE, "completed")));
    let rows: Vec<[String; 4]> = one.last.iter().map(completion).collect();
    lines.extend(aligned(&rows, None).iter().map(|row| format!("    {}", row.join("  ").trim_end())));
    let times = known.completed.get(asset).map_or(0, |it| it.times);
    let left = times.saturating_sub(one.last.len() as u64);
    match (times, left) {
        (0, _) => lines.push("    never".to_owned()),
        (_, 0) => {}
        _ => lines.push(format!("    and {left} times before")),
    }
    lines
}

fn step(step: &Step, known: &AssetsView<'_>, way: Direction, look: Look) -> String {
    let indent = "  ".repeat(step.depth + 2);
    let arrow = match way {
        Direction::Up => '←',
        Direction::Down => '→',
    };
    let again = if step.is_repeated { look.paint(DIM, "  see above") } else { String::new() };
    match &step.node {
        Node::Workload(name) => {
            let workload = known.lineage.workloads.get(name);
            let kind = match workload {
                Some(it) if it.is_continuous => "  continuous",
                Some(it) if !it.waits.is_empty() => "  started by what it waits for",
                _ => "",
            };
            format!("{indent}{arrow} {}{}{again}", sanitize(name), look.paint(DIM, kind))
        }
        Node::Asset(name) => {
            let partition = known.completed.get(name).map(|it| it.last.partition.as_str());
            let partition = partition.filter(|it| !it.is_empty()).map(|it| format!(", {}", sanitize(it)));
            let since = format!("{}{}", known.since(name), partition.unwrap_or_default());
            format!("{indent}{}  {}{again}", sanitize(name), look.paint(DIM, since))
        }
    }
}

fn completion(it: &Completion) -> [String; 4] {
    let job = it.job.as_ref().map(|job| format!(" of {}", sanitize(job))).unwrap_or_default();
    [
        time(it.at),
        or_none(&it.partition),
        format!("run {}{job}", sanitize(&it.run)),
        format!("reported by {} ({})", sanitize(&it.origin), sanitize(&it.by)),
    ]
}

/// Describes a completion that was just recorded.
pub(crate) fn describe_completion(it: &Completion, ends: Option<&AssetUsers>) -> String {
    let part = if it.partition.is_empty() { String::new() } else { format!(" {}", sanitize(&it.partition)) };
    let waiters = ends.map_or(0, |ends| ends.waiters.len());
    let waits = match waiters {
        0 => "nothing waits for it".to_owned(),
        1 => "1 workload waits for it".to_owned(),
        _ => format!("{} wait for it", format_count(waiters, "workload")),
    };
    format!("{}{part} is complete, by run {}: {waits}", sanitize(&it.asset), sanitize(&it.run))
}

fn completion_as_json(it: &Completion) -> Value {
    let Completion { number, asset: _, partition, run, job, origin, by, at } = it;
    json!({
        "number": number, "partition": partition, "run": run, "job": job, "origin": origin, "by": by, "at": at,
    })
}

fn asset_as_json(asset: &str, known: &AssetsView<'_>) -> Value {
    let AssetUsers { writers, readers, waiters } = known.ends(asset);
    let completed = known.completed.get(asset);
    json!({
        "asset": asset,
        "writers": writers,
        "readers": readers,
        "waiters": waiters,
        "times": completed.map_or(0, |it| it.times),
        "last": completed.map(|it| completion_as_json(&it.last)),
    })
}

pub(crate) fn all_as_json(known: &AssetsView<'_>) -> Value {
    known.names().into_iter().map(|name| asset_as_json(name, known)).collect()
}

pub(crate) fn one_as_json(one: &AssetDetails<'_>, known: &AssetsView<'_>) -> Value {
    let steps = |way| -> Value {
        let step = |step: &Step| match &step.node {
            Node::Workload(name) => json!({"depth": step.depth, "workload": name, "again": step.is_repeated}),
            Node::Asset(name) => json!({"depth": step.depth, "asset": name, "again": step.is_repeated}),
        };
        known.lineage.walk(one.asset, way).iter().map(step).collect()
    };
    let mut all = asset_as_json(one.asset, known);
    all["upstream"] = steps(Direction::Up);
    all["downstream"] = steps(Direction::Down);
    all["completions"] = one.last.iter().map(completion_as_json).collect();
    all
}
