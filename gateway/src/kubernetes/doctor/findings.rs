//! Judges the responses of a cluster. It is pure.

use std::collections::{BTreeMap, BTreeSet};

use super::probe::{Access, DryRun, Facts, OfAccount, Version};
use super::{Finding, Namespaces, Report, State};
use crate::kubernetes::Settings;

/// The first version with pods that have scheduling gates.
const OLDEST: (u32, u32) = (1, 27);

const SERVER: &str = "API server";
const NAMESPACES: &str = "namespaces";
const PERMISSIONS: &str = "permissions";
const DRIVERS: &str = "drivers";
const OPERATORS: &str = "operators";

fn finding(state: State, subject: &'static str, text: impl Into<String>, help: Option<String>) -> Finding {
    Finding { state, subject, text: text.into(), help }
}

fn passed(subject: &'static str, text: impl Into<String>) -> Finding {
    finding(State::Passed, subject, text, None)
}

/// Returns the report of a cluster that does not respond.
pub(super) fn unreachable(error: &str) -> Report {
    let help = "check `credentials` of the cluster and the network; nothing else was checked".to_owned();
    let found = finding(State::Failed, SERVER, format!("does not respond: {error}"), Some(help));
    Report { version: None, findings: vec![found] }
}

/// Returns the command that grants what a cluster lacks.
pub(super) fn command(cluster: &str, domains: &BTreeSet<String>) -> String {
    let domains: Vec<String> = domains.iter().map(|domain| format!(" --domain {domain}")).collect();
    format!("dcp doctor --cluster {cluster}{} --manifest | kubectl apply -f -", domains.concat())
}

/// Returns the report of a cluster that responds. `grant` is the command that prepares it.
pub(super) fn report(
    settings: &Settings,
    namespaces: &Namespaces,
    version: &Version,
    facts: &Facts,
    grant: &str,
) -> Report {
    let mut findings = vec![server(version)];
    findings.extend(of_namespaces(namespaces, facts, grant));
    findings.extend(permissions(facts, grant));
    findings.extend(drivers(settings, facts, grant));
    findings.push(operators(&facts.apis));
    Report { version: Some(version.text.clone()), findings }
}

fn server(version: &Version) -> Finding {
    let Version { text, major, minor, after } = version;
    let (oldest_major, oldest_minor) = OLDEST;
    if (*major, *minor) < OLDEST {
        let help = format!("use a cluster with Kubernetes {oldest_major}.{oldest_minor} or newer");
        let text = format!("{text} has no pods with scheduling gates");
        return finding(State::Failed, SERVER, text, Some(help));
    }
    passed(SERVER, format!("{text}, {} ms", after.as_millis()))
}

fn of_namespaces(namespaces: &Namespaces, facts: &Facts, grant: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut existing = Vec::new();
    for (namespace, dry_run) in &facts.namespaces {
        match dry_run {
            DryRun::NoNamespace => found.push(finding(
                State::Failed,
                NAMESPACES,
                format!("`{namespace}` does not exist"),
                Some(format!("create it as an administrator: {grant}")),
            )),
            DryRun::Rejected(reason) => found.push(finding(
                State::Warning,
                NAMESPACES,
                format!("`{namespace}` rejects a config map: {reason}"),
                Some("check the quotas and admission webhooks of the namespace".to_owned()),
            )),
            // A missing permission is another finding.
            DryRun::Forbidden | DryRun::NoAccount => {}
            DryRun::Accepted => existing.push(format!("`{namespace}`")),
        }
    }
    if !existing.is_empty() {
        found.insert(0, passed(NAMESPACES, existing.join(", ")));
    }
    if namespaces.of_domains.is_empty() {
        let help = "name the domains: `--domain NAME`, once for each".to_owned();
        let text = "no domain is known, so that no namespace of a domain was checked";
        found.push(finding(State::Warning, NAMESPACES, text, Some(help)));
    }
    found
}

fn permissions(facts: &Facts, grant: &str) -> Vec<Finding> {
    let user = facts.user.as_deref().map(|user| format!("`{user}`"));
    let user = user.unwrap_or_else(|| "dcp".to_owned());
    let help = || Some(format!("grant it as an administrator: {grant}"));
    let missing = |(place, verbs): (String, String)| {
        finding(State::Failed, PERMISSIONS, format!("{user} lacks {verbs} {place}"), help())
    };
    let for_pools = |(place, verbs): (String, String)| {
        let text = format!("{user} lacks {verbs} {place}, which Spark Connect pools need");
        finding(State::Warning, PERMISSIONS, text, help())
    };
    let mut found: Vec<Finding> = by_resource(&facts.denied).into_iter().map(missing).collect();
    if found.is_empty() {
        found.push(passed(PERMISSIONS, format!("{user} has all that it needs")));
    }
    found.extend(by_resource(&facts.denied_for_pools).into_iter().map(for_pools));
    found
}

/// Returns the missing verbs of each resource, as text.
fn by_resource(denied: &BTreeSet<Access>) -> Vec<(String, String)> {
    let mut all: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for Access { namespace, group, resource, verb } in denied {
        let group = if group.is_empty() { String::new() } else { format!(".{group}") };
        let place = match namespace {
            Some(namespace) => format!("on {resource}{group} in `{namespace}`"),
            None => format!("on {resource}{group} in all namespaces"),
        };
        all.entry(place).or_default().push(verb);
    }
    all.into_iter().map(|(place, verbs)| (place, verbs.join(", "))).collect()
}

fn drivers(settings: &Settings, facts: &Facts, grant: &str) -> Vec<Finding> {
    let of_account =
        |((namespace, account), (dry_run, denied)): (&(String, String), &(DryRun, OfAccount))| {
            // Manifests that name no account need the default one.
            let missing = if *account == settings.service_account { State::Failed } else { State::Warning };
            let account = format!("the service account `{account}` in `{namespace}`");
            let mut found = Vec::new();
            match dry_run {
                DryRun::NoAccount => {
                    let text = format!("{account} does not exist");
                    return vec![finding(
                        missing,
                        DRIVERS,
                        text,
                        Some(format!("create it as an administrator: {grant}")),
                    )];
                }
                DryRun::Rejected(reason) => {
                    let help = "pods of manifests must differ: see `pods.driver.template`".to_owned();
                    let text = format!("a plain driver with {account} is rejected: {reason}");
                    found.push(finding(State::Warning, DRIVERS, text, Some(help)));
                }
                DryRun::Accepted | DryRun::Forbidden | DryRun::NoNamespace => {}
            }
            found.extend(rights(&account, namespace, denied.as_ref(), missing, grant));
            found
        };
    facts.accounts.iter().flat_map(of_account).collect()
}

fn rights(
    account: &str,
    namespace: &str,
    denied: Option<&BTreeSet<Access>>,
    missing: State,
    grant: &str,
) -> Vec<Finding> {
    let Some(denied) = denied else {
        let help = format!(
            "ask as an administrator: kubectl auth can-i --list -n {namespace} --as system:serviceaccount:{namespace}:…"
        );
        let text = format!("dcp may not ask for the permissions of {account}");
        return vec![finding(State::Warning, DRIVERS, text, Some(help))];
    };
    if denied.is_empty() {
        return vec![passed(DRIVERS, format!("{account} can manage executors"))];
    }
    let lacks = |(place, verbs)| {
        let help = format!("grant it as an administrator: {grant}");
        finding(missing, DRIVERS, format!("{account} lacks {verbs} {place}"), Some(help))
    };
    by_resource(denied).into_iter().map(lacks).collect()
}

fn operators(apis: &BTreeMap<String, Vec<String>>) -> Finding {
    if apis.is_empty() {
        return passed(OPERATORS, "none, and none is needed: dcp creates the pods of drivers");
    }
    let one = |(group, versions): (&String, &Vec<String>)| format!("{group} {}", versions.join(", "));
    passed(OPERATORS, apis.iter().map(one).collect::<Vec<_>>().join("; "))
}
