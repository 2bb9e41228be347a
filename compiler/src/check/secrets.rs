//! Reports literals that look like secrets. Their values are removed from messages and from displayed sources.

use std::ops::Range;

use dcp_model::secrets::{self, Kind, Secret, TextKind};

use crate::diag::{Code, Diagnostic};
use crate::source::{FileId, Span};
use crate::yaml::NodeRef;

/// Adds the secrets in a tree, which was parsed from `source`, to the diagnostics. Diagnostics that could contain the
/// value of a secret are removed. The whole tree is searched, so that manifests with other errors are covered too.
pub(crate) fn add(root: NodeRef<'_>, source: &str, found: &mut Vec<Diagnostic>) {
    let mut search = Search { file: root.span().file, source, found: Vec::new() };
    search.visit(root, "");
    let hides = |place: Span| {
        let mut secrets = search.found.iter().filter_map(Diagnostic::primary);
        secrets
            .any(|secret| secret.file == place.file && secret.start < place.end && place.start < secret.end)
    };
    // Diagnostics of a map don't contain the secrets in it, but diagnostics of a scalar may.
    let scalars = scalars(root, &search.found);
    found.retain(|it| !it.primary().is_some_and(|place| hides(place) && scalars.contains(&place)));
    found.extend(search.found);
}

/// Returns the secrets in an SQL file.
pub(crate) fn in_sql(file: FileId, text: &str) -> Vec<Diagnostic> {
    let found = secrets::find(text, TextKind::Sql).into_iter();
    found.map(|Secret { range, kind }| secret_diagnostic(kind, "", span(file, &range))).collect()
}

/// Returns the places of all secrets, and of all scalars if there are secrets.
fn scalars(root: NodeRef<'_>, secrets: &[Diagnostic]) -> Vec<Span> {
    let mut places: Vec<Span> = secrets.iter().filter_map(Diagnostic::primary).collect();
    if !places.is_empty() {
        root.walk(&mut |node| places.extend(node.scalar().map(|_| node.span())));
    }
    places
}

struct Search<'s> {
    file: FileId,
    source: &'s str,
    found: Vec<Diagnostic>,
}

impl Search<'_> {
    fn visit(&mut self, node: NodeRef<'_>, key: &str) {
        if let Some(text) = node.scalar() {
            return self.scalar(node, key, text);
        }
        for member in node.members() {
            self.visit(member.value, member.key);
        }
        // In `{name: DB_PASSWORD, value: …}`, the value belongs to the name.
        if let (Some(name), Some(value)) = (node.get("name").and_then(NodeRef::as_str), node.get("value"))
            && let Some(text) = value.scalar()
            && let Some(kind) = secrets::by_name(name, text)
            && !self.found.iter().any(|known| known.primary() == Some(value.span()))
        {
            self.found.push(secret_diagnostic(kind, name, value.span()));
        }
        let mut option = None;
        for item in node.items() {
            self.item(item, key, option);
            option = item.as_str().filter(|text| text.starts_with('-') && !text.contains('='));
        }
    }

    /// Checks an item of a list. In a list of arguments, the item before it may be its option.
    fn item(&mut self, item: NodeRef<'_>, key: &str, option: Option<&str>) {
        let (Some(option), Some(text)) = (option, item.scalar()) else { return self.visit(item, key) };
        let line = format!("{option} {text}");
        let in_line = secrets::find(&line, TextKind::Manifest).into_iter().map(|secret| secret.kind).next();
        match secrets::by_name(option, text).or(in_line) {
            Some(kind) => self.found.push(secret_diagnostic(kind, option, item.span())),
            None => self.visit(item, key),
        }
    }

    fn scalar(&mut self, node: NodeRef<'_>, key: &str, text: &str) {
        if let Some(kind) = secrets::by_name(key, text) {
            return self.found.push(secret_diagnostic(kind, key, node.span()));
        }
        let kind = if key == "query" { TextKind::Sql } else { TextKind::Manifest };
        for Secret { range, kind } in secrets::find(text, kind) {
            // A value from an overlay or a variable is in another file.
            let own = node.span().file == self.file;
            let place = span(self.file, &range);
            let at = if own { node.within(self.source, place.start..place.end) } else { node.span() };
            self.found.push(secret_diagnostic(kind, key, at));
        }
    }
}

fn span(file: FileId, range: &Range<usize>) -> Span {
    let offset = |at: usize| u32::try_from(at).expect("a source is smaller than 4 GiB");
    Span::new(file, offset(range.start), offset(range.end))
}

/// Creates the diagnostic. `key` is the field that contains the secret, and is empty for an SQL file.
fn secret_diagnostic(kind: Kind, key: &str, span: Span) -> Diagnostic {
    let diagnostic = Diagnostic::new(Code::SECRET_LITERAL, format!("this looks like {}", kind.description()));
    if key.is_empty() || key == "query" {
        let help = "SQL has no references to secrets: keep it in a secret, and give it to Spark as a setting in \
                    `spark.conf` or `spark.hadoopConf`, as `${secret.<name>/<key>}`";
        return diagnostic.at(span, "a secret must not stand in SQL").help(help);
    }
    let name = key.rsplit(['.', '/']).next().unwrap_or(key).trim_start_matches('-');
    let name = name.to_ascii_lowercase().replace('_', "-");
    let name = if name.is_empty() || name.len() > 40 { "key".to_owned() } else { name };
    diagnostic
        .at(span, format!("a secret must not stand in a manifest, as it does in `{}`", field(key)))
        .help(format!("keep it in a secret and write the reference: `${{secret.<name>/{name}}}`"))
}

/// Returns the name of a field for a message. Keys have no maximum length, so it is truncated.
fn field(key: &str) -> String {
    const MAX_LENGTH: usize = 60;
    match key.char_indices().nth(MAX_LENGTH) {
        Some((end, _)) => format!("{}…", &key[..end]),
        None => key.to_owned(),
    }
}
