//! How what is below a path of a bucket is moved: copied, then deleted, in an order from which any crash can be told.

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, Result};

use crate::Seal;

/// How many objects are copied or deleted at once.
const AT_ONCE: usize = 16;

/// The seal arrives after all else, so that where it is, all is. Then it is replaced where it was, so that what goes from
/// there is taken for whole by nobody; and it goes last.
pub(crate) async fn rename(store: &dyn ObjectStore, from: &Path, to: &Path, seal: &Seal<'_>) -> Result<()> {
    let (old, new) = (crate::at(from, seal.name), crate::at(to, seal.name));
    let found: Vec<Path> = store.list(Some(from)).map_ok(|object| object.location).try_collect().await?;
    if found.is_empty() {
        return store.head(&new).await.map(|_| ());
    }
    let is_sealed = found.contains(&old);
    let others: Vec<Path> = found.into_iter().filter(|path| *path != old).collect();
    // What has begun to go has arrived.
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
