//! Checks of the namespaces of domains.

use dcp_model::clusters::NamespaceTemplate;
use dcp_model::manifest::Domain;

use super::Subject;
use crate::diag::{Code, Diagnostic};

/// Maximum length of the name of a domain.
pub(super) const LONGEST_DOMAIN: usize = 50;
/// Maximum length of a namespace in Kubernetes.
const LONGEST_NAMESPACE: usize = 63;

pub(super) fn check(subject: &mut Subject<'_>) {
    check_empty(subject);
    check_domains(subject);
    check_length(subject);
    check_records(subject);
    check_unused(subject);
}

/// Rejects namespaces that allow no domain.
fn check_empty(subject: &mut Subject<'_>) {
    let namespaces = &subject.cluster.namespaces;
    if namespaces.of_others.is_some() || !namespaces.domains.is_empty() {
        return;
    }
    let message = format!("the cluster `{}` allows no domain", subject.name);
    let at = subject.at(&["namespaces"]);
    subject.report(
        Diagnostic::new(Code::NO_NAMESPACE, message)
            .at(at, "no namespace here")
            .help("add `default: \"{domain}\"`, or namespaces of single domains under `domains`"),
    );
}

/// Rejects allowed domains that have no namespace.
fn check_domains(subject: &mut Subject<'_>) {
    let namespaces = &subject.cluster.namespaces;
    if namespaces.of_others.is_some() || namespaces.domains.is_empty() {
        return;
    }
    for (index, domain) in subject.cluster.domains.iter().enumerate() {
        if namespaces.domains.contains_key(domain) {
            continue;
        }
        let message = format!("the domain `{domain}` has no namespace on the cluster `{}`", subject.name);
        let at = subject.at(&["domains", &index.to_string()]);
        let there = subject.key(&["namespaces", "domains"]);
        subject.report(
            Diagnostic::new(Code::NO_NAMESPACE, message)
                .at(at, "is allowed here")
                .at(there, "and is missing here, and there is no `default`")
                .help(format!("add `{domain}: …` to `namespaces.domains`, or add `namespaces.default`")),
        );
    }
}

/// Rejects a template that becomes too long for Kubernetes.
fn check_length(subject: &mut Subject<'_>) {
    let Some(template) = &subject.cluster.namespaces.of_others else { return };
    let domains = &subject.cluster.domains;
    let listed = domains.iter().filter(|domain| !subject.cluster.namespaces.domains.contains_key(domain));
    let (label, help) = if domains.is_empty() {
        let length = template.of(&"d".repeat(LONGEST_DOMAIN)).len();
        if length <= LONGEST_NAMESPACE {
            return;
        }
        let label = format!("{length} characters for a domain of {LONGEST_DOMAIN}");
        (label, "shorten it, or list the allowed `domains`")
    } else {
        let Some(domain) = listed.into_iter().find(|domain| is_too_long(template, domain)) else { return };
        let label = format!("{} characters for the domain `{domain}`", template.of(domain.as_str()).len());
        (label, "shorten it, or give the domain a namespace in `namespaces.domains`")
    };
    let message = format!("`{template}` is too long: a namespace has at most {LONGEST_NAMESPACE} characters");
    let at = subject.at(&["namespaces", "default"]);
    subject.report(Diagnostic::new(Code::BAD_NAMESPACE, message).at(at, label).help(help));
}

fn is_too_long(template: &NamespaceTemplate, domain: &Domain) -> bool {
    template.of(domain.as_str()).len() > LONGEST_NAMESPACE
}

/// Rejects namespaces of domains that are the namespace of dcp's records.
fn check_records(subject: &mut Subject<'_>) {
    let (cluster, namespaces) = (subject.cluster, &subject.cluster.namespaces);
    let records = cluster.records.as_str();
    let listed = namespaces.domains.iter().filter(|(_, namespace)| namespace.as_str() == records);
    for (domain, _) in listed {
        report_records(subject, &["namespaces", "domains", domain.as_str()]);
    }
    let Some(template) = &namespaces.of_others else { return };
    let others = cluster.domains.iter().filter(|domain| !namespaces.domains.contains_key(domain));
    let clash = others.into_iter().any(|domain| template.of(domain.as_str()) == records);
    if clash || (!template.depends_on_domain() && template.as_str() == records) {
        report_records(subject, &["namespaces", "default"]);
    }
}

fn report_records(subject: &mut Subject<'_>, path: &[&str]) {
    let message = format!("`{}` is the namespace of dcp's own records", subject.cluster.records);
    let at = subject.at(path);
    let records = subject.at(&["records"]);
    let written = subject.node.get("records").is_some();
    let diagnostic = Diagnostic::new(Code::BAD_NAMESPACE, message)
        .at(at, "applications could change the records of other domains");
    let diagnostic = if written { diagnostic.at(records, "set here") } else { diagnostic };
    subject.report(diagnostic.help("use another namespace, or set `records` to another one"));
}

/// Warns of namespaces of domains that may not run on the cluster.
fn check_unused(subject: &mut Subject<'_>) {
    let cluster = subject.cluster;
    if cluster.domains.is_empty() {
        return;
    }
    for domain in cluster.namespaces.domains.keys().filter(|domain| !cluster.domains.contains(domain)) {
        let message = format!("the cluster `{}` does not allow the domain `{domain}`", subject.name);
        let at = subject.key(&["namespaces", "domains", domain.as_str()]);
        let domains = subject.key(&["domains"]);
        subject.report(
            Diagnostic::new(Code::UNUSED_NAMESPACE, message)
                .at(at, "has a namespace here")
                .at(domains, "and is not listed here")
                .help("add it to `domains`, or remove its namespace"),
        );
    }
}
