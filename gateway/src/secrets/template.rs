//! The names of secrets at a provider.

use crate::SecretKey;
use crate::error::{Error, Result};

const DOMAIN: &str = "{domain}";
const NAME: &str = "{name}";
const KEY: &str = "{key}";

/// A path with the placeholders `{domain}`, `{name}` and `{key}`.
///
/// The domain is a segment of its own: of `{domain}-{name}`, the domain `a` with the secret `b-c` would read what belongs
/// to the domain `a-b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// Reads a template. `is_of_one_domain` allows it to have no domain.
    pub fn new(text: &str, is_of_one_domain: bool) -> Result<Self> {
        let segments: Vec<&str> = text.split('/').collect();
        let is_plain = |segment: &str| {
            let rest =
                [DOMAIN, NAME, KEY].iter().fold(segment.to_owned(), |rest, it| rest.replacen(it, "", 1));
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !segment.is_empty() && !segment.starts_with('.') && rest.bytes().all(is_allowed)
        };
        let domains = segments.iter().filter(|segment| segment.contains(DOMAIN)).count();
        let is_own_segment = segments.contains(&DOMAIN) && domains == 1;
        let names = text.matches(NAME).count();
        if !segments.iter().all(|segment| is_plain(segment)) {
            return Err(Error::Invalid(format!(
                "`{text}` is no path of letters, digits, `-`, `_`, `.` and the placeholders {DOMAIN}, {NAME} and {KEY}"
            )));
        }
        if names != 1 || text.matches(KEY).count() > 1 {
            return Err(Error::Invalid(format!("`{text}` must have {NAME} once, and {KEY} at most once")));
        }
        let has_own_place = if domains == 0 { is_of_one_domain } else { is_own_segment };
        if !has_own_place {
            return Err(Error::Invalid(format!(
                "`{text}` must have {DOMAIN} once, between slashes, so that no domain reads the secrets of another one"
            )));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns true if each key is a secret of its own at the provider.
    pub fn has_key(&self) -> bool {
        self.0.contains(KEY)
    }

    /// Returns the path of a secret.
    pub fn path(&self, domain: &str, secret: &SecretKey) -> Result<String> {
        let is_plain = domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if domain.is_empty() || !is_plain {
            return Err(Error::field("metadata.domain", "it is no name of a domain"));
        }
        let mut path = String::new();
        let mut rest = self.0.as_str();
        // In one pass, so that no value is read as a placeholder.
        while let Some((before, from)) = rest.split_once('{') {
            let Some((placeholder, after)) = from.split_once('}') else { break };
            path.push_str(before);
            path.push_str(match placeholder {
                "domain" => domain,
                "name" => secret.name(),
                _ => secret.key(),
            });
            rest = after;
        }
        path.push_str(rest);
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_domain_and_the_names() {
        let secret = SecretKey::new("shop-db", "password", "f").expect("the names are valid");
        let path = |text: &str| Template::new(text, false).expect(text).path("sales", &secret);
        assert_eq!(path("dcp/{domain}/{name}"), Ok("dcp/sales/shop-db".to_owned()));
        assert_eq!(path("{domain}/x-{name}.{key}"), Ok("sales/x-shop-db.password".to_owned()));
        let alone = Template::new("dcp/{name}", true).expect("it is of one domain");
        assert_eq!(alone.path("sales", &secret), Ok("dcp/shop-db".to_owned()));
    }

    #[test]
    fn templates_in_which_domains_could_meet_are_rejected() {
        for text in [
            "",
            "dcp/{name}",
            "dcp/{domain}",
            "dcp/{domain}-{name}",
            "{domain}/{domain}/{name}",
            "dcp//{domain}/{name}",
            "../{domain}/{name}",
            "/{domain}/{name}",
            "{domain}/{name}/{other}",
            "{domain}/{name}?x",
            "{domain}/{name}{name}",
        ] {
            Template::new(text, false).expect_err(text);
        }
        Template::new("dcp/{domain}-{name}", true).expect_err("it has a domain");
    }

    #[test]
    fn a_domain_that_is_no_name_has_no_path() {
        let secret = SecretKey::new("a", "b", "f").expect("the names are valid");
        let template = Template::new("{domain}/{name}", false).expect("it is valid");
        for domain in ["", "..", "a/b", "a b", "{name}"] {
            template.path(domain, &secret).expect_err(domain);
        }
    }
}
