//! The operators for Spark applications, and the types of their custom resources.

use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use serde::{Deserialize, Serialize};

/// The kind of the custom resources of both operators.
pub(super) const KIND: &str = "SparkApplication";

/// An operator for Spark applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operator {
    /// The operator of Apache Spark, `spark.apache.org/v1`.
    Apache,
    /// The operator of Kubeflow, `sparkoperator.k8s.io/v1beta2`.
    Kubeflow,
}

impl Operator {
    /// Returns the type of the operator's custom resource.
    pub(super) fn resource(self) -> ApiResource {
        let (group, version) = match self {
            Operator::Apache => ("spark.apache.org", "v1"),
            Operator::Kubeflow => ("sparkoperator.k8s.io", "v1beta2"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, KIND), "sparkapplications")
    }
}
