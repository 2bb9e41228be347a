//! Plans of pools.

use dcp_reconciler::plan::{Allowed, Class, Consent};
use dcp_reconciler::state::Action;

use crate::manifests::{BATCH, PROGRAM, SERVICE};
use crate::{Case, Files, check, edited, plan};

const POOL: &str = "\
apiVersion: dcp/v1
kind: Pool
metadata: {name: small, domain: payments, owner: a@example.com}
spec:
  engine: {version: \"4.1\"}
  share: domain
  drivers: {minIdle: 1, max: 10}
  sessions: {perDriver: 20, idleTimeout: 1h}
  recycle: {afterAge: 24h, afterSessions: 500}
  resources: {executors: {min: 1, max: 4}}
";

/// Edits that no driver is replaced for.
const IN_PLACE: [(&str, &str, &str); 6] = [
    ("another number of idle drivers", "minIdle: 1", "minIdle: 3"),
    ("another number of drivers", "max: 10", "max: 12"),
    ("more sessions on a driver", "perDriver: 20", "perDriver: 40"),
    ("another age", "afterAge: 24h", "afterAge: 8h"),
    ("private drivers", "share: domain", "share: private"),
    ("another owner", "a@example.com", "b@example.com"),
];

/// Edits that drivers are replaced for.
const REPLACING: [(&str, &str, &str); 5] = [
    ("another engine", "version: \"4.1\"", "version: \"4.2\""),
    ("more executors", "max: 4", "max: 8"),
    ("a setting", "  share:", "  spark: {conf: {spark.sql.ansi.enabled: false}}\n  share:"),
    ("a variable", "  share:", "  pods: {driver: {env: {TZ: UTC}}}\n  share:"),
    ("another timeout of sessions", "idleTimeout: 1h", "idleTimeout: 30m"),
];

#[test]
fn changes_of_pools() {
    let (as_batch, as_service) = (of_pool(BATCH), of_pool(SERVICE));
    let edits: Vec<[(&str, &str); 1]> =
        IN_PLACE.iter().chain(&REPLACING).map(|(_, from, to)| [(*from, *to)]).collect();
    let titles = IN_PLACE.iter().chain(&REPLACING).map(|(title, ..)| *title);
    let mut cases: Vec<Case<'_>> =
        titles.zip(&edits).map(|(title, edit)| (title, POOL, edit.as_slice())).collect();
    let shared = edited(POOL, &[("share: domain", "share: private")]);
    let other_kinds =
        [[(BATCH, as_batch.as_str())], [(SERVICE, as_service.as_str())], [(as_service.as_str(), SERVICE)]];
    cases.extend([
        ("shared drivers", shared.as_str(), &[("share: private", "share: domain")][..]),
        ("another name", POOL, &[("name: small", "name: large")]),
        ("a batch job becomes a pool", BATCH, &other_kinds[0]),
        ("a service becomes a pool", SERVICE, &other_kinds[1]),
        ("a pool becomes a service", as_service.as_str(), &other_kinds[2]),
    ]);
    check("pools.out", &cases);
}

/// Returns a pool with the address of a workload.
fn of_pool(workload: &str) -> String {
    let metadata = workload.lines().find(|line| line.starts_with("metadata:")).expect("it has an address");
    POOL.replace("metadata: {name: small, domain: payments, owner: a@example.com}", metadata)
}

fn files(text: &str) -> Files {
    Files::from([("it.yaml".to_owned(), text.to_owned())])
}

#[test]
fn drivers_are_replaced_only_if_their_job_changes() {
    for (edits, expected) in [(&IN_PLACE[..], Action::Update), (&REPLACING[..], Action::Redeploy)] {
        for (title, from, to) in edits {
            let plan = plan(&files(POOL), &files(&edited(POOL, &[(from, to)])));
            let [workload] = plan.workloads.as_slice() else { panic!("{title}: {plan:#?}") };
            assert_eq!((workload.action, workload.consent), (expected, Consent::NotNeeded), "{title}");
            let step = workload.steps.iter().find(|it| it.address == "Pool/payments/small");
            assert_eq!(step.map(|it| it.action), Some(expected), "{title}: the pool has a revision for it");
        }
    }
}

#[test]
fn a_default_that_is_written_down_changes_nothing() {
    let explicit = edited(POOL, &[("max: 10", "max: 10, maxIdle: 2")]);
    assert!(plan(&files(POOL), &files(&explicit)).is_empty());
}

#[test]
fn ending_the_sessions_of_a_pool_needs_consent() {
    let other = edited(POOL, &[("name: small", "name: large")]);
    for (title, old, new) in [
        ("deleted", POOL.to_owned(), Files::new()),
        ("renamed", POOL.to_owned(), files(&other)),
        ("replaced by a workload", of_pool(BATCH), files(BATCH)),
        ("in the place of a stream", PROGRAM.to_owned(), files(&of_pool(PROGRAM))),
    ] {
        let plan = plan(&files(&old), &new);
        let refused = Allowed::default().refused(&plan);
        let [workload] = refused.as_slice() else { panic!("{title}: {plan:#?}") };
        assert_eq!(workload.consent, Consent::Delete, "{title}");
        assert!(workload.reasons.iter().any(|it| it.class >= Class::Restart), "{title}: {workload:#?}");
    }
    let guarded = format!("{POOL}  lifecycle: {{preventDestroy: true}}\n");
    let plan = plan(&files(&guarded), &Files::new());
    assert_eq!(plan.workloads[0].consent, Consent::Refused);
}
