//! What lies at a stream's checkpoint: the state of a revision, or of one that came before it and can't be used any more.
//!
//! A mark beside the state says which revision's it is. What is not for the one that is to run is set aside, under a name
//! that says when, of which revision it is and for which one it made room; and what was set aside and is wanted again is
//! put back. Whoever asks for it holds the checkpoint's key, and has no driver there yet. It can be done again after any
//! crash, as all that it goes by lies there itself.

use bytes::Bytes;
use dcp_objects::{Objects, Seal};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::execution::Id;

/// Spark has no such name there.
const MARK: &str = "_dcp_state.json";
/// A mark is not longer, unless it is none of ours.
const LONGEST: usize = 4096;

/// How many objects are removed at once.
const AT_ONCE: usize = 16;

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Mark {
    /// All of the state of a revision is here.
    State { revision: u64 },
    /// It goes from here, and all of it has arrived elsewhere.
    Leaving {},
    /// It comes to be here, and all of it is elsewhere still.
    Arriving {},
}

/// Why what lies at a checkpoint can't be seen to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Unusable(#[from] dcp_objects::Unusable),
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

/// Who wants which state.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The revision whose state it is.
    pub state: u64,
    /// The execution that is to run with it, and when it was made: both the same however often this is done for it.
    pub execution: Id,
    pub since: Timestamp,
}

/// Has the state that is wanted lie at a checkpoint, or none where there never was one; tells what was done for that.
pub async fn prepare(checkpoint: &str, wanted: Wanted) -> Result<Vec<String>, Error> {
    let shown = checkpoint.trim_end_matches('/');
    let (parent, name) = shown.rsplit_once('/').unwrap_or_default();
    if name.is_empty() || parent.is_empty() || parent.ends_with('/') {
        return Err(Error::Root(shown.to_owned()));
    }
    prepare_in(Objects::open(parent)?, name, wanted).await
}

/// The same of a checkpoint by its name in a folder.
pub async fn prepare_in(objects: Objects, name: &str, wanted: Wanted) -> Result<Vec<String>, Error> {
    Place { objects, name: name.to_owned(), wanted }.prepare().await
}

struct Place {
    /// The folder that the checkpoint is in.
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
                // What it was put back from may not be gone yet.
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
            // No state is mixed with what somebody has put there.
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
                    // Else what arrives in part would be taken for what was always there.
                    let mark = format!("{}/{MARK}", self.name);
                    self.objects.write(&mark, text(&Mark::Arriving {})).await?;
                }
                self.rename(&aside, &self.name).await?;
                said.push(format!("the checkpoint's state of revision {wanted} was put back from `{aside}`"));
            }
            // What lies there without a mark was there before dcp was, and is for whoever comes first.
            None => {
                let mark = text(&Mark::State { revision: wanted });
                self.objects.write(&format!("{}/{MARK}", self.name), mark).await?;
            }
        }
        Ok(said)
    }

    /// All that was set aside from here and is whole, with the revision whose state it is.
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

    /// The same name however often it is asked for, so that a move that was broken off is gone on with.
    fn aside(&self, state: u64) -> String {
        let Wanted { state: wanted, execution, since } = &self.wanted;
        let at = since.strftime("%Y%m%dT%H%M%SZ");
        format!("{}.aside-{at}-revision-{state}-for-{wanted}-{execution}", self.name)
    }

    /// Removes what is not whole. The mark goes last: what lies there without one is taken for whole.
    async fn clear(&self) -> Result<(), Error> {
        let mark = format!("{}/{MARK}", self.name);
        let found: Vec<_> = self.objects.list(&self.name).try_collect().await?;
        let paths = found.into_iter().map(|it| it.path).filter(|path| *path != mark);
        let removed = stream::iter(paths).map(|path| async move { self.objects.remove(&path).await });
        removed.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        Ok(self.objects.remove(&mark).await?)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let seal = Seal { name: MARK, leaving: text(&Mark::Leaving {}) };
        Ok(self.objects.rename(from, to, &seal).await?)
    }

    async fn mark(&self, at: &str) -> Result<Option<Mark>, Error> {
        let mut pieces = match self.objects.read(&format!("{at}/{MARK}")).await {
            Err(error) if error.is_missing() => return Ok(None),
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
