//! Diagnostics of single errors of the schema.

use dcp_model::manifest::FormatError;
use jsonschema::JsonType;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

use crate::diag::{Code, Diagnostic, list, nearest};
use crate::schema::formats;
use crate::source::Span;
use crate::yaml::NodeRef;

pub(super) fn choose(node: NodeRef<'_>, name: &str, fields: &[&str]) -> Diagnostic {
    let there: Vec<_> = node.members().filter(|member| fields.contains(&member.key)).collect();
    let message = format!("`{name}` needs exactly one of {}", list(fields.iter().copied(), "and"));
    let diagnostic = Diagnostic::new(Code::EXACTLY_ONE, message);
    match there.as_slice() {
        [] => diagnostic.at(node.span(), "and has none of them"),
        [first, rest @ ..] => rest
            .iter()
            .fold(diagnostic.at(first.key_span, "one is here"), |diagnostic, other| {
                diagnostic.at(other.key_span, "another one here")
            })
            .help("keep one of them"),
    }
}

pub(super) fn required(node: NodeRef<'_>, missing: &str, name: &str) -> Diagnostic {
    Diagnostic::new(Code::MISSING_FIELD, format!("`{missing}` is missing from `{name}`"))
        .at(node.span(), format!("needs `{missing}`"))
        .help(format!("add `{missing}: …` here"))
}

/// Reports a repeated entry of a list.
pub(super) fn repeated(node: NodeRef<'_>, name: &str) -> Diagnostic {
    let items: Vec<NodeRef<'_>> = node.items().collect();
    let values: Vec<Value> = items.iter().map(|item| item.to_json()).collect();
    let again =
        (1..values.len()).find_map(|at| Some((at, values[..at].iter().position(|it| *it == values[at])?)));
    let Some((again, first)) = again else {
        let message = format!("something stands twice in `{name}`");
        return Diagnostic::new(Code::OUT_OF_RANGE, message)
            .at(node.span(), "every entry may stand here once");
    };
    let what =
        items[again].scalar().map_or_else(|| "an entry".to_owned(), |text| format!("`{}`", shortened(text)));
    Diagnostic::new(Code::OUT_OF_RANGE, format!("{what} stands twice in `{name}`"))
        .at(items[again].span(), "again here")
        .at(items[first].span(), "first here")
        .help("remove one of the two")
}

pub(super) fn wrong_type(node: NodeRef<'_>, name: &str, kind: &TypeKind, format: Option<&str>) -> Diagnostic {
    let diagnostic = type_mismatch(node, name, &types(kind));
    // Quotes alone do not turn a number into a duration.
    let format_error = format.zip(node.scalar()).and_then(|(format, text)| check_format(format, text));
    match format_error.and_then(|format_error| format_error.help) {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

pub(super) fn types(kind: &TypeKind) -> Vec<JsonType> {
    match kind {
        TypeKind::Single(single) => vec![*single],
        TypeKind::Multiple(several) => several.iter().collect(),
    }
}

pub(super) fn type_mismatch(node: NodeRef<'_>, name: &str, wanted: &[JsonType]) -> Diagnostic {
    let mut words: Vec<&str> = Vec::new();
    for wanted in wanted {
        let word = type_word(*wanted);
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let expected = match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "something else".to_owned(),
    };
    let message = format!("`{name}` should be {expected}, and is {}", node.type_name());
    let diagnostic =
        Diagnostic::new(Code::WRONG_TYPE, message).at(node.span(), format!("expected {expected}"));
    let text = node.scalar().unwrap_or_default();
    match wanted {
        _ if node.is_null() => diagnostic.help("give it a value, or leave the field out"),
        [JsonType::String] if node.scalar().is_some() => {
            diagnostic.help(format!("put it in quotes: \"{}\"", shortened(text)))
        }
        [JsonType::Boolean] => match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "1" => diagnostic.help("write `true`"),
            "no" | "off" | "0" => diagnostic.help("write `false`"),
            _ => diagnostic.help("write `true` or `false`"),
        },
        [JsonType::Integer | JsonType::Number] => match text.parse::<i64>() {
            Ok(number) => diagnostic.help(format!("write {number}, without quotes")),
            Err(_) => diagnostic,
        },
        [JsonType::Array] if node.scalar().is_some() => {
            diagnostic.help(format!("write a list: [{}]", shortened(text)))
        }
        _ => diagnostic,
    }
}

fn type_word(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "a list",
        JsonType::Boolean => "a boolean",
        JsonType::Integer => "a whole number",
        JsonType::Null => "nothing",
        JsonType::Number => "a number",
        JsonType::Object => "a map",
        JsonType::String => "text",
    }
}

pub(super) fn not_allowed(node: NodeRef<'_>, options: &Value) -> Diagnostic {
    let options = options.as_array().into_iter().flatten();
    let options: Vec<String> =
        options.map(|option| option.as_str().map_or_else(|| option.to_string(), str::to_owned)).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let Some(text) = node.scalar() else { return type_mismatch(node, "this", &[JsonType::String]) };
    let message = format!("`{}` is not allowed here", shortened(text));
    let diagnostic = Diagnostic::new(Code::NOT_ALLOWED, message);
    let known = list(options.iter().copied(), "or");
    match nearest(text, options.iter().copied()) {
        Some(meant) => {
            diagnostic.at(node.span(), format!("did you mean `{meant}`?")).help(format!("allowed: {known}"))
        }
        None => diagnostic.at(node.span(), format!("expected {known}")),
    }
}

pub(super) fn malformed(format: &str, node: NodeRef<'_>) -> Diagnostic {
    format_error(format, node.scalar().unwrap_or_default(), node.span())
}

/// Creates a diagnostic with the format's own message about an invalid text.
pub(super) fn format_error(format: &str, text: &str, span: Span) -> Diagnostic {
    match check_format(format, text) {
        Some(format_error) => {
            let diagnostic =
                Diagnostic::new(format_error.code, shortened_message(format_error.message, text))
                    .at(span, "");
            match format_error.help {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            }
        }
        None => Diagnostic::new(Code::MALFORMED, format!("`{}` is malformed", shortened(text)))
            .at(span, format!("expected {format}")),
    }
}

fn check_format(format: &str, text: &str) -> Option<FormatError> {
    formats().find(|known| known.name == format).and_then(|known| (known.check)(text).err())
}

pub(super) fn out_of_range(node: NodeRef<'_>, name: &str, kind: &ValidationErrorKind) -> Diagnostic {
    let code = match kind {
        ValidationErrorKind::Pattern { .. } => Code::MALFORMED,
        _ => Code::OUT_OF_RANGE,
    };
    let message = match node.scalar() {
        Some("") => format!("`{name}` is empty"),
        Some(text) => format!("`{}` can't be the value of `{name}`", shortened(text)),
        None => format!("`{name}` is not as it should be"),
    };
    Diagnostic::new(code, message).at(node.span(), limit(kind))
}

pub(super) fn limit(kind: &ValidationErrorKind) -> String {
    match kind {
        ValidationErrorKind::Minimum { limit } => format!("at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("at most {limit}"),
        ValidationErrorKind::MinLength { limit: 1 } => "must not be empty".to_owned(),
        ValidationErrorKind::MinLength { limit } => format!("at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("at most {limit} characters"),
        ValidationErrorKind::MinItems { limit: 1 } => "needs at least one entry".to_owned(),
        ValidationErrorKind::MinItems { limit } => format!("needs at least {limit} entries"),
        ValidationErrorKind::MaxItems { limit } => format!("has at most {limit} entries"),
        ValidationErrorKind::Pattern { pattern } => format!("must match `{pattern}`"),
        other => format!("breaks the rule `{}`", other.keyword()),
    }
}

/// Truncates a value for messages, because values come from untrusted files.
pub(super) fn shortened(text: &str) -> String {
    const MAX_LENGTH: usize = 60;
    match text.char_indices().nth(MAX_LENGTH) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn shortened_message(message: String, text: &str) -> String {
    let short = shortened(text);
    if short == text { message } else { message.replace(text, &short) }
}
