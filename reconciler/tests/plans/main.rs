//! Plans of changes: each case edits a base manifest, and a golden file has the whole plan.
//!
//! `UPDATE_GOLDEN=1 cargo test --workspace --test plans` writes the golden files; read the changes before you commit them.

mod groups;
mod manifests;
mod pools;
mod programs;
mod streams;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use dcp_compiler::compile::{Compilation, Compiler, Goal};
use dcp_compiler::place;
use dcp_compiler::project::Project;
use dcp_model::primitive::{Body, Fingerprint, Primitive};
use dcp_reconciler::plan::{Allowed, Class, Context, Inclusion, Plan, Reason, SourceLocation, compare};
use dcp_reconciler::state::{Base, Entry, Scope, State};

use manifests::STREAM;

const FINE: &str = "writing to a String does not fail";

/// Manifests by path.
type Files = BTreeMap<String, String>;

fn compiled(files: &Files) -> Compilation {
    let project = Project::none();
    let (project_source, project_diagnostics) = (None, Vec::new());
    let compiler = Compiler { project: &project, project_source, project_diagnostics, goal: Goal::Compile };
    let paths: Vec<&String> = files.keys().collect();
    let analyses =
        paths.iter().enumerate().map(|(index, path)| compiler.analyze(index, path, files)).collect();
    let compilation = compiler.link(analyses);
    let errors: Vec<String> =
        compilation.diagnostics.iter().filter(|it| it.is_error()).map(|it| it.message.clone()).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{files:#?}");
    compilation
}

fn state(primitives: &[Primitive]) -> (State, HashMap<Fingerprint, String>) {
    let entry = |it: &Primitive| Entry { fingerprint: it.fingerprint.clone(), revision: 1, serial: 1 };
    let entries = primitives.iter().map(|it| (it.address.clone(), entry(it))).collect();
    let base = Base { lineage: Some("a".to_owned()), serial: 1 };
    let texts = primitives.iter().map(|it| (it.fingerprint.clone(), it.body.canonical())).collect();
    (State { base, entries, ..State::default() }, texts)
}

fn plan(old: &Files, new: &Files) -> Plan {
    plan_against(&compiled(old).primitives, &compiled(new))
}

fn plan_against(applied: &[Primitive], new: &Compilation) -> Plan {
    let (state, texts) = state(applied);
    let place = |domain: &str, name: &str, path: &[&str]| {
        let node = new.graph.nodes.iter().find(|node| node.domain == domain && node.name == name)?;
        let span = place::find(new, &Project::none(), node, path)?;
        let (line, column) = new.sources.position(span.file, span.start);
        Some(SourceLocation { path: new.sources.get(span.file).path.to_string(), line, column })
    };
    let context = Context { scope: Scope::new("shop", None), commit: None, locate: &place };
    let plan = compare(&new.primitives, &state, |_, _| Inclusion::Compared)
        .plan(&texts, &context)
        .expect("it is readable");
    assert_eq!(Plan::read(&plan.save()).as_ref(), Ok(&plan), "what is saved is read again");
    plan
}

fn shown(plan: &Plan) -> String {
    let mut text = String::new();
    for workload in &plan.workloads {
        write!(text, "{} {}", workload.action.name().to_uppercase(), workload.id()).expect(FINE);
        if !Allowed::default().covers(workload) {
            write!(text, " (consent: {:?})", workload.consent).expect(FINE);
        }
        if let Some(renamed) = &workload.renamed {
            write!(text, " ({renamed:?})").expect(FINE);
        }
        text.push('\n');
        for Reason { field, what, old, new, diff, class, why, at } in &workload.reasons {
            let name = match class {
                Class::InPlace => "in place",
                Class::Restart => "restart",
                Class::Unknown => "unknown",
                Class::Reset => "RESET",
            };
            write!(text, "  {name}: {field}").expect(FINE);
            if let Some(what) = what {
                write!(text, " ({what})").expect(FINE);
            }
            if old.is_some() || new.is_some() {
                let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "—".to_owned());
                write!(text, ": {} → {}", side(old), side(new)).expect(FINE);
            }
            if let Some(SourceLocation { path, line, column }) = at {
                write!(text, "  [{path}:{line}:{column}]").expect(FINE);
            }
            writeln!(text, "\n    {why}").expect(FINE);
            let generated = field.starts_with("DAG ");
            for line in diff.iter().flat_map(|diff| diff.lines()).filter(|_| !generated) {
                writeln!(text, "    | {line}").expect(FINE);
            }
        }
    }
    if plan.is_empty() { "nothing to do\n".to_owned() } else { text }
}

/// Replaces texts in a manifest; each must occur exactly once.
fn edited(base: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(base.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "`{from}` in\n{text}");
        text.replacen(from, to, 1)
    })
}

/// A title, the applied manifest, and its edits.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

fn check(name: &str, cases: &[Case<'_>]) {
    let mut text = String::new();
    for (title, base, edits) in cases {
        let file = |text: String| Files::from([("it.yaml".to_owned(), text)]);
        let plan = plan(&file((*base).to_owned()), &file(edited(base, edits)));
        writeln!(text, "## {title}\n{}", shown(&plan)).expect(FINE);
    }
    golden(name, &text);
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("it can be written");
        std::fs::write(&path, text).expect("it can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs: UPDATE_GOLDEN=1 writes it", path.display());
}

fn job(name: &str, reads: &str, writes: &str) -> (String, String) {
    let text = format!(
        "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{name: {name}, domain: d, owner: a}}\nspec:\n  engine: {{version: \"4.1\"}}\n  \
         job: {{sql: {{query: \"INSERT INTO lake.x.{writes} SELECT * FROM lake.x.{reads}\"}}}}\n  run: {{manual: {{}}}}\n"
    );
    (format!("{name}.yaml"), text)
}

#[test]
fn producers_come_first_and_deletions_last() {
    let chain = || Files::from([job("a", "two", "three"), job("b", "one", "two"), job("c", "zero", "one")]);
    let order = |old: &Files, new: &Files| -> Vec<String> {
        plan(old, new).workloads.iter().map(|it| format!("{} {}", it.action.name(), it.name)).collect()
    };
    assert_eq!(order(&Files::new(), &chain()), ["create c", "create b", "create a"]);
    assert_eq!(order(&chain(), &Files::new()), ["delete a", "delete b", "delete c"]);
    let mut other = Files::from([job("x", "zero", "y")]);
    other.extend([job("c", "zero2", "one")]);
    assert_eq!(order(&chain(), &other), ["update c", "create x", "delete a", "delete b"]);
    // Workloads of a cycle are ordered by name.
    let circle = Files::from([job("p", "one", "two"), job("q", "two", "one")]);
    assert_eq!(order(&Files::new(), &circle), ["create p", "create q"]);
}

#[test]
fn modified_saved_plan_is_rejected() {
    let files = |text: &str| Files::from([("it.yaml".to_owned(), text.to_owned())]);
    let saved = plan(&files(STREAM), &files(&edited(STREAM, &[("partitions: 8", "partitions: 16")]))).save();
    assert!(Plan::read(&saved).is_ok());
    for (from, to) in
        [("\"reset\"", "\"update\""), ("partitions", "Partitions"), ("\"serial\": 1", "\"serial\": 2")]
    {
        assert!(saved.contains(from), "{from}");
        let told = Plan::read(&saved.replacen(from, to, 1)).expect_err("it is no good plan").to_string();
        assert_eq!(told, "it was changed after it was made", "{from}");
    }
    assert!(
        Plan::read("{}").expect_err("it is no good plan").to_string().starts_with("it is no plan of dcp")
    );
    let newer = saved.replacen("\"format\": 1", "\"format\": 2", 1);
    assert!(Plan::read(&newer).expect_err("it is no good plan").to_string().contains("in another way"));
}

/// Returns primitives as an earlier dcp made them, which did not store the ranges of statements.
fn without_statement_ranges(primitives: &[Primitive]) -> Vec<Primitive> {
    let without = |primitive: &Primitive| {
        let mut body = primitive.body.clone();
        if let Body::CoreEtlJob(job) = &mut body {
            job.statements.clear();
        }
        Primitive::new(&primitive.address.domain, &primitive.address.name, body)
    };
    primitives.iter().map(without).collect()
}

#[test]
fn new_statement_ranges_of_the_same_sql_are_a_reason() {
    let (path, text) = job("a", "one", "two");
    let files = Files::from([(path, text.replace("lake.x.one", "lake.x.one; SELECT 1"))]);
    let new = compiled(&files);
    let plan = plan_against(&without_statement_ranges(&new.primitives), &new);
    let [workload] = plan.workloads.as_slice() else { panic!("{plan:?}") };
    let fields: Vec<(&str, Class)> =
        workload.reasons.iter().map(|it| (it.field.as_str(), it.class)).collect();
    assert!(fields.contains(&("job.sql.query", Class::InPlace)), "{fields:?}");
}
