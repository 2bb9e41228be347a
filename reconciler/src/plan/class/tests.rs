//! Tests of the table of classes against the schema of the manifest.

use std::collections::BTreeSet;

use dcp_compiler::schema;
use serde_json::Value;

use super::*;

/// Every field of the model, as the schema has it, by its path below the manifest or below `spec`.
fn fields() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for schema in [&*schema::CORE_ETL, &*schema::POOL].map(schema::DocumentSchema::value) {
        let mut walk = Walk { schema, path: Vec::new(), within: Vec::new(), found: BTreeSet::new() };
        walk.visit(schema);
        found.append(&mut walk.found);
    }
    let outside = |path: &String| path.starts_with("metadata.") || path.starts_with("spec.");
    let paths = found.into_iter().filter(outside);
    paths.map(|path| path.strip_prefix("spec.").map(str::to_owned).unwrap_or(path)).collect()
}

/// A walk through a schema, which collects the paths of its fields.
struct Walk<'a> {
    schema: &'a Value,
    path: Vec<&'a str>,
    /// The references that lead to the current node.
    within: Vec<&'a str>,
    found: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, node: &'a Value) {
        if let Some(name) = node["$ref"].as_str() {
            self.visit_reference(name);
            return;
        }
        let below = self.visit_combined(node) | self.visit_properties(node);
        if !self.visit_elements(node, below) {
            self.found.insert(self.path.join("."));
        }
    }

    fn visit_reference(&mut self, name: &'a str) {
        if !self.within.contains(&name) {
            self.within.push(name);
            self.visit(self.schema.pointer(&name[1..]).expect("it refers to what is there"));
            self.within.pop();
        }
    }

    /// Visits the schemas that a node combines. Returns whether there are any.
    fn visit_combined(&mut self, node: &'a Value) -> bool {
        let mut below = false;
        for key in ["anyOf", "oneOf", "allOf"] {
            let says =
                |one: &&Value| ["$ref", "type", "properties", "const"].iter().any(|key| !one[key].is_null());
            // Other schemas only combine fields.
            for one in node[key].as_array().into_iter().flatten().filter(says) {
                below = true;
                self.visit(one);
            }
        }
        below
    }

    /// Visits the properties of a node. Returns whether there are any.
    fn visit_properties(&mut self, node: &'a Value) -> bool {
        let mut below = false;
        for (name, one) in node["properties"].as_object().into_iter().flatten() {
            below = true;
            self.path.push(name);
            self.visit(one);
            self.path.pop();
        }
        below
    }

    /// Visits the values of a map and the items of a list. Returns whether the node has fields, also in view of those
    /// that were found `below` it before.
    fn visit_elements(&mut self, node: &'a Value, mut below: bool) -> bool {
        for key in ["additionalProperties", "items"] {
            if node[key].is_object() {
                below = true;
                self.path.push("*");
                let before = self.found.len();
                self.visit(&node[key]);
                // Items without fields have no rows.
                let path = self.path.join(".");
                if key == "items" && self.found.len() == before + 1 && self.found.remove(&path) {
                    below = false;
                }
                self.path.pop();
            }
        }
        below
    }
}

fn keys(path: &str) -> Vec<String> {
    path.split('.').map(str::to_owned).collect()
}

#[test]
fn every_field_of_the_model_has_a_class() {
    let fields = fields();
    for field in ["job.stream.sources.*.kafka.topic", "drivers.minIdle"] {
        assert!(fields.contains(field), "no {field}: {fields:#?}");
    }
    assert!(fields.len() > 150, "{}", fields.len());
    let missing: Vec<&String> = fields.iter().filter(|field| row(&keys(field)).is_none()).collect();
    assert!(missing.is_empty(), "these have no row in TABLE: {missing:#?}");
}

/// Fields that primitives have and manifests don't.
const OF_PRIMITIVES: [&str; 9] = [
    "engine.scala",
    "engine.java",
    "job",
    "jobFingerprint",
    "run.continuous.job",
    "run.continuous.jobFingerprint",
    "run.job",
    "run.jobFingerprint",
    "secrets",
];

#[test]
fn every_row_is_for_a_field() {
    let fields = fields();
    let unused = |pattern: &&&str| {
        let special = OF_PRIMITIVES.contains(*pattern) || pattern.contains('\\');
        !special && !fields.iter().any(|field| specificity(pattern, &keys(field)).is_some())
    };
    let rows: Vec<&&str> = TABLE.iter().flat_map(|(.., patterns)| patterns.iter()).filter(unused).collect();
    assert!(rows.is_empty(), "no field is like these: {rows:#?}");
}

#[test]
fn no_field_matches_two_rows_equally() {
    for field in fields() {
        let path = keys(&field);
        let mut fits: Vec<usize> = TABLE
            .iter()
            .flat_map(|(.., patterns)| *patterns)
            .filter_map(|it| specificity(it, &path))
            .collect();
        fits.sort_unstable_by(|a, b| b.cmp(a));
        assert!(fits.len() < 2 || fits[0] > fits[1], "{field}");
    }
}

#[test]
fn most_specific_row_wins() {
    let partitions = ["spark", "conf", "spark.sql.shuffle.partitions"].map(str::to_owned);
    assert_eq!(row(&partitions).map(|row| row.0), Some(ResetIfStateful));
    let other = ["spark", "conf", "spark.sql.ansi.enabled"].map(str::to_owned);
    assert_eq!(row(&other).map(|row| row.0), Some(Always(Restart)));
    assert_eq!(row(&keys("pods.driver.volumes.0.name")).map(|row| row.0), Some(Always(Restart)));
    assert_eq!(row(&keys("nothing.of.the.kind")), None);
}
