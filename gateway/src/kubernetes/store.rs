//! The pods that the watch has seen. Facts about a pod outlive the pod here, until its application is forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::facts::PodFacts;
use super::operator::Operator;
use super::resource::Resource;
use super::status::Pods;
use crate::Name;

#[derive(Debug, Default)]
pub(super) struct Store(Mutex<HashMap<Name, Pods>>);

impl Store {
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Pods>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the pods of an application, and returns them.
    pub(super) fn change(&self, name: &Name, change: impl FnOnce(&mut Pods)) -> Pods {
        let mut all = self.lock();
        let known = all.entry(name.clone()).or_default();
        change(known);
        known.clone()
    }

    pub(super) fn get(&self, name: &Name) -> Pods {
        self.lock().get(name).cloned().unwrap_or_default()
    }

    pub(super) fn remove(&self, name: &Name) {
        self.lock().remove(name);
    }

    /// Removes the pods of an application, unless they have changed since they were read.
    pub(super) fn remove_unchanged(&self, name: &Name, known: &Pods) {
        let mut all = self.lock();
        if all.get(name) == Some(known) {
            all.remove(name);
        }
    }

    /// Returns the UIDs of all pods that exist in a namespace, or in all of them, with their applications.
    pub(super) fn present(&self, namespace: Option<&str>) -> BTreeMap<String, Name> {
        let is_inside = |pod: &&PodFacts| namespace.is_none_or(|namespace| pod.namespace == namespace);
        let all = self.lock();
        let pods = all.values().flat_map(Pods::iter).filter(is_inside);
        pods.map(|pod| (pod.uid.clone(), pod.application.clone())).collect()
    }

    /// Returns the applications with a custom resource in a namespace, or in all of them.
    pub(super) fn with_resource(&self, operator: Operator, namespace: Option<&str>) -> BTreeSet<Name> {
        let has_one = |pods: &Pods| match &pods.resource {
            Resource::Present(it) => {
                it.operator == operator && namespace.is_none_or(|namespace| it.namespace == namespace)
            }
            Resource::Unknown | Resource::Missing => false,
        };
        self.lock().iter().filter(|(_, pods)| has_one(pods)).map(|(name, _)| name.clone()).collect()
    }

    /// Returns the drivers that have a node and do not start.
    pub(super) fn stalled_drivers(&self) -> Vec<PodFacts> {
        self.lock().values().flat_map(Pods::stalled_drivers).cloned().collect()
    }

    pub(super) fn drivers_with_logs(&self) -> Vec<PodFacts> {
        self.lock().values().flat_map(Pods::drivers_with_logs).cloned().collect()
    }

    pub(super) fn names(&self) -> Vec<Name> {
        self.lock().keys().cloned().collect()
    }
}
