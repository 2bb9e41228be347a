//! Moves the objects below a path of a bucket: copies, then deletions, in an order that can be continued after a
//! crash.

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, Result};

use crate::CompletionMarker;

/// Maximum number of concurrent copies or deletions.
const MAX_CONCURRENT: usize = 16;

/// Copies the marker after all other objects, so that a set with a marker is complete. Then the old marker is
/// replaced, so that the old set no longer counts as complete while its objects are deleted. The old marker is
/// deleted last.
pub(crate) async fn rename(
    store: &dyn ObjectStore,
    from: &Path,
    to: &Path,
    marker: &CompletionMarker<'_>,
) -> Result<()> {
    let (old, new) = (crate::at(from, marker.name), crate::at(to, marker.name));
    let found: Vec<Path> = store.list(Some(from)).map_ok(|object| object.location).try_collect().await?;
    if found.is_empty() {
        return store.head(&new).await.map(|_| ());
    }
    let has_marker = found.contains(&old);
    let others: Vec<Path> = found.into_iter().filter(|path| *path != old).collect();
    // With this content, all objects have been copied.
    let is_copied = has_marker && store.get(&old).await?.bytes().await? == marker.content_when_copied;
    if !is_copied {
        let copies = others.clone().into_iter().map(|path| {
            let target: Path = to.parts().chain(path.prefix_match(from).into_iter().flatten()).collect();
            async move { store.copy(&path, &target).await }
        });
        futures_util::stream::iter(copies).buffer_unordered(MAX_CONCURRENT).try_collect::<()>().await?;
        if has_marker {
            store.copy(&old, &new).await?;
            store.put(&old, marker.content_when_copied.clone().into()).await?;
        }
    }
    let deletions = others.into_iter().map(|path| async move { delete_if_exists(store, &path).await });
    futures_util::stream::iter(deletions).buffer_unordered(MAX_CONCURRENT).try_collect::<()>().await?;
    delete_if_exists(store, &old).await
}

async fn delete_if_exists(store: &dyn ObjectStore, path: &Path) -> Result<()> {
    match store.delete(path).await {
        Err(Error::NotFound { .. }) => Ok(()),
        done => done,
    }
}
