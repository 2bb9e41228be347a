//! Tests of a folder on disk: operations stay below it.

use std::fs;
use std::os::unix::fs::symlink;

use dcp_objects::{Cause, CompletionMarker, Error, Objects};
use futures_util::TryStreamExt as _;
use proptest::prelude::*;
use tempfile::TempDir;

fn folder() -> (TempDir, Objects) {
    let folder = TempDir::new().expect("it works");
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("a/b")).expect("it works");
    fs::write(root.join("a/one"), "1").expect("it works");
    fs::write(root.join("a/b/two"), "22").expect("it works");
    fs::write(root.join("ab"), "not below a").expect("it works");
    fs::write(folder.path().join("outside"), "secret").expect("it works");
    let objects = Objects::open(root.to_str().expect("it works")).expect("it works");
    (folder, objects)
}

async fn listed(objects: &Objects, below: &str) -> Vec<String> {
    let found: Vec<_> = objects.list(below).try_collect().await.expect("it works");
    let mut found: Vec<_> = found.iter().map(|it| format!("{} {}", it.path, it.size)).collect();
    found.sort();
    found
}

async fn read(objects: &Objects, path: &str) -> Result<Vec<u8>, Error> {
    let chunks: Vec<_> = objects.read(path).await?.try_collect().await?;
    Ok(chunks.concat())
}

#[tokio::test]
async fn objects_below_a_path_are_listed_read_and_removed() {
    let (folder, objects) = folder();
    assert_eq!(listed(&objects, "").await, ["a/b/two 2", "a/one 1", "ab 11"]);
    assert_eq!(listed(&objects, "a").await, ["a/b/two 2", "a/one 1"]);
    assert_eq!(listed(&objects, "nothing/here").await, [""; 0]);
    assert_eq!(read(&objects, "a/b/two").await.unwrap(), b"22");
    let large = vec![7; 1_000_000];
    fs::write(folder.path().join("root/large"), &large).unwrap();
    assert_eq!(read(&objects, "large").await.unwrap(), large);
    objects.remove("a").await.unwrap();
    objects.remove("a").await.unwrap();
    objects.remove("nothing/here").await.unwrap();
    assert_eq!(listed(&objects, "").await, ["ab 11", "large 1000000"]);
    let missing = read(&objects, "a/one").await.unwrap_err();
    assert!(
        missing.is_not_found() && missing.to_string().contains("/root/a/one` can't be read"),
        "{missing}"
    );
}

#[tokio::test]
async fn writes_and_renames_are_atomic() {
    let (folder, objects) = folder();
    let root = folder.path().join("root");
    objects.write("new/folder/three", "333".into()).await.unwrap();
    objects.write("a/one", "other".into()).await.unwrap();
    assert_eq!(read(&objects, "a/one").await.unwrap(), b"other");
    let mut names = objects.names("").await.unwrap();
    names.sort();
    assert_eq!(names, ["a", "ab", "new"]);
    assert_eq!(objects.names("nothing/here").await.unwrap(), [""; 0]);
    let marker = CompletionMarker { name: "seal", content_when_copied: "".into() };
    objects.rename("a", "moved/a", &marker).await.unwrap();
    assert_eq!(
        listed(&objects, "").await,
        ["ab 11", "moved/a/b/two 2", "moved/a/one 5", "new/folder/three 3"]
    );
    objects.rename("a", "moved/a", &marker).await.expect("it was done before");
    let error = objects.rename("new", "moved", &marker).await.unwrap_err();
    assert!(error.to_string().contains("/root/new` can't be moved"), "{error}");
    assert!(objects.rename("nothing", "somewhere", &marker).await.unwrap_err().is_not_found());
    // No write follows a link, and no link counts as a folder.
    symlink(folder.path(), root.join("out")).unwrap();
    symlink(folder.path().join("outside"), root.join("link")).unwrap();
    assert!(objects.write("out/inside", "x".into()).await.is_err());
    assert!(objects.rename("ab", "out/ab", &marker).await.is_err());
    assert_eq!(objects.names("out").await.ok(), None);
    objects.write("link", "x".into()).await.unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("outside")).unwrap(), "secret");
}

#[tokio::test]
async fn links_never_lead_out_of_the_folder() {
    let (folder, objects) = folder();
    let root = folder.path().join("root");
    symlink(folder.path(), root.join("out")).unwrap();
    symlink(folder.path().join("outside"), root.join("a/link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("a/pipe"), 0o600.into()).unwrap();
    assert_eq!(listed(&objects, "").await, ["a/b/two 2", "a/one 1", "ab 11"]);
    for path in ["out/outside", "a/link", "a/pipe", "a", "a/one/x"] {
        let error = read(&objects, path).await.unwrap_err();
        assert!(
            matches!(&error, Error::Failed { cause: Cause::NotAFile | Cause::NotAFolder, .. }),
            "{error:?}"
        );
    }
    assert!(objects.remove("out/outside").await.is_err());
    objects.remove("out").await.unwrap();
    objects.remove("a").await.unwrap();
    assert_eq!(fs::read(folder.path().join("outside")).unwrap(), b"secret");
    assert!(objects.remove("").await.is_err(), "all of it is never removed at once");
}

#[test]
fn locations_are_parsed_in_every_spelling() {
    let open = |url: &str| Objects::open_with(url, []).map(|objects| objects.url("x/y"));
    assert_eq!(open("/srv/results/").unwrap(), "file:///srv/results/x/y");
    assert_eq!(open("file:///srv/my%20results").unwrap(), "file:///srv/my results/x/y");
    for url in ["s3://bucket/some", "s3a://bucket/some", "gs://bucket/some"] {
        let region = ("AWS_REGION".to_owned(), "us-east-1".to_owned());
        let odd = Objects::open_with(&format!("{url}%20odd/"), [region.clone()]);
        assert_eq!(odd.unwrap().url("x"), format!("{url} odd/x"));
        assert_eq!(Objects::open_with(url, [region]).unwrap().url("x"), format!("{url}/x"));
    }
    let account = ("AZURE_STORAGE_ACCOUNT_NAME".to_owned(), "shop".to_owned());
    let azure = "abfss://data@shop.dfs.core.windows.net/some";
    assert_eq!(Objects::open_with(azure, [account]).unwrap().url("x"), format!("{azure}/x"));
    for url in [
        "",
        "/",
        "file:///",
        "file://elsewhere/a",
        "file:///a?b",
        "ftp://a/b",
        "s3://",
        "s3://key:secret@b/c",
    ] {
        let error = open(url).unwrap_err();
        assert!(!error.to_string().contains("secret") && !error.help.is_empty(), "{error}");
    }
}

proptest! {
    #[test]
    fn arbitrary_paths_never_lead_out_of_the_folder(parts in prop::collection::vec("[a-c.]{0,3}|\\.\\.|outside|root|/|\\PC{1,3}", 0..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (folder, objects) = folder();
        if let Ok(read) = runtime.block_on(read(&objects, &parts.join("/"))) {
            prop_assert!([&b"1"[..], b"22", b"not below a"].contains(&read.as_slice()));
        }
        let _ = runtime.block_on(objects.remove(&parts.join("/")));
        prop_assert!(folder.path().join("outside").exists());
    }
}
