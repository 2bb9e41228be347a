//! The cache affects the time of `validate` and `plan`, but never their output.

use std::fs::{self, File, FileTimes};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::harness::Sandbox;

const BATCH: &str = "manifests/orders-daily.yaml";
const CACHE: &str = ".dcp/cache";

fn applied() -> Sandbox {
    let sandbox = Sandbox::quickstart();
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0);
    sandbox.run(&["plan", "--detailed-exitcode"]).exits_with(0);
    sandbox
}

/// Runs a command with the cache and without it, checks that both outputs are equal, and returns the output.
fn both(sandbox: &Sandbox, command: &[&str]) -> String {
    let cached = sandbox.run(command).transcript();
    let folder = sandbox.join(CACHE);
    let aside = sandbox.join(".dcp/cache-aside");
    fs::rename(&folder, &aside).expect("an earlier command wrote the cache");
    let anew = sandbox.run(command).transcript();
    // Restore the cache for the next comparison, because a plan with errors writes none.
    _ = fs::remove_dir_all(&folder);
    fs::rename(&aside, &folder).expect("folders can be renamed");
    assert_eq!(cached, anew, "{command:?}");
    anew
}

fn plan(sandbox: &Sandbox) -> String {
    both(sandbox, &["plan", "--detailed-exitcode"])
}

#[test]
fn plan_sees_changes_of_manifests_and_sql_files() {
    let sandbox = applied();
    assert!(plan(&sandbox).contains("nothing to do"), "{}", plan(&sandbox));
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    assert!(plan(&sandbox).contains("0 3 * * *"));
    sandbox.edit(BATCH, "0 3 * * *", "0 2 * * *");
    assert!(plan(&sandbox).contains("nothing to do"));

    let sql = fs::read_dir(sandbox.join("sql")).expect("the example has SQL in files").next();
    let sql = sql.expect("the folder has a file").expect("the file can be read").path();
    let text = fs::read_to_string(&sql).expect("the file can be read");
    fs::write(&sql, format!("{text}\n-- changed\n")).expect("the file can be written");
    assert!(plan(&sandbox).contains("-- changed"));
    fs::write(&sql, text).expect("the file can be written");

    let manifest = fs::read_to_string(sandbox.join(BATCH)).expect("the file exists");
    fs::remove_file(sandbox.join(BATCH)).expect("the file exists");
    assert!(plan(&sandbox).contains("1 delete"));
    sandbox.write(BATCH, &manifest);
    sandbox.write("manifests/more.yaml", manifest.replace("name: orders-daily", "name: orders-more"));
    sandbox.run(&["plan"]).exits_with(1).prints("nothing was planned");
    fs::remove_file(sandbox.join("manifests/more.yaml")).expect("the file exists");
    assert!(plan(&sandbox).contains("nothing to do"));
}

/// Makes a random edit that leaves the project valid, broken, or with problems between files.
fn edit(sandbox: &Sandbox, random: &mut StdRng) -> String {
    let folders = ["manifests", "sql", "jobs"].map(|folder| fs::read_dir(sandbox.join(folder)));
    let files =
        folders.into_iter().flatten().flatten().map(|entry| entry.expect("the file can be read").path());
    let mut files: Vec<_> = files.filter(|path| path.is_file()).collect();
    files.sort();
    let file = files.choose(random).expect("the project has files").clone();
    let text = fs::read_to_string(&file).expect("the text is UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    let at = random.random_range(0..=lines.len());
    let kind = random.random_range(0..8);
    match kind {
        0 => fs::write(&file, &text),
        1 => fs::write(&file, [&lines[..at], &["# a comment"], &lines[at..]].concat().join("\n")),
        2 => fs::write(&file, lines[..at].join("\n")),
        3 => fs::remove_file(&file),
        4 => fs::copy(&file, file.with_file_name(format!("copy-{at}.yaml"))).map(drop),
        5 => fs::rename(&file, file.with_extension(format!("{at}.yaml"))),
        // Keeps the size and the modification time.
        6 => {
            let modified =
                file.metadata().and_then(|it| it.modified()).expect("the file has a modification time");
            fs::write(&file, text.replace("lake", "l4ke"))
                .and_then(|()| File::options().write(true).open(&file))
                .and_then(|it| it.set_times(FileTimes::new().set_modified(modified)))
        }
        _ => fs::write(&file, text.replace("  name: ", "  name: a").replace("0 2 * *", "0 3 * *")),
    }
    .expect("files can be changed");
    format!("{kind} at {at} of {}", file.display())
}

#[test]
fn random_edits_are_reported_as_without_the_cache() {
    const STEPS: u64 = 8;
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let sandbox = applied();
        let mut edits = Vec::new();
        for _ in 0..STEPS {
            edits.push(edit(&sandbox, &mut random));
            for command in [["validate", "--output", "json"], ["plan", "--output", "json"]] {
                // Report the seed and all edits of a difference.
                let failed = std::panic::catch_unwind(|| both(&sandbox, &command));
                assert!(failed.is_ok(), "seed {seed}: {edits:#?}");
            }
        }
    }
}

#[test]
fn warning_is_reported_by_every_plan() {
    let sandbox = applied();
    fs::remove_file(sandbox.join(BATCH)).expect("the file exists");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0).prints("nothing here produces");
    for _ in 0..2 {
        sandbox.run(&["plan"]).exits_with(0).prints("nothing here produces").prints("nothing to do");
    }
}

#[test]
fn plan_after_rollback_compares_with_what_is_applied() {
    let sandbox = applied();
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    sandbox.run(&["apply", "--auto-approve"]).exits_with(0).prints("applied serial 2");
    sandbox.run(&["rollback", "1", "--auto-approve"]).exits_with(0);
    sandbox.run(&["plan", "--detailed-exitcode"]).exits_with(2).prints("0 3 * * *");
}

#[test]
fn commands_work_without_a_cache_folder() {
    let sandbox = applied();
    fs::remove_dir_all(sandbox.join(CACHE)).expect("the file exists");
    sandbox.write(CACHE, "no folder");
    sandbox.run(&["plan", "--detailed-exitcode"]).exits_with(0);
    sandbox.run(&["validate"]).exits_with(0);
}

#[test]
fn damaged_cache_is_ignored() {
    let sandbox = applied();
    sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
    let files = fs::read_dir(sandbox.join(".dcp/cache/default")).expect("the file exists");
    for file in files.map(|entry| entry.expect("the file can be read").path()) {
        let whole = fs::read(&file).expect("the file can be read");
        for damaged in [&b""[..], b"garbage", &whole[..whole.len() / 2], &[&whole[..], b"more"].concat()] {
            fs::write(&file, damaged).expect("the file can be written");
            sandbox.run(&["validate"]).exits_with(0);
            fs::write(&file, damaged).expect("the file can be written");
            sandbox.run(&["plan", "--detailed-exitcode"]).exits_with(2).prints("0 3 * * *");
        }
    }
}

#[test]
fn git_ignores_the_cache() {
    let sandbox = Sandbox::quickstart();
    sandbox.run(&["validate"]).exits_with(0);
    assert_eq!(sandbox.read(".dcp/cache/.gitignore"), "*\n");
}
