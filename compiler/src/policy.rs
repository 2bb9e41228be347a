//! The policy file, `policy.yaml`: its text to types and diagnostics.

use std::collections::BTreeMap;

use dcp_model::policy::{Decision, PolicyFile, PolicyTest, Role};

use crate::diag::{Code, Diagnostic};
use crate::document;
use crate::schema;
use crate::source::FileId;
use crate::yaml::NodeRef;

/// The default name of the policy file.
pub const FILE_NAME: &str = "policy.yaml";

/// Reads the policy file, and runs its tests. `path` is its path for messages. The policy is missing if there is an error.
pub fn read(file: FileId, path: &str, text: &str) -> (Option<PolicyFile>, Vec<Diagnostic>) {
    let kind = document::Kind {
        name: path,
        schema: &schema::POLICY,
        help_if_empty: "give it a binding: `bindings: [{role: admin, users: [ada], scopes: [\"*\"], domains: [\"*\"]}]`",
    };
    let (read, mut diagnostics) = document::read::<PolicyFile>(&kind, file, text);
    let Some((policy, tree)) = read else { return (None, diagnostics) };
    check_issuers(&policy, tree.root(), &mut diagnostics);
    check_bindings(&policy, tree.root(), &mut diagnostics);
    check_limits(&policy, tree.root(), &mut diagnostics);
    run_tests(&policy, tree.root(), &mut diagnostics);
    let is_valid = !diagnostics.iter().any(Diagnostic::is_error);
    (is_valid.then_some(policy), diagnostics)
}

/// Rejects issuers with the same URL.
fn check_issuers(policy: &PolicyFile, root: NodeRef<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, issuer) in &policy.issuers {
        let Some(first) = names.insert(issuer.url.as_str(), name.as_str()) else { continue };
        let at = |name: &str| root.nearest(["issuers", name, "url"]).span();
        let message = format!("the issuers `{first}` and `{name}` have the same URL");
        diagnostics.push(
            Diagnostic::new(Code::DUPLICATE_ISSUER, message)
                .at(at(name.as_str()), "the same URL again")
                .at(at(first), "it is here first")
                .help("keep one of them, with all audiences"),
        );
    }
}

/// Rejects bindings without users and groups.
fn check_bindings(policy: &PolicyFile, root: NodeRef<'_>, diagnostics: &mut Vec<Diagnostic>) {
    for (index, binding) in policy.bindings.iter().enumerate() {
        if !binding.users.is_empty() || !binding.groups.is_empty() {
            continue;
        }
        let at = root.nearest(["bindings", &index.to_string()]).span();
        diagnostics.push(
            Diagnostic::new(Code::EMPTY_BINDING, "the binding has neither users nor groups")
                .at(at, format!("the role `{}` is for no caller", binding.role.as_str()))
                .help("add `users` or `groups`, or remove the binding"),
        );
    }
}

/// Rejects entries without a limit, and two entries for the same domain.
fn check_limits(policy: &PolicyFile, root: NodeRef<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let mut named: BTreeMap<&str, [String; 2]> = BTreeMap::new();
    for (index, entry) in policy.limits.iter().enumerate() {
        let index = index.to_string();
        if entry.is_empty() {
            diagnostics.push(
                Diagnostic::new(Code::EMPTY_LIMIT, "the entry limits nothing")
                    .at(root.nearest(["limits", &index]).span(), "it has domains only")
                    .help("add `running`, `queued`, `submitsPerSecond` or `results`, or remove the entry"),
            );
        }
        for (position, domain) in entry.domains.iter().enumerate() {
            let place = [index.clone(), position.to_string()];
            let at =
                |[entry, domain]: &[String; 2]| root.nearest(["limits", entry, "domains", domain]).span();
            let Some(first) = named.get(domain.as_str()) else {
                named.insert(domain.as_str(), place);
                continue;
            };
            let message = format!("two entries have limits of `{domain}`");
            diagnostics.push(
                Diagnostic::new(Code::DUPLICATE_LIMIT, message)
                    .at(at(&place), "here again")
                    .at(at(first), "it is here first")
                    .help("put all limits of a domain into one entry"),
            );
        }
    }
}

/// Reports the tests whose expected role differs from that of the bindings.
fn run_tests(policy: &PolicyFile, root: NodeRef<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let rules = policy.policy();
    for (index, test) in policy.tests.iter().enumerate() {
        let Some(role) = test.failure(&rules) else { continue };
        let index = index.to_string();
        let at = root.nearest(["tests", &index, "role"]).span();
        let has = role.map_or("no role".to_owned(), |role| format!("the role `{}`", role.as_str()));
        let mut diagnostic = Diagnostic::new(Code::FAILED_POLICY_TEST, format!("`{}` has {has}", test.user))
            .at(at, "another role is expected")
            .help("correct the bindings, or the test");
        if let Some(role) = role
            && let Some(binding) = binding_of(policy, test, role)
        {
            let at = root.nearest(["bindings", &binding.to_string(), "role"]).span();
            diagnostic = diagnostic.at(at, "the role is from here");
        }
        diagnostics.push(diagnostic);
    }
}

/// Returns the index of the binding that gives a role to the caller of a test.
fn binding_of(policy: &PolicyFile, test: &PolicyTest, role: Role) -> Option<usize> {
    let groups: Vec<String> = test.groups.iter().map(|group| group.as_str().to_owned()).collect();
    match policy.policy().decide(test.user.as_str(), &groups, role, test.resource()) {
        Decision::Allowed(index) => Some(index),
        Decision::Forbidden | Decision::Hidden => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileId = FileId(0);

    const BINDINGS: &str = "\
bindings:
- {role: admin, users: [root], scopes: [\"*\"], domains: [\"*\"]}
- {role: developer, groups: [company:data], scopes: [shop/*], domains: [sales]}
";

    fn codes(text: &str) -> Vec<Code> {
        let (policy, found) = read(FILE, FILE_NAME, text);
        assert_eq!(policy.is_none(), found.iter().any(Diagnostic::is_error));
        found.iter().map(|diagnostic| diagnostic.code).collect()
    }

    #[test]
    fn a_policy_is_rejected_if_one_of_its_tests_fails() {
        assert_eq!(codes(BINDINGS), []);
        let test = |text: &str| codes(&format!("{BINDINGS}tests:\n- {{{text}}}\n"));
        assert_eq!(test("user: root, role: admin"), []);
        assert_eq!(
            test("user: ada, groups: [company:data], scope: shop/prod, domain: sales, role: developer"),
            []
        );
        assert_eq!(test("user: ada, groups: [company:data], scope: shop/prod, domain: hr, role: none"), []);
        assert_eq!(test("user: ada, groups: [company:data], domain: sales, role: none"), []);
        assert_eq!(test("user: ada, scope: shop, domain: sales, role: viewer"), [Code::FAILED_POLICY_TEST]);
        assert_eq!(test("user: root, scope: a/b, domain: c, role: none"), [Code::FAILED_POLICY_TEST]);
    }

    #[test]
    fn a_binding_needs_a_user_or_a_group() {
        let text = "bindings: [{role: viewer, scopes: [\"*\"], domains: [\"*\"]}]";
        assert_eq!(codes(text), [Code::EMPTY_BINDING]);
    }

    #[test]
    fn limits_of_a_domain_are_in_one_entry() {
        let limits = |text: &str| codes(&format!("{BINDINGS}limits:\n{text}"));
        assert_eq!(limits("- {domains: [a, b], running: 1}\n- {domains: [\"*\"], results: 1GiB}\n"), []);
        assert_eq!(limits("- {domains: [a, \"*\"], queued: 1, submitsPerSecond: 1}\n"), []);
        for domain in ["a", "\"*\""] {
            let twice =
                format!("- {{domains: [{domain}], running: 1}}\n- {{domains: [b, {domain}], queued: 1}}\n");
            assert_eq!(limits(&twice), [Code::DUPLICATE_LIMIT], "{domain}");
        }
        assert_eq!(limits("- {domains: [a]}\n"), [Code::EMPTY_LIMIT]);
    }

    #[test]
    fn limits_are_positive_and_bounded() {
        for value in
            ["running: 0", "running: 100001", "queued: 0", "submitsPerSecond: -1", "submitsPerSecond: 0.5"]
        {
            let found = codes(&format!("{BINDINGS}limits:\n- {{domains: [a], {value}}}\n"));
            assert_eq!(found.len(), 1, "{value}: {found:?}");
        }
        for value in ["0g", "10", "2000000t"] {
            let found = codes(&format!("{BINDINGS}limits:\n- {{domains: [a], results: {value}}}\n"));
            assert!(!found.is_empty(), "{value}");
        }
    }

    #[test]
    fn the_example_of_the_help_is_valid() {
        let (_, found) = read(FILE, FILE_NAME, "");
        let help = found[0].help.clone().expect("it has help");
        let example = help.split('`').nth(1).expect("it has an example");
        assert_eq!(codes(example), []);
    }
}
