//! Resolves plain scalars by the core schema of YAML 1.2, and detects values that YAML 1.1 resolves differently.

use super::Kind;

/// Returns the kind of a plain scalar, and the reason if other YAML readers resolve it differently.
pub(super) fn resolve(text: &str) -> (Kind, Option<Ambiguity>) {
    let Some(&first) = text.as_bytes().first() else { return (Kind::Null, None) };
    match first {
        b'~' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'y' | b'Y' | b'o' | b'O' => word(text),
        b'0'..=b'9' | b'+' | b'-' | b'.' => number(text),
        _ => (Kind::Str, None),
    }
}

/// The meaning in YAML 1.1 of a scalar that is a text in YAML 1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ambiguity {
    Boolean(bool),
    Octal,
    Sexagesimal,
    Underscored,
    NotFinite,
}

fn word(text: &str) -> (Kind, Option<Ambiguity>) {
    match text {
        "~" | "null" | "Null" | "NULL" => (Kind::Null, None),
        "true" | "True" | "TRUE" => (Kind::Bool(true), None),
        "false" | "False" | "FALSE" => (Kind::Bool(false), None),
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" => (Kind::Str, Some(Ambiguity::Boolean(true))),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" => (Kind::Str, Some(Ambiguity::Boolean(false))),
        _ => (Kind::Str, None),
    }
}

fn number(text: &str) -> (Kind, Option<Ambiguity>) {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(hex) = text.strip_prefix("0x") {
        return match i64::from_str_radix(hex, 16) {
            Ok(value) if !hex.starts_with(['+', '-']) => (Kind::Int(value), None),
            _ => (Kind::Str, None),
        };
    }
    if matches!(digits, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return (Kind::Str, Some(Ambiguity::NotFinite));
    }
    if let Some(ambiguity) = ambiguous(digits) {
        return (Kind::Str, Some(ambiguity));
    }
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return match text.parse() {
            Ok(value) => (Kind::Int(value), None),
            Err(_) => float(text),
        };
    }
    // `1.2.3`, `5m`, `2026-01-01` and similar texts begin like numbers, and Rust also parses `inf`.
    let floating = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-');
    match digits.bytes().all(floating) && digits.bytes().any(|b| b.is_ascii_digit()) {
        true => float(text),
        false => (Kind::Str, None),
    }
}

fn float(text: &str) -> (Kind, Option<Ambiguity>) {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => (Kind::Float(value), None),
        _ => (Kind::Str, None),
    }
}

fn ambiguous(digits: &str) -> Option<Ambiguity> {
    let bytes = digits.as_bytes();
    let all = |allowed: fn(u8) -> bool| bytes.iter().all(|&b| allowed(b));
    let octal = |text: &str| !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'7' | b'_'));
    if bytes.len() > 1
        && bytes[0] == b'0'
        && (octal(&digits[1..]) || digits[1..].strip_prefix('o').is_some_and(octal))
    {
        return Some(Ambiguity::Octal);
    }
    if bytes.first().is_none_or(|b| !b.is_ascii_digit()) {
        return None;
    }
    if bytes.contains(&b':') && all(|b| b.is_ascii_digit() || b == b':') && sexagesimal(digits) {
        return Some(Ambiguity::Sexagesimal);
    }
    let underscored = bytes.contains(&b'_') && all(|b| b.is_ascii_digit() || matches!(b, b'_' | b'.'));
    underscored.then_some(Ambiguity::Underscored)
}

fn sexagesimal(digits: &str) -> bool {
    let mut parts = digits.split(':');
    let first = parts.next().is_some_and(|part| !part.is_empty());
    first && parts.all(|part| matches!(part.parse::<u8>(), Ok(0..=59)) && part.len() <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_schema() {
        for (text, kind) in [
            ("", Kind::Null),
            ("~", Kind::Null),
            ("true", Kind::Bool(true)),
            ("FALSE", Kind::Bool(false)),
            ("42", Kind::Int(42)),
            ("-7", Kind::Int(-7)),
            ("0", Kind::Int(0)),
            ("0x1F", Kind::Int(31)),
            ("1.5", Kind::Float(1.5)),
            ("1e3", Kind::Float(1000.0)),
            ("99999999999999999999", Kind::Float(1e20)),
        ] {
            assert_eq!(resolve(text), (kind, None), "{text:?}");
        }
        for text in [
            "5m",
            "1.2.3",
            "2026-01-01",
            "inf",
            "nan",
            "truely",
            "y",
            "n",
            "0x",
            "-",
            "+",
            ".",
            "1e999",
            "0x+1",
        ] {
            assert_eq!(resolve(text), (Kind::Str, None), "{text:?}");
        }
    }

    #[test]
    fn yaml_1_1_values_are_ambiguous_texts() {
        for (text, ambiguity) in [
            ("yes", Ambiguity::Boolean(true)),
            ("NO", Ambiguity::Boolean(false)),
            ("off", Ambiguity::Boolean(false)),
            ("0755", Ambiguity::Octal),
            ("0o17", Ambiguity::Octal),
            ("00", Ambiguity::Octal),
            ("12:30:45", Ambiguity::Sexagesimal),
            ("1_000", Ambiguity::Underscored),
            (".inf", Ambiguity::NotFinite),
            ("-.INF", Ambiguity::NotFinite),
        ] {
            assert_eq!(resolve(text), (Kind::Str, Some(ambiguity)), "{text:?}");
        }
    }
}
