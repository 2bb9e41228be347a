//! Converts errors of the schema to diagnostics with remedies.

use std::collections::HashSet;

use dcp_model::manifest;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use super::{DocumentSchema, fields};
use crate::diag::{Code, Diagnostic, list, nearest};
use crate::source::Span;
use crate::yaml::{Member, NodeId, NodeRef, Tree};

/// Maximum number of unknown fields of a map that are reported individually.
const MAX_UNKNOWN: usize = 20;
/// Maximum number of passes. A misspelt field can hide another one below it, but rarely several levels.
const MAX_PASSES: usize = 4;

/// Validates a tree. Misspelt fields are renamed to the fields that were probably meant, so that the rest can be
/// validated.
pub fn check(schema: &DocumentSchema, tree: &mut Tree<'_>) -> Vec<Diagnostic> {
    let mut found = Findings::default();
    for _ in 0..MAX_PASSES {
        if schema.validator.is_valid(tree.root()) {
            break;
        }
        let mut pass =
            Pass { schema: &schema.value, root: tree.root(), findings: &mut found, renames: Vec::new() };
        for error in schema.validator.iter_errors(tree.root()) {
            pass.error(&error);
        }
        let renames = pass.renames;
        if renames.is_empty() {
            break;
        }
        // Other errors may be caused by the misspelt field. If they are not, the next pass finds them again.
        found.diagnostics.retain(|diagnostic| diagnostic.code == Code::UNKNOWN_FIELD);
        found.seen.retain(|(_, code, _)| *code == Code::UNKNOWN_FIELD);
        for Rename { map, from, to } in renames {
            tree.rename_key(map, &from, &to);
        }
    }
    found.diagnostics
}

#[derive(Default)]
struct Findings {
    diagnostics: Vec<Diagnostic>,
    /// One problem per place and code is enough, because the schema often reports the same problem several times.
    seen: HashSet<(Span, Code, Option<String>)>,
}

struct Rename {
    map: NodeId,
    from: String,
    to: String,
}

struct Pass<'p, 't> {
    schema: &'p Value,
    root: NodeRef<'t>,
    findings: &'p mut Findings,
    renames: Vec<Rename>,
}

impl<'t> Pass<'_, 't> {
    fn report(&mut self, diagnostic: Diagnostic) {
        let Some(span) = diagnostic.primary() else { return };
        // A value of the wrong type is also out of range.
        if diagnostic.code == Code::OUT_OF_RANGE
            && self.findings.seen.contains(&(span, Code::WRONG_TYPE, None))
        {
            return;
        }
        // A map may lack several fields.
        let which = (diagnostic.code == Code::MISSING_FIELD).then(|| diagnostic.message.clone());
        if self.findings.seen.insert((span, diagnostic.code, which)) {
            self.findings.diagnostics.push(diagnostic);
        }
    }

    fn error(&mut self, error: &ValidationError<'_>) {
        let path = segments(error.instance_path());
        let node = self.root.nearest(path.iter().map(String::as_str));
        let name = path.last().map_or("the document", String::as_str);
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                self.unknown(node, &path, unexpected, error);
            }
            ValidationErrorKind::Required { property } => {
                let missing = property.as_str().unwrap_or_default();
                self.report(required(node, missing, name));
            }
            ValidationErrorKind::Type { kind: TypeKind::Single(JsonType::Object) }
                if node.scalar().is_some() =>
            {
                let text = node.scalar().unwrap_or_default();
                let diagnostic = type_mismatch(node, name, &[JsonType::Object]);
                let known = self.fields_at(error.schema_path()).contains(&text);
                self.report(if known {
                    diagnostic.help(format!(
                        "write `{name}: {{{text}: …}}`, or `{{{text}: {{}}}}` where it needs nothing"
                    ))
                } else {
                    diagnostic
                });
            }
            ValidationErrorKind::Type { kind } => {
                let format =
                    self.parent_of(error.schema_path()).and_then(|parent| parent.get("format")?.as_str());
                self.report(wrong_type(node, name, kind, format));
            }
            ValidationErrorKind::FalseSchema if node.is_map() => {
                for member in node.members().take(MAX_UNKNOWN) {
                    let message = format!("unknown field `{}`", shortened(member.key));
                    let diagnostic = Diagnostic::new(Code::UNKNOWN_FIELD, message);
                    self.report(
                        diagnostic.at(member.key_span, format!("`{name}` holds nothing")).help("remove it"),
                    );
                }
            }
            ValidationErrorKind::Enum { options } => self.report(not_allowed(node, options)),
            ValidationErrorKind::Constant { expected_value } => {
                self.report(not_allowed(node, &Value::Array(vec![(**expected_value).clone()])));
            }
            ValidationErrorKind::Format { format } => self.report(malformed(format, node)),
            ValidationErrorKind::PropertyNames { error: inner } => self.property_name(node, inner),
            ValidationErrorKind::AnyOf { context } => self.any_of(&path, context, node, name),
            ValidationErrorKind::OneOfNotValid { .. } | ValidationErrorKind::OneOfMultipleValid { .. } => {
                self.report(self.one_of(node, name, error.schema_path()));
            }
            ValidationErrorKind::UniqueItems => self.report(repeated(node, name)),
            ValidationErrorKind::MinProperties { .. } | ValidationErrorKind::MaxProperties { .. } => {
                self.report(self.exactly_one(node, name, error.schema_path()));
            }
            kind => {
                let examples = self
                    .parent_of(error.schema_path())
                    .and_then(|parent| parent.get("examples")?.get(0)?.as_str());
                let diagnostic = out_of_range(node, name, kind);
                self.report(match examples {
                    Some(example) => diagnostic.help(format!("for example `{example}`")),
                    None => diagnostic,
                });
            }
        }
    }

    /// Returns the fields that the schema knows at the place of the failed `keyword`.
    fn fields_at(&self, keyword: &Location) -> Vec<&str> {
        let properties = self.parent_of(keyword).and_then(|parent| parent.get("properties"));
        let names = properties.and_then(Value::as_object).into_iter().flatten();
        names.map(|(name, _)| name.as_str()).collect()
    }

    fn parent_of(&self, keyword: &Location) -> Option<&Value> {
        let mut path = segments(keyword);
        path.pop();
        path.iter().try_fold(self.schema, |at, segment| match at {
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
            other => other.get(segment),
        })
    }

    fn unknown(
        &mut self,
        node: NodeRef<'t>,
        path: &[String],
        unexpected: &[String],
        error: &ValidationError<'_>,
    ) {
        let fields: Vec<String> =
            self.fields_at(error.schema_path()).into_iter().map(str::to_owned).collect();
        let mut free: Vec<&str> =
            fields.iter().map(String::as_str).filter(|field| node.get(field).is_none()).collect();
        for key in unexpected.iter().take(MAX_UNKNOWN) {
            let Some(member) = node.member(key) else { continue };
            let message = format!("unknown field `{}`", shortened(key));
            let diagnostic = Diagnostic::new(Code::UNKNOWN_FIELD, message);
            if let Some(place) = self.misplaced(path, key) {
                let help =
                    "check the indentation: a field belongs to the field above it that is indented less";
                self.report(diagnostic.at(member.key_span, place).help(help));
                continue;
            }
            let meant = nearest(key, free.iter().copied()).map(str::to_owned);
            let diagnostic = match &meant {
                Some(meant) => {
                    free.retain(|field| field != meant);
                    self.renames.push(Rename { map: node.id(), from: key.clone(), to: meant.clone() });
                    diagnostic.at(member.key_span, format!("did you mean `{meant}`?"))
                }
                None if let Some(there) = near_member(node, key, &fields) => {
                    let (at, name) = (member.key_span, there.key);
                    if there.key_span.file == at.file {
                        diagnostic
                            .at(at, format!("did you mean `{name}`?"))
                            .at(there.key_span, "which is there already")
                            .help("remove one of the two")
                    } else {
                        diagnostic
                            .at(at, format!("did you mean `{name}`?"))
                            .at(there.key_span, "this overlay sets it")
                    }
                }
                None => {
                    let known = list(fields.iter().map(String::as_str).take(24), "and");
                    let diagnostic = diagnostic.at(member.key_span, "no field has this name here");
                    match fields.is_empty() {
                        _ if key.contains(' ') && member.value.is_null() => diagnostic.help(
                            "is this the rest of a text? Inside `{…}`, a text with a comma needs quotes",
                        ),
                        true => diagnostic.help("nothing can stand here"),
                        false => diagnostic.help(format!("known here: {known}")),
                    }
                }
            };
            self.report(diagnostic);
        }
        if let Some(more) = unexpected.len().checked_sub(MAX_UNKNOWN).filter(|more| *more > 0) {
            let message = format!("{more} more unknown fields in the same map");
            self.report(Diagnostic::new(Code::UNKNOWN_FIELD, message).at(node.span(), "in this map"));
        }
    }

    /// Returns a hint for a field that is unknown at a path, but belongs to an ancestor or to a map below.
    fn misplaced(&self, path: &[String], key: &str) -> Option<String> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let above =
            (0..path.len()).rev().find(|length| fields::has_field(self.schema, &path[..*length], key));
        match above.map(|length| (path.len() - length, path[..length].last())) {
            Some((1, _)) => return Some(format!("belongs one level up, beside `{}`", path.last()?)),
            Some((levels, Some(name))) => return Some(format!("belongs {levels} levels up, in `{name}`")),
            Some((levels, None)) => return Some(format!("belongs {levels} levels up, at the top")),
            None => {}
        }
        let below = fields::fields(self.schema, &path).into_iter().find(|field| {
            let path: Vec<&str> = path.iter().copied().chain([*field]).collect();
            fields::has_field(self.schema, &path, key)
        });
        below.map(|field| format!("belongs one level down, in `{field}`"))
    }

    fn property_name(&mut self, node: NodeRef<'t>, inner: &ValidationError<'_>) {
        let Some(key) = inner.instance().as_str() else { return };
        let Some(member) = node.member(key) else { return };
        let span = member.key_span;
        let diagnostic = match inner.kind() {
            ValidationErrorKind::Format { format } => format_error(format, key, span),
            kind => Diagnostic::new(Code::MALFORMED, format!("`{}` can't be a key here", shortened(key)))
                .at(span, limit(kind)),
        };
        self.report(diagnostic);
    }

    /// Reports the errors of the branch that was probably meant: the one that accepts the type of the value.
    fn any_of(
        &mut self,
        path: &[String],
        branches: &[Vec<ValidationError<'static>>],
        node: NodeRef<'t>,
        name: &str,
    ) {
        let elsewhere = |error: &ValidationError<'_>| {
            !matches!(error.kind(), ValidationErrorKind::Type { .. })
                || segments(error.instance_path()) != path
        };
        if let Some(meant) = branches.iter().find(|errors| errors.iter().all(elsewhere)) {
            for error in meant {
                self.error(error);
            }
            return;
        }
        let mut wanted = Vec::new();
        for error in branches.iter().flatten() {
            if let ValidationErrorKind::Type { kind } = error.kind() {
                wanted.extend(types(kind));
            }
        }
        self.report(type_mismatch(node, name, &wanted));
    }

    fn one_of(&self, node: NodeRef<'_>, name: &str, keyword: &Location) -> Diagnostic {
        let branches =
            self.parent_of(keyword).and_then(|parent| parent.get("oneOf")).and_then(Value::as_array);
        let fields: Vec<&str> = branches
            .into_iter()
            .flatten()
            .filter_map(|branch| branch.get("required")?.get(0)?.as_str())
            .collect();
        choose(node, name, &fields)
    }

    fn exactly_one(&self, node: NodeRef<'_>, name: &str, keyword: &Location) -> Diagnostic {
        let fields = self.fields_at(keyword);
        if fields.is_empty() && node.members().len() > 1 {
            let message = format!("`{name}` has more than one entry");
            return Diagnostic::new(Code::OUT_OF_RANGE, message).at(node.span(), "takes exactly one");
        }
        if fields.is_empty() {
            let message = format!("`{name}` is empty");
            return Diagnostic::new(Code::OUT_OF_RANGE, message).at(node.span(), "needs at least one entry");
        }
        choose(node, name, &fields)
    }
}

/// Returns the member with the name of the field that is most similar to `key`, if it exists.
fn near_member<'t>(node: NodeRef<'t>, key: &str, fields: &[String]) -> Option<Member<'t>> {
    node.member(nearest(key, fields.iter().map(String::as_str))?)
}

fn choose(node: NodeRef<'_>, name: &str, fields: &[&str]) -> Diagnostic {
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

fn required(node: NodeRef<'_>, missing: &str, name: &str) -> Diagnostic {
    Diagnostic::new(Code::MISSING_FIELD, format!("`{missing}` is missing from `{name}`"))
        .at(node.span(), format!("needs `{missing}`"))
        .help(format!("add `{missing}: …` here"))
}

/// Reports a repeated entry of a list.
fn repeated(node: NodeRef<'_>, name: &str) -> Diagnostic {
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

fn wrong_type(node: NodeRef<'_>, name: &str, kind: &TypeKind, format: Option<&str>) -> Diagnostic {
    let diagnostic = type_mismatch(node, name, &types(kind));
    // Quotes alone do not turn a number into a duration.
    let format_error = format.zip(node.scalar()).and_then(|(format, text)| check_format(format, text));
    match format_error.and_then(|format_error| format_error.help) {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

fn types(kind: &TypeKind) -> Vec<JsonType> {
    match kind {
        TypeKind::Single(single) => vec![*single],
        TypeKind::Multiple(several) => several.iter().collect(),
    }
}

fn type_mismatch(node: NodeRef<'_>, name: &str, wanted: &[JsonType]) -> Diagnostic {
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

fn not_allowed(node: NodeRef<'_>, options: &Value) -> Diagnostic {
    let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
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

fn malformed(format: &str, node: NodeRef<'_>) -> Diagnostic {
    format_error(format, node.scalar().unwrap_or_default(), node.span())
}

/// Creates a diagnostic with the format's own message about an invalid text.
fn format_error(format: &str, text: &str, span: Span) -> Diagnostic {
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

fn check_format(format: &str, text: &str) -> Option<manifest::FormatError> {
    manifest::formats().find(|known| known.name == format).and_then(|known| (known.check)(text).err())
}

fn out_of_range(node: NodeRef<'_>, name: &str, kind: &ValidationErrorKind) -> Diagnostic {
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

fn limit(kind: &ValidationErrorKind) -> String {
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
fn shortened(text: &str) -> String {
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

fn segments(location: &Location) -> Vec<String> {
    let segments = location.iter().map(|segment| match segment {
        LocationSegment::Property(name) => name.into_owned(),
        LocationSegment::Index(index) => index.to_string(),
    });
    segments.collect()
}
