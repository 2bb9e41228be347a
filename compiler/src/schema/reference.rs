//! Generates the Markdown reference of a document from its schema: all types with their fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::diag::list;

/// Maximum number of listed places of a type.
const MAX_PLACES: usize = 4;
/// Maximum depth, in case a type contains itself.
const MAX_DEPTH: usize = 24;

const MANIFEST_INTRO: &str = r#"# The manifest

For people who write manifests: every field. A manifest describes one Spark workload: what runs, when, on what, and
what it reads and writes. A manifest of the kind [`Pool`](#pool) describes a [pool](pools.md) of Spark Connect drivers.

```yaml
apiVersion: dcp/v1
kind: CoreETL
metadata:
  name: orders-daily
  domain: sales
  owner: data@example.com
spec:
  engine: {version: "4.1"}
  job:
    sql:
      query: |
        INSERT OVERWRITE lake.mart.orders
        SELECT customer, sum(total) AS total FROM lake.raw.orders WHERE day = :day GROUP BY customer
      parameters:
        day: {type: date, run: date}
  run:
    schedule: {cron: "0 2 * * *", timezone: Europe/Berlin}
  resources:
    executors: {cores: 2, memory: 4g, min: 2, max: 10}
```

| | |
| --- | --- |
| several manifests in a file | are separated by `---` |
| a field that is left out | has the default given here |
| a field that is empty or not listed | is an error |
| `${var.name}` | is replaced by a variable of the [project](project.md) |
| `${secret.name/key}` | is replaced by a secret where the job runs |
| `${param.name}` | is replaced by a parameter of the run, in the arguments of a program |
| `$${` | is a plain `${` |
| a *scalar* | is text, a number or a boolean, taken as it is written: `1.10` stays `1.10` |

Editors that know JSON Schema complete and check manifests with `schemas/manifest.json`.
"#;

const PROJECT_INTRO: &str = r"# The project file

For people who set up a project: every field of `dcp.yaml`, which says where manifests are, which targets they are
applied to, and what differs between these. It stands in the project's folder.

```yaml
# file: dcp.yaml
project: shop
manifests: [manifests]
variables: {bucket: lake-dev}
targets:
  dev: {default: true}
  prod:
    server: https://dcp.example.com:7420
    runner: https://dcp.example.com:7421   # where the Runner is a service of its own
    variables: {bucket: lake-prod}
    overlays:
      - match: {domains: [sales]}
        set: {spec: {resources: {executors: {memory: 8g}}}}
```

| | |
| --- | --- |
| the target | is the one of `--target`, or the default, or the only one |
| its overlays | are merged into the manifests that match, one after the other |
| `${var.name}` | is then replaced by the target's value, or else the project's |
| a *scalar* | is text, a number or a boolean, taken as it is written |

Editors that know JSON Schema complete and check it with `schemas/project.json`. Manifests are described in
[The manifest](manifest.md).
";

const NOTICE: &str =
    "<!-- From here on generated from the model: UPDATE_GOLDEN=1 cargo test --workspace --test docs -->";

/// The order of fields that precede the other fields of their type, because JSON objects have no order.
const ORDER: &str = "\
    apiVersion kind metadata spec project manifests targets name domain owner version engine job \
    run resources share drivers sessions recycle dependencies inputs outputs retry timeouts ttl placement spark pods lifecycle sql \
    pyspark jar stream main class args query file sources watermark deduplicate sink outputMode \
    state kafka files table rate console servers topic topics topicPattern path format schema \
    schedule onAssets manual continuous cron asap every timezone trigger checkpoint driver executors cores \
    memory sizing instances minIdle maxIdle min max initial minMemory maxMemory";

/// Returns the reference of manifests.
pub fn manifest() -> String {
    let schema = super::MANIFEST.value();
    let documents =
        [("The document", &schema["$defs"]["Manifest"]), ("Pool", &schema["$defs"]["PoolManifest"])];
    of_documents(schema, &documents, MANIFEST_INTRO)
}

/// Returns the reference of `dcp.yaml`.
pub fn project() -> String {
    reference(super::PROJECT.value(), PROJECT_INTRO)
}

/// Returns the reference of a schema, after an introduction.
pub fn reference(schema: &Value, intro: &str) -> String {
    of_documents(schema, &[("The document", schema)], intro)
}

/// Returns the reference of several kinds of documents, each with a heading. Types that they share are described once.
fn of_documents(root: &Value, documents: &[(&str, &Value)], intro: &str) -> String {
    let mut types = Types { root, sections: Vec::new(), places: BTreeMap::new() };
    let mut lines = vec![intro.to_owned(), NOTICE.to_owned()];
    let mut parts = Vec::new();
    for (heading, schema) in documents {
        let first = types.sections.len();
        types.visit(schema, "", 0);
        parts.push((heading, schema, first..types.sections.len()));
    }
    for (heading, schema, sections) in parts {
        lines.push(format!("\n## {heading}"));
        lines.extend(types.described(schema));
        lines.extend(types.sections[sections].iter().flat_map(|name| types.section(name)));
    }
    lines.push("\n## Values\n\nTexts, numbers and maps that have a form of their own.".to_owned());
    lines.extend(types.places.keys().filter_map(|name| types.value(name)));
    lines.push(String::new());
    lines.join("\n")
}

/// The types of a schema.
struct Types<'s> {
    root: &'s Value,
    /// Types with fields or with a choice of values, in the order of their first use.
    sections: Vec<&'s str>,
    /// The places of each type in a document.
    places: BTreeMap<&'s str, Vec<String>>,
}

impl<'s> Types<'s> {
    fn definition(&self, name: &str) -> Option<&'s Value> {
        self.root.get("$defs")?.get(name)
    }

    /// Returns the name and the definition of the type to which a schema refers, if it has a description.
    fn target(&self, schema: &'s Value) -> Option<(&'s str, &'s Value)> {
        let name = schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?;
        let definition = self.definition(name)?;
        definition.get("description").is_some().then_some((name, definition))
    }

    fn visit(&mut self, schema: &'s Value, place: &str, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        if let Some((name, definition)) = self.target(schema) {
            let places = self.places.entry(name).or_default();
            if places.is_empty() && is_section(definition) {
                self.sections.push(name);
            }
            if !places.iter().any(|known| known == place) {
                places.push(place.to_owned());
            }
            return self.visit(definition, place, depth + 1);
        }
        for (name, field) in fields(schema) {
            let below = if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
            self.visit(field, &below, depth + 1);
        }
        for branch in schema.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
            self.visit(branch, place, depth + 1);
        }
        if let Some(items) = schema.get("items") {
            self.visit(items, &format!("{place}[]"), depth + 1);
        }
        if let Some(values) = schema.get("additionalProperties") {
            self.visit(values, &format!("{place}.<name>"), depth + 1);
        }
    }

    fn section(&self, name: &str) -> Vec<String> {
        let places = self.places.get(name).map_or(&[][..], Vec::as_slice);
        let top = places.first().is_some_and(|place| place.matches('.').count() < 2);
        let level = if top { "##" } else { "###" };
        let shown: Vec<String> = places.iter().take(MAX_PLACES).map(|place| format!("`{place}`")).collect();
        let more = if places.len() > MAX_PLACES { " and others" } else { "" };
        let mut lines = vec![format!("\n{level} {name}\n\nAt {}{more}.", shown.join(", "))];
        lines.extend(self.definition(name).into_iter().flat_map(|definition| self.described(definition)));
        lines
    }

    /// Returns the description of a type, and its values or fields.
    fn described(&self, schema: &Value) -> Vec<String> {
        let mut lines = vec![format!("\n{}", sentence(schema))];
        lines.extend(choices(schema));
        lines.extend(self.table(schema));
        if let Some(names) = alternatives(schema) {
            lines.push(format!("\nExactly one of {} must be there.", list(names, "and")));
        }
        lines.extend(examples(schema).map(|examples| format!("\n{examples}")));
        lines
    }

    fn table(&self, schema: &Value) -> Vec<String> {
        let all = fields(schema);
        let one = schema.get("maxProperties").is_some();
        let head = if one { EXACTLY_ONE } else { FIELDS };
        let row = |(name, field): (&str, &Value)| {
            let default = if one { String::new() } else { format!(" {} |", default(schema, name, field)) };
            format!("| `{name}` | {} |{default} {} |", self.kind(field), cell(&self.meaning(field)))
        };
        let head = (!all.is_empty()).then(|| head.to_owned());
        head.into_iter().chain(all.into_iter().map(row)).collect()
    }

    /// Returns the section of a type that is a text, a number or a map.
    fn value(&self, name: &str) -> Option<String> {
        let definition = self.definition(name).filter(|_| !self.sections.contains(&name))?;
        let examples = examples(definition).map(|examples| format!(" {examples}")).unwrap_or_default();
        let kind = capitalized(&self.kind(definition));
        Some(format!("\n### {name}\n\n{kind}. {}{examples}", sentence(definition)))
    }

    /// Returns the type of a field, in words and with links.
    fn kind(&self, schema: &Value) -> String {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let name = name.rsplit('/').next().unwrap_or(name);
            return match self.definition(name) {
                Some(definition) if definition.get("description").is_none() => self.kind(definition),
                _ => format!("[{name}](#{})", name.to_lowercase()),
            };
        }
        if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
            let kinds: Vec<String> = branches.iter().map(|branch| self.kind(branch)).collect();
            return kinds.join(" or ");
        }
        match schema.get("type") {
            Some(Value::Array(_)) => "scalar".to_owned(),
            Some(Value::String(kind)) => match kind.as_str() {
                "string" => "text".to_owned(),
                "integer" => "whole number".to_owned(),
                "array" => {
                    format!("list of {}", schema.get("items").map_or_else(anything, |it| self.kind(it)))
                }
                "object" => self.map(schema),
                other => other.to_owned(),
            },
            _ => anything(),
        }
    }

    fn map(&self, schema: &Value) -> String {
        let values = match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => self.kind(values),
            Some(_) => anything(),
            None => return "empty map, `{}`".to_owned(),
        };
        match self.keys(schema) {
            Some(keys) => format!("map of {keys} to {values}"),
            None => format!("map to {values}"),
        }
    }

    /// Returns the type of a map's keys, if the schema names one.
    fn keys(&self, schema: &Value) -> Option<String> {
        let format = schema.get("propertyNames")?.get("format")?;
        let definitions = self.root.get("$defs")?.as_object()?;
        let (name, _) =
            definitions.iter().find(|(_, definition)| definition.get("format") == Some(format))?;
        self.places.contains_key(name.as_str()).then(|| format!("[{name}](#{})", name.to_lowercase()))
    }

    /// Returns the description of a field, or of its type if it has none.
    fn meaning(&self, field: &Value) -> String {
        let own = field.get("description").is_some();
        let target = field.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
        let described = if own { Some(field) } else { target.and_then(|name| self.definition(name)) };
        let mut parts: Vec<String> = described.map(sentence).into_iter().collect();
        parts.extend(limits(field));
        parts.extend(examples(field));
        parts.retain(|part| !part.is_empty());
        parts.join(" ")
    }
}

const EXACTLY_ONE: &str = "\n| exactly one of | type | |\n| --- | --- | --- |";
const FIELDS: &str = "\n| field | type | default | |\n| --- | --- | --- | --- |";

/// Returns the allowed values of a type, with their descriptions.
fn choices(schema: &Value) -> Vec<String> {
    let values = schema.get("enum").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let meanings = schema.get("enumDescriptions").and_then(Value::as_array);
    let line = |(at, value): (usize, &Value)| {
        let meaning = meanings.and_then(|all| all.get(at)?.as_str()).unwrap_or_default();
        let gap = if at == 0 { "\n" } else { "" };
        format!("{gap}- `{}`: {meaning}", flow(value))
    };
    values.iter().enumerate().map(line).collect()
}

fn is_section(definition: &Value) -> bool {
    definition.get("properties").is_some() || definition.get("enum").is_some()
}

/// Returns the fields of a type: those in [`ORDER`] first, then the required ones, then by name.
fn fields(schema: &Value) -> Vec<(&str, &Value)> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut all: Vec<(&str, &Value)> =
        properties.into_iter().flatten().map(|(name, field)| (name.as_str(), field)).collect();
    let known = |name: &str| ORDER.split(' ').position(|known| known == name).unwrap_or(ORDER.len());
    all.sort_by_key(|(name, _)| (known(name), !is_required(schema, name), *name));
    all
}

fn is_required(schema: &Value, name: &str) -> bool {
    let required = schema.get("required").and_then(Value::as_array);
    required.is_some_and(|all| all.iter().any(|field| field == name))
}

fn default(schema: &Value, name: &str, field: &Value) -> String {
    match field.get("default") {
        _ if is_required(schema, name) => "required".to_owned(),
        Some(default) => format!("`{}`", flow(default)),
        None => String::new(),
    }
}

/// Returns the fields of which exactly one is required.
fn alternatives(schema: &Value) -> Option<Vec<&str>> {
    let branches = schema.get("oneOf")?.as_array()?;
    branches.iter().map(|branch| branch.get("required")?.get(0)?.as_str()).collect()
}

fn sentence(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
}

fn anything() -> String {
    "anything".to_owned()
}

/// Returns the limits of a field's value, in addition to its type.
fn limits(field: &Value) -> Option<String> {
    let text = |key: &str| field.get(key).and_then(Value::as_str);
    let ranges = [
        ("minimum", "maximum", "", ""),
        ("minLength", "maxLength", " character", " characters"),
        ("minItems", "maxItems", " entry", " entries"),
        ("minProperties", "maxProperties", " entry", " entries"),
    ];
    let mut limits: Vec<String> = ranges
        .into_iter()
        .filter_map(|(least, most, unit, units)| {
            let unit = |count: u64| if count == 1 { unit } else { units };
            let number = |key: &str| field.get(key).and_then(Value::as_u64);
            match (number(least).filter(|least| *least > 0), number(most)) {
                (Some(least), Some(most)) if least == most => Some(format!("exactly {least}{}", unit(least))),
                (Some(least), Some(most)) => Some(format!("{least} to {most}{}", unit(most))),
                (Some(least), None) => Some(format!("at least {least}{}", unit(least))),
                (None, Some(most)) => Some(format!("at most {most}{}", unit(most))),
                (None, None) => None,
            }
        })
        .collect();
    limits.extend(text("pattern").map(|pattern| format!("of the form `{pattern}`")));
    limits.extend(field.get("uniqueItems").map(|_| "each entry once".to_owned()));
    (!limits.is_empty()).then(|| format!("{}.", capitalized(&limits.join(", "))))
}

fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map(|first| format!("{}{}", first.to_uppercase(), rest.as_str())).unwrap_or_default()
}

fn examples(schema: &Value) -> Option<String> {
    let examples = schema.get("examples")?.as_array()?;
    let shown: Vec<String> = examples.iter().map(|example| format!("`{}`", flow(example))).collect();
    let word = if shown.len() == 1 { "Example" } else { "Examples" };
    Some(format!("{word}: {}.", shown.join(", ")))
}

/// Escapes a text for a table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Returns a value in YAML's flow style.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => flow_map(members),
        other => other.to_string(),
    }
}

fn flow_map(members: &Map<String, Value>) -> String {
    let member = |(key, value): (&String, &Value)| format!("{key}: {}", flow(value));
    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
}

/// Returns whether a text needs no quotes in YAML.
fn is_plain(text: &str) -> bool {
    let sign = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':');
    let reserved =
        matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "null" | "yes" | "no" | "on" | "off");
    text.starts_with(|c: char| c.is_alphanumeric() || c == '/')
        && text.chars().all(sign)
        && !text.ends_with(':')
        && !reserved
        && text.parse::<f64>().is_err()
}

#[cfg(test)]
mod tests;
