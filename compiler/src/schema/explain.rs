//! Converts errors of the schema to diagnostics with remedies.

mod messages;

use std::collections::HashSet;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use super::{DocumentSchema, fields};
use crate::diag::{Code, Diagnostic, list, nearest};
use crate::source::Span;
use crate::yaml::{Member, NodeId, NodeRef, Tree};
use messages::{
    choose, format_error, limit, malformed, not_allowed, out_of_range, repeated, required, shortened,
    type_mismatch, types, wrong_type,
};

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
            ValidationErrorKind::Type { kind } => {
                self.report(self.wrong_type(node, name, kind, error.schema_path()));
            }
            ValidationErrorKind::FalseSchema if node.is_map() => self.not_empty(node, name),
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
            kind => self.report(self.out_of_range(node, name, kind, error.schema_path())),
        }
    }

    fn wrong_type(&self, node: NodeRef<'_>, name: &str, kind: &TypeKind, keyword: &Location) -> Diagnostic {
        match (kind, node.scalar()) {
            (TypeKind::Single(JsonType::Object), Some(text)) => {
                let diagnostic = type_mismatch(node, name, &[JsonType::Object]);
                if !self.fields_at(keyword).contains(&text) {
                    return diagnostic;
                }
                diagnostic.help(format!(
                    "write `{name}: {{{text}: …}}`, or `{{{text}: {{}}}}` where it needs nothing"
                ))
            }
            _ => {
                let format = self.parent_of(keyword).and_then(|parent| parent.get("format")?.as_str());
                wrong_type(node, name, kind, format)
            }
        }
    }

    /// Reports the fields of a map that must be empty.
    fn not_empty(&mut self, node: NodeRef<'t>, name: &str) {
        for member in node.members().take(MAX_UNKNOWN) {
            let message = format!("unknown field `{}`", shortened(member.key));
            let diagnostic = Diagnostic::new(Code::UNKNOWN_FIELD, message);
            self.report(diagnostic.at(member.key_span, format!("`{name}` holds nothing")).help("remove it"));
        }
    }

    fn out_of_range(
        &self,
        node: NodeRef<'_>,
        name: &str,
        kind: &ValidationErrorKind,
        keyword: &Location,
    ) -> Diagnostic {
        let example = self.parent_of(keyword).and_then(|parent| parent.get("examples")?.get(0)?.as_str());
        let diagnostic = out_of_range(node, name, kind);
        match example {
            Some(example) => diagnostic.help(format!("for example `{example}`")),
            None => diagnostic,
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
                None => match near_member(node, key, &fields) {
                    Some(there) => set_twice(diagnostic, &member, &there),
                    None => unlike_all(diagnostic, &member, &fields),
                },
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

/// Describes an unknown field that resembles an existing one, of the same map or of an overlay.
fn set_twice(diagnostic: Diagnostic, member: &Member<'_>, there: &Member<'_>) -> Diagnostic {
    let diagnostic = diagnostic.at(member.key_span, format!("did you mean `{}`?", there.key));
    if there.key_span.file == member.key_span.file {
        diagnostic.at(there.key_span, "which is there already").help("remove one of the two")
    } else {
        diagnostic.at(there.key_span, "this overlay sets it")
    }
}

/// Describes an unknown field that resembles no known field.
fn unlike_all(diagnostic: Diagnostic, member: &Member<'_>, fields: &[String]) -> Diagnostic {
    let known = list(fields.iter().map(String::as_str).take(24), "and");
    let diagnostic = diagnostic.at(member.key_span, "no field has this name here");
    match fields.is_empty() {
        _ if member.key.contains(' ') && member.value.is_null() => {
            diagnostic.help("is this the rest of a text? Inside `{…}`, a text with a comma needs quotes")
        }
        true => diagnostic.help("nothing can stand here"),
        false => diagnostic.help(format!("known here: {known}")),
    }
}

fn segments(location: &Location) -> Vec<String> {
    let segments = location.iter().map(|segment| match segment {
        LocationSegment::Property(name) => name.into_owned(),
        LocationSegment::Index(index) => index.to_string(),
    });
    segments.collect()
}
