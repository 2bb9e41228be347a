use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use dcp_compiler::compile::Goal;
use tempfile::TempDir;

use super::*;
use crate::project::{Outcome, Request, Workspace};

struct Project {
    folder: TempDir,
}

impl Project {
    /// Creates a project of three workloads: one has its SQL in a file, and one has a program.
    fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().expect("there is a temporary folder") };
        project.write("dcp.yaml", "project: shop\nmanifests: [manifests]\n");
        project.write("sql/b.sql", "INSERT INTO lake.b SELECT * FROM lake.a");
        project.write("jobs/c.py", "");
        project.write("manifests/a.yaml", &manifest("a", "sql: {query: 'INSERT INTO lake.a SELECT 1'}"));
        project.write("manifests/b.yaml", &manifest("b", "sql: {file: sql/b.sql}"));
        project.write("manifests/c.yaml", &manifest("c", "pyspark: {main: jobs/c.py}"));
        project
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("the value is present")).expect("folders can be made");
        fs::write(path, text).expect("files can be written");
    }

    /// Validates the project. Returns the names of the analyzed files and the number of diagnostics.
    fn validate(&self) -> (BTreeSet<String>, usize) {
        let home = Workspace::find(Some(self.folder.path()), &[]).expect("it exists");
        let request = Request { paths: &[], target: None, goal: Goal::Validate, on_file: None };
        let outcome = home.validate_cached(request).expect("it can be validated");
        let fresh = outcome.fresh.iter().map(|fresh| name(&fresh.path)).collect();
        (fresh, outcome.compilation.diagnostics.len())
    }

    /// Waits until later changes of the files are sure to change their stamps.
    fn settle(&self) {
        let deadline = Instant::now() + Duration::from_mins(1);
        let home = Workspace::find(Some(self.folder.path()), &[]).expect("it exists");
        for path in ["manifests/a.yaml", "manifests/b.yaml", "manifests/c.yaml", "sql/b.sql", "jobs/c.py"] {
            let stamp = home.tree.stamp(Path::new(path)).expect("it exists");
            while !stamp.is_settled(SystemTime::now()) {
                assert!(Instant::now() < deadline, "`{path}` does not settle");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn manifest(name: &str, job: &str) -> String {
    format!(
        "apiVersion: dcp/v1\nkind: CoreETL\nmetadata: {{name: {name}, domain: d, owner: o@example.com}}\n\
         spec:\n  engine: {{version: '4.1'}}\n  job:\n    {job}\n  run:\n    manual: {{}}\n"
    )
}

fn name(path: &str) -> String {
    path.trim_start_matches("manifests/").trim_end_matches(".yaml").to_owned()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn validate_analyzes_changed_files_only() {
    let project = Project::new();
    assert_eq!(project.validate(), (names(["a", "b", "c"]), 0));
    assert_eq!(project.validate(), (names([]), 0));
    project.settle();
    // The first run compares the contents and stores the stamps; the second one uses the stamps.
    assert_eq!(project.validate(), (names([]), 0));
    assert_eq!(project.validate(), (names([]), 0));

    project.write("manifests/a.yaml", &manifest("a", "sql: {query: 'INSERT INTO lake.a SELECT 2'}"));
    assert_eq!(project.validate(), (names(["a"]), 0));
    project.write("sql/b.sql", "INSERT INTO lake.b SELECT 2 FROM lake.a");
    assert_eq!(project.validate(), (names(["b"]), 0));
    // The content of a program is not read, so changing it has no effect.
    project.write("jobs/c.py", "print()");
    assert_eq!(project.validate(), (names([]), 0));
    fs::remove_file(project.path("jobs/c.py")).expect("it exists");
    assert_eq!(project.validate(), (names(["c"]), 1));
    assert_eq!(project.validate(), (names(["c"]), 1), "files with problems are not cached");
    project.write("jobs/c.py", "");
    assert_eq!(project.validate(), (names(["c"]), 0));
    assert_eq!(project.validate(), (names([]), 0));
}

#[test]
fn validate_links_files_only_if_links_changed() {
    let project = Project::new();
    project.validate();
    // Returns the number of nodes of the graph, and of diagnostics.
    let validate = || {
        let home = Workspace::find(Some(project.folder.path()), &[]).expect("it exists");
        let request = Request { paths: &[], target: None, goal: Goal::Validate, on_file: None };
        let Outcome { compilation, files, .. } = home.validate_cached(request).expect("it can be validated");
        assert_eq!((compilation.manifests.count(), files), (3, 3));
        (compilation.graph.nodes.len(), compilation.diagnostics.len())
    };
    let edit = |query: &str| {
        project.write("manifests/a.yaml", &manifest("a", &format!("sql: {{query: '{query}'}}")));
    };
    edit("INSERT INTO lake.a SELECT 12345");
    assert_eq!(validate(), (0, 0));
    assert_eq!(project.validate(), (names([]), 0), "the cache has the new version");
    edit("INSERT INTO lake.a SELECT * FROM lake.z");
    assert_eq!(validate(), (3, 0));
    edit("INSERT INTO lake.b SELECT * FROM lake.z");
    assert_eq!(validate(), (3, 1), "b writes the same table");
    edit("INSERT INTO lake.b SELECT 1 FROM lake.z");
    assert_eq!(validate(), (3, 1), "b still writes the same table");
    edit("INSERT INTO lake.a SELECT * FROM lake.b");
    assert_eq!(validate(), (3, 1), "b reads the table of a");
    edit("INSERT INTO lake.a SELECT 1");
    assert_eq!(validate(), (3, 0));
    edit("INSERT INTO lake.a SELECT 2");
    assert_eq!(validate(), (0, 0));
}

#[test]
fn stamps_of_files_that_were_too_young_are_stored_later() {
    let project = Project::new();
    let has_new_stamps = || {
        let home = Workspace::find(Some(project.folder.path()), &[]).expect("it exists");
        let entries = home.entries(&[]);
        Cache::load(&home.tree, home.text(), None)
            .expect("there is a project")
            .unchanged_files(&home.tree, entries)
            .has_new_stamps
    };
    project.validate();
    project.settle();
    assert!(has_new_stamps(), "the contents are compared, as the files were too young");
    project.validate();
    assert!(!has_new_stamps(), "the stamps are compared");
}

#[test]
fn change_that_keeps_size_and_modification_time_is_seen() {
    let project = Project::new();
    project.validate();
    project.settle();
    project.validate();
    let path = project.path("manifests/a.yaml");
    let modified = path.metadata().and_then(|it| it.modified()).expect("it has a time");
    project.write("manifests/a.yaml", &manifest("a", "sql: {query: 'INSERT INTO lake.z SELECT 1'}"));
    let times = fs::FileTimes::new().set_modified(modified);
    let file = fs::File::options().write(true).open(&path).expect("it exists");
    file.set_times(times).expect("times can be set");
    assert_eq!(project.validate().0, names(["a"]));
}

#[test]
fn problem_between_unchanged_files_is_shown_with_their_text() {
    let project = Project::new();
    project.validate();
    // Both files are unchanged, and a third one causes a problem in the first.
    project.write("manifests/d.yaml", &manifest("a", "sql: {query: 'INSERT INTO lake.d SELECT 1'}"));
    let home = Workspace::find(Some(project.folder.path()), &[]).expect("it exists");
    let request = Request { paths: &[], target: None, goal: Goal::Validate, on_file: None };
    let outcome = home.validate_cached(request).expect("it can be validated");
    let compilation = &outcome.compilation;
    assert_eq!(compilation.diagnostics.len(), 1);
    for label in &compilation.diagnostics[0].labels {
        let source = compilation.sources.get(label.span.file);
        assert_eq!(source.text.get(label.span.range()), Some("a"), "in {}", source.path);
    }
    assert_eq!(project.validate().0, names(["a", "d"]));
    fs::remove_file(project.path("manifests/d.yaml")).expect("it exists");
    assert_eq!(project.validate(), (names(["a"]), 0));
    assert_eq!(project.validate(), (names([]), 0));
}

#[test]
fn project_file_and_target_have_caches_of_their_own() {
    let project = Project::new();
    project.validate();
    project.write("dcp.yaml", "project: other\nmanifests: [manifests]\n");
    assert_eq!(project.validate(), (names(["a", "b", "c"]), 0));
}
