//! The record of an application: a config map in the namespace of dcp's records.
//!
//! The record decides whether a driver may start. Every driver pod is created with a scheduling gate, so that it does
//! not start by itself. The gate is removed only from the pod whose UID is in the record, and the UID is stored with
//! a replace that fails if the record has changed. So at most one pod of an application ever starts, even if a Gateway
//! is stopped between any two calls and continues later.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::operator::Operator;
use super::{labels, native};
use crate::error::{Error, Result};
use crate::hash;
use crate::{Addresses, End, Name, OrphanMark, SparkApplication};

/// The record of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: Name,
    /// The namespace of the application's pods.
    pub(super) namespace: String,
    pub(super) content: Content,
    /// The identity of the control plane that created it; none if dcp did not store identities then.
    pub(super) control_plane: Option<String>,
    pub(super) mark: Option<OrphanMark>,
    /// The version that the API server returned, for a replace.
    pub(super) version: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Content {
    /// Hash of the application; none if it was stopped before it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) application: Option<String>,
    /// The custom resource, if an operator runs the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) resource: Option<CustomResource>,
    /// The UID of the driver pod that may start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) driver: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stop: Option<Stop>,
    /// The end of the driver, while other pods or containers of the application run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) driver_end: Option<End>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<End>,
    /// The time at which the driver started; it is stored with its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) started: Option<Timestamp>,
    /// The addresses that the application has while its driver runs.
    #[serde(default)]
    pub(super) addresses: Addresses,
}

/// The custom resource of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CustomResource {
    pub(super) operator: Operator,
    /// Its UID, once everything that a driver needs was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<String>,
    /// The name of the driver pod that may start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) driver_pod: Option<String>,
    /// The address of the event log without Spark's identifier of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) event_log: Option<String>,
}

impl Content {
    /// Names the driver pod that may start, if it is free. Returns true if the record was changed.
    pub(super) fn claim(&mut self, uid: &str, driver_pod: &str, application_id: Option<&str>) -> bool {
        if self.driver.is_some() || self.stop.is_some() || self.end.is_some() {
            return false;
        }
        self.driver = Some(uid.to_owned());
        if let Some(resource) = &mut self.resource {
            resource.driver_pod = Some(driver_pod.to_owned());
            let event_log = resource.event_log.as_ref().zip(application_id);
            self.addresses.event_log = event_log.map(|(folder, id)| format!("{folder}{id}"));
        }
        true
    }

    /// Stores the end of the driver, unless one is stored. Returns true if the record was changed.
    pub(super) fn store_driver_end(&mut self, end: &End, started: Option<Timestamp>) -> bool {
        let is_new = self.end.is_none() && self.driver_end.is_none();
        if is_new {
            (self.driver_end, self.started) = (Some(end.clone()), started);
        }
        is_new
    }

    /// Stores the end of the application, unless one is stored. Returns true if the record was changed.
    pub(super) fn store_end(&mut self, end: &End, started: Option<Timestamp>) -> bool {
        let is_new = self.end.is_none();
        if is_new {
            (self.end, self.started) = (Some(end.clone()), started);
        }
        is_new
    }
}

/// A request to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stop {
    pub(super) at: Timestamp,
    pub(super) grace_seconds: u32,
}

const CONTENT: &str = "record";
const NAMESPACE: &str = "namespace";

impl Record {
    pub(super) fn new(name: Name, namespace: String, content: Content) -> Self {
        Self { name, namespace, content, control_plane: None, mark: None, version: None }
    }

    /// Returns the operator that runs the application, if one does.
    pub(super) fn operator(&self) -> Option<Operator> {
        self.content.resource.as_ref().map(|resource| resource.operator)
    }

    /// Returns the name of the driver's pod.
    pub(super) fn driver_pod(&self) -> String {
        let found = self.content.resource.as_ref().and_then(|resource| resource.driver_pod.clone());
        found.unwrap_or_else(|| native::driver_name(&self.name))
    }

    pub(super) fn to_object(&self) -> ConfigMap {
        let content = serde_json::to_string(&self.content).unwrap_or_default();
        let mut labels = BTreeMap::from([(labels::APPLICATION.to_owned(), self.name.to_string())]);
        let own = self.control_plane.clone();
        labels.extend(own.map(|own| (labels::CONTROL_PLANE.to_owned(), own)));
        let mark = self.mark.map(|mark| BTreeMap::from([(labels::UNOWNED.to_owned(), mark.to_string())]));
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.name.to_string()),
                labels: Some(labels),
                annotations: mark,
                resource_version: self.version.clone(),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([
                (CONTENT.to_owned(), content),
                (NAMESPACE.to_owned(), self.namespace.clone()),
            ])),
            ..ConfigMap::default()
        }
    }

    pub(super) fn from_object(object: &ConfigMap) -> Result<Self> {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let unreadable = |why: String| {
            Error::Unavailable(format!(
                "the config map `{name}` is no record of an application ({why}): delete it if dcp did not create it"
            ))
        };
        let field = |key: &str| {
            let data = object.data.as_ref();
            data.and_then(|data| data.get(key)).ok_or_else(|| unreadable(format!("it has no `{key}`")))
        };
        let content = serde_json::from_str(field(CONTENT)?).map_err(|error| unreadable(error.to_string()))?;
        Ok(Self {
            name: name.parse()?,
            namespace: field(NAMESPACE)?.clone(),
            content,
            control_plane: control_plane(&object.metadata),
            mark: mark(&object.metadata),
            version: object.metadata.resource_version.clone(),
        })
    }
}

/// Returns the identity of the control plane that created a record.
pub(super) fn control_plane(metadata: &ObjectMeta) -> Option<String> {
    metadata.labels.as_ref()?.get(labels::CONTROL_PLANE).cloned()
}

/// Returns the mark in a record. One that can't be read leaves the application alone, as a claimed one.
pub(super) fn mark(metadata: &ObjectMeta) -> Option<OrphanMark> {
    let text = metadata.annotations.as_ref()?.get(labels::UNOWNED)?;
    Some(text.parse().unwrap_or(OrphanMark::Claimed))
}

/// Returns the hash of an application. It distinguishes a repeated create from one of another application.
pub(super) fn fingerprint(application: &SparkApplication) -> String {
    hash::digits(&serde_json::to_vec(application).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    #[test]
    fn a_record_is_the_same_after_it_was_stored() {
        let end = End { reason: Reason::OutOfMemory, ..End::exited(Timestamp::UNIX_EPOCH, Some(137), None) };
        let content = Content {
            application: Some("ab12".to_owned()),
            resource: Some(CustomResource {
                operator: Operator::Kubeflow,
                uid: Some("uid-0".to_owned()),
                driver_pod: Some("a-1-driver".to_owned()),
                event_log: Some("s3a://logs/eventlog_v2_".to_owned()),
            }),
            driver: Some("uid-1".to_owned()),
            stop: Some(Stop { at: Timestamp::UNIX_EPOCH, grace_seconds: 30 }),
            driver_end: Some(end.clone()),
            end: Some(end),
            started: Some(Timestamp::UNIX_EPOCH),
            addresses: Addresses { event_log: Some("s3a://logs/a-1".to_owned()), ..Addresses::default() },
        };
        let mut record = Record::new("a-1".parse().unwrap(), "sales".to_owned(), content);
        record.version = Some("7".to_owned());
        record.control_plane = Some("p1".to_owned());
        for mark in [None, Some(OrphanMark::Since(Timestamp::UNIX_EPOCH)), Some(OrphanMark::Claimed)] {
            record.mark = mark;
            assert_eq!(Record::from_object(&record.to_object()).as_ref(), Ok(&record));
        }
        assert_eq!(Record::from_object(&record.to_object()), Ok(record));
    }

    #[test]
    fn a_config_map_of_another_program_is_reported() {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("a-1".to_owned());
        let error = Record::from_object(&object).expect_err("it is no record").to_string();
        assert!(error.contains("`a-1` is no record of an application (it has no `record`)"), "{error}");
    }
}
