//! The disruption budget of a driver. While it exists, Kubernetes evicts the pod of a running driver from no node.

use std::collections::BTreeMap;

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{driver_name, labels, metadata};
use crate::application::DRIVER_BUDGET;
use crate::{Name, SparkApplication};

/// Returns the budget of an application, if it has one. It is named like the driver's pod, and selects it by labels.
pub(super) fn of(application: &SparkApplication, name: &Name) -> Option<PodDisruptionBudget> {
    application.spec.spark_conf.get(DRIVER_BUDGET).filter(|value| *value == "true")?;
    let selected = [(labels::APPLICATION, name.as_str()), (labels::ROLE, "driver")];
    let selected: BTreeMap<String, String> =
        selected.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let spec = PodDisruptionBudgetSpec {
        // A pod without a controller needs a number here.
        min_available: Some(IntOrString::Int(1)),
        selector: Some(LabelSelector { match_labels: Some(selected), ..LabelSelector::default() }),
        ..PodDisruptionBudgetSpec::default()
    };
    let metadata = metadata(name, driver_name(name));
    Some(PodDisruptionBudget { metadata, spec: Some(spec), ..PodDisruptionBudget::default() })
}
