//! Renders the objects that prepare a cluster for dcp. It is pure.

use std::fmt::Write as _;

use super::super::Settings;
use super::super::permissions::{OF_DRIVERS, Permission, Scope, of_dcp, of_pools};
use super::Namespaces;

const RBAC: &str = "rbac.authorization.k8s.io";
/// The service account of dcp, if the cluster does not tell another name.
const ACCOUNT: &str = "dcp";

/// The comment above objects that only pools need.
const POOLS: &str = "# For Spark Connect pools; leave it out if the cluster runs none.\n";

/// Renders all objects as documents of YAML. `user` is the name of dcp on the cluster.
pub(super) fn render(settings: &Settings, namespaces: &Namespaces, user: Option<&str>) -> String {
    let (records, of_dcp) = (&namespaces.records, of_dcp(settings.operator));
    let account = match user.and_then(|user| user.strip_prefix("system:serviceaccount:")?.split_once(':')) {
        Some((namespace, name)) => Some((namespace.to_owned(), name.to_owned())),
        None if user.is_some() => None,
        None => Some((records.clone(), ACCOUNT.to_owned())),
    };
    let dcp = match (&account, user) {
        (Some((namespace, name)), _) => service_account_subject(namespace, name),
        // JSON's notation of texts is also one of YAML.
        (None, user) => {
            format!("{{apiGroup: {RBAC}, kind: User, name: {}}}", quoted(user.unwrap_or_default()))
        }
    };
    let mut documents = vec![namespace(records)];
    if let Some((namespace, name)) = account.filter(|(namespace, _)| namespace == records) {
        documents.push(service_account(&namespace, &name));
    }
    documents.push(format!(
        "apiVersion: {RBAC}/v1\nkind: Role\nmetadata: {{name: dcp-records, namespace: {records}}}\n{}",
        rules(&of_dcp, Scope::Records)
    ));
    documents.push(binding("dcp-records", Some(records), "Role", std::slice::from_ref(&dcp)));
    documents.push(cluster_role("dcp-applications", &of_dcp, Scope::Domains));
    documents.push(cluster_role("dcp-drivers", OF_DRIVERS, Scope::Domains));
    let of_pools = of_pools(settings.operator);
    if !of_pools.is_empty() {
        documents.push(format!("{POOLS}{}", cluster_role("dcp-pools", of_pools, Scope::Domains)));
    }
    if namespaces.are_open {
        documents.push(cluster_role("dcp-watch", &of_dcp, Scope::Cluster));
        documents.push(binding("dcp-watch", None, "ClusterRole", std::slice::from_ref(&dcp)));
    }
    for name in &namespaces.of_domains {
        documents.extend(of_domain(name, settings, &dcp));
    }
    documents.join("---\n")
}

/// Returns the objects in the namespace of a domain.
fn of_domain(name: &str, settings: &Settings, dcp: &str) -> Vec<String> {
    let accounts = || [&settings.service_account].into_iter().chain(&settings.service_accounts);
    let mut documents = vec![namespace(name)];
    documents.extend(accounts().map(|account| service_account(name, account)));
    documents.push(binding("dcp-applications", Some(name), "ClusterRole", &[dcp.to_owned()]));
    let subjects: Vec<String> = accounts().map(|account| service_account_subject(name, account)).collect();
    documents.push(binding("dcp-drivers", Some(name), "ClusterRole", &subjects));
    if !of_pools(settings.operator).is_empty() {
        documents
            .push(format!("{POOLS}{}", binding("dcp-pools", Some(name), "ClusterRole", &[dcp.to_owned()])));
    }
    documents
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {}}}\n", quoted(name))
}

fn service_account(namespace: &str, name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {}, namespace: {}}}\n",
        quoted(name),
        quoted(namespace)
    )
}

fn service_account_subject(namespace: &str, name: &str) -> String {
    format!("{{kind: ServiceAccount, name: {}, namespace: {}}}", quoted(name), quoted(namespace))
}

fn cluster_role(name: &str, table: &[Permission], scope: Scope) -> String {
    format!("apiVersion: {RBAC}/v1\nkind: ClusterRole\nmetadata: {{name: {name}}}\n{}", rules(table, scope))
}

fn rules(table: &[Permission], scope: Scope) -> String {
    let mut text = "rules:\n".to_owned();
    for Permission { group, resource, verbs, .. } in table.iter().filter(|it| it.scope == scope) {
        let verbs = verbs.join(", ");
        let _ = writeln!(text, "  - {{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [{verbs}]}}");
    }
    text
}

/// Returns the binding of a role of the same name.
fn binding(name: &str, namespace: Option<&str>, role: &str, subjects: &[String]) -> String {
    let (kind, namespace) = match namespace {
        Some(namespace) => ("RoleBinding", format!(", namespace: {}", quoted(namespace))),
        None => ("ClusterRoleBinding", String::new()),
    };
    let mut text = format!(
        "apiVersion: {RBAC}/v1\nkind: {kind}\nmetadata: {{name: {name}{namespace}}}\n\
         roleRef: {{apiGroup: {RBAC}, kind: {role}, name: {name}}}\nsubjects:\n"
    );
    for subject in subjects {
        let _ = writeln!(text, "  - {subject}");
    }
    text
}

/// Quotes a text unless it is a plain name. JSON's notation of texts is also one of YAML.
fn quoted(text: &str) -> String {
    let is_letter = text.starts_with(|c: char| c.is_ascii_lowercase());
    let is_plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
    // Words that YAML reads as something else than text.
    let is_word = matches!(text, "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n");
    if is_letter && is_plain && !is_word { text.to_owned() } else { serde_json::json!(text).to_string() }
}
