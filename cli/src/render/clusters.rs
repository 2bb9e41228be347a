//! Clusters and the choices of a cluster, for people and for programs.

use clap::builder::styling::Style;
use dcp_gateway::clusters::{ClusterStatus, Properties, Report, Routing, Unowned};
use dcp_gateway::routing::Health;
use dcp_runner::execution::Execution;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::run::{format_duration, time};
use super::{NamedRow, aligned_with_names, hanging, sanitize, titled};
use crate::out::{BOLD, DIM, ERROR, GOOD, Look, NOTE, WARNING};

/// The state of a cluster in one word, with its style.
fn state(cluster: &ClusterStatus) -> (&'static str, Style) {
    let Properties { weight, capacity, .. } = cluster.properties;
    match cluster.health {
        Health::Unreachable { .. } => ("unreachable", ERROR),
        Health::Healthy if weight == 0 => ("drained", DIM),
        Health::Healthy if capacity.is_some_and(|capacity| cluster.load >= capacity) => ("full", WARNING),
        Health::Healthy => ("ready", GOOD),
    }
}

fn load(cluster: &ClusterStatus) -> String {
    match cluster.properties.capacity {
        Some(capacity) => format!("{}/{capacity}", cluster.load),
        None => cluster.load.to_string(),
    }
}

fn domains(cluster: &ClusterStatus) -> String {
    match &cluster.properties.domains {
        None => "all".to_owned(),
        Some(domains) => domains.iter().map(|it| sanitize(it)).collect::<Vec<_>>().join(", "),
    }
}

/// Returns the domains for a column: the first one and the number of others, if there are many.
fn some_domains(cluster: &ClusterStatus) -> String {
    match &cluster.properties.domains {
        Some(all) if all.len() > 2 => {
            format!("{} +{}", sanitize(all.first().map_or("", String::as_str)), all.len() - 1)
        }
        _ => domains(cluster),
    }
}

fn or_none(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), sanitize)
}

/// Returns a table of clusters, with the reasons why some don't respond. Names are never cut, as commands take them.
pub(crate) fn table(report: &Report, look: Look, now: Timestamp) -> Vec<String> {
    let head = ["CLUSTER", "STATE", "LOAD", "WEIGHT", "REGION", "DOMAINS"].map(str::to_owned);
    let row = |cluster: &ClusterStatus| {
        [
            sanitize(&cluster.name),
            state(cluster).0.to_owned(),
            load(cluster),
            cluster.properties.weight.to_string(),
            or_none(cluster.properties.region.as_deref()),
            some_domains(cluster),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(report.clusters.iter().map(row)).collect();
    let mut rows = aligned_with_names(&rows, look.limit()).into_iter();
    let mut lines: Vec<String> =
        rows.next().map(|head| look.paint(BOLD, head.cells.join("  ").trim_end())).into_iter().collect();
    lines.extend(rows.zip(&report.clusters).flat_map(|(NamedRow { name, mut cells }, cluster)| {
        cells[1] = look.paint(state(cluster).1, &cells[1]);
        name.into_iter().chain([cells.join("  ").trim_end().to_owned()])
    }));
    lines.extend(report.clusters.iter().filter_map(|cluster| {
        let why = unreachable(cluster, now)?;
        Some(titled(0, &format!("{}:", sanitize(&cluster.name)), ERROR, &why, look))
    }));
    lines.extend(report.clusters.iter().flat_map(|cluster| {
        let title = format!("{}:", sanitize(&cluster.name));
        unowned(&cluster.unowned).into_iter().map(move |text| titled(0, &title, NOTE, &text, look))
    }));
    lines
}

/// Describes the applications on a cluster that this control plane does not run.
fn unowned(unowned: &Unowned) -> Vec<String> {
    let Unowned { others, orphans, claimed, removed } = *unowned;
    let are = |count: u32, what: &str| {
        (count > 0).then(|| format!("{count} application{} {what}", if count == 1 { "" } else { "s" }))
    };
    [
        are(others, "of other control planes"),
        are(orphans, "without an owner in the database, to be ended unless `orphans: report`"),
        are(claimed, "without an owner in this database, and with one in a copy of it: not ended"),
        are(removed, "without an owner ended and removed since the start of the Gateway"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Describes since when and why a cluster does not respond.
fn unreachable(cluster: &ClusterStatus, now: Timestamp) -> Option<String> {
    match &cluster.health {
        Health::Healthy => None,
        Health::Unreachable { since, why } => {
            let time = format_duration(now.duration_since(*since));
            Some(format!("unreachable for {time}: {}", sanitize(why)))
        }
    }
}

/// Describes one cluster with all details, and the executions that it got lately.
pub(crate) fn details(report: &Report, look: Look, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    for cluster in &report.clusters {
        let Properties { region, tags, weight, capacity, domains: _ } = &cluster.properties;
        let mut field = |name: &str, value: &str| {
            lines.push(titled(0, &format!("{name:<8}"), BOLD, &sanitize(value), look));
        };
        field("cluster", &cluster.name);
        field("kind", &cluster.kind);
        field("state", &unreachable(cluster, now).unwrap_or_else(|| state(cluster).0.to_owned()));
        let capacity = capacity.map_or_else(|| "no limit".to_owned(), |it| format!("at most {it}"));
        field("load", &format!("{} applications, {capacity}", cluster.load));
        field("weight", &weight.to_string());
        field("region", &or_none(region.as_deref()));
        let tags: Vec<_> = tags.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        field("tags", or_none((!tags.is_empty()).then(|| tags.join(", ")).as_deref()).as_str());
        field("domains", &domains(cluster));
        if let Some(cause) = &cluster.log_problem {
            field("logs", &format!("not stored: {cause}"));
        }
        for text in unowned(&cluster.unowned) {
            field("unowned", &text);
        }
    }
    lines.push(String::new());
    if report.routings.is_empty() {
        lines.push("no execution got this cluster since the start of the Gateway".to_owned());
    }
    lines.extend(report.routings.iter().map(|routing| route(routing, look)));
    lines
}

/// Lists the latest choices, each with the reason for each cluster.
pub(crate) fn routes(report: &Report, look: Look) -> Vec<String> {
    if report.routings.is_empty() {
        return vec!["no execution got a cluster since the start of the Gateway".to_owned()];
    }
    let mut lines = Vec::new();
    for routing in &report.routings {
        lines.push(route(routing, look));
        for (cluster, reason) in &routing.reasons {
            let is_chosen = routing.cluster.as_ref() == Some(cluster);
            let style = if is_chosen { GOOD } else { DIM };
            let begin = format!("  {} ", look.paint(style, sanitize(cluster)));
            lines.push(hanging(&begin, &sanitize(reason), look));
        }
    }
    lines
}

/// Describes one choice in a line.
fn route(routing: &Routing, look: Look) -> String {
    let Routing { at, application, domain, cluster, reasons: _ } = routing;
    let execution = match Execution::parse_name(application.as_str()) {
        Some((id, 1)) => id.to_string(),
        Some((id, attempt)) => format!("{id} attempt {attempt}"),
        None => application.to_string(),
    };
    let chosen = match cluster {
        Some(cluster) => look.paint(NOTE, format!("on {}", sanitize(cluster))),
        None => look.paint(WARNING, "waits"),
    };
    format!("{}  {}  {execution}  {chosen}", look.paint(DIM, time(*at)), sanitize(domain))
}

pub(crate) fn json(report: &Report) -> Value {
    let Report { clusters, routings } = report;
    json!({
        "clusters": clusters.iter().map(cluster_as_json).collect::<Vec<_>>(),
        "routes": routings.iter().map(route_as_json).collect::<Vec<_>>(),
    })
}

fn cluster_as_json(cluster: &ClusterStatus) -> Value {
    let ClusterStatus { name, kind, properties, health, load, unowned, log_problem } = cluster;
    let Unowned { others, orphans, claimed, removed } = unowned;
    let Properties { region, tags, weight, capacity, domains } = properties;
    let unreachable = match health {
        Health::Healthy => None,
        Health::Unreachable { since, why } => Some(json!({"since": since, "why": why})),
    };
    json!({
        "name": name, "kind": kind, "region": region, "tags": tags, "weight": weight, "capacity": capacity,
        "domains": domains, "unreachable": unreachable, "load": load, "state": state(cluster).0,
        "logProblem": log_problem,
        "unowned": {"others": others, "orphans": orphans, "claimed": claimed, "removed": removed},
    })
}

fn route_as_json(routing: &Routing) -> Value {
    let Routing { at, application, domain, cluster, reasons } = routing;
    let (execution, attempt) = Execution::parse_name(application.as_str()).unzip();
    let execution = execution.map(|id| id.to_string());
    let reasons: Vec<Value> =
        reasons.iter().map(|(cluster, reason)| json!({"cluster": cluster, "reason": reason})).collect();
    json!({
        "at": at, "application": application.as_str(), "execution": execution, "attempt": attempt, "domain": domain,
        "cluster": cluster, "reasons": reasons,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    const TERMINAL: Look = Look { color: false, width: 80, terminal: true, animated: false };

    fn cluster(name: &str, health: Health, load: u32) -> ClusterStatus {
        let domains = ["finance", "logistics", "marketing", "operations", "sales"].map(str::to_owned);
        let properties = Properties {
            region: Some("eu-central-1".to_owned()),
            tags: BTreeMap::from([("data".to_owned(), "prod".to_owned())]),
            weight: 2,
            capacity: Some(100),
            domains: Some(BTreeSet::from(domains)),
        };
        let (name, kind, unowned) = (name.to_owned(), "kubernetes".to_owned(), Unowned::default());
        ClusterStatus { name, kind, properties, health, load, unowned, log_problem: None }
    }

    fn report() -> (Report, Timestamp) {
        let since = Timestamp::UNIX_EPOCH;
        let why = "the API server at https://10.0.0.1:6443 does not respond \u{1b}[31m".repeat(3);
        let mut drained = cluster("drained", Health::Healthy, 0);
        drained.properties = Properties::default();
        drained.log_problem = Some("objects can't be written: the bucket does not exist".to_owned());
        drained.unowned = Unowned { others: 3, orphans: 1, claimed: 2, removed: 12 };
        let clusters = vec![
            drained,
            cluster("production-of-the-north", Health::Healthy, 100),
            cluster("south", Health::Unreachable { since, why: why.clone() }, 3),
        ];
        let routing = |cluster: Option<&str>| Routing {
            at: since,
            application: "dcp-01m8c3n5p7q9r1s3t5v7w9x1y3-2".parse().expect("it is a name"),
            domain: "sales".to_owned(),
            cluster: cluster.map(str::to_owned),
            reasons: vec![
                ("south".to_owned(), format!("has been unreachable since 1970-01-01T00:00:00Z: {why}")),
                ("drained".to_owned(), "is drained: its weight is 0".to_owned()),
            ],
        };
        let report = Report { clusters, routings: vec![routing(Some("south")), routing(None)] };
        (report, "1970-01-01T00:10:00Z".parse().expect("it is a time"))
    }

    #[test]
    fn clusters_and_choices_fit_80_columns_and_have_no_control_characters() {
        let (report, now) = report();
        let all = [table(&report, TERMINAL, now), details(&report, TERMINAL, now), routes(&report, TERMINAL)];
        for lines in all {
            let text = lines.join("\n");
            assert!(text.lines().all(|line| line.width() <= 80), "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
    }

    #[test]
    fn the_table_shows_the_state_of_each_cluster() {
        let (report, now) = report();
        let expected = [
            "CLUSTER                  STATE        LOAD     WEIGHT  REGION        DOMAINS",
            "drained                  drained      0        0       -             all",
            "production-of-the-north  full         100/100  2       eu-central-1  finance +4",
            "south                    unreachable  3/100    2       eu-central-1  finance +4",
        ];
        assert_eq!(table(&report, TERMINAL, now)[..4], expected);
    }

    #[test]
    fn the_cause_of_logs_that_are_not_stored_is_shown() {
        let (report, now) = report();
        let lines = details(&report, TERMINAL, now);
        let expected = "logs     not stored: objects can't be written: the bucket does not exist";
        assert!(lines.iter().any(|line| line == expected), "{lines:#?}");
    }

    #[test]
    fn applications_that_the_control_plane_does_not_run_are_counted() {
        let wide = Look { width: 200, ..TERMINAL };
        let (report, now) = report();
        let lines = table(&report, wide, now);
        let expected = [
            "drained: 3 applications of other control planes",
            "drained: 1 application without an owner in the database, to be ended unless `orphans: report`",
            "drained: 2 applications without an owner in this database, and with one in a copy of it: not ended",
            "drained: 12 applications without an owner ended and removed since the start of the Gateway",
        ];
        assert_eq!(lines[lines.len() - 4..], expected);
    }
}
