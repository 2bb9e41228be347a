//! The answer to the question who a caller is.

use dcp_proto::identity::v1 as proto;
use dcp_server::Caller;
use dcp_server::policy::{Names, Rule};
use serde::Serialize;
use utoipa::ToSchema;

/// A caller, and its roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    /// The name that bindings of the policy have.
    #[schema(example = "company:ada")]
    pub name: String,
    pub groups: Vec<String>,
    /// The kind of credential that identified the caller.
    #[schema(example = "oidc company")]
    pub credential: String,
    /// True for a caller who may do everything, without a policy.
    pub unrestricted: bool,
    /// The bindings of the policy that apply to the caller.
    pub roles: Vec<RoleBinding>,
}

/// A role in scopes and domains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleBinding {
    /// `viewer`, `operator`, `developer` or `admin`.
    #[schema(example = "developer")]
    pub role: String,
    /// Scopes; `project/*` stands for all scopes of a project, and `*` for all.
    pub scopes: Vec<String>,
    /// Domains; `*` stands for all.
    pub domains: Vec<String>,
}

impl From<&Caller> for WhoAmI {
    fn from(caller: &Caller) -> Self {
        Self {
            name: caller.name.to_string(),
            groups: caller.groups.to_vec(),
            credential: caller.credential.to_string(),
            unrestricted: caller.is_unrestricted(),
            roles: caller.rules().into_iter().map(RoleBinding::from).collect(),
        }
    }
}

impl From<&Rule> for RoleBinding {
    fn from(rule: &Rule) -> Self {
        let texts = |names: &Names| match names {
            Names::All => vec!["*".to_owned()],
            Names::Only(names) => names.iter().cloned().collect(),
        };
        Self {
            role: rule.role.as_str().to_owned(),
            scopes: texts(&rule.area.scopes),
            domains: texts(&rule.area.domains),
        }
    }
}

impl From<WhoAmI> for proto::WhoAmIResponse {
    fn from(who: WhoAmI) -> Self {
        let WhoAmI { name, groups, credential, unrestricted, roles } = who;
        let role = |RoleBinding { role, scopes, domains }| proto::RoleBinding { role, scopes, domains };
        Self { name, groups, credential, unrestricted, roles: roles.into_iter().map(role).collect() }
    }
}

impl From<proto::WhoAmIResponse> for WhoAmI {
    fn from(response: proto::WhoAmIResponse) -> Self {
        let proto::WhoAmIResponse { name, groups, credential, unrestricted, roles } = response;
        let role = |proto::RoleBinding { role, scopes, domains }| RoleBinding { role, scopes, domains };
        Self { name, groups, credential, unrestricted, roles: roles.into_iter().map(role).collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dcp_server::Credential;
    use dcp_server::policy::{Area, Policy, Role};

    use super::*;

    #[test]
    fn caller_has_the_bindings_of_its_name_and_groups() {
        let rule = |user: &str, group: &str, scopes: &[&str]| Rule {
            role: Role::Developer,
            users: [user.to_owned()].into(),
            groups: [group.to_owned()].into(),
            area: Area {
                scopes: Names::Only(scopes.iter().map(|it| (*it).to_owned()).collect()),
                domains: Names::All,
            },
        };
        let rules =
            vec![rule("ada", "-", &["shop/*"]), rule("-", "data", &["a", "b"]), rule("bob", "ops", &["c"])];
        let caller = Caller::new("ada", vec!["data".to_owned()], Credential::Oidc("corp".into()));
        let who = WhoAmI::from(&caller.clone().with_policy(&Arc::new(Policy { rules, ..Policy::default() })));
        let scopes: Vec<_> = who.roles.iter().map(|role| role.scopes.join(" ")).collect();
        assert_eq!(scopes, ["shop/*", "a b"]);
        assert_eq!(
            (who.roles[0].role.as_str(), who.roles[0].domains.as_slice()),
            ("developer", &["*".to_owned()][..])
        );
        assert_eq!((who.credential.as_str(), who.unrestricted), ("oidc corp", false));
        assert_eq!(WhoAmI::from(proto::WhoAmIResponse::from(who.clone())), who);

        assert_eq!(WhoAmI::from(&caller).roles, []);
        let unrestricted = WhoAmI::from(&Caller::unrestricted("root", Credential::Process));
        assert!(unrestricted.unrestricted && unrestricted.roles.is_empty());
    }
}
