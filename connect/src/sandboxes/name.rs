//! Names of sandboxes and of their schemas.

use sha2::{Digest as _, Sha256};

/// The prefix of all schemas of sandboxes. No other schema is ever dropped.
pub(crate) const PREFIX: &str = "sandbox_";

/// Maximum lengths of a sandbox's name, and of its parts of a schema's name.
const MAX_NAME: usize = 60;
const MAX_USER_PART: usize = 24;
const MAX_NAME_PART: usize = 48;
const MAX_CATALOG: usize = 60;

/// Returns the default name of a branch's sandbox; none if the branch has neither letters nor digits.
pub fn of_branch(branch: &str) -> Option<String> {
    let name = slug(branch, '-', MAX_NAME);
    (!name.is_empty()).then_some(name)
}

/// Checks the name of a sandbox.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let is_valid = (1..=MAX_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_')
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if is_valid {
        return Ok(());
    }
    Err(format!(
        "`{}` can't be the name of a sandbox; use 1 to {MAX_NAME} of a-z, 0-9, `-` and `_`, and begin with a letter or digit",
        name.escape_debug()
    ))
}

/// Checks the name of a catalog.
pub(crate) fn check_catalog(name: &str) -> Result<(), String> {
    let is_valid = (1..=MAX_CATALOG).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if is_valid {
        return Ok(());
    }
    let name = name.escape_debug();
    Err(format!(
        "`{name}` can't be the name of a catalog; use 1 to {MAX_CATALOG} of letters, digits, `_` and `-`"
    ))
}

/// Returns the names for the schema of a sandbox, the best one first. The first one is short, if it is not ambiguous: two
/// sandboxes can have the same first name only if they have the same user and name, in two domains.
pub(crate) fn schemas(domain: &str, user: &str, name: &str) -> Vec<String> {
    let parts = (slug(user, '_', MAX_USER_PART), slug(name, '_', MAX_NAME_PART));
    let short = format!("{PREFIX}{}_{}", parts.0, parts.1);
    let hash = format!("{short}_{}", hash(&[domain, user, name]));
    let is_plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
    };
    match is_plain(user) && is_plain(name) && parts.0 == user && parts.1 == name {
        true => vec![short, hash],
        false => vec![hash],
    }
}

/// Returns whether a schema can be one of a sandbox, so that it may be dropped.
pub(crate) fn is_schema(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| !rest.is_empty())
        && name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
}

/// Returns the letters and digits of a text in lower case, with a separator for each run of others.
fn slug(text: &str, separator: char, max: usize) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            _ if slug.ends_with(separator) || slug.is_empty() => {}
            _ => slug.push(separator),
        }
    }
    slug.truncate(max);
    slug.trim_end_matches(separator).to_owned()
}

/// Returns the first digits of a hash of texts.
fn hash(texts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.len().to_le_bytes());
        hasher.update(text.as_bytes());
    }
    let [a, b, c, d, ..] = <[u8; 32]>::from(hasher.finalize());
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn default_name_is_the_slug_of_the_branch() {
        for (branch, expected) in [
            ("main", Some("main")),
            ("feature/Orders_2", Some("feature-orders-2")),
            ("--x--", Some("x")),
            ("///", None),
        ] {
            assert_eq!(of_branch(branch).as_deref(), expected, "{branch}");
        }
        assert!(check(&of_branch(&"ab/".repeat(100)).unwrap()).is_ok());
    }

    #[test]
    fn schema_has_a_hash_only_if_it_is_needed() {
        assert_eq!(schemas("logistics", "ada", "main")[0], "sandbox_ada_main");
        let hashed = &schemas("logistics", "company:ada@example.com", "feature-x")[0];
        let digits = hashed.strip_prefix("sandbox_company_ada_example_com_feature_x_").unwrap();
        assert_eq!(digits.len(), 8);
        assert_ne!(schemas("a", "ada", "main")[1], schemas("b", "ada", "main")[1]);
    }

    #[test]
    fn names_that_are_not_words_are_rejected() {
        for wrong in ["", "A", "-a", "a b", "a`", "a.b", "ä", &"a".repeat(61)] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "a.b", "a`b", "a b"] {
            assert!(check_catalog(wrong).is_err(), "{wrong}");
        }
        assert!(check("a-b_2").is_ok() && check_catalog("spark_catalog").is_ok());
    }

    proptest! {
        #[test]
        fn schemas_of_two_sandboxes_differ(
            a in ("[a-c_:]{1,4}", "[a-c_-]{1,4}"),
            b in ("[a-c_:]{1,4}", "[a-c_-]{1,4}"),
        ) {
            prop_assume!(a != b);
            let of = |(user, name): &(String, String)| schemas("logistics", user, name);
            for one in of(&a) {
                prop_assert!(is_schema(&one) && one.len() <= 100);
                prop_assert!(!of(&b).contains(&one), "{one}");
            }
        }

        #[test]
        fn every_default_name_is_valid(branch in ".{0,80}") {
            if let Some(name) = of_branch(&branch) {
                prop_assert!(check(&name).is_ok(), "{name}");
            }
        }
    }
}
