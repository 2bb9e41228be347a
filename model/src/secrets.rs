//! Finds secrets in text: in logs, to redact them, and in manifests, to reject them.
//!
//! The module is independent of the rest of the crate. It reads every byte a bounded number of times.

mod names;
mod scan;
mod shapes;

use std::borrow::Cow;
use std::ops::Range;

pub use names::by_name;

/// The type of a text, which determines the assignments that are recognized in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    /// Output of a program. A value is redacted if it is probably a secret.
    Log,
    /// A value of a manifest. Findings are errors, so they must be certain.
    Manifest,
    /// SQL. Its columns may have the names of secrets.
    Sql,
}

/// A secret in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The range of the secret, without its name and its quotes.
    pub range: Range<usize>,
    pub kind: Kind,
}

/// The reason why a text is considered a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A setting, option or field with the name of a secret.
    Named,
    Uri,
    AwsKey,
    PrivateKey,
    Token,
    SignedToken,
    Header,
}

impl Kind {
    /// Completes the sentence "this looks like …".
    pub fn description(self) -> &'static str {
        match self {
            Self::Named => "a secret, by its name",
            Self::Uri => "a password in a URI",
            Self::AwsKey => "an access key of AWS",
            Self::PrivateKey => "a private key",
            Self::Token => "an access token",
            Self::SignedToken => "a signed token",
            Self::Header => "a credential in a header",
        }
    }
}

/// Returns the secrets in a text, ordered by position. They do not overlap.
pub fn find(text: &str, kind: TextKind) -> Vec<Secret> {
    scan::scan(text, kind)
}

/// The replacement of a secret.
pub const REDACTED: &str = "…";

/// Returns a log without its secrets. Line breaks are preserved.
pub fn redact(log: &str) -> Cow<'_, str> {
    // Redacting a secret can reveal another one beside it, so several passes are needed. Their number is limited.
    const MAX_PASSES: usize = 8;
    let mut redacted = Cow::Borrowed(log);
    for _ in 0..MAX_PASSES {
        let secrets = find(&redacted, TextKind::Log);
        if secrets.is_empty() {
            break;
        }
        let hidden = replace_secrets(&redacted, secrets);
        if hidden == redacted {
            break;
        }
        redacted = Cow::Owned(hidden);
    }
    redacted
}

fn replace_secrets(log: &str, secrets: Vec<Secret>) -> String {
    let mut redacted = String::with_capacity(log.len());
    let mut end = 0;
    for Secret { range, .. } in secrets {
        redacted.push_str(&log[end..range.start]);
        for (index, line) in log[range.clone()].split('\n').enumerate() {
            if index > 0 {
                redacted.push('\n');
            }
            if !line.trim().is_empty() {
                redacted.push_str(REDACTED);
            }
        }
        end = range.end;
    }
    redacted.push_str(&log[end..]);
    redacted
}
