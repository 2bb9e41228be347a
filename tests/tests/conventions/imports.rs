//! Imports between the files of a crate: no cycles, and no imports between modules that must not know each other.
//!
//! A parent module declares and re-exports its children, so imports of children by their parents do not count. An
//! import of a re-exported name counts as an import of the file that defines it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, UseTree, Visibility};

use crate::{assert_none, metadata, read, sources};

/// Modules of a crate, and the modules of the same crate that they must not import.
const BANNED_IMPORTS: &[(&str, &str, &str)] = &[
    ("dcp-reconciler", "plan", "registry"),
    ("dcp-reconciler", "plan", "publish"),
    ("dcp-reconciler", "plan", "reconcile"),
    ("dcp-reconciler", "registry", "plan"),
    ("dcp-reconciler", "registry", "assets"),
    ("dcp-reconciler", "registry", "publish"),
    ("dcp-reconciler", "registry", "reconcile"),
    ("dcp-reconciler", "publish", "plan"),
    ("dcp-reconciler", "publish", "reconcile"),
    ("dcp-reconciler", "assets", "plan"),
    ("dcp-reconciler", "assets", "reconcile"),
];

/// The path of a module or an item in its crate.
type Name = Vec<String>;

#[test]
fn files_have_no_import_cycles() {
    let mut wrong = Vec::new();
    for member in metadata().workspace_packages() {
        let imports = Imports::of_crate(member.manifest_path.with_file_name("src").as_std_path());
        let cycles = imports.cycles().into_iter();
        wrong.extend(cycles.map(|cycle| format!("{}: {}", member.name, cycle.join(", "))));
    }
    assert_none("these files import each other; move what they share into a file of its own", &wrong);
}

#[test]
fn modules_do_not_import_banned_modules() {
    let mut wrong = Vec::new();
    for member in metadata().workspace_packages() {
        let imports = Imports::of_crate(member.manifest_path.with_file_name("src").as_std_path());
        for (name, from, to) in BANNED_IMPORTS.iter().filter(|(name, ..)| *name == member.name.as_str()) {
            assert!(
                imports.has(from) && imports.has(to),
                "{name} has no module `{from}` or no module `{to}`"
            );
            let found = imports.edges.iter().filter(|(file, _)| file.first().is_some_and(|it| it == from));
            for (file, imported) in found {
                let bad = imported.iter().filter(|it| it.first().is_some_and(|it| it == to));
                wrong.extend(bad.map(|it| format!("{name}: {} imports {}", shown(file), shown(it))));
            }
        }
    }
    assert_none("modules that must not know each other", &wrong);
}

#[test]
fn cycles_are_found_through_re_exports_and_macros() {
    let files = [
        ("", "mod a;\nmod b;\npub use a::Left;\npub use b::Right;\nmod c;"),
        ("a", "use super::Right;\nstruct Left;\nfn left(it: Right) {}"),
        ("b", "struct Right;\nfn right() { println!(\"{}\", crate::a::LEFT); }"),
        ("c", "use crate::a::Left;\n#[cfg(test)]\nmod tests { use crate::d::D; }"),
        ("d", "use crate::c;"),
    ];
    let imports = Imports::new(files.map(|(name, text)| (split(name), text.to_owned())));
    assert_eq!(imports.cycles(), [["a", "b"]]);
}

/// The modules that each file of a crate imports.
#[derive(Debug)]
struct Imports {
    edges: BTreeMap<Name, BTreeSet<Name>>,
}

impl Imports {
    fn of_crate(src: &Path) -> Self {
        let mut files = Vec::new();
        if src.is_dir() {
            sources(src, &mut files);
        }
        Self::new(files.iter().map(|file| {
            let path = file.strip_prefix(src).expect("the file is below src").with_extension("");
            let mut name: Name = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            name.pop_if(|last| ["lib", "main", "mod"].contains(&last.as_str()));
            (name, read(file))
        }))
    }

    fn new(files: impl IntoIterator<Item = (Name, String)>) -> Self {
        let files: BTreeMap<Name, ParsedFile> =
            files.into_iter().map(|(name, text)| (name.clone(), ParsedFile::of(name, &text))).collect();
        let mut edges = BTreeMap::new();
        for (name, found) in &files {
            let imported = found.paths.iter().map(|path| module(&files, path, 0));
            let is_other = |it: &Name| it != name && !(it.len() > name.len() && it.starts_with(name));
            edges.insert(name.clone(), imported.filter(is_other).collect());
        }
        Self { edges }
    }

    fn has(&self, module: &str) -> bool {
        self.edges.keys().any(|name| name.first().is_some_and(|first| first == module))
    }

    /// Returns the groups of files that reach each other.
    fn cycles(&self) -> Vec<Vec<String>> {
        let reached: BTreeMap<&Name, BTreeSet<&Name>> =
            self.edges.keys().map(|name| (name, self.reached(name))).collect();
        let mut cycles = BTreeSet::new();
        for (name, others) in &reached {
            let group: BTreeSet<String> =
                others.iter().filter(|other| reached[*other].contains(name)).map(|it| shown(it)).collect();
            if group.len() > 1 {
                cycles.insert(group);
            }
        }
        cycles.into_iter().map(|group| group.into_iter().collect()).collect()
    }

    fn reached(&self, from: &Name) -> BTreeSet<&Name> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&Name> = self.edges.get(from).into_iter().flatten().collect();
        while let Some(next) = open.pop() {
            let known = self.edges.get_key_value(next);
            if let Some((name, imported)) = known
                && reached.insert(name)
            {
                open.extend(imported);
            }
        }
        reached
    }
}

fn shown(name: &Name) -> String {
    if name.is_empty() { "the crate's root".to_owned() } else { name.join("/") }
}

fn split(name: &str) -> Name {
    name.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Returns the module of the file that a path leads to, through re-exports.
fn module(files: &BTreeMap<Name, ParsedFile>, path: &[String], depth: usize) -> Name {
    const DEPTH: usize = 16;
    let longest = (0..=path.len()).rev().find(|length| files.contains_key(&path[..*length]));
    let (name, rest) = path.split_at(longest.unwrap_or_default());
    let target = rest.first().and_then(|item| files.get(name)?.exports.get(item));
    match target.filter(|target| depth < DEPTH && target.as_slice() != path) {
        Some(target) => module(files, &[target, &rest[1..]].concat(), depth + 1),
        None => name.to_vec(),
    }
}

/// The paths in a file that begin with `crate`, `super`, `self` or a child module, and its re-exports.
#[derive(Debug, Default)]
struct ParsedFile {
    file: Name,
    paths: Vec<Name>,
    exports: HashMap<String, Name>,
    children: BTreeSet<String>,
}

impl ParsedFile {
    fn of(file: Name, text: &str) -> Self {
        let mut parsed = syn::parse_file(text).expect("the workspace's own files are Rust");
        parsed.items.retain(|item| !is_test(item));
        let mut found = Self { file, ..Self::default() };
        let modules =
            parsed.items.iter().filter_map(|item| if let Item::Mod(it) = item { Some(it) } else { None });
        found.children = modules.map(|it| it.ident.to_string()).collect();
        found.visit_file(&parsed);
        found
    }

    fn add(&mut self, path: &[String]) -> Option<Name> {
        let name: Name = match path.first()?.as_str() {
            "crate" => path[1..].to_vec(),
            "self" => [&self.file, &path[1..]].concat(),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                [&self.file[..self.file.len().checked_sub(ups)?], &path[ups..]].concat()
            }
            child if self.children.contains(child) => [&self.file[..], path].concat(),
            _ => return None,
        };
        self.paths.push(name.clone());
        Some(name)
    }

    fn tree(&mut self, before: &[String], tree: &UseTree, exports: bool) {
        match tree {
            UseTree::Path(it) => {
                let before = [before, &[it.ident.to_string()]].concat();
                self.tree(&before, &it.tree, exports);
            }
            UseTree::Group(it) => it.items.iter().for_each(|tree| self.tree(before, tree, exports)),
            UseTree::Glob(_) => _ = self.add(before),
            UseTree::Name(it) => self.used(before, &it.ident, &it.ident, exports),
            UseTree::Rename(it) => self.used(before, &it.ident, &it.rename, exports),
        }
    }

    fn used(&mut self, before: &[String], item: &syn::Ident, name: &syn::Ident, exports: bool) {
        let path = if item == "self" { before.to_vec() } else { [before, &[item.to_string()]].concat() };
        if let Some(target) = self.add(&path).filter(|_| exports) {
            self.exports.insert(name.to_string(), target);
        }
    }
}

impl<'ast> Visit<'ast> for ParsedFile {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_cfg_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        // A private import is visible to the children of the module.
        let exports = !matches!(item.vis, Visibility::Inherited) || !self.children.is_empty();
        self.tree(&[], &item.tree, exports);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Name = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1 {
            self.add(&names);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, it: &'ast Macro) {
        let text = it.tokens.to_string().replace(" :: ", "::");
        let words = text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | ':')));
        for word in words.filter(|word| word.contains("::")) {
            let path: Name = word.split("::").map(str::to_owned).collect();
            self.add(&path);
        }
        visit::visit_macro(self, it);
    }
}

fn is_test(item: &Item) -> bool {
    match item {
        Item::Mod(it) => is_cfg_test(&it.attrs),
        Item::Use(it) => is_cfg_test(&it.attrs),
        Item::Fn(it) => is_cfg_test(&it.attrs),
        Item::Impl(it) => is_cfg_test(&it.attrs),
        _ => false,
    }
}

fn is_cfg_test(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .any(|it| it.path().is_ident("cfg") && it.parse_args::<syn::Ident>().is_ok_and(|it| it == "test"))
}
