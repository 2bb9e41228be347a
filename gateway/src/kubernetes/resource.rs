//! The facts about the custom resource of an application.

use kube::ResourceExt as _;
use kube::api::DynamicObject;

use super::operator::Operator;
use super::operators::Hint;
use super::{Name, labels};

/// The custom resource of an application, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Resource {
    #[default]
    Unknown,
    Missing,
    Present(ResourceFacts),
}

/// The facts about a custom resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResourceFacts {
    pub(super) operator: Operator,
    pub(super) application: Name,
    pub(super) namespace: String,
    pub(super) uid: String,
    /// The version of the object. Versions of one object grow.
    pub(super) version: Option<u64>,
    pub(super) is_deleting: bool,
    pub(super) hint: Hint,
}

impl ResourceFacts {
    /// Returns the facts about a custom resource of dcp; nothing for others.
    pub(super) fn new(operator: Operator, object: &DynamicObject) -> Option<Self> {
        let application: Name = object.labels().get(labels::APPLICATION)?.parse().ok()?;
        if object.metadata.name.as_deref() != Some(application.as_str()) {
            return None;
        }
        Some(Self {
            operator,
            application,
            namespace: object.metadata.namespace.clone()?,
            uid: object.metadata.uid.clone()?,
            version: object.metadata.resource_version.as_ref().and_then(|version| version.parse().ok()),
            is_deleting: object.metadata.deletion_timestamp.is_some(),
            hint: operator.hint(&object.data),
        })
    }

    /// Returns true if the operator creates no driver any more.
    pub(super) fn has_given_up(&self) -> bool {
        self.is_deleting || matches!(self.hint, Hint::SubmissionFailed { .. } | Hint::Ended { .. })
    }
}

impl Resource {
    /// Notes a version of the object, unless a later one is known.
    pub(super) fn update(&mut self, found: Self) {
        let is_older = match (&*self, &found) {
            (Self::Present(known), Self::Present(found)) => {
                known.uid == found.uid && known.version > found.version
            }
            (_, Self::Unknown) => true,
            _ => false,
        };
        if !is_older {
            *self = found;
        }
    }
}
