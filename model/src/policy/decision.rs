//! Decisions: the role of a caller in a scope and a domain.

use std::collections::BTreeSet;

use super::{Limits, Role};

/// Names of scopes or domains. The name `shop/*` includes the scope `shop` and all scopes of its targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    All,
    Only(BTreeSet<String>),
}

/// The end of a name that includes the scopes of all targets of a project.
pub const ALL_TARGETS: &str = "/*";

impl Names {
    pub fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    /// Returns true if a name is included. None stands for all names.
    pub fn include(&self, name: Option<&str>) -> bool {
        match (self, name) {
            (Self::All, _) => true,
            (Self::Only(names), Some(name)) => {
                let project = name.split('/').next();
                names.contains(name) || names.iter().any(|it| it.strip_suffix(ALL_TARGETS) == project)
            }
            (Self::Only(_), None) => false,
        }
    }
}

/// Scopes, and domains in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    pub scopes: Names,
    pub domains: Names,
}

impl Area {
    pub fn includes(&self, resource: Resource<'_>) -> bool {
        self.scopes.include(resource.scope) && self.domains.include(resource.domain)
    }
}

/// The scope and the domain that a call concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// None stands for all scopes. It is also the scope of a job that is not applied.
    pub scope: Option<&'a str>,
    /// None stands for all domains.
    pub domain: Option<&'a str>,
}

impl<'a> Resource<'a> {
    /// All scopes and all domains.
    pub const EVERYTHING: Resource<'static> = Resource { scope: None, domain: None };

    pub fn of(scope: Option<&'a str>, domain: &'a str) -> Self {
        Self { scope, domain: Some(domain) }
    }
}

/// The role of users and groups in an area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub role: Role,
    pub users: BTreeSet<String>,
    pub groups: BTreeSet<String>,
    pub area: Area,
}

impl Rule {
    fn is_for(&self, user: &str, groups: &[String]) -> bool {
        self.users.contains(user) || groups.iter().any(|group| self.groups.contains(group))
    }
}

/// The rules of a control plane, and the limits of domains. A caller may do only what a rule allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    pub rules: Vec<Rule>,
    pub limits: Limits,
}

/// The result of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The rule at this index allows it.
    Allowed(usize),
    /// The caller may read the resource, but has no role that suffices.
    Forbidden,
    /// The caller may not even learn that the resource exists.
    Hidden,
}

/// The resources that a caller may read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Visible {
    #[default]
    All,
    Only(Vec<Area>),
}

impl Visible {
    pub fn includes(&self, resource: Resource<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Only(areas) => areas.iter().any(|area| area.includes(resource)),
        }
    }

    /// Returns true if a domain is visible in some scope.
    pub fn includes_domain(&self, domain: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(areas) => areas.iter().any(|area| area.domains.include(Some(domain))),
        }
    }

    /// Returns the visible domains of a scope.
    pub fn domains_in(&self, scope: &str) -> Names {
        let Self::Only(areas) = self else { return Names::All };
        let mut domains = BTreeSet::new();
        for area in areas.iter().filter(|area| area.scopes.include(Some(scope))) {
            match &area.domains {
                Names::All => return Names::All,
                Names::Only(names) => domains.extend(names.iter().cloned()),
            }
        }
        Names::Only(domains)
    }
}

impl Policy {
    /// Decides if a user of these groups may do what needs a role.
    pub fn decide(&self, user: &str, groups: &[String], needed: Role, resource: Resource<'_>) -> Decision {
        let mut is_visible = false;
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.area.includes(resource) && rule.is_for(user, groups) {
                if rule.role >= needed {
                    return Decision::Allowed(index);
                }
                is_visible = true;
            }
        }
        if is_visible { Decision::Forbidden } else { Decision::Hidden }
    }

    /// Returns the rules for a user of these groups.
    pub fn rules_of<'a>(&'a self, user: &'a str, groups: &'a [String]) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(|rule| rule.is_for(user, groups))
    }

    /// Returns the highest role of a user of these groups.
    pub fn role(&self, user: &str, groups: &[String], resource: Resource<'_>) -> Option<Role> {
        let of_caller = self.rules_of(user, groups).filter(|rule| rule.area.includes(resource));
        of_caller.map(|rule| rule.role).max()
    }

    /// Returns the resources that a user of these groups may read.
    pub fn visible(&self, user: &str, groups: &[String]) -> Visible {
        let areas: Vec<Area> = self.rules_of(user, groups).map(|rule| rule.area.clone()).collect();
        if areas.iter().any(|area| area.includes(Resource::EVERYTHING)) {
            return Visible::All;
        }
        Visible::Only(areas)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = String> {
        "[ab](/[ab*])?"
    }

    fn names() -> impl Strategy<Value = Names> {
        prop_oneof![1 => Just(Names::All), 3 => btree_set(name(), 0..3).prop_map(Names::Only)]
    }

    fn policy() -> impl Strategy<Value = Policy> {
        let rule = (0..4_usize, btree_set(name(), 0..2), btree_set(name(), 0..2), names(), names()).prop_map(
            |(role, users, groups, scopes, domains)| Rule {
                role: Role::ALL[role],
                users,
                groups,
                area: Area { scopes, domains },
            },
        );
        vec(rule, 0..5).prop_map(|rules| Policy { rules, limits: Limits::default() })
    }

    fn caller() -> impl Strategy<Value = (String, Vec<String>)> {
        (name(), vec(name(), 0..2))
    }

    fn resource() -> impl Strategy<Value = (Option<String>, Option<String>)> {
        (proptest::option::of(name()), proptest::option::of(name()))
    }

    fn of(resource: &(Option<String>, Option<String>)) -> Resource<'_> {
        Resource { scope: resource.0.as_deref(), domain: resource.1.as_deref() }
    }

    proptest! {
        #[test]
        fn only_a_rule_of_the_caller_for_the_resource_allows(
            policy in policy(), (user, groups) in caller(), on in resource(), role in 0..4_usize,
        ) {
            let (needed, on) = (Role::ALL[role], of(&on));
            match policy.decide(&user, &groups, needed, on) {
                Decision::Allowed(index) => {
                    let rule = &policy.rules[index];
                    let is_member = rule.users.contains(&user)
                        || groups.iter().any(|group| rule.groups.contains(group));
                    prop_assert!(is_member && rule.role >= needed && rule.area.includes(on));
                }
                denied => {
                    let role = policy.role(&user, &groups, on);
                    prop_assert!(role < Some(needed));
                    prop_assert_eq!(denied == Decision::Hidden, role.is_none());
                }
            }
        }

        #[test]
        fn a_role_includes_those_before_it(
            policy in policy(), (user, groups) in caller(), on in resource(),
        ) {
            let allowed = Role::ALL.map(|role| {
                matches!(policy.decide(&user, &groups, role, of(&on)), Decision::Allowed(_))
            });
            prop_assert!(allowed.is_sorted_by(|before, after| before >= after), "{:?}", allowed);
        }

        #[test]
        fn a_list_has_what_a_viewer_may_read(policy in policy(), (user, groups) in caller(), on in resource()) {
            let reads = matches!(
                policy.decide(&user, &groups, Role::Viewer, of(&on)),
                Decision::Allowed(_)
            );
            prop_assert_eq!(policy.visible(&user, &groups).includes(of(&on)), reads);
        }

        #[test]
        fn the_visible_domains_of_a_scope_are_those_that_a_viewer_may_read(
            policy in policy(), (user, groups) in caller(), scope in name(), domain in "[ab]",
        ) {
            let visible = policy.visible(&user, &groups);
            let is_visible = visible.includes(Resource::of(Some(&scope), &domain));
            prop_assert_eq!(visible.domains_in(&scope).include(Some(&domain)), is_visible);
        }

        #[test]
        fn more_rules_never_allow_less(
            policy in policy(), (user, groups) in caller(), on in resource(), role in 0..4_usize, cut in 0..5_usize,
        ) {
            let mut fewer = policy.clone();
            fewer.rules.truncate(cut);
            let decide = |policy: &Policy| policy.decide(&user, &groups, Role::ALL[role], of(&on));
            if matches!(decide(&fewer), Decision::Allowed(_)) {
                prop_assert!(matches!(decide(&policy), Decision::Allowed(_)));
            }
        }
    }

    #[test]
    fn nobody_may_do_anything_without_a_rule() {
        let policy = Policy::default();
        for role in Role::ALL {
            let decision = policy.decide("ada", &["admins".to_owned()], role, Resource::of(Some("s"), "d"));
            assert_eq!(decision, Decision::Hidden);
        }
        assert_eq!(policy.visible("ada", &[]), Visible::Only(Vec::new()));
    }

    #[test]
    fn a_job_that_is_not_applied_needs_a_rule_for_all_scopes() {
        let area = |scopes| Area { scopes, domains: Names::Only(["sales".to_owned()].into()) };
        let only = area(Names::Only(["shop/dev".to_owned()].into()));
        assert!(only.includes(Resource::of(Some("shop/dev"), "sales")));
        assert!(!only.includes(Resource::of(None, "sales")));
        assert!(area(Names::All).includes(Resource::of(None, "sales")));
    }

    #[test]
    fn a_name_can_include_all_targets_of_a_project() {
        let names = Names::Only(["shop/*".to_owned(), "web".to_owned()].into());
        for included in ["shop", "shop/dev", "shop/prod", "web"] {
            assert!(names.include(Some(included)), "{included}");
        }
        for other in ["shop2", "shop2/dev", "web/prod", "dev/shop", ""] {
            assert!(!names.include(Some(other)), "{other}");
        }
    }
}
