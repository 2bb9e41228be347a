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
const MARKER_FILE: &str = "_dcp_state.json";
/// A longer object is no mark of dcp.
const MAX_MARKER_BYTES: usize = 4096;

/// Maximum number of objects that are removed concurrently.
const MAX_CONCURRENT_REMOVALS: usize = 16;

/// The content of a mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Marker {
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
    Storage(#[from] dcp_objects::Error),
    #[error("`{0}` is no checkpoint that can be set aside: it has to be a folder within another one")]
    NoParentFolder(String),
    #[error(
        "`{0}/{MARKER_FILE}` is not what dcp writes there: see what it is, and remove it if the checkpoint is whole"
    )]
    InvalidMarker(String),
    #[error(
        "`{0}` holds what dcp knows nothing of, and is where `{1}` is to be put back: see what it is, and move it away"
    )]
    Occupied(String, String),
}

/// The state that an execution needs at its checkpoint.
#[derive(Debug, Clone)]
pub struct RequiredState {
    /// The revision of the state.
    pub revision: u64,
    /// The execution that will run with the state, and its time of creation. Both stay the same if the preparation is
    /// repeated.
    pub execution: Id,
    pub created: Timestamp,
}

/// Puts the wanted state at a checkpoint if it exists, and sets other state aside. Returns the actions taken.
pub async fn prepare(checkpoint: &str, required: RequiredState) -> Result<Vec<String>, Error> {
    let location = checkpoint.trim_end_matches('/');
    let (parent, name) = location.rsplit_once('/').unwrap_or_default();
    if name.is_empty() || parent.is_empty() || parent.ends_with('/') {
        return Err(Error::NoParentFolder(location.to_owned()));
    }
    prepare_in(Objects::open(parent)?, name, required).await
}

/// Prepares a checkpoint by its name in a folder.
pub async fn prepare_in(objects: Objects, name: &str, required: RequiredState) -> Result<Vec<String>, Error> {
    Preparation { objects, name: name.to_owned(), required }.prepare().await
}

struct Preparation {
    /// The folder that contains the checkpoint.
    objects: Objects,
    name: String,
    required: RequiredState,
}

impl Preparation {
    async fn prepare(&self) -> Result<Vec<String>, Error> {
        let wanted = self.required.revision;
        let set_aside = self.list_set_aside().await?;
        let aside_of = |state: u64| set_aside.iter().find(|(_, it)| *it == state).map(|(at, _)| at.clone());
        let mut actions = Vec::new();
        match self.read_marker(&self.name).await? {
            Some(Marker::State { revision }) if revision == wanted => {
                // The source that this state was put back from may be left over.
                if let Some(rest) = aside_of(wanted) {
                    self.objects.remove(&rest).await?;
                }
                return Ok(actions);
            }
            Some(Marker::State { revision }) => {
                let aside = aside_of(revision).unwrap_or_else(|| self.aside_name(revision));
                self.rename(&self.name, &aside).await?;
                actions.push(format!(
                    "the checkpoint's state of revision {revision} was set aside as `{aside}`: revision {wanted} can't use it"
                ));
            }
            Some(Marker::Leaving {} | Marker::Arriving {}) => self.remove_incomplete().await?,
            // State is never mixed with objects of unknown origin.
            None => {
                if let Some(aside) = aside_of(wanted)
                    && self.objects.list(&self.name).next().await.transpose()?.is_some()
                {
                    return Err(Error::Occupied(self.name.clone(), aside));
                }
            }
        }
        actions.extend(self.put_state(aside_of(wanted)).await?);
        Ok(actions)
    }

    /// Puts the wanted state from `aside` at the checkpoint, or marks its objects as this state. Returns the action.
    async fn put_state(&self, aside: Option<String>) -> Result<Option<String>, Error> {
        let wanted = self.required.revision;
        let marker = format!("{}/{MARKER_FILE}", self.name);
        let Some(aside) = aside else {
            // State without a mark is older than dcp, and belongs to the first execution.
            self.objects.write(&marker, to_json(&Marker::State { revision: wanted })).await?;
            return Ok(None);
        };
        if !self.objects.is_folder() {
            // Without this mark, a partial move would look like state from before dcp.
            self.objects.write(&marker, to_json(&Marker::Arriving {})).await?;
        }
        self.rename(&aside, &self.name).await?;
        Ok(Some(format!("the checkpoint's state of revision {wanted} was put back from `{aside}`")))
    }

    /// Returns all complete states that were set aside from here, with their revisions.
    async fn list_set_aside(&self) -> Result<Vec<(String, u64)>, Error> {
        let prefix = format!("{}.aside-", self.name);
        let mut found = Vec::new();
        for name in self.objects.names("").await?.into_iter().filter(|name| name.starts_with(&prefix)) {
            if let Some(Marker::State { revision }) = self.read_marker(&name).await? {
                found.push((name, revision));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Returns the name under which a state is set aside. Repeated calls return the same name, so that an interrupted
    /// move is resumed.
    fn aside_name(&self, state: u64) -> String {
        let RequiredState { revision: wanted, execution, created } = &self.required;
        let at = created.strftime("%Y%m%dT%H%M%SZ");
        format!("{}.aside-{at}-revision-{state}-for-{wanted}-{execution}", self.name)
    }

    /// Removes an incomplete state. The mark is removed last, because a state without one counts as complete.
    async fn remove_incomplete(&self) -> Result<(), Error> {
        let marker = format!("{}/{MARKER_FILE}", self.name);
        let found: Vec<_> = self.objects.list(&self.name).try_collect().await?;
        let paths = found.into_iter().map(|it| it.path).filter(|path| *path != marker);
        let removed = stream::iter(paths).map(|path| async move { self.objects.remove(&path).await });
        removed.buffer_unordered(MAX_CONCURRENT_REMOVALS).try_collect::<()>().await?;
        Ok(self.objects.remove(&marker).await?)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let seal = CompletionMarker { name: MARKER_FILE, content_when_copied: to_json(&Marker::Leaving {}) };
        Ok(self.objects.rename(from, to, &seal).await?)
    }

    async fn read_marker(&self, at: &str) -> Result<Option<Marker>, Error> {
        let mut pieces = match self.objects.read(&format!("{at}/{MARKER_FILE}")).await {
            Err(error) if error.is_not_found() => return Ok(None),
            read => read?,
        };
        let mut text = Vec::new();
        while let Some(piece) = pieces.try_next().await? {
            text.extend_from_slice(&piece);
            if text.len() > MAX_MARKER_BYTES {
                return Err(Error::InvalidMarker(at.to_owned()));
            }
        }
        serde_json::from_slice(&text).map(Some).map_err(|_| Error::InvalidMarker(at.to_owned()))
    }
}

fn to_json(marker: &Marker) -> Bytes {
    serde_json::to_vec(marker).expect("a mark is JSON").into()
}
