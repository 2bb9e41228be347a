//! Checks that the main class of a program without a jar can exist.

use dcp_model::manifest::{Dependencies, Job, Pod, Spec};

use super::Subject;
use crate::diag::Code;

/// The package prefix of Spark itself.
const SPARK_PACKAGE: &str = "org.apache.spark.";

pub(super) fn check(subject: &mut Subject<'_>) {
    let spec = &subject.manifest.spec;
    let Job::Jar(program) = &spec.job else { return };
    let class = program.class.as_str();
    if program.main.is_some() || class.starts_with(SPARK_PACKAGE) || may_have_jars(spec) {
        return;
    }
    let at = subject.at(&["spec", "job", "jar", "class"]);
    subject.problem(
        Code::NO_CLASS,
        format!("no jar contains `{class}`"),
        at,
        "neither one of Spark's own classes nor in a dependency",
        "add the jar as `job.jar.main`, or in `dependencies.jars` or `dependencies.packages`",
    );
}

/// Returns whether the driver's class path may contain jars other than Spark's own.
fn may_have_jars(spec: &Spec) -> bool {
    let Dependencies { packages, jars, .. } = &spec.dependencies;
    let own_image = |pod: &Pod| pod.image.is_some();
    !packages.is_empty()
        || !jars.is_empty()
        || spec.engine.image.is_some()
        || spec.pods.driver.as_deref().is_some_and(own_image)
        || spec.spark.conf.contains_key("spark.driver.extraClassPath")
        || spec.spark.config_map.is_some()
}
