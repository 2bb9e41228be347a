//! Moves the objects below a path of a bucket: copies, then deletions, in an order that can be continued after a
//! crash.

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, Result};

use crate::Seal;

/// Maximum number of concurrent copies or deletions.
const AT_ONCE: usize = 16;

/// Copies the seal after all other objects, so that a set with a seal is complete. Then the old seal is replaced,
/// so that the old set no longer counts as complete while its objects are deleted. The old seal is deleted last.
pub(crate) async fn rename(store: &dyn ObjectStore, from: &Path, to: &Path, seal: &Seal<'_>) -> Result<()> {
    let (old, new) = (crate::at(from, seal.name), crate::at(to, seal.name));
    let found: Vec<Path> = store.list(Some(from)).map_ok(|object| object.location).try_collect().await?;
    if found.is_empty() {
        return store.head(&new).await.map(|_| ());
    }
    let is_sealed = found.contains(&old);
    let others: Vec<Path> = found.into_iter().filter(|path| *path != old).collect();
    // With this content, all objects have been copied.
    let goes = is_sealed && store.get(&old).await?.bytes().await? == seal.leaving;
    if !goes {
        let copies = others.clone().into_iter().map(|path| {
            let target: Path = to.parts().chain(path.prefix_match(from).into_iter().flatten()).collect();
            async move { store.copy(&path, &target).await }
        });
        futures_util::stream::iter(copies).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        if is_sealed {
            store.copy(&old, &new).await?;
            store.put(&old, seal.leaving.clone().into()).await?;
        }
    }
    let gone = others.into_iter().map(|path| async move { missing_is_fine(store, &path).await });
    futures_util::stream::iter(gone).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    missing_is_fine(store, &old).await
}

async fn missing_is_fine(store: &dyn ObjectStore, path: &Path) -> Result<()> {
    match store.delete(path).await {
        Err(Error::NotFound { .. }) => Ok(()),
        done => done,
    }
}
