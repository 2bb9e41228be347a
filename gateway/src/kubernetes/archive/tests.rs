//! The archive on its own: objects that overlap, as two Gateways write them, are read as one log.

use std::sync::Arc;

use dcp_objects::Objects;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::compute::Cursor;

fn archive(folder: &TempDir) -> Archive {
    let objects = Objects::open(&folder.path().join("logs").to_string_lossy()).unwrap();
    let service = tower::service_fn(|_: http::Request<Body>| async {
        Err::<http::Response<Body>, _>(std::io::Error::other("no cluster"))
    });
    Archive::new(objects, "test".to_owned(), Client::new(service, "default"))
}

/// Returns a log with a line each 7 minutes, and some with the same timestamp.
fn log(lines: usize) -> Vec<u8> {
    let at =
        |line: usize| Timestamp::from_second(1_800_000_000 + i64::try_from(line / 2).unwrap() * 420).unwrap();
    (0..lines).flat_map(|line| format!("{} line {line}\n", at(line)).into_bytes()).collect()
}

fn plain(lines: usize) -> String {
    (0..lines).map(|line| format!("line {line}\n")).collect::<Vec<_>>().concat()
}

/// Copies the lines from one number to another one.
async fn copy(archive: &Archive, name: &Name, text: &[u8], from: usize, to: usize) {
    let length = |lines: usize| super::super::lines::length_of_lines(text, lines);
    let start = Position::default().lines_from(Position::default(), &text[..length(from)], false).end;
    let lines = start.lines_from(Position::default(), &text[..length(to)], false);
    if !lines.text.is_empty() {
        let path = Chunk { start, end: lines.end }.path(name);
        archive.objects.write(&path, lines.text.into()).await.unwrap();
    }
}

async fn read(archive: &Archive, name: &Name, limit: usize) -> String {
    let (mut cursor, mut bytes) = (Cursor::default(), Vec::new());
    loop {
        let log = archive.read(name, Position::parse(&cursor).unwrap(), limit).await.unwrap();
        if log.bytes.is_empty() {
            return String::from_utf8(bytes).unwrap();
        }
        assert!(log.bytes.len() <= limit);
        bytes.extend(log.bytes);
        cursor = log.next;
    }
}

#[tokio::test]
async fn an_application_without_a_log_has_an_empty_one() {
    let folder = TempDir::new().unwrap();
    let archive = Arc::new(archive(&folder));
    let name: Name = "a-1".parse().unwrap();
    assert_eq!(read(&archive, &name, 100).await, "");
    assert_eq!(archive.tail(&name, 100).await, Ok(Vec::new()));
    assert_eq!(archive.end(&name).await, Ok(Position::default()));
}

#[test]
fn names_of_objects_are_read_back_and_others_are_ignored() {
    let at = |second: i64, lines| Position { at: Timestamp::from_second(second).unwrap(), lines, bytes: 0 };
    let chunk = Chunk { start: Position::default(), end: at(1_800_000_000, 3) };
    let path = chunk.path(&"a-1".parse().unwrap());
    let expected = "a-1/2027-01-15T08/00000000000000000000-0_01800000000000000000-3.log";
    assert_eq!(path, expected);
    assert_eq!(Chunk::parse(path.rsplit('/').next().unwrap()), Some(chunk));
    for name in [
        "",
        "x.log",
        "1-1_1-1.log",
        "2-1_1-1.log",
        "-1-1_1-2.log",
        "1-1_1-2",
        "1-1_999999999999999999999-2.log",
    ] {
        assert_eq!(Chunk::parse(name), None, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn objects_of_two_writers_are_one_log(
        own in prop::collection::vec(1usize..40, 0..6),
        other in prop::collection::vec(1usize..40, 0..6),
        limit in 1usize..60,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (folder, text) = (TempDir::new().unwrap(), log(40));
            let (archive, name) = (archive(&folder), "a-1".parse::<Name>().unwrap());
            for mut ends in [own, other] {
                ends.push(40);
                ends.sort_unstable();
                let mut from = 0;
                for to in ends {
                    copy(&archive, &name, &text, from, to).await;
                    from = to;
                }
            }
            assert_eq!(read(&archive, &name, limit).await, plain(40));
            let tail = archive.tail(&name, limit).await.unwrap();
            assert_eq!(String::from_utf8(tail).unwrap(), plain(40)[plain(40).len() - limit..]);
            let whole = Position::default().lines_from(Position::default(), &text, false).end;
            assert_eq!(archive.end(&name).await, Ok(whole));
        });
    }
}

#[tokio::test]
async fn a_problem_is_known_until_a_log_is_stored_again_and_is_the_same_for_all_logs() {
    let folder = TempDir::new().unwrap();
    let archive = archive(&folder);
    let path = folder.path().join("logs");
    let end = Position { at: Timestamp::from_second(1_800_000_000).unwrap(), lines: 1, bytes: 0 };
    let store = async |name: &str| {
        let name: Name = name.parse().unwrap();
        archive.store(&name, Position::default(), end, b"line\n".to_vec()).await
    };
    assert_eq!(archive.problem(), None);
    std::fs::write(&path, "a file").unwrap();
    store("a-1").await.unwrap_err();
    let problem = archive.problem().expect("nothing was stored");
    assert!(problem.starts_with("objects can't be ") && !problem.contains("a-1"), "{problem}");
    store("a-2").await.unwrap_err();
    assert_eq!(archive.problem(), Some(problem));
    std::fs::remove_file(&path).unwrap();
    store("a-1").await.unwrap();
    assert_eq!(archive.problem(), None);
}
