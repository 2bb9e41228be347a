//! Times the steps from bytes to diagnostics, on one thread of this process.

use std::hint::black_box;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use dcp_compiler::compile::Compiler;
use dcp_compiler::source::{FileId, LoadError, SourceLoader};
use dcp_compiler::{schema, sql, yaml};
use dcp_model::manifest::Manifest;
use serde_json::{Value, json};

use crate::validate::{self, Folder, Threads};

/// Manifests that are read once, and then loaded from memory.
struct InMemoryCorpus {
    folder: Folder,
    paths: Vec<String>,
    texts: Vec<String>,
}

impl SourceLoader for InMemoryCorpus {
    fn load(&self, path: &str) -> Result<String, LoadError> {
        let at = self.paths.binary_search_by(|known| known.as_str().cmp(path));
        at.map(|at| self.texts[at].clone()).map_err(|_| LoadError::NotFound)
    }
}

impl InMemoryCorpus {
    fn new(root: &Path) -> io::Result<Self> {
        let paths = validate::discover(root)?;
        let folder = Folder(root.to_owned());
        let texts = read(&folder, &paths)?;
        Ok(Self { folder, paths, texts })
    }

    fn trees(&self) -> impl Iterator<Item = (&str, yaml::Tree<'_>)> {
        let parse = |text| yaml::parse(FileId(0), text).documents.into_iter().map(move |tree| (text, tree));
        self.texts.iter().map(String::as_str).flat_map(parse)
    }
}

fn read(folder: &Folder, paths: &[String]) -> io::Result<Vec<String>> {
    let load = |path| folder.load(path).map_err(|error| io::Error::other(format!("{path}: {error:?}")));
    paths.iter().map(|path| load(path.as_str())).collect()
}

/// A step: its name in the result, and a function that runs it once and returns the time without its set-up.
type Step<'a> = (&'static str, Box<dyn Fn() -> Duration + 'a>);

/// Runs a step and drops its result; the time includes both.
fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    drop(black_box(work()));
    start.elapsed()
}

/// Times the steps whose ratios have goals.
pub fn steps(root: &Path, repeat: usize) -> io::Result<Value> {
    with_compiler(root, |corpus, compiler| {
        let texts = || corpus.texts.iter().map(String::as_str);
        let read_all = || read(&corpus.folder, &corpus.paths).expect("the files were read before");
        let steps: Vec<Step<'_>> = vec![
            ("read", Box::new(|| timed(read_all))),
            ("events", Box::new(|| timed(|| texts().map(events).sum::<usize>()))),
            ("tree", Box::new(|| timed(|| texts().for_each(|text| parse(text, yaml::parse))))),
            ("tree_of_any", Box::new(|| timed(|| texts().for_each(|text| parse(text, yaml::parse_full))))),
            ("serde_yaml_ng", Box::new(|| timed(|| texts().for_each(|text| drop(black_box(to_json(text))))))),
            ("read_and_tree", Box::new(|| timed(|| read_and_parse(corpus, yaml::parse)))),
            ("read_and_tree_of_any", Box::new(|| timed(|| read_and_parse(corpus, yaml::parse_full)))),
            (
                "validate",
                Box::new(|| timed(|| validate::run(compiler, &corpus.folder, &corpus.paths, Threads::One))),
            ),
        ];
        run(&steps, repeat)
    })
}

/// Times each phase of validating. The rest of `analyze` is checks and secrets.
pub fn phases(root: &Path, repeat: usize) -> io::Result<Value> {
    with_compiler(root, |corpus, compiler| {
        let analyze = || -> Vec<_> {
            let all = corpus.paths.iter().enumerate();
            all.map(|(index, path)| compiler.analyze(index, path, corpus)).collect()
        };
        let steps: Vec<Step<'_>> = vec![
            ("parse", Box::new(|| timed(|| corpus.trees().count()))),
            (
                "apply",
                Box::new(each(corpus, |text, tree| {
                    drop(black_box(compiler.project.apply(
                        tree,
                        text,
                        &mut dcp_compiler::project::AppliedOverlays::default(),
                    )));
                })),
            ),
            (
                "schema",
                Box::new(each(corpus, |_, tree| drop(black_box(schema::check(&schema::CORE_ETL, tree))))),
            ),
            ("decode", Box::new(each(corpus, |_, tree| drop(black_box(tree.root().decode::<Manifest>()))))),
            (
                "sql",
                Box::new(each(corpus, |_, tree| {
                    drop(black_box(query(tree.root()).map(|(text, detail)| sql::read(text, detail))));
                })),
            ),
            ("analyze", Box::new(|| timed(analyze))),
            (
                "link",
                Box::new(|| {
                    let analyses = analyze();
                    timed(|| compiler.link(analyses))
                }),
            ),
        ];
        run(&steps, repeat)
    })
}

/// Returns a step that processes all trees. The trees are parsed anew for each run, outside of the measured time.
fn each<'a>(
    corpus: &'a InMemoryCorpus,
    work: impl Fn(&'a str, &mut yaml::Tree<'a>) + 'a,
) -> impl Fn() -> Duration + 'a {
    move || {
        let mut trees: Vec<_> = corpus.trees().collect();
        timed(|| trees.iter_mut().for_each(|(text, tree)| work(text, tree)))
    }
}

fn with_compiler(
    root: &Path,
    work: impl FnOnce(&InMemoryCorpus, &Compiler<'_>) -> Value,
) -> io::Result<Value> {
    let corpus = InMemoryCorpus::new(root)?;
    let text = validate::project_text(root)?;
    let project = validate::read_project(&text)?;
    let compiler = validate::compiler(&project, &text);
    let mut result = work(&corpus, &compiler);
    result["files"] = corpus.texts.len().into();
    result["bytes"] = corpus.texts.iter().map(String::len).sum::<usize>().into();
    Ok(result)
}

/// Runs all steps in turn, so that a temporary disturbance affects all of them. The first round warms up and does not
/// count.
fn run(steps: &[Step<'_>], repeat: usize) -> Value {
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); steps.len()];
    for round in 0..=repeat {
        for ((_, step), times) in steps.iter().zip(&mut times) {
            let time = step();
            if round > 0 {
                times.push(time);
            }
        }
    }
    let seconds = times.iter_mut().map(|times| {
        times.sort_unstable();
        times.iter().map(Duration::as_secs_f64).collect::<Vec<_>>()
    });
    let all: serde_json::Map<String, Value> =
        steps.iter().map(|(name, _)| (*name).to_owned()).zip(seconds.map(Value::from)).collect();
    json!({ "seconds": all })
}

/// One of the two YAML parsers.
type Parse = for<'t> fn(FileId, &'t str) -> yaml::Parsed<'t>;

fn parse(text: &str, parse: Parse) {
    drop(black_box(parse(FileId(0), text)));
}

fn read_and_parse(corpus: &InMemoryCorpus, how: Parse) {
    for path in &corpus.paths {
        parse(&corpus.folder.load(path).expect("the file was read before"), how);
    }
}

fn events(text: &str) -> usize {
    granit_parser::Parser::new_from_str(text).map(|event| black_box(event).is_ok()).filter(|ok| *ok).count()
}

fn to_json(text: &str) -> Value {
    serde_yaml_ng::from_str(text).expect("the manifests of the corpus are YAML")
}

fn query(root: yaml::NodeRef<'_>) -> Option<(&str, sql::Detail)> {
    let kinds = [("sql", sql::Detail::Lineage), ("stream", sql::Detail::Shape)];
    kinds
        .into_iter()
        .find_map(|(kind, detail)| Some((root.find(["spec", "job", kind, "query"])?.as_str()?, detail)))
}
