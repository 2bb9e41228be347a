//! Scans a text once, word by word.

mod value;

use std::ops::Range;

use super::names::{self, Strength};
use super::{Kind, Secret, TextKind, shapes};
use value::Value;

/// Maximum length of the prefix of a value that is examined. It bounds the time for texts with many values that are
/// not secrets.
const MAX_EXAMINED: usize = 512;

pub(super) fn scan(text: &str, kind: TextKind) -> Vec<Secret> {
    let mut scanner =
        Scanner { text, bytes: text.as_bytes(), kind, at: 0, found: Vec::new(), sql: Sql::default() };
    while scanner.at < scanner.bytes.len() {
        scanner.step();
    }
    scanner.found
}

struct Scanner<'t> {
    text: &'t str,
    bytes: &'t [u8],
    kind: TextKind,
    at: usize,
    found: Vec<Secret>,
    sql: Sql,
}

/// The state of the scanner in SQL.
#[derive(Default)]
struct Sql {
    /// The quote of the current literal or quoted name.
    quote: Option<u8>,
    /// Set in the options of a table and in `SET`, where names are settings and not columns.
    settings: bool,
    /// Set in `UPDATE` and `MERGE`, whose `SET` assigns columns.
    update: bool,
}

impl Sql {
    fn byte(&mut self, byte: u8) {
        match (byte, self.quote) {
            (b'\'' | b'"' | b'`', None) => self.quote = Some(byte),
            (_, Some(quote)) if quote == byte => self.quote = None,
            (b';', None) => *self = Self::default(),
            _ => {}
        }
    }

    fn word(&mut self, word: &str) {
        const SETTINGS: [&str; 5] =
            ["OPTIONS", "TBLPROPERTIES", "SERDEPROPERTIES", "DBPROPERTIES", "PROPERTIES"];
        const DATA: [&str; 10] =
            ["SELECT", "FROM", "WHERE", "ON", "AND", "OR", "HAVING", "WHEN", "VALUES", "AS"];
        let is = |words: &[&str]| words.iter().any(|it| word.eq_ignore_ascii_case(it));
        if self.quote.is_some() || word.len() > 15 {
        } else if is(&["UPDATE", "MERGE"]) {
            self.update = true;
        } else if is(&SETTINGS) || (is(&["SET"]) && !self.update) {
            self.settings = true;
        } else if is(&DATA) {
            self.settings = false;
        }
    }
}

/// The separator between a name and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Separator {
    /// `=`, `=>`, `:=`, `->`.
    Assigned,
    Colon,
    /// White space after a command-line option.
    Option,
    /// White space before a literal, as in SQL options.
    Juxtaposed,
    /// `<password>…</password>`, and `<name>…password</name><value>…</value>`.
    Xml,
    /// `option("password", "…")`.
    Argument,
}

impl Scanner<'_> {
    fn step(&mut self) {
        let start = self.at;
        let length = self.bytes[start..].iter().take_while(|byte| is_word(**byte)).count();
        if length == 0 {
            if self.kind == TextKind::Sql {
                self.sql.byte(self.bytes[start]);
            }
            self.at += 1;
            return;
        }
        let end = start + length;
        self.at = end;
        let word = &self.text[start..end];
        if self.kind == TextKind::Sql {
            self.sql.word(word);
        }
        let secret = self
            .private_key(start, word)
            .or_else(|| self.token(start, word))
            .or_else(|| self.uri(end, word))
            .or_else(|| self.header(start, word))
            .or_else(|| self.user_password(end, word))
            .or_else(|| self.named(start, word));
        if let Some(secret) = secret {
            if self.kind == TextKind::Sql {
                // A token may end before its word does.
                let passed = self.bytes.get(end..secret.range.end).unwrap_or_default();
                for byte in passed {
                    self.sql.byte(*byte);
                }
            }
            self.find_tokens(end, secret.range.start);
            self.at = secret.range.end;
            self.found.push(secret);
        }
    }

    /// Finds tokens between a name and its value, such as a user name.
    fn find_tokens(&mut self, from: usize, to: usize) {
        let mut at = from;
        while at < to {
            let length = self.bytes[at..to].iter().take_while(|byte| is_word(**byte)).count();
            if let Some(secret) = token_secret(at, &self.text[at..at + length]) {
                self.found.push(secret);
            }
            at += length.max(1);
            // Continues at a character boundary.
            at = self.text.ceil_char_boundary(at).min(to.max(at));
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn private_key(&self, start: usize, word: &str) -> Option<Secret> {
        let begin = word.strip_suffix("BEGIN")?;
        let at = start + begin.strip_suffix("-----")?.len();
        Some(Secret { range: shapes::private_key(self.text, at)?, kind: Kind::PrivateKey })
    }

    fn token(&mut self, start: usize, word: &str) -> Option<Secret> {
        let secret = token_secret(start, word)?;
        if secret.kind == Kind::AwsKey
            && let Some(range) = self.aws_secret(secret.range.end)
        {
            let kind = secret.kind;
            self.found.push(secret);
            return Some(Secret { range, kind });
        }
        Some(secret)
    }

    /// Returns the AWS secret key that follows its id on the same line, within a limited distance.
    fn aws_secret(&self, from: usize) -> Option<Range<usize>> {
        const NEAR: usize = 200;
        let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+');
        let near = &self.bytes[from..self.bytes.len().min(from + NEAR)];
        let line = near.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let mut start = 0;
        for part in line.split(|byte| !base64(byte)) {
            let range = from + start..from + start + part.len();
            if self.text.get(range.clone()).is_some_and(shapes::is_aws_secret) {
                return Some(range);
            }
            start += part.len() + 1;
        }
        None
    }

    /// Finds the password in `scheme://user:password@host` and in Oracle's `jdbc:oracle:thin:user/password@host`.
    fn uri(&self, end: usize, word: &str) -> Option<Secret> {
        let rest = &self.bytes[end..];
        let (from, divider) = match rest {
            [b':', b'/', b'/', ..] => (end + 3, b':'),
            [b':', ..] if word == "thin" && self.text[..end].ends_with("oracle:thin") => (end + 1, b'/'),
            _ => return None,
        };
        let ends =
            |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'?' | b'"' | b'\'' | b'<' | b'>');
        let authority = self.bytes[from..].iter().take(MAX_EXAMINED).take_while(|byte| !ends(byte));
        let length = match divider {
            b':' => authority.take_while(|byte| **byte != b'/').count(),
            _ => authority.count(),
        };
        let authority = &self.text[from..self.text.floor_char_boundary(from + length)];
        let (user, _) = authority.rsplit_once('@')?;
        let (name, password) = user.split_once(char::from(divider))?;
        let range = from + name.len() + 1..from + user.len();
        (!password.is_empty() && names::is_literal(name, password))
            .then_some(Secret { range, kind: Kind::Uri })
    }

    /// Finds the credential in `Authorization: Bearer …`, and in `Bearer …` alone.
    fn header(&self, start: usize, word: &str) -> Option<Secret> {
        const NAME: &str = "authorization";
        let bearer = word.eq_ignore_ascii_case("bearer");
        let named =
            || word.len().checked_sub(NAME.len()).is_some_and(|at| word[at..].eq_ignore_ascii_case(NAME));
        if !bearer && !named() {
            return None;
        }
        let end = start + word.len();
        let from = if bearer { end } else { self.separator(start, end, word)?.1 };
        let from = self.after_spaces(from);
        let quotes =
            self.bytes[from..].iter().take(4).take_while(|byte| matches!(byte, b'"' | b'\'' | b'\\'));
        let value = self.unquoted(from + quotes.count(), MAX_EXAMINED);
        let scheme = ["bearer", "basic", "token", "apikey", "negotiate", "digest"];
        let is_scheme = !bearer && scheme.iter().any(|it| self.text[value.clone()].eq_ignore_ascii_case(it));
        let value = if is_scheme { self.unquoted(self.after_spaces(value.end), MAX_EXAMINED) } else { value };
        let text = &self.text[value.clone()];
        // Ordinary words may follow `Bearer` or `authorization`, as in "bearer authentication is required".
        let credential = names::is_literal(NAME, text)
            && match (bearer, is_scheme) {
                (_, true) => text.len() >= 3,
                (true, _) => text.len() >= 8 && (names::is_opaque(text) || text.len() >= 20),
                _ => text.len() >= 16 && names::is_opaque(text) && !text.starts_with("AWS4-"),
            };
        let range = value.start..self.unquoted(value.start, usize::MAX).end;
        credential.then_some(Secret { range, kind: Kind::Header })
    }

    /// Finds the password in `curl -u user:password`.
    fn user_password(&self, end: usize, word: &str) -> Option<Secret> {
        if !matches!(word, "-u" | "--user" | "--proxy-user" | "-U") {
            return None;
        }
        let from = match self.byte(end)? {
            b'=' => end + 1,
            byte if byte.is_ascii_whitespace() => self.after_spaces(end),
            _ => return None,
        };
        let Value { range, .. } = self.value(from)?;
        let (user, password) = self.text[range.clone()].split_once(':')?;
        let digits = password.bytes().all(|byte| byte.is_ascii_digit()) && password.len() < 8;
        // In `docker run -u app:app`, the second part is a group.
        let group = digits || user == password || user.contains('/');
        let range = range.start + user.len() + 1..range.end;
        (!group && names::is_literal(user, password)).then_some(Secret { range, kind: Kind::Named })
    }

    /// Finds the value after the name of a secret.
    fn named(&self, start: usize, word: &str) -> Option<Secret> {
        let strength = names::strength(word)?;
        let end = start + word.len();
        let (separator, from, quoted_name) = self.separator(start, end, word)?;
        let Value { range, quote } = self.value(from)?;
        let value = &self.text[range.clone()];
        let strong = strength == Strength::Strong;
        let settled = match separator {
            Separator::Assigned | Separator::Colon if self.kind == TextKind::Sql && !self.is_setting(end) => {
                false
            }
            Separator::Assigned | Separator::Xml | Separator::Argument => true,
            Separator::Colon if quoted_name || names::is_opaque(value) => true,
            Separator::Colon => strong && (quote.is_some() || self.ends_a_statement(range.end)),
            Separator::Option => !value.starts_with('-') && !names::is_prose(value),
            Separator::Juxtaposed => self.is_setting(end),
        };
        // A key of several lines is found by its own first line.
        let elsewhere = value.starts_with("-----BEGIN") || self.is_code(&range);
        let secret = settled
            && !elsewhere
            && names::is_literal(word, value)
            && names::looks_like_secret(strength, value);
        secret.then(|| Secret { range: self.full_range(&Value { range, quote }), kind: Kind::Named })
    }

    /// Returns whether the SQL name that ends at `end` is the name of a setting.
    fn is_setting(&self, end: usize) -> bool {
        let arrow = self.text[self.after_spaces(end)..].starts_with("=>");
        let literal = matches!(self.sql.quote, Some(b'\'' | b'"'));
        self.sql.settings || literal || arrow
    }

    /// Returns whether the line has no more words after a value. In prose, `password: hunter` has a value, and
    /// `password: must have 8 characters` does not.
    fn ends_a_statement(&self, end: usize) -> bool {
        let more = self.byte(self.after_spaces(end));
        self.kind == TextKind::Log && more.is_none_or(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric())
    }

    /// Returns whether a value is code. `get_token()` and `config["password"]` in a line of a program are not
    /// secrets.
    fn is_code(&self, value: &Range<usize>) -> bool {
        let text = &self.text[value.clone()];
        let name = text.bytes().all(is_word) && !names::is_opaque(text);
        self.kind == TextKind::Log && name && matches!(self.byte(value.end), Some(b'(' | b'['))
    }

    /// Returns the separator after a name, the start of the value, and whether the name is quoted.
    fn separator(&self, start: usize, end: usize, word: &str) -> Option<(Separator, usize, bool)> {
        let mut at = end;
        while at < end + 4 && self.byte(at) == Some(b'\\') {
            at += 1;
        }
        let quote = self.byte(at).filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
        let at = if quote.is_some() { at + 1 } else { end };
        let quoted = quote.is_some();
        let rest = &self.text[at..];
        if quoted && self.text[..start].ends_with(['"', '\'']) && rest.starts_with(',') && self.is_call(start)
        {
            return Some((Separator::Argument, at + 1, quoted));
        }
        if let Some(value) = rest.strip_prefix("</name>").map(str::trim_start)
            && let Some(value) = value.strip_prefix("<value>")
        {
            return Some((Separator::Xml, self.text.len() - value.len(), quoted));
        }
        if rest.starts_with('>') && self.text[..start].ends_with('<') {
            return Some((Separator::Xml, at + 1, quoted));
        }
        let bracket = usize::from(quoted && rest.starts_with(']'));
        if let Some(from) = self.after_separator(at + bracket) {
            let colon = self.bytes[from - 1] == b':';
            return Some((if colon { Separator::Colon } else { Separator::Assigned }, from, quoted));
        }
        let value = self.after_spaces(at);
        let literal = matches!(self.byte(value), Some(b'"' | b'\''));
        match value > at {
            true if word.starts_with('-') && !quoted => Some((Separator::Option, value, quoted)),
            true if literal && self.kind == TextKind::Sql => Some((Separator::Juxtaposed, value, quoted)),
            _ => None,
        }
    }

    /// Returns whether the quoted text that begins at `start` is an argument of a call that sets a value.
    fn is_call(&self, start: usize) -> bool {
        let before = &self.text[..start - 1];
        ["option(", "config(", "set(", "put(", "setProperty(", "header(", "conf("]
            .iter()
            .any(|call| before.ends_with(call))
    }

    /// Returns the start of the value, if there is an assignment at `at`.
    fn after_separator(&self, at: usize) -> Option<usize> {
        let at = self.after_spaces(at);
        let rest = &self.bytes[at..];
        let length = match rest {
            [b'=', b'=' | b'~', ..] | [b':', b':', ..] => return None,
            [b'=' | b'-', b'>', ..] | [b':', b'=', ..] => 2,
            [b'=' | b':', ..] => 1,
            _ => return None,
        };
        Some(at + length)
    }
}

fn token_secret(start: usize, word: &str) -> Option<Secret> {
    let trimmed = word.trim_end_matches(['.', '-', '_']);
    let kind = shapes::token(trimmed)?;
    Some(Secret { range: start..start + trimmed.len(), kind })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}
