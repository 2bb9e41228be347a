//! The owners of records: the calls to the API server for records that may have none any more.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, PostParams};

use super::client::{is_conflict, is_missing};
use super::cluster::Cluster;
use super::labels;
use super::record::{self, Record, Stop};
use crate::Recorded;
use crate::error::{Error, Result};

/// Number of records that one call lists.
const PAGE: u32 = 1000;
/// Maximum number of records that are listed.
const MAX_RECORDS: usize = 200_000;

impl Cluster {
    /// Lists the metadata of all records.
    pub(super) async fn recorded(&self) -> Result<Vec<Recorded>> {
        let records = self.records();
        let mut params = ListParams::default().labels(labels::APPLICATION).limit(PAGE);
        let mut found = Vec::new();
        loop {
            let list = records.list_metadata(&params).await;
            let list = list.map_err(|error| self.failed("the records can't be listed", &error))?;
            found.extend(list.items.iter().filter_map(|item| recorded(&item.metadata)));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) if found.len() < MAX_RECORDS => params = params.continue_token(&token),
                _ => return Ok(found),
            }
        }
    }

    /// Changes a record that was listed. Returns nothing, and changes nothing, if it has changed since.
    pub(super) async fn change_listed(
        &self,
        listed: &Recorded,
        change: impl FnOnce(&mut Record),
    ) -> Result<Option<Record>> {
        let Some(mut record) = self.record(&listed.name).await? else { return Ok(None) };
        if record.version.as_ref() != Some(&listed.version) {
            return Ok(None);
        }
        change(&mut record);
        match self.records().replace(record.name.as_str(), &PostParams::default(), &record.to_object()).await
        {
            Ok(stored) => Record::from_object(&stored).map(Some),
            Err(error) if is_conflict(&error) || is_missing(&error) => Ok(None),
            Err(error) => Err(self.failed("the record can't be changed", &error)),
        }
    }

    /// Stores a stop request in a record that was listed, unless it has one or its application has ended, and stops the
    /// application. Returns false if the record has changed since it was listed.
    pub(super) async fn stop_listed(&self, listed: &Recorded, grace: Duration) -> Result<bool> {
        let grace_seconds = u32::try_from(grace.as_secs()).unwrap_or(u32::MAX);
        let stop = Stop { at: (self.clock)(), grace_seconds };
        let request = |record: &mut Record| {
            if record.content.stop.is_none() && record.content.end.is_none() {
                record.content.stop = Some(stop);
            }
        };
        let Some(record) = self.change_listed(listed, request).await? else { return Ok(false) };
        if record.content.end.is_none() {
            self.status(&record.name).await?;
        }
        Ok(true)
    }

    /// Rejects an application of another control plane that has the name of a new one.
    pub(super) fn check_owner(&self, record: &Record) -> Result<()> {
        match (&record.control_plane, &self.settings.control_plane) {
            (Some(theirs), Some(own)) if theirs != own => Err(Error::Conflict(format!(
                "`{}` is there already, and belongs to the control plane `{theirs}`; this one is `{own}`: see that Runner \
                 and Gateway have one database",
                record.name
            ))),
            _ => Ok(()),
        }
    }
}

fn recorded(metadata: &ObjectMeta) -> Option<Recorded> {
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
    Some(Recorded {
        name: metadata.name.as_ref()?.parse().ok()?,
        control_plane: record::control_plane(metadata),
        created,
        mark: record::mark(metadata),
        version: metadata.resource_version.clone()?,
    })
}
