//! Tests that preparing a checkpoint loses no state, for any earlier states and interruptions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dcp_objects::Objects;
use dcp_objects::object_store::memory::InMemory;
use dcp_objects::object_store::path::Path;
use dcp_objects::object_store::throttle::{ThrottleConfig, ThrottledStore};
use dcp_runner::checkpoint::{Error, RequiredState, prepare, prepare_in};
use dcp_runner::execution::Id;
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

fn required(state: u64, number: u32) -> RequiredState {
    let created = Timestamp::from_second(1_800_000_000 + i64::from(number)).expect("there is such a time");
    RequiredState {
        revision: state,
        execution: Id::parse(&format!("run{number}")).expect("the value is valid"),
        created,
    }
}

/// Returns all files below a folder, except marks.
async fn files(objects: &Objects, below: &str) -> BTreeSet<String> {
    let found: Vec<_> = objects.list(below).try_collect().await.expect("it can be listed");
    let found = found.into_iter().map(|it| it.path);
    let names = found.filter_map(|path| path.strip_prefix(&format!("{below}/")).map(str::to_owned));
    names.filter(|name| !name.ends_with("_dcp_state.json")).collect()
}

/// Returns a store whose operations take a millisecond, so that the preparation can be interrupted before each of them.
fn slow() -> Objects {
    let (wait_get_per_call, wait_put_per_call) = (Duration::from_millis(1), Duration::from_millis(1));
    let (wait_list_per_call, wait_delete_per_call) = (Duration::from_millis(1), Duration::from_millis(1));
    let config = ThrottleConfig {
        wait_get_per_call,
        wait_put_per_call,
        wait_list_per_call,
        wait_delete_per_call,
        ..ThrottleConfig::default()
    };
    let store = ThrottledStore::new(InMemory::new(), config);
    Objects::of(Arc::new(store), Path::from("lake/checkpoints"), "memory")
}

/// Requests random states. Each preparation may be interrupted at a random time, and the next one may request another
/// state.
async fn assert_no_state_is_lost(seed: u64, objects: &Objects, shortest: u64) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut contents: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let mut interrupted = 0;
    for number in 0..40 {
        let state = rng.random_range(1..5);
        let time = Duration::from_millis(rng.random_range(shortest..shortest + 40));
        let place = prepare_in(objects.clone(), "clicks", required(state, number));
        let Ok(prepared) = tokio::time::timeout(time, place).await else {
            interrupted += 1;
            continue;
        };
        prepared.expect("it can be done");
        let expected = contents.entry(state).or_default();
        assert_eq!(&files(objects, "clicks").await, expected, "seed {seed}, {number}: state {state}");
        for _ in 0..rng.random_range(0..4) {
            let name = format!("offsets/{state}-{number}-{}", rng.random_range(0..100));
            objects.write(&format!("clicks/{name}"), name.clone().into()).await.expect("it can be written");
            expected.insert(name);
        }
    }
    interrupted
}

#[tokio::test(start_paused = true)]
async fn state_is_complete_after_any_interruption() {
    let mut interrupted = 0;
    for seed in 0..300 {
        interrupted += assert_no_state_is_lost(seed, &slow(), 1).await;
    }
    assert!(interrupted > 1_000, "{interrupted} were broken off");
}

#[tokio::test]
async fn states_on_disk_replace_each_other() {
    for seed in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(folder.path().to_str().unwrap()).unwrap();
        // On a disk, operations complete even if their future is dropped.
        assert_eq!(assert_no_state_is_lost(seed, &objects, 600_000).await, 0);
    }
}

#[tokio::test]
async fn preparation_reports_its_actions() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("clicks");
    let checkpoint = format!("{}/", at.display());
    // State from before dcp belongs to the first execution.
    std::fs::create_dir(&at).unwrap();
    std::fs::write(at.join("metadata"), "old").unwrap();
    assert_eq!(prepare(&checkpoint, required(3, 0)).await.unwrap(), [""; 0]);
    assert_eq!(std::fs::read_to_string(at.join("metadata")).unwrap(), "old");
    assert_eq!(prepare(&checkpoint, required(3, 1)).await.unwrap(), [""; 0]);
    let aside = "clicks.aside-20270115T080002Z-revision-3-for-7-run2";
    let actions = prepare(&checkpoint, required(7, 2)).await.unwrap();
    let why =
        format!("the checkpoint's state of revision 3 was set aside as `{aside}`: revision 7 can't use it");
    assert_eq!(actions, [why]);
    assert_eq!(std::fs::read_to_string(folder.path().join(aside).join("metadata")).unwrap(), "old");
    assert!(!at.join("metadata").exists());
    assert_eq!(prepare(&checkpoint, required(7, 2)).await.unwrap(), [""; 0]);
    let actions = prepare(&checkpoint, required(3, 3)).await.unwrap();
    assert_eq!(actions[1], format!("the checkpoint's state of revision 3 was put back from `{aside}`"));
    assert_eq!(std::fs::read_to_string(at.join("metadata")).unwrap(), "old");
    assert!(!folder.path().join(aside).exists());
}

#[tokio::test]
async fn state_is_never_mixed_with_foreign_objects() {
    let folder = tempfile::tempdir().unwrap();
    let store = Objects::of(Arc::new(InMemory::new()), Path::from("lake"), "memory");
    for objects in [Objects::open(folder.path().to_str().unwrap()).unwrap(), store] {
        for (number, state) in [(0, 1), (1, 2)] {
            prepare_in(objects.clone(), "clicks", required(state, number)).await.unwrap();
            objects.write("clicks/offsets", "whatever".into()).await.unwrap();
        }
        // Somebody starts over by hand, and then the first state is requested again.
        objects.remove("clicks").await.unwrap();
        objects.write("clicks/other", "by hand".into()).await.unwrap();
        let error = prepare_in(objects.clone(), "clicks", required(1, 2)).await.unwrap_err();
        assert!(matches!(&error, Error::Occupied(_, aside) if aside.contains("revision-1-for-2")), "{error}");
        assert_eq!(files(&objects, "clicks").await, BTreeSet::from(["other".to_owned()]));
        objects.remove("clicks").await.unwrap();
        prepare_in(objects.clone(), "clicks", required(1, 2)).await.unwrap();
        assert_eq!(files(&objects, "clicks").await, BTreeSet::from(["offsets".to_owned()]));
    }
}

#[tokio::test]
async fn invalid_markers_and_roots_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("clicks");
    let checkpoint = at.to_str().unwrap();
    std::fs::create_dir(&at).unwrap();
    for text in
        ["", "{}", "{\"state\":{\"revision\":-1}}", "{\"state\":{\"revision\":1}}x", &"x".repeat(10_000)]
    {
        std::fs::write(at.join("_dcp_state.json"), text).unwrap();
        let error = prepare(checkpoint, required(1, 0)).await.unwrap_err();
        assert!(matches!(&error, Error::InvalidMarker(_)), "{text}: {error}");
        assert_eq!(std::fs::read_to_string(at.join("_dcp_state.json")).unwrap(), text);
    }
    for root in ["/", "/clicks", "s3://lake", "s3://lake/", "clicks", ""] {
        let error = prepare(root, required(1, 0)).await.unwrap_err();
        assert!(matches!(&error, Error::NoParentFolder(_)), "{root}: {error}");
    }
}
