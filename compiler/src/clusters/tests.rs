use dcp_model::clusters::{Credentials, Kind};
use dcp_model::manifest::Domain;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

const FILE: FileId = FileId(0);

/// Returns the codes of a file's diagnostics.
fn codes(text: &str) -> Vec<Code> {
    let (_, found) = read(FILE, FILE_NAME, text);
    found.iter().map(|diagnostic| diagnostic.code).collect()
}

/// Returns the file of a cluster with these fields.
fn cluster(fields: &str) -> String {
    format!("clusters:\n  main:\n    kind: kubernetes\n    credentials: {{inCluster: true}}\n    {fields}\n")
}

#[test]
fn minimal_cluster_has_defaults() {
    let (clusters, found) = read(FILE, FILE_NAME, &cluster(""));
    assert_eq!(found, []);
    let clusters = clusters.expect("there is no error");
    let main = clusters.clusters.values().next().expect("there is a cluster");
    assert_eq!((main.kind, main.weight, &main.credentials), (Kind::Kubernetes, 1, &Credentials::InCluster));
    assert_eq!(main.allowed_domains(), None);
}

#[test]
fn warnings_do_not_hide_the_clusters() {
    let text = cluster("settings: {spark.sql.shufle.partitions: 8}");
    let (clusters, found) = read(FILE, FILE_NAME, &text);
    assert_eq!(found.first().map(|it| it.code), Some(Code::UNKNOWN_SETTING));
    assert!(clusters.is_some());
}

#[test]
fn longest_domain_is_that_of_the_model() {
    let name = |length| Domain::parse(&"d".repeat(length));
    assert!(name(namespaces::LONGEST_DOMAIN).is_ok() && name(namespaces::LONGEST_DOMAIN + 1).is_err());
}

#[test]
fn templates_have_space_for_each_allowed_domain() {
    let prefix = |length: usize| "p".repeat(length);
    let fits = format!("namespaces: {{default: \"{}{{domain}}\"}}", prefix(13));
    assert_eq!(codes(&cluster(&fits)), []);
    let too_long = format!("namespaces: {{default: \"{}{{domain}}\"}}", prefix(14));
    assert_eq!(codes(&cluster(&too_long)), [Code::BAD_NAMESPACE]);
    assert_eq!(codes(&cluster(&format!("{too_long}\n    domains: [sales]"))), []);
    let longer = format!("namespaces: {{default: \"{}{{domain}}\"}}\n    domains: [sales]", prefix(59));
    assert_eq!(codes(&cluster(&longer)), [Code::BAD_NAMESPACE]);
    let listed = longer.replace("}\"}", "}\", domains: {sales: shop}}");
    assert_eq!(codes(&cluster(&listed)), []);
}

#[test]
fn each_allowed_domain_needs_a_namespace() {
    for (fields, expected) in [
        ("namespaces: {}", vec![Code::NO_NAMESPACE]),
        ("namespaces: {}\n    domains: [a, b]", vec![Code::NO_NAMESPACE]),
        ("namespaces: {domains: {a: x}}\n    domains: [a]", vec![]),
        ("namespaces: {domains: {a: x}}\n    domains: [a, b, c]", vec![Code::NO_NAMESPACE; 2]),
        ("namespaces: {default: y, domains: {a: x}}\n    domains: [a, b]", vec![]),
        ("namespaces: {default: y, domains: {a: x}}\n    domains: [b]", vec![Code::UNUSED_NAMESPACE]),
    ] {
        assert_eq!(codes(&cluster(fields)), expected, "{fields}");
    }
}

#[test]
fn domains_never_share_the_namespace_of_records() {
    for (fields, expected) in [
        ("namespaces: {default: dcp}", vec![Code::BAD_NAMESPACE]),
        ("namespaces: {default: dcp}\n    records: other", vec![]),
        ("records: shop\n    namespaces: {domains: {sales: shop}}", vec![Code::BAD_NAMESPACE]),
        (
            "records: spark-a\n    namespaces: {default: \"spark-{domain}\"}\n    domains: [a]",
            vec![Code::BAD_NAMESPACE],
        ),
        ("records: spark-a\n    namespaces: {default: \"spark-{domain}\"}\n    domains: [b]", vec![]),
    ] {
        assert_eq!(codes(&cluster(fields)), expected, "{fields}");
    }
}

#[test]
fn settings_of_every_manifest_have_no_effect() {
    let code = |key: &str| codes(&cluster(&format!("settings: {{{key}: 1}}")));
    for key in ["spark.executor.memory", "spark.driver.cores"] {
        assert_eq!(code(key), [Code::REDUNDANT_CONF], "{key}");
    }
    for key in
        ["spark.hadoop.fs.s3a.endpoint", "spark.kubernetes.driver.master", "spark.driver.memoryOverhead"]
    {
        assert_eq!(code(key), [], "{key}");
    }
}

#[test]
fn values_of_secrets_are_in_no_message() {
    let text =
        cluster("settings: {spark.hadoop.fs.s3a.secret.key: wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00}");
    let (clusters, found) = read(FILE, FILE_NAME, &text);
    assert_eq!(clusters, None);
    assert_eq!(found.iter().map(|it| it.code).collect::<Vec<_>>(), [Code::SECRET_LITERAL]);
    assert!(!format!("{found:?}").contains("wJalr"));
}

/// Texts that replace a part of a valid file.
const FRAGMENTS: &[&str] =
    &["", "{", "}", "[", ": ", "\n", "  ", "{domain}", "ä", "&a", "*a", "null", "9999999999", "~"];

proptest! {
    #[test]
    fn damaged_file_causes_no_panic(
        at in any::<Index>(),
        length in 0..12_usize,
        fragment in select(FRAGMENTS),
    ) {
        const TEXT: &str = include_str!("../../../tests/golden/diagnostics/clusters/complete.yaml");
        let start = at.index(TEXT.len());
        let end = (start + length).min(TEXT.len());
        let text = [&TEXT[..start], fragment, &TEXT[end..]].concat();
        let (clusters, found) = read(FILE, FILE_NAME, &text);
        prop_assert_eq!(clusters.is_some(), !found.iter().any(Diagnostic::is_error));
        for label in found.iter().flat_map(|it| &it.labels) {
            prop_assert!(text.get(label.span.range()).is_some(), "{:?}", label);
        }
    }
}
