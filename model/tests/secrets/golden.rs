//! `secrets.txt` has texts with their secrets between `⟦` and `⟧`; `without_secrets.txt` has texts without any. Both have a
//! section for each kind of text, and a paragraph for each text of several lines.

use std::ops::Range;

use dcp_model::secrets::{self, TextKind};

const SECRETS: &str = include_str!("secrets.txt");
const WITHOUT_SECRETS: &str = include_str!("without_secrets.txt");

/// The texts of a file, with their kinds. Lines are texts of their own, but for those of an indented paragraph.
fn texts(file: &str) -> Vec<(TextKind, String)> {
    let mut kind = None;
    let mut texts: Vec<(TextKind, String)> = Vec::new();
    let mut paragraph = false;
    for line in file.lines() {
        match line {
            "## log" => kind = Some(TextKind::Log),
            "## manifest" => kind = Some(TextKind::Manifest),
            "## sql" => kind = Some(TextKind::Sql),
            "" => paragraph = false,
            comment if comment.starts_with("# ") => {}
            line => {
                let kind = kind.expect("a section comes first");
                match (line.strip_prefix("    "), texts.last_mut()) {
                    (Some(line), Some((_, text))) if paragraph => {
                        text.push('\n');
                        text.push_str(line);
                    }
                    (Some(line), _) => texts.push((kind, line.to_owned())),
                    (None, _) => texts.push((kind, line.to_owned())),
                }
                paragraph = line.starts_with("    ");
            }
        }
    }
    texts
}

/// Takes the marks out of a text, and returns what they mark.
fn unmarked(marked: &str) -> (String, Vec<Range<usize>>) {
    let (mut text, mut ranges) = (String::new(), Vec::new());
    for piece in marked.split_inclusive(['⟦', '⟧']) {
        let plain = piece.trim_end_matches(['⟦', '⟧']);
        let start = text.len();
        text.push_str(plain);
        if piece.ends_with('⟧') {
            ranges.push(start..text.len());
        }
    }
    (text, ranges)
}

/// The text with marks around what was found.
fn marked(text: &str, kind: TextKind) -> String {
    let mut marked = String::new();
    let mut end = 0;
    for secret in secrets::find(text, kind) {
        marked.push_str(&text[end..secret.range.start]);
        marked.push('⟦');
        marked.push_str(&text[secret.range.clone()]);
        marked.push('⟧');
        end = secret.range.end;
    }
    marked.push_str(&text[end..]);
    marked
}

#[test]
fn find_returns_every_secret_and_nothing_else() {
    let mut wrong = Vec::new();
    for (kind, expected) in texts(SECRETS) {
        let (text, ranges) = unmarked(&expected);
        assert!(!ranges.is_empty(), "no secret is marked in: {text}");
        let found = marked(&text, kind);
        if found != expected {
            wrong.push(format!("{kind:?}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn find_ignores_texts_without_secrets() {
    let mut wrong = Vec::new();
    for (kind, text) in texts(WITHOUT_SECRETS) {
        let found = marked(&text, kind);
        if found != text {
            wrong.push(format!("{kind:?}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn redact_replaces_secrets_and_keeps_lines() {
    for (kind, expected) in texts(SECRETS) {
        if kind != TextKind::Log {
            continue;
        }
        let (text, ranges) = unmarked(&expected);
        let redacted = secrets::redact(&text);
        assert_eq!(redacted.lines().count(), text.lines().count(), "{text}");
        for range in ranges {
            for line in text[range].lines().filter(|line| line.len() > 3) {
                assert!(!redacted.contains(line.trim()), "`{line}` is in: {redacted}");
            }
        }
        assert_eq!(secrets::redact(&redacted), redacted, "a second time changes nothing");
    }
}

#[test]
fn named_fields_of_manifests_are_judged_by_name_and_value() {
    for (name, value) in [
        ("spark.hadoop.fs.s3a.secret.key", "wJalrXUtnFEMIK7MDENG"),
        ("fs.s3a.access.key", "minio-admin-1"),
        ("fs.azure.account.key.acc.dfs.core.windows.net", "abcdefgh=="),
        ("fs.azure.sas.container.acc.blob.core.windows.net", "sv=2024&sig=x"),
        ("DB_PASSWORD", "hunter22"),
        ("dbPwd", "hunter"),
        ("password", "x"),
        ("token", "abcdef0123456789"),
        ("spark.authenticate.secret", "shared"),
        ("kafka.ssl.keystore.password", "changeit"),
        ("--storepass", "hunter22"),
    ] {
        assert!(secrets::by_name(name, value).is_some(), "{name}: {value}");
    }
    for (name, value) in [
        ("spark.hadoop.fs.s3a.secret.key", "${secret.s3/secret-key}"),
        ("passwordFile", "/etc/secrets/password"),
        ("ssl.key.password.path", "/run/secrets/x"),
        ("password", "string"),
        ("token", "array<string>"),
        ("primaryKey", "order_id_number"),
        ("next_token", "abcdef012345"),
        ("password", ""),
        ("author", "ada-lovelace-1815"),
        ("fs.s3a.aws.credentials.provider", "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"),
        ("secret", "${secret.db/password}"),
        ("secret", "database-credentials"),
        ("spark.authenticate", "true"),
        ("password_hash", "5f4dcc3b5aa765d61d8327deb882cf99"),
    ] {
        assert_eq!(secrets::by_name(name, value), None, "{name}: {value}");
    }
}
