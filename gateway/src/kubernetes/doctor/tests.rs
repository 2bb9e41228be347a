//! Golden files: the findings about clusters in different states, and the objects that prepare one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::probe::{Access, DryRun, Facts, Version, rejection};
use super::{Domains, Namespaces, Report, State, findings, manifest};
use crate::kubernetes::Settings;
use crate::kubernetes::permissions::{OF_DRIVERS, Scope, of_dcp, of_pools};

fn compare(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/kubernetes/doctor").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("folders can be made");
        std::fs::write(&path, text).expect("golden files can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(expected, text, "{file} differs; UPDATE_GOLDEN=1 writes it");
}

fn settings() -> Settings {
    let mut settings = Settings::new("main");
    settings.namespaces.default = Some("spark-{domain}".to_owned());
    settings.namespaces.of_domains.insert("sales".to_owned(), "shop".to_owned());
    settings.service_accounts.insert("etl".to_owned());
    settings
}

fn domains(named: &[&str]) -> Domains {
    Domains { named: named.iter().map(ToString::to_string).collect(), ..Domains::default() }
}

fn version(minor: u32) -> Version {
    Version { text: format!("1.{minor}.0"), major: 1, minor, after: Duration::from_millis(11) }
}

fn of(namespace: Option<&str>, resource: &'static str, verb: &'static str) -> Access {
    Access { namespace: namespace.map(str::to_owned), group: "", resource, verb }
}

fn healthy(namespaces: &Namespaces) -> Facts {
    let all = namespaces.of_domains.iter().chain([&namespaces.records]);
    let accounts = namespaces
        .of_domains
        .iter()
        .flat_map(|namespace| ["etl", "spark"].map(|account| (namespace.clone(), account.to_owned())));
    Facts {
        user: Some("system:serviceaccount:dcp:dcp".to_owned()),
        denied: BTreeSet::new(),
        denied_for_pools: BTreeSet::new(),
        namespaces: all.map(|namespace| (namespace.clone(), DryRun::Accepted)).collect(),
        accounts: accounts.map(|key| (key, (DryRun::Accepted, Some(BTreeSet::new())))).collect(),
        apis: BTreeMap::new(),
    }
}

fn broken(namespaces: &Namespaces) -> Facts {
    let mut facts = healthy(namespaces);
    facts.user = None;
    facts.denied = [
        of(Some("shop"), "pods/log", "get"),
        of(Some("shop"), "pods", "patch"),
        of(Some("shop"), "pods", "create"),
        of(None, "pods", "watch"),
    ]
    .into();
    facts.namespaces.insert("dcp".to_owned(), DryRun::NoNamespace);
    facts.namespaces.insert("spark-hr".to_owned(), DryRun::Rejected("exceeded quota: few".to_owned()));
    let lacks = BTreeSet::from([of(Some("shop"), "pods", "deletecollection")]);
    let accounts = [
        ("shop", "spark", DryRun::NoAccount, None),
        ("shop", "etl", DryRun::Accepted, Some(lacks)),
        ("spark-hr", "etl", DryRun::NoAccount, None),
        ("spark-hr", "spark", DryRun::Rejected("violates PodSecurity \"restricted\"".to_owned()), None),
    ];
    for (namespace, account, dry_run, denied) in accounts {
        facts.accounts.insert((namespace.to_owned(), account.to_owned()), (dry_run, denied));
    }
    facts.apis = [
        ("kueue.x-k8s.io".to_owned(), vec!["v1beta1".to_owned()]),
        ("spark.apache.org".to_owned(), vec!["v1".to_owned(), "v1beta1".to_owned()]),
    ]
    .into();
    facts
}

fn shown(title: &str, report: &Report) -> String {
    let mut text = format!("{title}\n");
    for finding in &report.findings {
        let mark = match finding.state {
            State::Passed => '✓',
            State::Failed => '✗',
            State::Warning => '!',
        };
        let _ = writeln!(text, "{mark} {:<11} {}", finding.subject, finding.text);
        if let Some(help) = &finding.help {
            let _ = writeln!(text, "              help: {help}");
        }
    }
    text
}

#[test]
fn clusters_get_the_expected_findings() {
    let settings = settings();
    let known = Namespaces::new(&settings, &domains(&["hr"]));
    let unknown = Namespaces::new(&Settings::new("main"), &domains(&[]));
    let grant = findings::command("main", &domains(&["hr"]).named);
    let report = |settings: &Settings, known: &Namespaces, minor: u32, facts: &Facts| {
        findings::report(settings, known, &version(minor), facts, &grant)
    };
    let mut without_pools = healthy(&known);
    without_pools.denied_for_pools =
        [of(Some("shop"), "secrets", "get"), of(Some("shop"), "secrets", "create")].into();
    let reports = [
        shown("# a prepared cluster", &report(&settings, &known, 34, &healthy(&known))),
        shown("# a cluster without pools", &report(&settings, &known, 34, &without_pools)),
        shown("# a broken cluster", &report(&settings, &known, 26, &broken(&known))),
        shown("# no known domain", &report(&Settings::new("main"), &unknown, 27, &healthy(&unknown))),
        shown("# no response", &findings::unreachable("connection refused")),
    ];
    compare("findings.txt", &reports.join("\n"));
}

#[test]
fn the_preparation_of_a_cluster_has_all_objects() {
    let settings = settings();
    let namespaces = Namespaces::new(&settings, &domains(&["hr"]));
    compare("open.yaml", &manifest::render(&settings, &namespaces, None));
    let mut closed = settings.clone();
    closed.namespaces.default = None;
    let namespaces = Namespaces::new(&closed, &domains(&[]));
    compare("closed.yaml", &manifest::render(&closed, &namespaces, Some("a: \"b\"\n- x")));
}

#[test]
fn the_preparation_is_yaml_with_each_permission_of_the_tables() {
    let settings = settings();
    let namespaces = Namespaces::new(&settings, &domains(&[]));
    let text = manifest::render(&settings, &namespaces, Some("true"));
    let mut rules = Vec::new();
    for document in text.split("---\n") {
        let object: serde_json::Value = serde_yaml_ng::from_str(document).expect("it is YAML");
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        for subject in object["subjects"].as_array().into_iter().flatten() {
            assert!(subject["name"].is_string(), "{subject}");
        }
        for rule in object["rules"].as_array().into_iter().flatten() {
            let resource = rule["resources"][0].as_str().unwrap_or_default().to_owned();
            rules.push((name.clone(), resource, rule["verbs"].as_array().map_or(0, Vec::len)));
        }
    }
    let role = |scope| match scope {
        Scope::Records => "dcp-records",
        Scope::Domains => "dcp-applications",
        Scope::Cluster => "dcp-watch",
    };
    let permissions = of_dcp(None);
    let of_dcp =
        permissions.iter().map(|it| (role(it.scope).to_owned(), it.resource.to_owned(), it.verbs.len()));
    let of_drivers =
        OF_DRIVERS.iter().map(|it| ("dcp-drivers".to_owned(), it.resource.to_owned(), it.verbs.len()));
    let of_pools =
        of_pools(None).iter().map(|it| ("dcp-pools".to_owned(), it.resource.to_owned(), it.verbs.len()));
    let mut expected: Vec<_> = of_dcp.chain(of_drivers).chain(of_pools).collect();
    rules.sort();
    expected.sort();
    assert_eq!(rules, expected);
}

#[test]
fn rejections_of_dry_runs_are_told_apart() {
    let account = "pods \"dcp-doctor\" is forbidden: error looking up service account shop/spark: \
                   serviceaccount \"spark\" not found";
    let permission = "pods is forbidden: User \"u\" cannot create resource \"pods\" in API group \"\" in the \
                      namespace \"shop\"";
    let quota = "pods \"dcp-doctor\" is forbidden: exceeded quota: q";
    assert_eq!(rejection(403, account), DryRun::NoAccount);
    assert_eq!(rejection(403, permission), DryRun::Forbidden);
    assert_eq!(rejection(403, quota), DryRun::Rejected(quota.to_owned()));
    assert_eq!(rejection(409, "there is one"), DryRun::Accepted);
}
