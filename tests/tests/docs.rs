//! Compares the documentation with the code: every diagnostic has a page whose examples show it, and files that are
//! generated from the model are up to date. `UPDATE_GOLDEN=1 cargo test --workspace --test docs` writes the generated
//! files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dcp_compiler::diag::{Code, Diagnostic, Severity};
use dcp_compiler::schema;
use dcp_model::primitive::Body;

/// Maximum width of code, headings and tables: a terminal's width. `explain` wraps paragraphs only.
const MAX_WIDTH: usize = 80;
const MAX_PARAGRAPH_WIDTH: usize = 100;
const MAX_LINES: usize = 66;

#[test]
fn every_code_has_one_page_and_every_page_a_code() {
    let codes: BTreeSet<String> = Code::all().iter().map(|info| format!("{}.md", info.code)).collect();
    assert_eq!(codes, pages(), "docs/diagnostics has one page for each code, and nothing else");
}

#[test]
fn pages_have_the_format_that_explain_expects() {
    let mut wrong = Vec::new();
    for info in Code::all() {
        let page = page(info.code);
        let mut lines = page.lines();
        let title = format!("# {}: {}", info.code, info.title);
        if lines.next() != Some(title.as_str()) {
            wrong.push(format!("{}: does not begin with `{title}`", info.code));
        }
        let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        if !matches!(sections.as_slice(), ["Example", "What to do"] | ["Example", "What to do", "See also"]) {
            wrong.push(format!("{}: its sections are {sections:?}", info.code));
        }
        if page.lines().count() > MAX_LINES {
            wrong.push(format!("{}: is {} lines long", info.code, page.lines().count()));
        }
        let mut in_code = false;
        for (at, line) in page.lines().enumerate() {
            let width = line.chars().count();
            in_code ^= line.starts_with("```");
            let is_paragraph = !in_code && !line.starts_with(['#', '|']);
            if width > if is_paragraph { MAX_PARAGRAPH_WIDTH } else { MAX_WIDTH } {
                wrong.push(format!("{}:{}: is {width} characters wide", info.code, at + 1));
            }
            if line.ends_with(' ') {
                wrong.push(format!("{}:{}: ends in a space", info.code, at + 1));
            }
        }
        for other in mentioned(&page) {
            if Code::parse(other).is_none() {
                wrong.push(format!("{}: mentions {other}, which does not exist", info.code));
            }
        }
    }
    assert_none("pages", &wrong);
}

#[test]
fn examples_show_the_problem_and_remedies_solve_it() {
    let mut wrong = Vec::new();
    let mut tested = 0;
    for info in Code::all() {
        let page = page(info.code);
        let (examples, remedies) =
            (projects(section(&page, "Example")), projects(section(&page, "What to do")));
        tested += usize::from(!examples.is_empty());
        for files in examples {
            let found = compile(&files);
            if !found.iter().any(|diagnostic| diagnostic.code == info.code) {
                wrong.push(format!("{}: the example does not show it, but {}", info.code, describe(&found)));
            }
            let others: Vec<_> =
                found.into_iter().filter(|d| d.code != info.code && d.severity != Severity::Note).collect();
            if !others.is_empty() {
                wrong.push(format!("{}: the example has other problems: {}", info.code, describe(&others)));
            }
        }
        for files in remedies {
            let found: Vec<_> = compile(&files)
                .into_iter()
                .filter(|found| found.code == info.code || found.severity != Severity::Note)
                .collect();
            if !found.is_empty() {
                wrong.push(format!("{}: the remedy leaves {}", info.code, describe(&found)));
            }
        }
    }
    assert_none("examples", &wrong);
    let all = Code::all().len();
    assert!(3 * tested >= 2 * all, "only {tested} of {all} pages have an example that is tested");
}

#[test]
fn examples_of_the_references_compile() {
    for text in [schema::reference::manifest(), schema::reference::project()] {
        let intro = text.split("\n## ").next().unwrap_or_default();
        let shown = projects(intro);
        assert_eq!(shown.len(), 1);
        let found = shown.iter().flat_map(compile).filter(|found| found.code != Code::UNUSED_OVERLAY);
        assert_eq!(describe(&found.collect::<Vec<_>>()), "nothing");
    }
}

#[test]
fn page_of_clusters_has_a_valid_example_and_every_field() {
    let page = std::fs::read_to_string(root().join("docs/clusters.md")).expect("the page can be read");
    let shown = projects(&page);
    assert_eq!(shown.iter().flat_map(compile).map(|it| it.message).collect::<Vec<_>>(), [""; 0]);
    let [files] = shown.as_slice() else { panic!("the page has one example") };
    let mut fields = BTreeSet::new();
    cluster_fields("Cluster", "", &mut fields);
    let rows = page.lines().take_while(|line| !line.starts_with("```"));
    let names = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(names.map(str::to_owned).collect::<BTreeSet<_>>(), fields, "the table has every field");
    for field in fields.iter().filter_map(|field| field.split('.').next()) {
        assert!(
            files.values().any(|text| text.contains(&format!("    {field}:"))),
            "no example of `{field}`"
        );
    }
}

#[test]
fn page_of_access_has_a_valid_policy_with_every_role() {
    let page = std::fs::read_to_string(root().join("docs/access.md")).expect("the page can be read");
    let shown = projects(&page);
    assert_eq!(shown.iter().flat_map(compile).map(|it| it.message).collect::<Vec<_>>(), [""; 0]);
    for role in dcp_model::policy::Role::ALL {
        let text = format!("role: {}", role.as_str());
        let mut files = shown.iter().flat_map(|files| files.values());
        assert!(files.any(|file| file.contains(&text)), "no example of `{}`", role.as_str());
    }
}

/// Collects the paths of all fields of a type in the schema of clusters.
fn cluster_fields(name: &str, path: &str, fields: &mut BTreeSet<String>) {
    let types = &schema::CLUSTERS.value()["$defs"];
    for (field, value) in types[name]["properties"].as_object().expect("the type has fields") {
        let path = format!("{path}{field}");
        let target = value["$ref"].as_str().and_then(|it| it.strip_prefix("#/$defs/"));
        match target.filter(|name| types[name].get("properties").is_some()) {
            Some(name) => cluster_fields(name, &format!("{path}."), fields),
            None => _ = fields.insert(path),
        }
    }
}

/// Generated files are committed, each at its path.
#[test]
fn generated_files_are_up_to_date() {
    let mut stale = Vec::new();
    for (path, text) in [
        ("schemas/manifest.json", schema::MANIFEST.text()),
        ("schemas/project.json", schema::PROJECT.text()),
        ("schemas/clusters.json", schema::CLUSTERS.text()),
        ("schemas/policy.json", schema::POLICY.text()),
        ("schemas/secrets.json", schema::SECRETS.text()),
        ("schemas/drivers.json", schema::DRIVERS.text()),
        ("docs/manifest.md", schema::reference::manifest()),
        ("docs/project.md", schema::reference::project()),
        ("runner/src/rest/example.json", submit()),
        ("schemas/api.json", dcp_tests::openapi()),
    ]
    .map(|(path, text)| (path, text.into_bytes()))
    .into_iter()
    .chain([("airflow/src/dcp_airflow/descriptors.bin", dcp_proto::DESCRIPTORS.to_vec())])
    {
        let file = root().join(path);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
        } else if std::fs::read(&file).unwrap_or_default() != text {
            stale.push(path.to_owned());
        }
    }
    assert_none("stale; run UPDATE_GOLDEN=1 cargo test --workspace --test docs, and read the diff", &stale);
}

/// Returns the example of a submit in the REST API's document.
fn submit() -> String {
    let manifest = "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {name: orders, domain: shop, owner: data@example.com}\n\
                    spec:\n  engine: {version: \"4.1\"}\n  run: {manual: {}}\n  job:\n    sql:\n      \
                    query: SELECT 1 AS one\n      returnResult: true\n";
    let files = BTreeMap::from([("manifest.yaml".to_owned(), manifest.to_owned())]);
    let compiled = dcp_tests::compile(&files, None);
    let job = compiled.primitives.into_iter().find_map(|primitive| match primitive.body {
        Body::CoreEtlJob(job) => Some(job),
        _ => None,
    });
    let body =
        serde_json::json!({"token": "orders-2026-11-21", "definition": job.expect("the manifest has a job")});
    format!("{body:#}\n")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the names of the pages' files.
fn pages() -> BTreeSet<String> {
    let folder = root().join("docs/diagnostics");
    let entries = std::fs::read_dir(folder).expect("docs/diagnostics can be listed");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("docs/diagnostics can be listed").file_name().to_string_lossy().into_owned()
    };
    entries.map(name).collect()
}

fn page(code: Code) -> String {
    let path = root().join(format!("docs/diagnostics/{code}.md"));
    std::fs::read_to_string(&path).unwrap_or_default()
}

/// Returns every `DCPnnnn` in a text.
fn mentioned(page: &str) -> impl Iterator<Item = &str> {
    let codes = page.match_indices("DCP").map(|(at, _)| &page[at..]);
    codes.filter_map(|rest| rest.get(..7)).filter(|code| code[3..].bytes().all(|b| b.is_ascii_digit()))
}

/// Returns the text under a heading.
fn section<'p>(page: &'p str, heading: &str) -> &'p str {
    let Some((_, rest)) = page.split_once(&format!("\n## {heading}\n")) else { return "" };
    rest.split("\n## ").next().unwrap_or_default()
}

type Files = BTreeMap<String, String>;

/// Returns the projects that a section shows. A block is a separate manifest, unless its first line is `# file: NAME`:
/// consecutive named blocks are one project, until a name repeats. Blocks of `yaml fragment` are ignored.
fn projects(section: &str) -> Vec<Files> {
    let mut projects: Vec<Files> = Vec::new();
    let mut open = false;
    for block in blocks(section) {
        let first = block.lines().next().unwrap_or_default();
        let name = first.strip_prefix("# file: ").or_else(|| first.strip_prefix("-- file: "));
        match (name, projects.last_mut()) {
            (Some(name), Some(files)) if open && !files.contains_key(name) => {
                files.insert(name.to_owned(), block);
            }
            _ => {
                projects.push(BTreeMap::from([(name.unwrap_or("manifest.yaml").to_owned(), block.clone())]));
                open = name.is_some();
            }
        }
    }
    projects
}

/// Returns the fenced blocks of YAML and SQL.
fn blocks(section: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = section.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if matches!(language, "yaml" | "sql") {
            blocks.push(
                block.join(
                    "
",
                ) + "
",
            );
        }
    }
    blocks
}

fn compile(files: &Files) -> Vec<Diagnostic> {
    dcp_tests::compile(files, None).diagnostics
}

fn describe(found: &[Diagnostic]) -> String {
    let line = |diagnostic: &Diagnostic| format!("{} {}", diagnostic.code, diagnostic.message);
    if found.is_empty() {
        "nothing".to_owned()
    } else {
        found.iter().map(line).collect::<Vec<_>>().join("; ")
    }
}

fn assert_none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}
