//! Checks that the strings of a DAG only change constants of its file, and that the constants are these strings.

use dcp_compiler::airflow::{Literal, render};
use dcp_model::dag::{Asset, Dag, Schedule, Task, TemplateValue, Value};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::{python, samples};

const CASES: usize = 400;

const FRAGMENTS: &[&str] = &[
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "\\",
    "\\\\",
    "\\\"",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\0",
    "\x07",
    "\x1b[2K",
    "\x7f",
    "'\"); import os #",
    "\"'); import os #",
    "\"); import os; os.system(\"x\") #",
    "')\nimport os\n",
    "\\N{DIGIT ONE}",
    "\\x41",
    "\\u0041",
    "\\U0001f600",
    "{{ ds }}",
    "{% raw %}",
    "{# #}",
    "{{{x}}}",
    "{{#each tasks}}",
    "{{/each}}",
    "{{> dag.py}}",
    "{{!-- --}}",
    "\\{{x}}",
    "${x}",
    "%s",
    "{0}",
    "#",
    "# coding: latin-1",
    "\u{2028}",
    "\u{2029}",
    "\u{85}",
    "\u{202e}",
    "\u{2066}",
    "\u{feff}",
    "\u{a0}",
    "\u{200b}",
    "\u{5d0}",
    "\u{3164}",
    "\u{ff02}",
    "\u{1f600}",
    "\u{10ffff}",
    "\u{fffe}",
    "\u{d7ff}",
    "\u{e000}",
    "ß",
    "e\u{301}",
    "日本",
    "ｆ",
    "task_0",
    "None",
    "doc.md",
    "&lt;&quot;",
    "<b>",
    "",
    " ",
    "    ",
    "x",
];

fn hostile() -> impl Strategy<Value = String> {
    let fragment = || proptest::sample::select(FRAGMENTS).prop_map(str::to_owned);
    let long = (fragment(), 1000usize..5000).prop_map(|(part, times)| part.repeat(times));
    let many = proptest::collection::vec(prop_oneof![3 => fragment(), 1 => any::<String>()], 1..6);
    prop_oneof![
        20 => fragment(),
        20 => many.prop_map(|parts| parts.concat()),
        20 => any::<String>(),
        10 => proptest::collection::vec(any::<char>(), 0..40).prop_map(String::from_iter),
        1 => long,
    ]
}

/// Replaces each string of a DAG. New fields must be handled here.
fn map_strings(dag: &Dag, f: &mut impl FnMut(&str) -> String) -> Dag {
    let Dag { dag_id, scope, description, doc, owner, tags, schedule, timezone, tasks, .. } = dag;
    let Dag {
        start_date,
        group,
        catchup,
        max_active_runs,
        concurrency_policy,
        suspended,
        deadline_seconds,
        ..
    } = *dag;
    Dag {
        dag_id: f(dag_id),
        scope: f(scope),
        group,
        description: f(description),
        doc: f(doc),
        owner: f(owner),
        tags: tags.iter().map(|tag| f(tag)).collect(),
        schedule: match schedule {
            Schedule::Cron(expression) => Schedule::Cron(f(expression)),
            Schedule::Assets { mode, assets } => {
                Schedule::Assets { mode: *mode, assets: map_assets(assets, f) }
            }
            Schedule::Every(_) | Schedule::Manual => schedule.clone(),
        },
        start_date,
        timezone: f(timezone),
        catchup,
        max_active_runs,
        concurrency_policy,
        suspended,
        deadline_seconds,
        tasks: tasks.iter().map(|task| map_task(task, f)).collect(),
    }
}

fn map_task(task: &Task, f: &mut impl FnMut(&str) -> String) -> Task {
    let Task {
        task_id,
        owner,
        job,
        fingerprint,
        parameters,
        run_parameters,
        outlets,
        execution_timeout_seconds,
        upstream,
    } = task;
    Task {
        task_id: f(task_id),
        owner: owner.as_deref().map(&mut *f),
        job: f(job),
        fingerprint: f(fingerprint),
        parameters: parameters.iter().map(|(name, value)| (f(name), map_value(value, f))).collect(),
        run_parameters: run_parameters
            .iter()
            .map(|(name, value): &(_, TemplateValue)| (f(name), *value))
            .collect(),
        outlets: map_assets(outlets, f),
        execution_timeout_seconds: *execution_timeout_seconds,
        upstream: upstream.iter().map(|id| f(id)).collect(),
    }
}

fn map_assets(assets: &[Asset], f: &mut impl FnMut(&str) -> String) -> Vec<Asset> {
    assets.iter().map(|Asset { name, uri }| Asset { name: f(name), uri: f(uri) }).collect()
}

fn map_value(value: &Value, f: &mut impl FnMut(&str) -> String) -> Value {
    match value {
        Value::None | Value::Bool(_) | Value::Int(_) => value.clone(),
        Value::Str(text) => Value::Str(f(text)),
        Value::List(items) => Value::List(items.iter().map(|item| map_value(item, f)).collect()),
        Value::Dict(items) => {
            Value::Dict(items.iter().map(|(key, item)| (f(key), map_value(item, f))).collect())
        }
    }
}

/// Compares two programs, which may only differ in strings. For each token in the harmless program, the hostile one
/// has the corresponding string. The line break after the documentation belongs to the template.
const COMPARE: &str = r#"
import ast, json, sys

def check(a, b, strings):
    assert type(a) is type(b), f"{a!r} is now {b!r}"
    if isinstance(a, ast.AST):
        for field in a._fields:
            check(getattr(a, field, None), getattr(b, field, None), strings)
    elif isinstance(a, list):
        assert len(a) == len(b), f"{len(a)} nodes are now {len(b)}"
        for x, y in zip(a, b):
            check(x, y, strings)
    elif isinstance(a, str) and a.strip("\n") in strings:
        expected = strings[a.strip("\n")] + a[len(a.rstrip("\n")):]
        assert b == expected, f"{expected!r} is now {b!r}"
        seen.add(a.strip("\n"))
    else:
        assert a == b, f"{a!r} is now {b!r}"

for line in sys.stdin:
    case = json.loads(line)
    seen = set()
    try:
        check(ast.parse(case["harmless"].encode()), ast.parse(case["hostile"].encode()), case["strings"])
        assert seen == set(case["strings"]) - set(case["unused"]), f"only {seen} were found"
    except Exception as problem:
        print(f"{type(problem).__name__}: {problem}\n{case['hostile']}")
        break
"#;

/// Returns a DAG with a token for each of its strings, the DAG with hostile strings, and the string of each token.
fn case(dag: &Dag, strings: &mut impl FnMut() -> String) -> serde_json::Value {
    let mut tokens = serde_json::Map::new();
    // Equal strings stay equal, so that dependencies still refer to their tasks, and different strings stay
    // different.
    let mut known = std::collections::HashMap::new();
    let harmless = map_strings(dag, &mut |text| {
        let count = known.len();
        known.entry(text.to_owned()).or_insert_with(|| format!("token{count}")).clone()
    });
    let hostile = map_strings(&harmless, &mut |token| {
        let string = tokens
            .entry(token.to_owned())
            .or_insert_with(|| json!(strings() + token.strip_prefix("token").unwrap() + &strings()));
        string.as_str().unwrap().to_owned()
    });
    // The time zone is only rendered if a date or a schedule uses it.
    let zoned = dag.start_date.is_some() || dag.is_time_triggered();
    let mut unused = if zoned { vec![] } else { vec![harmless.timezone.clone()] };
    unused.extend(harmless.group.then(|| harmless.owner.clone()));
    unused.extend(harmless.tasks.is_empty().then(|| harmless.scope.clone()));
    json!({"harmless": render(&harmless), "hostile": render(&hostile), "strings": tokens, "unused": unused})
}

#[test]
fn strings_never_become_code() {
    let mut runner = TestRunner::default();
    let samples = samples::all();
    let strategy = hostile();
    let mut string = || strategy.new_tree(&mut runner).unwrap().current();
    let cases: Vec<_> = (0..CASES).map(|at| case(&samples[at % samples.len()].1, &mut string)).collect();
    assert_eq!(python::run(COMPARE, &cases), "");
}

/// Every fragment is tested in all fields of all samples, so that the result doesn't depend on chance.
#[test]
fn known_injections_never_become_code() {
    let cases_of = |fragment: &&str| -> Vec<_> {
        samples::all().iter().map(|(_, dag)| case(dag, &mut || (*fragment).to_owned())).collect()
    };
    let cases: Vec<_> = FRAGMENTS.iter().flat_map(cases_of).collect();
    assert_eq!(python::run(COMPARE, &cases), "");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        hostile().prop_map(Value::Str),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            proptest::collection::vec((hostile(), inner), 0..6).prop_map(Value::Dict),
        ]
    })
}

/// `repr` distinguishes `True` from `1`, and `==` doesn't.
const EVALUATE: &str = r#"
import ast, json, sys
for line in sys.stdin:
    literal, value = json.loads(line)
    found = ast.literal_eval(literal.encode().decode())
    if repr(found) != repr(value):
        print(f"{literal}\nis {found!r}, and should be {value!r}")
        break
"#;

#[test]
fn a_literal_evaluates_to_its_value() {
    let mut runner = TestRunner::default();
    let strategy = value();
    let pairs: Vec<_> = (0..CASES)
        .map(|_| {
            let value = strategy.new_tree(&mut runner).unwrap().current();
            (Literal::argument("parameters", 8, &value).as_str().to_owned(), value)
        })
        .collect();
    assert_eq!(python::run(EVALUATE, &pairs), "");
}
