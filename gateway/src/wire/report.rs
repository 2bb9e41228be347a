//! Messages about clusters, for people.

use std::collections::BTreeMap;

use dcp_proto::gateway::v1 as proto;

use super::{Result, read_time, time};
use crate::clusters::{ClusterStatus, Properties, Report, Routing, Unowned};
use crate::routing::Health;

pub(crate) fn report(report: Report) -> proto::ListResponse {
    let Report { clusters, routings } = report;
    proto::ListResponse {
        clusters: clusters.into_iter().map(cluster).collect(),
        routings: routings.into_iter().map(routing).collect(),
    }
}

pub(crate) fn read_report(response: proto::ListResponse) -> Result<Report> {
    let proto::ListResponse { clusters, routings } = response;
    Ok(Report {
        clusters: clusters.into_iter().map(read_cluster).collect::<Result<_>>()?,
        routings: routings.into_iter().map(read_routing).collect::<Result<_>>()?,
    })
}

fn cluster(cluster: ClusterStatus) -> proto::Cluster {
    let ClusterStatus { name, kind, properties, health, load, unowned, log_problem } = cluster;
    let Properties { region, tags, weight, capacity, domains } = properties;
    let unreachable = match health {
        Health::Healthy => None,
        Health::Unreachable { since, why } => Some(proto::Unreachable { since: Some(time(since)), why }),
    };
    let domains = domains.map(|names| proto::Domains { names: names.into_iter().collect() });
    let tags = tags.into_iter().collect();
    let Unowned { others, orphans, claimed, removed } = unowned;
    let unowned = Some(proto::Unowned { others, orphans, claimed, removed });
    proto::Cluster {
        name,
        kind,
        region,
        tags,
        weight,
        capacity,
        domains,
        unreachable,
        load,
        unowned,
        log_problem,
    }
}

fn read_cluster(cluster: proto::Cluster) -> Result<ClusterStatus> {
    let proto::Cluster {
        name,
        kind,
        region,
        tags,
        weight,
        capacity,
        domains,
        unreachable,
        load,
        unowned,
        log_problem,
    } = cluster;
    let health = match unreachable {
        None => Health::Healthy,
        Some(proto::Unreachable { since, why }) => Health::Unreachable { since: read_time(since)?, why },
    };
    let domains = domains.map(|domains| domains.names.into_iter().collect());
    let tags: BTreeMap<_, _> = tags.into_iter().collect();
    let properties = Properties { region, tags, weight, capacity, domains };
    let proto::Unowned { others, orphans, claimed, removed } = unowned.unwrap_or_default();
    let unowned = Unowned { others, orphans, claimed, removed };
    Ok(ClusterStatus { name, kind, properties, health, load, unowned, log_problem })
}

fn routing(routing: Routing) -> proto::Routing {
    let Routing { at, application, domain, cluster, reasons } = routing;
    let reason = |(cluster, text)| proto::RoutingReason { cluster, text };
    proto::Routing {
        at: Some(time(at)),
        application: application.into(),
        domain,
        cluster,
        reasons: reasons.into_iter().map(reason).collect(),
    }
}

fn read_routing(routing: proto::Routing) -> Result<Routing> {
    let proto::Routing { at, application, domain, cluster, reasons } = routing;
    Ok(Routing {
        at: read_time(at)?,
        application: application.parse().map_err(|error: crate::Error| error.to_string())?,
        domain,
        cluster,
        reasons: reasons.into_iter().map(|it| (it.cluster, it.text)).collect(),
    })
}
