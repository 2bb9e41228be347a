//! Literals that look like secrets. Their values are in no message, and are blotted out of what is printed.

use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use crate::yaml::NodeRef;

/// Looks through a whole tree, so that it works on manifests that have other faults as well.
pub(crate) fn check(root: NodeRef<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    look(root, "", &mut found);
    found
}

/// Adds what is found to other diagnostics, of which none may repeat the value of a secret.
pub(crate) fn add(root: NodeRef<'_>, found: &mut Vec<Diagnostic>) {
    let secrets = check(root);
    let places: Vec<Span> = secrets.iter().filter_map(Diagnostic::primary).collect();
    found.retain(|diagnostic| !diagnostic.primary().is_some_and(|place| places.contains(&place)));
    found.extend(secrets);
}

fn look(node: NodeRef<'_>, key: &str, found: &mut Vec<Diagnostic>) {
    if let Some(text) = node.as_str() {
        if let Some(what) = suspicion(key, text) {
            found.push(refuse(what, key, node.span()));
        }
        return;
    }
    for member in node.members() {
        look(member.value, member.key, found);
    }
    let mut option = None;
    for item in node.items() {
        // In a list of arguments, an option says what the next one is.
        look(item, option.unwrap_or(key), found);
        option = item.as_str().and_then(|text| text.strip_prefix("--"));
    }
}

fn refuse(what: &str, key: &str, span: Span) -> Diagnostic {
    let name = key.rsplit(['.', '/']).next().unwrap_or(key).to_ascii_lowercase().replace('_', "-");
    let name = if name.is_empty() || name.len() > 40 { "key".to_owned() } else { name };
    Diagnostic::new(Code::SECRET_LITERAL, format!("this looks like {what}"))
        .at(span, "a secret must not stand in a manifest")
        .help(format!("keep it in a secret and write the reference: `${{secret.<name>/{name}}}`"))
}

const PASSWORD: &str = "a password";

/// What a literal looks like, if it looks like a secret.
fn suspicion(key: &str, text: &str) -> Option<&'static str> {
    if text.len() < 6 {
        return None;
    }
    if let Some((option, value)) = text.strip_prefix("--").and_then(|text| text.split_once('=')) {
        return by_shape(value).or_else(|| by_key(option, value));
    }
    // SQL compares a column `password` with what it likes.
    let sql = key == "query" && !text.contains("://");
    by_shape(text).filter(|what| !sql || *what != PASSWORD).or_else(|| by_key(key, text))
}

/// Secrets that are known by how they look.
fn by_shape(text: &str) -> Option<&'static str> {
    // Most texts are short, and of the keys and tokens none is.
    let key = if text.len() < AWS_KEY { None } else { key_or_token(text) };
    key.or_else(|| has_password_in_uri(text).then_some("a password in a URI"))
        .or_else(|| has_assigned_password(text).then_some(PASSWORD))
}

/// The length of an access key of AWS, which is the shortest of what [`key_or_token`] knows.
const AWS_KEY: usize = 20;

fn key_or_token(text: &str) -> Option<&'static str> {
    if has_aws_key(text) {
        return Some("an access key of AWS");
    }
    if text.starts_with("-----BEGIN") && text.contains("PRIVATE KEY") {
        return Some("a private key");
    }
    let prefixed = [
        ("ghp_", 36),
        ("gho_", 36),
        ("github_pat_", 40),
        ("glpat-", 20),
        ("xoxb-", 20),
        ("xoxp-", 20),
        ("sk_live_", 20),
        ("dapi", 32),
    ];
    let token = |(prefix, length): (&str, usize)| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            rest.len() >= length - 4
                && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        })
    };
    if prefixed.into_iter().any(token) {
        return Some("an access token");
    }
    let signed = text.starts_with("eyJ") && text.split('.').count() == 3 && text.len() > 40;
    signed.then_some("a signed token")
}

fn has_aws_key(text: &str) -> bool {
    let key = |at: usize| {
        let alone = !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        let key = text[at..].bytes().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).count();
        alone && key == AWS_KEY
    };
    // A look at every four bytes costs less than to prepare a search, of which nearly none finds anything.
    let windows = text.as_bytes().windows(4).enumerate();
    windows.filter(|(_, begin)| matches!(*begin, b"AKIA" | b"ASIA")).any(|(at, _)| key(at))
}

/// `scheme://user:password@host`.
fn has_password_in_uri(text: &str) -> bool {
    // The search for one byte is far cheaper, and nearly always enough.
    text.contains('@')
        && text.match_indices("://").any(|(at, mark)| {
            let rest = &text[at + mark.len()..];
            let authority = &rest[..rest.find(['/', ' ', '?', '"', '\'']).unwrap_or(rest.len())];
            let Some((user, _)) = authority.rsplit_once('@') else { return false };
            user.split_once(':').is_some_and(|(_, password)| literal(password))
        })
}

/// `password="…"`, as in a JAAS configuration or a connection string.
fn has_assigned_password(text: &str) -> bool {
    const MARKS: [&[u8]; 5] = [b"password", b"passwd", b"pwd", b"secret_access_key", b"accountkey"];
    let bytes = text.as_bytes();
    let marked = |at: usize| {
        let ends = |mark: &[u8]| at >= mark.len() && bytes[at - mark.len()..at].eq_ignore_ascii_case(mark);
        MARKS.into_iter().any(ends)
    };
    text.match_indices('=').filter(|&(at, _)| marked(at)).any(|(at, _)| {
        let rest = &text[at + 1..];
        let (quote, rest) = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => (Some(quote), &rest[1..]),
            _ => (None, rest),
        };
        let end = rest.find(|c: char| {
            quote.map_or_else(|| c.is_whitespace() || matches!(c, ';' | '&' | ','), |quote| c == quote)
        });
        literal(&rest[..end.unwrap_or(rest.len())])
    })
}

/// Whether a value is one, and not a reference, a marker or a place where one is kept.
fn literal(value: &str) -> bool {
    value.len() >= 3
        && !value.contains("${")
        && !value.starts_with([':', '$', '<', '{'])
        && !value.chars().all(|c| matches!(c, '*' | 'x' | 'X' | '.'))
}

/// Settings whose name says that their value is secret.
fn by_key(key: &str, text: &str) -> Option<&'static str> {
    // Nearly every key ends otherwise, and there is nothing to be gained from looking closer.
    let may_be = |ends: &&str| {
        key.len() >= ends.len()
            && key.as_bytes()[key.len() - ends.len()..].eq_ignore_ascii_case(ends.as_bytes())
    };
    let suspicious = ["word", "wd", "key", "secret", "token", "phrase"].iter().any(may_be)
        || (key.len() > 16 && key.contains("fs.azure"));
    if key.len() < 5 || !suspicious {
        return None;
    }
    let plain: String =
        key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let named = [
        "password",
        "passwd",
        "secretkey",
        "accesskey",
        "secretaccesskey",
        "apikey",
        "privatekey",
        "clientsecret",
        "authtoken",
        "accesstoken",
        "sastoken",
        "accountkey",
        "sessiontoken",
        "passphrase",
    ];
    let ends = |plain: &str| {
        named.iter().any(|name| plain.ends_with(name))
            || plain == "secret"
            || plain == "token"
            || plain.ends_with("apitoken")
    };
    // `fs.azure.account.key.<account>.dfs.core.windows.net` and `fs.azure.sas.<container>` name the place last.
    let azure = plain.starts_with("fsazureaccountkey")
        || plain.starts_with("sparkhadoopfsazureaccountkey")
        || plain.starts_with("fsazuresasfixedtoken");
    let sentence = text.contains(' ');
    let place = text.starts_with('/') || text.contains("://");
    ((ends(&plain) || azure) && literal(text) && !sentence && !place)
        .then_some("a secret, by the name of its field")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_seen() {
        for (key, text) in [
            ("spark.hadoop.fs.s3a.secret.key", "wJalrXUtnFEMIK7MDENG"),
            ("fs.azure.account.key.acc.dfs.core.windows.net", "abcdefgh=="),
            ("DB_PASSWORD", "hunter22"),
            ("x", "AKIAIOSFODNN7EXAMPLE"),
            ("x", "jdbc:postgresql://user:hunter2@db/x"),
            ("kafka.sasl.jaas.config", "Module required username=\"u\" password=\"hunter2\";"),
            ("x", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
            ("x", "-----BEGIN RSA PRIVATE KEY-----\nabc"),
            ("token", "abcdef0123456789"),
        ] {
            assert!(suspicion(key, text).is_some(), "{key}: {text}");
        }
    }

    #[test]
    fn what_is_none_is_left_alone() {
        for (key, text) in [
            ("spark.hadoop.fs.s3a.secret.key", "${secret.s3/secret-key}"),
            ("DB_PASSWORD", "${secret.db/password}"),
            (
                "kafka.sasl.jaas.config",
                "Module required username=\"u\" password=\"${secret.kafka/password}\";",
            ),
            ("passwordFile", "/etc/secrets/password"),
            ("ssl.key.password.path", "/run/secrets/x"),
            ("description", "how to change the password of the database"),
            ("query", "SELECT password FROM users WHERE password=:password"),
            ("partition.keys", "customer"),
            ("primaryKey", "order_id_number"),
            ("x", "s3://bucket/path@2026"),
            ("name", "ask-institute"),
            ("servers", "kafka-1:9092,kafka-2:9092"),
        ] {
            assert_eq!(suspicion(key, text), None, "{key}: {text}");
        }
    }
}
