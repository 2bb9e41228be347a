//! Recognizes the values of secrets in a log that arrives in pieces.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// The replacement of a value.
const REDACTED: &[u8] = "…".as_bytes();
/// Minimum length of a value: shorter ones occur in texts by chance.
const MIN_BYTES: usize = 6;
/// Maximum length of a value that is recognized. Of a longer one, its lines and its beginning are.
const MAX_BYTES: usize = 16 << 10;
/// Maximum size of all patterns.
const MAX_TOTAL_BYTES: usize = 1 << 20;

/// Values of secrets, with the forms in which programs write them: as they are, by line, in Base64, in URLs, in JSON.
#[derive(Clone, Default)]
pub struct Known(Option<Arc<AhoCorasick>>);

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.as_ref().map_or(0, |patterns| patterns.patterns_len());
        write!(f, "Known({count} patterns)")
    }
}

impl Known {
    pub fn new<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let mut patterns = BTreeSet::new();
        let mut total = 0;
        for value in values {
            for form in forms(value) {
                if form.len() >= MIN_BYTES
                    && total + form.len() <= MAX_TOTAL_BYTES
                    && !patterns.contains(&form)
                {
                    total += form.len();
                    patterns.insert(form);
                }
            }
        }
        if patterns.is_empty() {
            return Self::default();
        }
        // The number and the size of patterns are limited, far below what the automaton can hold.
        let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns);
        Self(built.ok().map(Arc::new))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns a text without the values.
    pub fn redact(&self, bytes: &[u8]) -> Vec<u8> {
        let mut redactor = Redactor::new(self.clone());
        let mut output = redactor.push(bytes);
        output.extend(redactor.finish());
        output
    }

    /// Returns the length of the longest pattern.
    fn longest(&self) -> usize {
        self.0.as_ref().map_or(0, |patterns| patterns.max_pattern_len())
    }
}

/// Returns the forms of a value.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let value = &value[..value.floor_char_boundary(MAX_BYTES)];
    let whole = value.trim();
    let lines = value.lines().map(str::trim).filter(|line| !line.is_empty() && *line != whole);
    let mut forms: Vec<Vec<u8>> = Vec::new();
    for text in [whole].into_iter().chain(lines) {
        // Of a short value, an encoded form may be long enough.
        if text.len() < MIN_BYTES {
            continue;
        }
        // No form has a line break, so that a log can be passed on line by line.
        if !text.contains('\n') {
            forms.push(text.into());
        }
        let json = serde_json::Value::from(text).to_string();
        forms.push(json[1..json.len() - 1].into());
        // Encoders of paths leave slashes as they are, and those of forms write spaces as `+`.
        forms.push(in_url(text, "").into());
        forms.push(in_url(text, "/").into());
        forms.push(in_url(text, "").replace("%20", "+").into());
        for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
            forms.push(engine.encode(text).into());
        }
    }
    // Programs encode the whole value with its line break, too.
    if value != whole && whole.len() >= MIN_BYTES {
        forms.push(STANDARD.encode(value).into());
    }
    forms
}

/// Encodes all bytes except unreserved ones and those of `plain`.
fn in_url(text: &str, plain: &str) -> String {
    let one = |byte: u8| match byte {
        byte if plain.as_bytes().contains(&byte) => char::from(byte).to_string(),
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Replaces the values in a log that arrives in pieces. It holds back a part of an unfinished line, with fewer bytes than
/// the longest value has.
#[derive(Debug, Default)]
pub struct Redactor {
    known: Known,
    held: Vec<u8>,
}

impl Redactor {
    pub fn new(known: Known) -> Self {
        Self { known, held: Vec::new() }
    }

    /// Takes a piece, and returns the log as far as it is certain.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.known.is_empty() {
            return bytes.to_vec();
        }
        self.held.extend_from_slice(bytes);
        let keep = self.known.longest().saturating_sub(1);
        let whole_lines = self.held.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.release(self.held.len().saturating_sub(keep).max(whole_lines))
    }

    /// Returns the rest.
    pub fn finish(&mut self) -> Vec<u8> {
        self.release(self.held.len())
    }

    /// Returns the bytes before a position, in which no value can begin that ends in a later piece. A value that begins
    /// before the position is replaced as a whole.
    fn release(&mut self, until: usize) -> Vec<u8> {
        let Some(patterns) = &self.known.0 else { return std::mem::take(&mut self.held) };
        let mut output = Vec::with_capacity(until);
        let mut end = 0;
        for found in patterns.find_iter(&self.held) {
            if found.start() >= until {
                break;
            }
            output.extend_from_slice(&self.held[end..found.start()]);
            output.extend_from_slice(REDACTED);
            end = found.end();
        }
        if end < until {
            output.extend_from_slice(&self.held[end..until]);
            end = until;
        }
        self.held.drain(..end);
        output
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "s3cr\"et/ü +x";

    fn known() -> Known {
        Known::new([SECRET, "short", "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\n-----END KEY-----\n"])
    }

    #[test]
    fn every_form_of_a_value_is_replaced() {
        let json = serde_json::json!({ "password": SECRET }).to_string();
        let encoded = STANDARD.encode(SECRET);
        for text in [SECRET, &json, &encoded, &in_url(SECRET, ""), &in_url(SECRET, "/"), "MIIEpAIBAAKCAQEA"] {
            let redacted = String::from_utf8(known().redact(text.as_bytes())).expect("it is UTF-8");
            assert!(
                redacted.contains('…') && !redacted.contains("s3cr") && !redacted.contains("MII"),
                "{redacted}"
            );
        }
        assert_eq!(known().redact(b"a short text"), b"a short text");
    }

    #[test]
    fn debugging_output_has_no_value() {
        let shown = format!("{:?} {:?}", known(), Redactor::new(known()));
        assert!(!shown.contains("s3cr"), "{shown}");
    }

    proptest! {
        #[test]
        fn values_are_replaced_however_the_log_is_cut(cuts in prop::collection::vec(0..200usize, 0..9)) {
            let log = format!("one {SECRET} two {SECRET}{SECRET} s3cr three {} four", STANDARD.encode(SECRET));
            let whole = known().redact(log.as_bytes());
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(log.len())).collect();
            cuts.extend([0, log.len()]);
            cuts.sort_unstable();
            let mut redactor = Redactor::new(known());
            let mut output = Vec::new();
            for pair in cuts.windows(2) {
                output.extend(redactor.push(&log.as_bytes()[pair[0]..pair[1]]));
                prop_assert!(redactor.held.len() < known().longest());
            }
            output.extend(redactor.finish());
            prop_assert_eq!(&output, &whole);
            let text = String::from_utf8(output).expect("it is UTF-8");
            prop_assert_eq!(text, "one … two …… s3cr three … four");
        }
    }
}
