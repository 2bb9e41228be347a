//! Tests of reading results: those that Spark wrote (`results/make`), and manipulated ones.

use std::fs;
use std::path::{Path, PathBuf};

use dcp_objects::Objects;
use dcp_runner::execution::Id;
use dcp_runner::results::{Error, Format, Results, Table};
use futures_util::{StreamExt as _, TryStreamExt as _};
use proptest::prelude::*;
use tempfile::TempDir;

/// Maximum length that is read of a result.
const MOST: usize = 80 << 20;

fn results_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/results")
}

fn id(text: &str) -> Id {
    Id::parse(text).expect("it is an id")
}

async fn read_from(root: &Path, execution: &str, format: Format) -> Result<Vec<u8>, Error> {
    let results = Results::open(root.to_str().expect("it is UTF-8 text")).expect("it is a folder");
    let mut pieces = results.read(&id(execution), 1, format).await?;
    let mut all = Vec::new();
    while let Some(piece) = pieces.try_next().await? {
        assert!(!piece.is_empty(), "a piece says something");
        all.extend_from_slice(&piece);
        if all.len() > MOST {
            break;
        }
    }
    Ok(all)
}

async fn json(execution: &str) -> String {
    let read = read_from(&results_folder(), execution, Format::Json).await;
    String::from_utf8(read.expect("it can be read")).expect("JSON is UTF-8")
}

async fn avro(execution: &str) -> Vec<u8> {
    read_from(&results_folder(), execution, Format::Avro).await.expect("it can be read")
}

/// Returns a folder with a result of these files.
fn result(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().expect("the temporary folder is writable");
    let place = folder.path().join("a/1");
    fs::create_dir_all(&place).expect("it can be created");
    for (name, bytes) in files {
        fs::write(place.join(name), bytes).expect("it can be written");
    }
    folder
}

/// Returns the number of rows by Avro's own library.
fn rows(avro: &[u8]) -> usize {
    let reader = apache_avro::Reader::new(avro).expect("it is Avro");
    reader.collect::<Result<Vec<_>, _>>().expect("they are rows").len()
}

#[tokio::test]
async fn every_type_and_codec_of_spark_becomes_json() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let read = json("snappy").await + "\n";
        fs::write(results_folder().join("types.json"), read).expect("it can be written");
    }
    let expected = fs::read_to_string(results_folder().join("types.json")).expect("it exists");
    for codec in ["snappy", "deflate", "zstandard", "uncompressed"] {
        let json = json(codec).await;
        assert_eq!(json, expected.trim_end(), "{codec}");
    }
    let parsed: serde_json::Value = serde_json::from_str(&expected).expect("it is JSON");
    assert_eq!(parsed.as_array().map(Vec::len), Some(3));
    let error = read_from(&results_folder(), "bzip2", Format::Json).await.expect_err("nobody decodes it");
    assert!(error.to_string().contains("spark.sql.avro.compression.codec"), "{error}");
}

#[tokio::test]
async fn columns_keep_their_original_names() {
    let deep = r#"[{"k":{"größe":1,"count(1)":2,"größe_2":3,"GRÖSSE":4}}]"#;
    let expected = format!(
        r#"{{"count(1)":1,"größe":1,"a b":2,"a.b":3,"a`b":4,"a\"b":5,"1":6,"two":7,"two_2":8,"TWO":9,"":10,"日本":11,"x\ny":12,"two_2_2":13,"deep":{deep}}}"#
    );
    assert_eq!(json("names").await, format!("[\n{expected}\n]"));
    // The names are valid for any reader of Avro.
    assert_eq!(rows(&avro("names").await), 1);
}

#[tokio::test]
async fn table_has_columns_and_rows_of_text() {
    for (codec, count) in [("snappy", 3), ("names", 1), ("empty", 0), ("blocks", 3_000)] {
        let root = Objects::open(results_folder().to_str().expect("it is UTF-8 text")).expect("it exists");
        let pieces = Results::with_store(root).read(&id(codec), 1, Format::Avro).await.expect("it exists");
        let mut table = Table::open(pieces).await.expect("it can be read");
        let columns = table.columns();
        let mut rows = Vec::new();
        while let Some(row) = table.next().await.expect("it can be read") {
            assert_eq!(row.len(), columns.len());
            rows.push(row);
        }
        assert_eq!(rows.len(), count, "{codec}");
        if codec == "snappy" {
            let numbers: Vec<_> =
                columns.iter().filter(|it| it.is_number).map(|it| it.name.as_str()).collect();
            let expected = ["id", "tiny", "small", "whole", "long", "float", "double", "wide", "narrow"];
            assert_eq!(numbers, expected);
            let at = |name: &str| columns.iter().position(|it| it.name == name).expect("it exists");
            assert_eq!(rows[0][at("narrow")].as_deref(), Some("1.20"));
            assert_eq!(rows[0][at("months")].as_deref(), Some("P1Y2M"));
            assert_eq!(rows[0][at("list")].as_deref(), Some("[1,null,3]"));
            assert_eq!(rows[2][at("text")], None);
        }
    }
}

#[tokio::test]
async fn text_of_type_json_is_validated() {
    let json = of(r#"{"type":"string","dcp.type":"json"}"#);
    let text = r#"1,"other":2"#;
    let data = [long(i64::try_from(text.len()).expect("it is short")), text.into()].concat();
    assert!(error_of(&file(&json, 1, &data)).await.contains("a value is not JSON"));
}

#[tokio::test]
async fn avro_is_returned_unchanged() {
    for codec in ["snappy", "deflate", "zstandard", "uncompressed", "bzip2", "blocks", "empty"] {
        let written = fs::read(results_folder().join(codec).join("1/part-00000.avro")).expect("it exists");
        assert!(avro(codec).await == written, "{codec}");
    }
}

#[tokio::test]
async fn files_are_joined_in_the_order_of_their_rows() {
    let expected: Vec<_> = (0..6).map(|id| format!("{{\"id\":{id},\"text\":\"row {id}\"}}")).collect();
    assert_eq!(json("parts").await, format!("[\n{}\n]", expected.join(",\n")));
    let merged = avro("parts").await;
    assert_eq!(rows(&merged), 6);
    let single = result(&[("part-0.avro", &merged), ("_SUCCESS", b"")]);
    let again = read_from(single.path(), "a", Format::Json).await.expect("it can be read");
    assert_eq!(String::from_utf8(again).expect("it is UTF-8 text"), json("parts").await);
}

#[tokio::test]
async fn a_large_result_comes_in_pieces() {
    let results = Results::with_store(
        Objects::open(results_folder().to_str().expect("it is UTF-8 text")).expect("it exists"),
    );
    let pieces: Vec<_> = results
        .read(&id("blocks"), 1, Format::Json)
        .await
        .expect("it exists")
        .try_collect()
        .await
        .expect("it is whole");
    assert!(pieces.len() >= 4 && pieces.iter().all(|piece| piece.len() < 66 << 10));
    let parsed: serde_json::Value = serde_json::from_slice(&pieces.concat()).expect("it is JSON");
    assert_eq!(parsed.as_array().map(Vec::len), Some(3_000));
    assert_eq!(rows(&avro("blocks").await), 3_000);
}

#[tokio::test]
async fn empty_result_is_valid() {
    assert_eq!(json("empty").await, "[]");
    assert_eq!(rows(&avro("empty").await), 0);
    let none = result(&[("_SUCCESS", b""), (".part-0.avro.crc", b"x"), ("_temporary.avro", b"x")]);
    assert_eq!(read_from(none.path(), "a", Format::Json).await, Ok(b"[]".to_vec()));
    assert_eq!(rows(&read_from(none.path(), "a", Format::Avro).await.expect("it can be read")), 0);
}

#[tokio::test]
async fn incomplete_result_is_not_found() {
    let part = fs::read(results_folder().join("snappy/1/part-00000.avro")).expect("it exists");
    let half = result(&[("part-0.avro", &part)]);
    for (root, execution) in [(half.path(), "a"), (half.path(), "b"), (Path::new("/nowhere/at/all"), "a")] {
        let error = read_from(root, execution, Format::Json).await.expect_err("it is not there");
        assert_eq!(error, Error::NotFound { execution: execution.to_owned(), attempt: 1 });
    }
}

#[tokio::test]
async fn files_of_different_schemas_or_codecs_are_not_joined() {
    let file =
        |name: &str| fs::read(results_folder().join(name).join("1/part-00000.avro")).expect("it exists");
    let (parts, other) = (file("parts"), file("other"));
    let mixed = result(&[("part-0.avro", &parts), ("part-1.avro", &other), ("_SUCCESS", b"")]);
    let error = read_from(mixed.path(), "a", Format::Avro).await.expect_err("they differ");
    assert!(error.to_string().contains("`a/1/part-1.avro` of the result has another schema"), "{error}");
    assert!(read_from(mixed.path(), "a", Format::Json).await.is_ok());
    let (snappy, deflate) = (file("snappy"), file("deflate"));
    let mixed = result(&[("part-0.avro", &snappy), ("part-1.avro", &deflate), ("_SUCCESS", b"")]);
    let error = read_from(mixed.path(), "a", Format::Avro).await.expect_err("they differ");
    assert!(error.to_string().contains("another codec"), "{error}");
}

#[tokio::test]
async fn results_of_all_attempts_are_removed() {
    let part = fs::read(results_folder().join("parts/1/part-00000.avro")).expect("it exists");
    let folder = result(&[("part-0.avro", &part), ("_SUCCESS", b"")]);
    fs::create_dir_all(folder.path().join("ab/1")).expect("it can be created");
    let results = Results::open(folder.path().to_str().expect("it is UTF-8 text")).expect("it is a folder");
    assert_eq!(results.location(&id("a"), 2), format!("file://{}/a/2", folder.path().display()));
    results.remove(&id("a")).await.expect("it can be removed");
    results.remove(&id("a")).await.expect("it is gone, and may be");
    assert!(!folder.path().join("a").exists() && folder.path().join("ab/1").exists());
}

#[test]
fn the_location_of_a_result_has_the_scheme_that_spark_knows() {
    for url in ["s3://lake/results", "s3a://lake/results"] {
        let results = Results::open(url).expect("the URL is usable");
        assert_eq!(results.location(&id("a"), 2), "s3a://lake/results/a/2");
    }
}

/// Returns a file of one block, without a codec.
fn file(schema: &str, rows: i64, data: &[u8]) -> Vec<u8> {
    let mut file = b"Obj\x01\x02\x16avro.schema".to_vec();
    file.extend(long(i64::try_from(schema.len()).expect("it is short")));
    file.extend([schema.as_bytes(), b"\0mark of 16 bytes"].concat());
    file.extend(long(rows));
    file.extend(long(i64::try_from(data.len()).expect("it is short")));
    [&file, data, b"mark of 16 bytes"].concat()
}

fn long(number: i64) -> Vec<u8> {
    let mut rest = (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned();
    let mut bytes = Vec::new();
    while rest > 0x7F {
        bytes.push(u8::try_from(rest & 0x7F).expect("it is small") | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).expect("it is small"));
    bytes
}

fn of(field: &str) -> String {
    format!(r#"{{"type":"record","name":"r","fields":[{{"name":"f","type":{field}}}]}}"#)
}

async fn error_of(bytes: &[u8]) -> String {
    let folder = result(&[("part-0.avro", bytes), ("_SUCCESS", b"")]);
    read_from(folder.path(), "a", Format::Json).await.expect_err("it is damaged").to_string()
}

#[tokio::test]
async fn invalid_lengths_and_values_are_rejected() {
    let many = long(i64::MAX);
    let deep = r#"{"type":"record","name":"r","fields":[{"name":"f","type":["null","r"]}]}"#;
    let list = of(r#"{"type":"array","items":"null"}"#);
    for (bytes, expected) in [
        (file(&of("\"string\""), 1, &many), "a row is cut off"),
        (file(&of("\"string\""), 1, &long(-1)), "a length is none"),
        (file(&of("\"string\""), 1, &[4, 0xFF, 0xFF]), "not UTF-8"),
        (file(&of("\"boolean\""), 1, &[]), "a row is cut off"),
        (file(&of("\"boolean\""), 1, &[7]), "neither true nor false"),
        (file(&of("\"boolean\""), 1, &[1, 1]), "more than its rows"),
        (file(&of("\"int\""), 1, &many), "too large"),
        (file(&of("[\"null\",\"int\"]"), 1, &long(2)), "none of its types"),
        (file(&of("[\"null\",\"int\"]"), -1, &[]), "less than no rows"),
        (file(&list, 1, &many), "too large to be read"),
        (file(deep, 1, &[2; 10_000]), "a row has more than 100 levels"),
        (file("\"int\"", 1, &[2]), "not that of a table"),
        (file("{", 1, &[2]), "none of Avro's"),
        (file(&of("\"unheard\""), 1, &[2]), "schema"),
    ] {
        let message = error_of(&bytes).await;
        assert!(message.contains(expected) && message.contains("a/1/part-0.avro"), "{expected}: {message}");
    }
    let mut unmarked = file(&of("\"int\""), 1, &[2]);
    unmarked.pop();
    unmarked.push(b'!');
    assert!(error_of(&unmarked).await.contains("does not end where it should"));
}

#[tokio::test]
async fn block_of_a_huge_size_is_rejected() {
    let many = long(i64::MAX);
    let mut huge = file(&of("\"int\""), 1, &[]);
    huge.truncate(huge.len() - 18);
    huge.extend(long(1).into_iter().chain(many.clone()));
    assert!(error_of(&huge).await.contains("or more than"));
    let mut large = huge[..huge.len() - many.len()].to_vec();
    large.extend(long(65 << 20));
    let message = error_of(&large).await;
    assert!(message.contains("too large to be read (68157440 bytes): the limit is 64 MiB"), "{message}");
    assert!(!message.contains("damaged"), "{message}");
}

#[tokio::test]
async fn compressed_block_of_a_huge_size_is_rejected() {
    // Snappy stores the decompressed size first.
    let snappy = fs::read(results_folder().join("snappy/1/part-00000.avro")).expect("it exists");
    let codec = snappy.windows(6).position(|it| it == b"snappy").expect("it is named");
    let schema = of("\"int\"");
    let bomb = [&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F][..], &[0; 20]].concat();
    let mut file = b"Obj\x01\x04".to_vec();
    file.extend([&snappy[codec - 12..codec + 6], b"\x16avro.schema"].concat());
    file.extend([long(i64::try_from(schema.len()).expect("short")), schema.into_bytes()].concat());
    file.extend([&b"\0mark of 16 bytes"[..], &long(1), &long(25), &bomb, b"mark of 16 bytes"].concat());
    assert!(error_of(&file).await.contains("too large to be read (4294967295 bytes)"));
}

/// A block may claim any number of rows without bytes; they are converted one by one, on demand.
#[tokio::test]
async fn rows_without_bytes_take_no_memory() {
    let folder = result(&[("part-0.avro", &file(&of("\"null\""), i64::MAX, &[])), ("_SUCCESS", b"")]);
    let results = Results::open(folder.path().to_str().expect("it is UTF-8 text")).expect("it is a folder");
    let pieces = results.read(&id("a"), 1, Format::Json).await.expect("it exists");
    let some: Vec<_> = pieces.take(3).try_collect().await.expect("they can be read");
    assert!(some.concat().starts_with(b"[\n{\"f\":null},\n{\"f\":null}"));
}

#[tokio::test]
async fn truncated_file_is_rejected_at_any_length() {
    for (codec, step) in [("snappy", 7), ("blocks", 61)] {
        let whole = fs::read(results_folder().join(codec).join("1/part-00000.avro")).expect("it exists");
        let all = json(codec).await;
        for end in (0..whole.len()).step_by(step) {
            let folder = result(&[("part-0.avro", &whole[..end]), ("_SUCCESS", b"")]);
            // A file may end where a block ends.
            if let Ok(less) = read_from(folder.path(), "a", Format::Json).await {
                let less = String::from_utf8(less).expect("it is UTF-8 text");
                assert!(less == "[]" || all.starts_with(less.trim_end_matches("\n]")), "{codec} {end}");
            }
            let _ = read_from(folder.path(), "a", Format::Avro).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_file_is_read_or_rejected(
        codec in prop::sample::select(vec!["snappy", "deflate", "zstandard", "uncompressed", "parts", "blocks"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..12),
    ) {
        let mut bytes = fs::read(results_folder().join(codec).join("1/part-00000.avro")).expect("it exists");
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let folder = result(&[("part-0.avro", &bytes), ("_SUCCESS", b"")]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it can be created");
        if let Ok(json) = runtime.block_on(read_from(folder.path(), "a", Format::Json))
            && json.len() < MOST
        {
            serde_json::from_slice::<serde_json::Value>(&json).expect("it is JSON");
        }
        let _ = runtime.block_on(read_from(folder.path(), "a", Format::Avro));
    }
}
