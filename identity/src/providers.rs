//! Providers that issue tokens for a server, as its clients need to know them.

/// An `OpenID` provider whose tokens a server accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// The name in the policy, the prefix of its users and groups.
    pub name: String,
    /// The URL of the issuer.
    pub url: String,
    /// The audience of tokens for the server.
    pub audience: String,
    /// The client of people; none if the provider issues tokens for programs only.
    pub login: Option<ClientSettings>,
}

/// A public client of a provider, and the parameters of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    pub client: String,
    pub scopes: Vec<String>,
    /// The parameter `resource` (RFC 8707).
    pub resource: Option<String>,
    /// The parameter `audience`, which some providers have instead.
    pub audience: Option<String>,
}

impl ClientSettings {
    /// Returns the parameters of every request except the scopes.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, &str)> {
        let optional = [("resource", self.resource.as_deref()), ("audience", self.audience.as_deref())];
        let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
        std::iter::once(("client_id", self.client.as_str())).chain(optional).collect()
    }

    /// Returns the parameter `scope`.
    pub(crate) fn scope(&self) -> String {
        self.scopes.join(" ")
    }
}
