//! An object store that rejects all changes after a given number of them, like the store of a process that died.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use dcp_objects::object_store::memory::InMemory;
use dcp_objects::object_store::path::Path;
use dcp_objects::object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use dcp_reconciler::publish::DagFolder;

use crate::fixture::{Fixture, expected, files, wait};

#[derive(Debug)]
struct FailingStore {
    store: Arc<dyn ObjectStore>,
    changes_left: Arc<AtomicI64>,
    /// Only copies fail, as if the permission to copy were missing.
    copies_only: bool,
}

fn change(changes_left: &AtomicI64) -> Result<()> {
    match changes_left.fetch_sub(1, Ordering::SeqCst) > 0 {
        true => Ok(()),
        false => Err(dcp_objects::object_store::Error::Generic {
            store: "dying",
            source: "the process is dead".into(),
        }),
    }
}

impl fmt::Display for FailingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dying")
    }
}

#[async_trait]
impl ObjectStore for FailingStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if !self.copies_only {
            change(&self.changes_left)?;
        }
        self.store.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let changes_left = if self.copies_only {
            Arc::new(AtomicI64::new(i64::MAX))
        } else {
            Arc::clone(&self.changes_left)
        };
        let alive = paths.map(move |path| change(&changes_left).and(path)).boxed();
        self.store.delete_stream(alive)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        change(&self.changes_left)?;
        self.store.copy_opts(from, to, options).await
    }
}

/// A publication dies before its first change, its second, and so on until it completes; the next publication repairs
/// the folder.
pub(crate) async fn assert_repair_after_each_step(
    fixture: &Fixture,
    store: Arc<dyn ObjectStore>,
    prefix: &str,
) {
    let (old, new) = (files(2, "old"), files(3, "new"));
    let folder = &fixture.folder;
    for at in 0.. {
        folder.put(&old).await.expect("they can be written");
        folder.remove(&["dag-2.py".to_owned()]).await.expect("it can be removed");
        let changes_left = Arc::new(AtomicI64::new(at));
        let dying = DagFolder::with_store(
            Arc::new(FailingStore { store: Arc::clone(&store), changes_left, copies_only: false }),
            prefix,
        );
        let staged = dying.stage("new", &new).await.is_ok();
        let done = staged && dying.switch("new", &new).await.is_ok();

        let found = fixture.dags().await;
        for (name, text) in &found {
            let known = [&old, &new].iter().any(|files| expected(files).get(name) == Some(text));
            assert!(known, "{name} at step {at}: {text}");
        }
        if !staged {
            assert_eq!(found, expected(&old), "nothing is switched before everything is staged");
            for id in folder.leftovers().await.expect("they can be listed") {
                folder.discard(&id).await.expect("it can be discarded");
            }
            folder.stage("new", &new).await.expect("they can be staged");
        }
        folder.switch("new", &new).await.expect("what was staged is still, or in place");
        assert_eq!(fixture.all().await, expected(&new), "step {at}");
        assert_eq!(folder.leftovers().await, Ok(Vec::new()), "step {at}");
        if done {
            assert!(at > 2 * i64::try_from(new.len()).expect("it is small"), "it died at {at} steps only");
            return;
        }
    }
}

#[test]
fn a_publication_that_dies_can_be_repaired() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let fixture = Fixture::over(Arc::clone(&store));
    wait(assert_repair_after_each_step(&fixture, store, "team/dags"));
}

#[test]
fn files_that_can_not_be_copied_stay_staged() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let fixture = Fixture::over(Arc::clone(&store));
    let dying = FailingStore { store, changes_left: Arc::new(AtomicI64::new(1)), copies_only: true };
    let folder = DagFolder::with_store(Arc::new(dying), "team/dags");
    wait(async {
        folder.stage("1", &files(3, "new")).await.expect("they can be staged");
        folder.switch("1", &files(3, "new")).await.expect_err("one alone can be copied");
        assert_eq!(folder.leftovers().await, Ok(vec!["1".to_owned()]));
        fixture.folder.switch("1", &files(3, "new")).await.expect("nothing was lost");
        assert_eq!(fixture.all().await, expected(&files(3, "new")));
    });
}
