//! Prepares a stream's checkpoint: puts the state of the wanted revision there, and sets other state aside.
//!
//! A mark beside the state names its revision. State of another revision is renamed to a name that has the time, its
//! revision, and the revision and execution that replace it; state that is wanted again is put back. The caller holds
//! the checkpoint's exclusive key and has no driver there yet. The preparation can be repeated after any crash, because
//! everything it depends on is stored beside the checkpoint.

use bytes::Bytes;
use dcp_objects::{CompletionMarker, Objects};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::execution::Id;

/// Spark has no such name in a checkpoint.
const MARK: &str = "_dcp_state.json";
/// A longer object is no mark of dcp.
const LONGEST: usize = 4096;

/// Maximum number of objects that are removed concurrently.
const AT_ONCE: usize = 16;

/// The content of a mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Mark {
    /// The complete state of a revision is here.
    State { revision: u64 },
    /// The state is being moved away from here, and its destination is complete.
    Leaving {},
    /// The state is being moved here, and its source is still complete.
    Arriving {},
}

/// The reason why a checkpoint can't be prepared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Unusable(#[from] dcp_objects::UnusableLocation),
    #[error(transparent)]
    Place(#[from] dcp_objects::Error),
    #[error("`{0}` is no checkpoint that can be set aside: it has to be a folder within another one")]
    Root(String),
    #[error(
        "`{0}/{MARK}` is not what dcp writes there: see what it is, and remove it if the checkpoint is whole"
    )]
    Foreign(String),
    #[error(
        "`{0}` holds what dcp knows nothing of, and is where `{1}` is to be put back: see what it is, and move it away"
    )]
    Occupied(String, String),
}

/// The state that an execution needs at its checkpoint.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The revision of the state.
    pub state: u64,
    /// The execution that will run with the state, and its time of creation. Both stay the same if the preparation is
    /// repeated.
    pub execution: Id,
    pub since: Timestamp,
}

/// Puts the wanted state at a checkpoint if it exists, and sets other state aside. Returns the actions taken.
pub async fn prepare(checkpoint: &str, wanted: Wanted) -> Result<Vec<String>, Error> {
    let shown = checkpoint.trim_end_matches('/');
    let (parent, name) = shown.rsplit_once('/').unwrap_or_default();
    if name.is_empty() || parent.is_empty() || parent.ends_with('/') {
        return Err(Error::Root(shown.to_owned()));
    }
    prepare_in(Objects::open(parent)?, name, wanted).await
}

/// Prepares a checkpoint by its name in a folder.
pub async fn prepare_in(objects: Objects, name: &str, wanted: Wanted) -> Result<Vec<String>, Error> {
    Place { objects, name: name.to_owned(), wanted }.prepare().await
}

struct Place {
    /// The folder that contains the checkpoint.
    objects: Objects,
    name: String,
    wanted: Wanted,
}

impl Place {
    async fn prepare(&self) -> Result<Vec<String>, Error> {
        let wanted = self.wanted.state;
        let asides = self.asides().await?;
        let of = |state: u64| asides.iter().find(|(_, it)| *it == state).map(|(at, _)| at.clone());
        let mut said = Vec::new();
        match self.mark(&self.name).await? {
            Some(Mark::State { revision }) if revision == wanted => {
                // The source that this state was put back from may be left over.
                if let Some(rest) = of(wanted) {
                    self.objects.remove(&rest).await?;
                }
                return Ok(said);
            }
            Some(Mark::State { revision }) => {
                let aside = of(revision).unwrap_or_else(|| self.aside(revision));
                self.rename(&self.name, &aside).await?;
                said.push(format!(
                    "the checkpoint's state of revision {revision} was set aside as `{aside}`: revision {wanted} can't use it"
                ));
            }
            Some(Mark::Leaving {} | Mark::Arriving {}) => self.clear().await?,
            // State is never mixed with objects of unknown origin.
            None => {
                if let Some(aside) = of(wanted)
                    && self.objects.list(&self.name).next().await.transpose()?.is_some()
                {
                    return Err(Error::Occupied(self.name.clone(), aside));
                }
            }
        }
        match of(wanted) {
            Some(aside) => {
                if !self.objects.is_folder() {
                    // Without this mark, a partial move would look like state from before dcp.
                    let mark = format!("{}/{MARK}", self.name);
                    self.objects.write(&mark, text(&Mark::Arriving {})).await?;
                }
                self.rename(&aside, &self.name).await?;
                said.push(format!("the checkpoint's state of revision {wanted} was put back from `{aside}`"));
            }
            // State without a mark is older than dcp, and belongs to the first execution.
            None => {
                let mark = text(&Mark::State { revision: wanted });
                self.objects.write(&format!("{}/{MARK}", self.name), mark).await?;
            }
        }
        Ok(said)
    }

    /// Returns all complete states that were set aside from here, with their revisions.
    async fn asides(&self) -> Result<Vec<(String, u64)>, Error> {
        let prefix = format!("{}.aside-", self.name);
        let mut found = Vec::new();
        for name in self.objects.names("").await?.into_iter().filter(|name| name.starts_with(&prefix)) {
            if let Some(Mark::State { revision }) = self.mark(&name).await? {
                found.push((name, revision));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Returns the name under which a state is set aside. Repeated calls return the same name, so that an interrupted
    /// move is resumed.
    fn aside(&self, state: u64) -> String {
        let Wanted { state: wanted, execution, since } = &self.wanted;
        let at = since.strftime("%Y%m%dT%H%M%SZ");
        format!("{}.aside-{at}-revision-{state}-for-{wanted}-{execution}", self.name)
    }

    /// Removes an incomplete state. The mark is removed last, because a state without one counts as complete.
    async fn clear(&self) -> Result<(), Error> {
        let mark = format!("{}/{MARK}", self.name);
        let found: Vec<_> = self.objects.list(&self.name).try_collect().await?;
        let paths = found.into_iter().map(|it| it.path).filter(|path| *path != mark);
        let removed = stream::iter(paths).map(|path| async move { self.objects.remove(&path).await });
        removed.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        Ok(self.objects.remove(&mark).await?)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let seal = CompletionMarker { name: MARK, content_when_copied: text(&Mark::Leaving {}) };
        Ok(self.objects.rename(from, to, &seal).await?)
    }

    async fn mark(&self, at: &str) -> Result<Option<Mark>, Error> {
        let mut pieces = match self.objects.read(&format!("{at}/{MARK}")).await {
            Err(error) if error.is_not_found() => return Ok(None),
            read => read?,
        };
        let mut text = Vec::new();
        while let Some(piece) = pieces.try_next().await? {
            text.extend_from_slice(&piece);
            if text.len() > LONGEST {
                return Err(Error::Foreign(at.to_owned()));
            }
        }
        serde_json::from_slice(&text).map(Some).map_err(|_| Error::Foreign(at.to_owned()))
    }
}

fn text(mark: &Mark) -> Bytes {
    serde_json::to_vec(mark).expect("a mark is JSON").into()
}
