//! Labels, annotations and names of the objects of an application.

/// Label of all objects of an application: its name.
pub(super) const APPLICATION: &str = "dcp/application";
/// Label of the record and of the pods of an application: the identity of the control plane that created it.
pub(super) const CONTROL_PLANE: &str = "dcp/control-plane";
/// Annotation of a record: the time since which its control plane has no owner of it, or `claimed`.
pub(super) const UNOWNED: &str = "dcp/unowned";
/// Annotation of a pod: the name of the container that runs Spark.
pub(super) const CONTAINER: &str = "dcp/container";
/// Scheduling gate of a driver pod until its application's record names it.
pub(super) const GATE: &str = "dcp/record";

/// Label of the pods of dcp's proxies for Spark Connect, and its value.
pub(super) const COMPONENT: &str = "app.kubernetes.io/component";
pub(super) const PROXY: &str = "dcp-connect";
/// Label of every namespace: its name.
pub(super) const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Spark's own labels.
pub(super) const ROLE: &str = "spark-role";
/// The version of Spark. The operator has this label too.
pub(super) const VERSION: &str = "spark-version";
pub(super) const EXECUTOR_NUMBER: &str = "spark-exec-id";
/// Spark's annotation of a driver pod: the exception that ended it.
pub(super) const EXIT_EXCEPTION: &str = "spark.exit-exception";

/// Spark's default names of containers.
pub(super) const DRIVER_CONTAINER: &str = "spark-kubernetes-driver";
pub(super) const EXECUTOR_CONTAINER: &str = "spark-kubernetes-executor";
