//! Rules for dependencies between crates, for names that sources must not contain, for interfaces, and for lengths.
//!
//! `docs/architecture.md` describes the rules to readers; if both differ, this test is right.

mod imports;
mod interfaces;
mod lengths;
mod wording;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// Workspace crates that a crate may depend on. `Any` is for tests and benchmarks.
enum Allowed {
    Any,
    Only(&'static [&'static str]),
}

/// A row for each workspace crate. Development dependencies count as well: a crate's own tests need no further crates,
/// and tests across crates are in `tests/`.
const ALLOWED_DEPENDENCIES: &[(&str, Allowed)] = &[
    ("dcp-model", Allowed::Only(&[])),
    ("dcp-compiler", Allowed::Only(&["dcp-model"])),
    ("dcp-workspace", Allowed::Only(&["dcp-model", "dcp-compiler"])),
    ("dcp-proto", Allowed::Only(&[])),
    ("dcp-server", Allowed::Only(&["dcp-model"])),
    ("dcp-database", Allowed::Only(&[])),
    ("dcp-identity", Allowed::Only(&["dcp-database", "dcp-proto", "dcp-server"])),
    ("dcp-objects", Allowed::Only(&[])),
    ("dcp-gateway", Allowed::Only(&["dcp-objects", "dcp-proto", "dcp-server"])),
    (
        "dcp-runner",
        Allowed::Only(&[
            "dcp-model",
            "dcp-database",
            "dcp-gateway",
            "dcp-objects",
            "dcp-proto",
            "dcp-server",
        ]),
    ),
    (
        "dcp-reconciler",
        Allowed::Only(&[
            "dcp-model",
            "dcp-compiler",
            "dcp-database",
            "dcp-objects",
            "dcp-proto",
            "dcp-runner",
            "dcp-server",
        ]),
    ),
    (
        "dcp-connect",
        Allowed::Only(&[
            "dcp-database",
            "dcp-gateway",
            "dcp-model",
            "dcp-proto",
            "dcp-reconciler",
            "dcp-runner",
            "dcp-server",
        ]),
    ),
    (
        "dcp-cli",
        Allowed::Only(&[
            "dcp-model",
            "dcp-compiler",
            "dcp-workspace",
            "dcp-proto",
            "dcp-server",
            "dcp-identity",
            "dcp-gateway",
            "dcp-runner",
            "dcp-reconciler",
            "dcp-connect",
        ]),
    ),
    ("dcp-tests", Allowed::Any),
    ("dcp-bench", Allowed::Any),
];

/// External crates that a workspace crate must not depend on, directly or indirectly.
const BANNED_DEPENDENCIES: &[(&str, &[&str])] =
    &[("dcp-model", IMPURE), ("dcp-compiler", IMPURE), ("dcp-gateway", PARSERS), ("dcp-runner", PARSERS)];

/// Parsers of manifests and SQL. The client of Kubernetes reads its own files with a YAML parser.
const PARSERS: &[&str] = &["sqlparser", "jsonschema", "handlebars"];

/// Crates with effects outside of the process.
const IMPURE: &[&str] =
    &["tokio", "async-std", "reqwest", "hyper", "ureq", "sqlx", "kube", "notify", "ignore", "walkdir"];

/// Clients of clusters and clouds: these crates, and all with one of these names and a hyphen as prefix.
const CLUSTERS: &[&str] = &["kube", "k8s-openapi", "aws-config", "aws-sdk"];

/// External crates that only one workspace crate may use. Other crates use that workspace crate.
const OWNED_DEPENDENCIES: &[(&str, &str)] = &[("object_store", "dcp-objects")];

/// Names that the compiler's sources must not contain.
const IO_NAMES: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::os",
    "SystemTime",
    "now()",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
];

/// Further names that sources of the plan must not contain, because planning has no effects.
const EFFECT_NAMES: &[&str] = &["tokio", "sqlx", "tonic", "dcp_proto", "async_trait", "async fn"];

/// Only the binary prints; other crates return values.
const PRINT_NAMES: &[&str] = &["print!", "println!", "eprint!", "eprintln!", "stdout()", "stderr()"];

#[test]
fn crates_depend_on_allowed_crates_only() {
    let metadata = metadata();
    let members: HashSet<_> =
        metadata.workspace_packages().iter().map(|member| member.name.as_str()).collect();
    let mut wrong = Vec::new();
    for member in metadata.workspace_packages() {
        let name = member.name.as_str();
        let Some((_, allowed)) = ALLOWED_DEPENDENCIES.iter().find(|(row, _)| *row == name) else {
            wrong.push(format!(
                "`{name}` has no row in ALLOWED_DEPENDENCIES: add one, and describe the crate in docs/architecture.md"
            ));
            continue;
        };
        let Allowed::Only(allowed) = allowed else { continue };
        for dependency in member.dependencies.iter().map(|dependency| dependency.name.as_str()) {
            if members.contains(dependency) && !allowed.contains(&dependency) {
                wrong.push(format!("`{name}` depends on `{dependency}`, and may depend on {allowed:?} only"));
            }
        }
    }
    assert_none("dependencies point the wrong way", &wrong);
}

#[test]
fn crates_do_not_reach_banned_dependencies() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for (root, banned) in BANNED_DEPENDENCIES {
        let paths = dependency_paths(root, &metadata).into_iter();
        let bad = paths.filter(|path| path.last().is_some_and(|end| banned.contains(&end.as_str())));
        wrong.extend(bad.map(|path| path.join(" -> ")));
    }
    assert_none("these crates must not be dependencies", &wrong);
}

#[test]
fn only_the_gateway_and_identity_use_clients_of_clusters_and_clouds() {
    let mut wrong = Vec::new();
    for member in metadata().workspace_packages() {
        if matches!(member.name.as_str(), "dcp-gateway" | "dcp-identity" | "dcp-tests" | "dcp-bench") {
            continue;
        }
        for dependency in &member.dependencies {
            if CLUSTERS.iter().any(|client| has_family(&dependency.name, client)) {
                wrong.push(format!("`{}` depends on `{}`", member.name, dependency.name));
            }
        }
    }
    assert_none("only dcp-gateway and dcp-identity may use clients of clusters and clouds", &wrong);
}

#[test]
fn owned_dependencies_have_one_user() {
    let mut wrong = Vec::new();
    for member in metadata().workspace_packages() {
        for (owned, owner) in OWNED_DEPENDENCIES {
            if member.name != *owner && member.dependencies.iter().any(|it| it.name == *owned) {
                wrong.push(format!("`{}` depends on `{owned}`, which is {owner}'s", member.name));
            }
        }
    }
    assert_none("only the owner may use these crates", &wrong);
}

#[test]
fn model_and_compiler_perform_no_io() {
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let pure = packages.iter().filter(|member| matches!(member.name.as_str(), "dcp-model" | "dcp-compiler"));
    let wrong: Vec<_> = pure.flat_map(|member| scan(member, IO_NAMES)).collect();
    assert_none("these crates have no clock, network, environment, file system or terminal", &wrong);
}

#[test]
fn plans_and_decisions_have_no_effects() {
    let metadata = metadata();
    let reconciler = metadata.workspace_packages().into_iter().find(|member| member.name == "dcp-reconciler");
    let banned = [IO_NAMES, EFFECT_NAMES].concat();
    let mut wrong = scan(reconciler.expect("the workspace has a reconciler"), &banned);
    let pure = [
        " src/plan.rs:",
        " src/plan/",
        " src/reconcile.rs:",
        " src/reconcile/decide.rs:",
        " src/reconcile/version.rs:",
        " src/reconcile/backoff.rs:",
        " src/reconcile/scale.rs:",
    ];
    wrong.retain(|found| pure.iter().any(|file| found.contains(file)));
    assert_none("plans and decisions about jobs are pure", &wrong);
}

#[test]
fn proto_crate_has_generated_code_only() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let mut files = Vec::new();
    sources(&folder.join("src"), &mut files);
    let lines = files.iter().map(|file| read(file)).collect::<String>();
    let code: Vec<_> = lines
        .lines()
        .filter(|line| ["fn ", "struct ", "enum ", "impl "].iter().any(|it| line.contains(it)))
        .collect();
    assert!(code.is_empty(), "dcp-proto has generated code only: {code:?}");
}

#[test]
fn only_the_binary_prints() {
    let wrong: Vec<_> = metadata()
        .workspace_packages()
        .into_iter()
        .filter(|member| !matches!(member.name.as_str(), "dcp-cli" | "dcp-tests" | "dcp-bench"))
        .flat_map(|member| scan(member, PRINT_NAMES))
        .collect();
    assert_none("only dcp-cli prints", &wrong);
}

#[test]
fn members_inherit_workspace_settings() {
    let mut wrong = Vec::new();
    for member in metadata().workspace_packages() {
        wrong.extend(not_inherited(&member.name, &read(member.manifest_path.as_std_path())));
    }
    assert_none("these settings belong in the workspace's Cargo.toml", &wrong);
}

#[test]
fn scan_skips_comments_and_test_modules() {
    let source = "\
        use std::{\n    collections::HashMap,\n    fs::File,\n};\n\
        use std::{fmt, env};\n\
        /// Unlike std::fs, this is pure.\n\
        fn a() { crate::std::env_like(); my_println!(); }\n\
        fn b() { let t = jiff::Timestamp::now(); }\n\
        #[cfg(test)]\nmod far;\n\
        fn c() { println!(\"{}\", 1); }\n\
        #[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
    let seen: Vec<_> = lines_with_banned_names(source, IO_NAMES)
        .into_iter()
        .map(|(line, what)| format!("{line} {what}"))
        .collect();
    assert_eq!(seen, ["3 std::fs", "5 std::env", "8 now()", "11 println!"]);
}

#[test]
fn missing_inheritance_is_detected() {
    let good = "[package]\nname = \"a\"\nedition.workspace = true\nlicense = { workspace = true }\n\
        publish.workspace = true\nrust-version.workspace = true\nversion.workspace = true\n\
        [lints]\nworkspace = true\n[dependencies]\n# why\nserde.workspace = true\n\
        x = { workspace = true, features = [\"y\"] }\n[dev-dependencies.z]\nworkspace = true\n";
    assert_eq!(not_inherited("a", good), [""; 0]);
    for (from, to, expected) in [
        ("[lints]\nworkspace = true", "", "a: [lints] does not say `workspace = true`"),
        ("license = { workspace = true }", "license = \"MIT\"", "a: [package] does not inherit `license`"),
        ("rust-version.workspace = true", "", "a: [package] does not inherit `rust-version`"),
        (
            "serde.workspace = true",
            "serde = \"1\"",
            "a: [dependencies] `serde = \"1\"` gives its own version",
        ),
        (
            "x = { workspace = true, f",
            "x = { f",
            "a: [dependencies] `x = { features = [\"y\"] }` gives its own version",
        ),
        (
            ".z]\nworkspace = true",
            ".z]\nversion = \"1\"",
            "a: [dev-dependencies.z] does not say `workspace = true`",
        ),
    ] {
        assert_eq!(not_inherited("a", &good.replace(from, to)), [expected]);
    }
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .expect("cargo knows the workspace that it runs this test in")
}

fn assert_none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

fn has_family(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Returns the shortest path to each crate that `root` reaches by normal dependencies.
fn dependency_paths(root: &str, metadata: &Metadata) -> Vec<Vec<String>> {
    let names: HashMap<&PackageId, &str> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves unless told not to");
    let nodes: HashMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let start = resolve.nodes.iter().find(|node| names[&node.id] == root).expect("the root is a member");

    let mut paths = BTreeMap::from([(&start.id, vec![root.to_owned()])]);
    let mut queue = VecDeque::from([&start.id]);
    while let Some(at) = queue.pop_front() {
        for dependency in &nodes[at].deps {
            let normal = dependency.dep_kinds.iter().any(|info| info.kind == DependencyKind::Normal);
            if normal && !paths.contains_key(&dependency.pkg) {
                let mut path = paths[at].clone();
                path.push(names[&dependency.pkg].to_owned());
                paths.insert(&dependency.pkg, path);
                queue.push_back(&dependency.pkg);
            }
        }
    }
    paths.into_values().collect()
}

/// Returns the lines of a crate's sources, outside of tests, that contain a banned name.
fn scan(package: &Package, banned: &[&str]) -> Vec<String> {
    let src = package.manifest_path.with_file_name("src").into_std_path_buf();
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(!files.is_empty(), "{} has sources", src.display());
    let mut found = Vec::new();
    for file in files {
        for (line, what) in lines_with_banned_names(&read(&file), banned) {
            let file = file.strip_prefix(&src).unwrap_or(&file).display();
            found.push(format!("{}: src/{file}:{line}: {what}", package.name));
        }
    }
    found
}

/// Collects the `.rs` files below a folder, except files and folders named `tests`.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a crate's src can be listed") {
        let path = entry.expect("a crate's src can be listed").path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Returns the lines of a source that contain a banned name. It reads text, not Rust: it skips comment lines, and ends
/// at `#[cfg(test)] mod … {`, after which clippy allows no other items.
fn lines_with_banned_names(source: &str, banned: &[&str]) -> Vec<(usize, String)> {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let end = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{'))
        .unwrap_or(lines.len());
    let mut found = Vec::new();
    let mut in_std = false;
    for (index, line) in lines[..end].iter().enumerate().filter(|(_, line)| !line.starts_with("//")) {
        in_std |= line.starts_with("use std::{");
        for what in banned {
            let grouped = what.strip_prefix("std::").is_some_and(|name| in_std && contains_word(line, name));
            if grouped || contains_word(line, what) {
                found.push((index + 1, (*what).to_owned()));
            }
        }
        in_std &= !line.ends_with(';');
    }
    found
}

/// Returns true if `text` has `word` without a letter, digit or underscore on either side.
fn contains_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

/// Returns the settings of a manifest that it should inherit from the workspace. It reads lines, not TOML, and reports
/// lines that it can't interpret.
fn not_inherited(name: &str, manifest: &str) -> Vec<String> {
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut section = "";
    for line in manifest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = header;
            sections.entry(section).or_default();
        } else {
            sections.entry(section).or_default().push(line);
        }
    }
    let has = |section: &str, line: &str| sections.get(section).is_some_and(|lines| lines.contains(&line));

    let mut wrong = Vec::new();
    for key in ["version", "edition", "rust-version", "license", "publish"] {
        let inherits = [format!("{key}.workspace = true"), format!("{key} = {{ workspace = true }}")];
        if !inherits.iter().any(|line| has("package", line)) {
            wrong.push(format!("{name}: [package] does not inherit `{key}`"));
        }
    }
    if !has("lints", "workspace = true") {
        wrong.push(format!("{name}: [lints] does not say `workspace = true`"));
    }
    for (section, lines) in sections.iter().filter(|(section, _)| section.contains("dependencies")) {
        if section.ends_with("dependencies") {
            let inherits =
                |line: &&&str| line.ends_with(".workspace = true") || line.contains("= { workspace = true");
            let own = lines.iter().filter(|line| !inherits(line));
            wrong.extend(own.map(|line| format!("{name}: [{section}] `{line}` gives its own version")));
        } else if !has(section, "workspace = true") {
            wrong.push(format!("{name}: [{section}] does not say `workspace = true`"));
        }
    }
    wrong
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("the workspace's own files can be read, and are UTF-8")
}
