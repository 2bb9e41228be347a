use std::collections::{BTreeMap, BTreeSet};

use dcp_server::ServiceError;
use tonic::Status as GrpcStatus;

use super::*;
use crate::clusters::{ClusterStatus, Properties, Report, Routing, Unowned};
use crate::routing::Health;
use crate::{Addresses, End, Evidence, Obstacle, Phase, Reason, Source, Status};

fn at() -> Timestamp {
    Timestamp::new(1_700_000_000, 123_456_789).expect("it is in range")
}

fn statuses() -> Vec<Status> {
    let evidence = vec![
        Evidence {
            source: Source::Pod, reason: Some(Reason::Unschedulable), text: "0/1 nodes ✓".to_owned()
        },
        Evidence { source: Source::Event, reason: None, text: String::new() },
    ];
    let text = |text: &str| Some(text.to_owned());
    let addresses = Addresses { ui: text("http://a"), connect: text("a:1"), event_log: text("s3://a") };
    let end = End {
        at: at(),
        succeeded: false,
        stopped: true,
        exit_code: Some(-3),
        signal: Some(9),
        reason: Reason::OutOfMemory,
        evidence: evidence.clone(),
    };
    let obstacle = Some(Obstacle { reason: Reason::ImageUnavailable, evidence });
    let new = Status::new;
    vec![
        new(Phase::Pending),
        Status { obstacle, ..new(Phase::Pending) },
        Status { started: Some(at()), addresses, cluster: text("main"), ..new(Phase::Running) },
        Status { end: Some(end), ..new(Phase::Ended) },
    ]
}

#[test]
fn events_survive_a_round_trip() {
    let name: Name = "a-1".parse().expect("the name is valid");
    let changes = statuses().into_iter().map(Some).chain([None]);
    let events = changes.map(|status| WatchEvent::Changed(Change { name: name.clone(), status }));
    for event in events.chain([WatchEvent::Listed]) {
        assert_eq!(read_event(self::event(event.clone())), Ok(event));
    }
}

#[test]
fn errors_survive_a_round_trip() {
    let text = || "said ✓".to_owned();
    for error in [
        Error::Field { field: "pods.driver.env".to_owned(), reason: text() },
        Error::Invalid(text()),
        Error::Conflict(text()),
        Error::Unavailable(text()),
    ] {
        let status = GrpcStatus::from(error.clone());
        assert_eq!(ServiceError::read(&status, super::error::DOMAIN).map(super::error::read), Some(error));
    }
}

#[test]
fn a_report_survives_a_round_trip() {
    let cluster = |health| ClusterStatus {
        name: "main".to_owned(),
        kind: "kubernetes".to_owned(),
        properties: Properties {
            region: Some("eu".to_owned()),
            tags: BTreeMap::from([("data".to_owned(), "prod".to_owned())]),
            weight: 2,
            capacity: Some(100),
            domains: Some(BTreeSet::from(["sales".to_owned()])),
        },
        health,
        load: 3,
        unowned: Unowned { others: 1, orphans: 2, claimed: 3, removed: 4 },
        log_problem: Some("the bucket does not exist".to_owned()),
    };
    let unbounded = ClusterStatus { properties: Properties::default(), ..cluster(Health::Healthy) };
    let unreachable = Health::Unreachable { since: at(), why: "no route".to_owned() };
    let routing = |cluster: Option<&str>| Routing {
        at: at(),
        application: "a-1".parse().expect("the name is valid"),
        domain: "sales".to_owned(),
        cluster: cluster.map(str::to_owned),
        reasons: vec![("main".to_owned(), "was chosen".to_owned())],
    };
    let report = Report {
        clusters: vec![cluster(Health::Healthy), cluster(unreachable), unbounded],
        routings: vec![routing(Some("main")), routing(None)],
    };
    assert_eq!(read_report(self::report(report.clone())), Ok(report));
}

#[test]
fn applications_of_another_shape_are_rejected() {
    let mut good = SparkApplication::default();
    good.metadata.name = "a-1".to_owned();
    let text = application(&good).expect("it is small");
    assert_eq!(read_application(&text).map(|(_, application)| application), Ok(good));
    let pod = "{\"spec\":{\"driverSpec\":{\"podTemplateSpec\":";
    let deep = format!("{pod}{}", "[".repeat(100_000));
    for (text, expected) in [
        (text.replace("\"a-1\"", "\"../a\""), "is no name of an application"),
        (text.replace("\"spec\"", "\"speck\""), "unknown field `speck`"),
        (deep, "recursion limit exceeded"),
        (" ".repeat(MAX_APPLICATION_BYTES + 1), "are allowed"),
        ("[]".to_owned(), "can't read the application"),
    ] {
        let Err(Error::Invalid(why)) = read_application(&text) else { panic!("{expected}: it is accepted") };
        assert!(why.contains(expected), "{why}");
    }
}

#[test]
fn messages_with_unknown_values_are_unreadable() {
    let pending = || status(Status::new(Phase::Pending));
    let unknown_reason = proto::Obstacle { reason: "haunted".to_owned(), evidence: Vec::new() };
    for (status, expected) in [
        (proto::Status { phase: 99, ..pending() }, "phase 99"),
        (proto::Status { obstacle: Some(unknown_reason), ..pending() }, "`haunted`"),
        (proto::Status { end: Some(proto::End::default()), ..pending() }, "a time is missing"),
    ] {
        assert!(read_status(status).expect_err(expected).contains(expected));
    }
}
