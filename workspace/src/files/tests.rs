use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType as Kind, RenameFlags};
use tempfile::TempDir;

use super::*;

const LIMIT: u64 = 64;

/// A folder `project` with files of every kind, beside a folder `outside`.
struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        for (path, text) in [
            ("project/file", "inside"),
            ("project/folder/file", "inside"),
            ("project/large", &"x".repeat(65)),
            ("outside/file", "secret"),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("the value is present")).expect("folders can be made");
            fs::write(path, text).expect("files can be written");
        }
        Self { folder }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().canonicalize().expect("it exists").join(path)
    }

    /// Returns the project with each way of resolving paths.
    fn trees(&self) -> impl Iterator<Item = Tree> {
        [open::Resolve::Kernel, open::Resolve::Steps].into_iter().map(|resolve| {
            let tree = Tree::open(&self.at("project")).expect("it exists");
            Tree { resolve, ..tree }
        })
    }
}

fn text(tree: &Tree, path: impl AsRef<Path>) -> Result<String, LoadError> {
    tree.read_content(path.as_ref(), LIMIT).map(|it| it.text)
}

#[test]
fn files_of_the_tree_are_read_through_links_inside_of_it() {
    let fixture = Fixture::new();
    symlink("folder", fixture.at("project/near")).expect("links can be made");
    symlink("../folder/file", fixture.at("project/folder/up")).expect("links can be made");
    symlink(fixture.at("project/folder"), fixture.at("project/absolute")).expect("links can be made");
    for tree in fixture.trees() {
        for path in ["file", "./file", "folder/../file", "near/file", "folder/up", "absolute/file"] {
            assert_eq!(text(&tree, path), Ok("inside".to_owned()), "{path} of {tree:?}");
        }
        assert_eq!(text(&tree, fixture.at("project/file")), Ok("inside".to_owned()), "{tree:?}");
    }
}

#[test]
fn paths_that_leave_the_tree_are_rejected() {
    let fixture = Fixture::new();
    symlink("../outside", fixture.at("project/relative")).expect("links can be made");
    symlink(fixture.at("outside/file"), fixture.at("project/absolute")).expect("links can be made");
    symlink("/proc/self/cwd/Cargo.toml", fixture.at("project/magic")).expect("links can be made");
    symlink("/dev/zero", fixture.at("project/zero")).expect("links can be made");
    for tree in fixture.trees() {
        for path in ["../outside/file", "relative/file", "absolute", "magic", "zero", "/etc/passwd"] {
            assert_eq!(text(&tree, path), Err(LoadError::Outside), "{path} of {tree:?}");
        }
        assert_eq!(tree.list(Path::new("relative")).map(|_| ()), Err(LoadError::Outside));
        assert_eq!(tree.replace(Path::new("relative/file"), b"new"), Err(LoadError::Outside));
    }
    assert_eq!(fs::read(fixture.at("outside/file")).expect("it exists"), b"secret");
}

#[test]
fn only_regular_files_within_the_limit_are_read() {
    let fixture = Fixture::new();
    let fifo = Kind::Fifo;
    rustix::fs::mknodat(CWD, fixture.at("project/fifo"), fifo, Mode::from_raw_mode(0o600), 0)
        .expect("a FIFO");
    symlink("fifo", fixture.at("project/link")).expect("links can be made");
    symlink("gone", fixture.at("project/dangling")).expect("links can be made");
    fs::write(fixture.at("project/latin"), b"gr\xfcn").expect("files can be written");
    let _socket = UnixListener::bind(fixture.at("project/socket")).expect("sockets can be made");
    for tree in fixture.trees() {
        for path in ["fifo", "link", "socket"] {
            assert_eq!(text(&tree, path), Err(not_regular()), "{path} of {tree:?}");
            assert_eq!(tree.check(Path::new(path)).map(drop), Err(not_regular()), "{path} of {tree:?}");
        }
        assert_eq!(text(&tree, "folder"), Err(LoadError::Directory));
        assert_eq!(text(&tree, "nothing"), Err(LoadError::NotFound));
        assert_eq!(text(&tree, "dangling"), Err(LoadError::Dangling));
        assert_eq!(text(&tree, "latin"), Err(LoadError::NotUtf8(2)));
        assert_eq!(text(&tree, "large"), Err(LoadError::TooLarge { size: 65, limit: LIMIT }));
    }
    assert_eq!(read_anywhere(&fixture.at("project/fifo"), LIMIT), Err(not_regular()));
    assert_eq!(read_anywhere(Path::new("/dev/zero"), LIMIT), Err(not_regular()));
}

#[test]
fn folders_are_listed_with_the_kinds_of_their_entries() {
    let fixture = Fixture::new();
    symlink("file", fixture.at("project/link")).expect("links can be made");
    for tree in fixture.trees() {
        let listed = tree.list(Path::new("")).expect("it exists");
        let listed: BTreeSet<_> = listed
            .into_iter()
            .map(|(name, kind)| format!("{} {kind:?}", name.into_string().expect("it is UTF-8")))
            .collect();
        let expected = [
            ("file", Kind::RegularFile),
            ("folder", Kind::Directory),
            ("large", Kind::RegularFile),
            ("link", Kind::Symlink),
        ];
        assert_eq!(listed, expected.map(|(name, kind)| format!("{name} {kind:?}")).into());
    }
}

#[test]
fn a_replaced_file_keeps_its_permissions_and_leaves_nothing_behind() {
    let fixture = Fixture::new();
    for tree in fixture.trees() {
        fs::set_permissions(fixture.at("project/file"), fs::Permissions::from_mode(0o640))
            .expect("the file belongs to this user");
        tree.replace(Path::new("file"), b"new").expect("it can be written");
        tree.replace(Path::new("folder/new"), b"new").expect("it can be written");
        assert_eq!(fs::read(fixture.at("project/file")).expect("it exists"), b"new");
        let mode = fs::metadata(fixture.at("project/file")).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(tree.replace(Path::new("folder"), b"new").map_err(|_| ()), Err(()), "it is a folder");
        let names = tree.list(Path::new("")).expect("it exists").into_iter();
        assert!(names.map(|(name, _)| name).all(|name| !name.to_string_lossy().starts_with('.')));
    }
}

/// Another thread continuously swaps a folder of the tree with a link that leads out of it.
#[test]
fn a_link_that_replaces_a_folder_never_leads_out_of_the_tree() {
    // Each outcome must occur this often, with each way of resolving paths.
    const TIMES: usize = 500;
    let deadline = Instant::now() + Duration::from_mins(2);
    let fixture = Fixture::new();
    symlink(fixture.at("outside"), fixture.at("project/link")).expect("links can be made");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (a, b) = (fixture.at("project/folder"), fixture.at("project/link"));
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE)
                    .expect("they can be swapped");
            }
        });
        let raced = fixture.trees().try_for_each(|tree| race(&tree, TIMES, deadline));
        // Set before anything can panic, as the other thread runs until this flag is set.
        stop.store(true, Ordering::Relaxed);
        assert_eq!(raced, Ok(()));
    });
    let outside: Vec<_> = fs::read_dir(fixture.at("outside")).expect("it exists").collect();
    assert_eq!(outside.len(), 1, "{outside:?}");
}

/// Reads and writes until both the folder and the link were met this often.
fn race(tree: &Tree, times: usize, deadline: Instant) -> Result<(), String> {
    let (mut inside, mut refused) = (0, 0);
    while inside < times || refused < times {
        match text(tree, "folder/file") {
            Ok(text) if text == "inside" => inside += 1,
            Err(LoadError::Outside | LoadError::Other(_) | LoadError::NotFound) => refused += 1,
            other => return Err(format!("{other:?} by {tree:?}")),
        }
        _ = tree.replace(Path::new("folder/new"), b"new");
        if Instant::now() > deadline {
            return Err(format!(
                "in two minutes, the folder was met {inside} times, the link {refused} times"
            ));
        }
    }
    Ok(())
}
