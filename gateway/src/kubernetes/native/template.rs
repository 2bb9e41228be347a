//! Rejects fields of a driver's template that dcp sets itself, as they would have no effect.

use serde_json::Value;

use crate::error::{Error, Result};

/// A field by its path, and the way out.
type Row = (&'static str, &'static str);

/// Fields of the pod.
const POD: &[Row] = &[
    ("/metadata/name", "dcp names the pod after the application"),
    ("/metadata/generateName", "dcp names the pod after the application"),
    ("/metadata/namespace", "the domain has its namespace in the file of clusters"),
    ("/metadata/ownerReferences", "nothing may delete the pod but dcp"),
    ("/metadata/finalizers", "nothing may keep the pod but dcp"),
    ("/spec/terminationGracePeriodSeconds", "set `timeouts.stop`"),
];

/// Fields of the container that runs Spark.
const CONTAINER: &[Row] = &[
    ("args", "they are those of the job"),
    ("image", "set `pods.driver.image` or `engine.image`"),
    ("imagePullPolicy", "set `pods.imagePullPolicy`"),
];

/// Quantities of the container that runs Spark.
const QUANTITIES: &[Row] = &[
    ("/resources/requests/cpu", "set `resources.driver.cpuRequest`"),
    ("/resources/limits/cpu", "set `resources.driver.cpuLimit`"),
    ("/resources/requests/memory", "set `resources.driver.memory`"),
    ("/resources/limits/memory", "set `resources.driver.memoryLimit`"),
];

pub(super) fn check(template: &Value) -> Result<()> {
    let rejected = |path: &str, reason: &str| {
        let field = path.trim_start_matches('/').replace('/', ".");
        Err(Error::field(format!("pods.driver.template.{field}"), format!("dcp sets it itself: {reason}")))
    };
    let is_set = |value: Option<&Value>| value.is_some_and(|value| !value.is_null());
    if let Some((path, reason)) = POD.iter().find(|(path, _)| is_set(template.pointer(path))) {
        return rejected(path, reason);
    }
    let policy = template.pointer("/spec/restartPolicy");
    if is_set(policy) && policy.and_then(Value::as_str) != Some("Never") {
        return rejected("spec.restartPolicy", "a driver that fails is retried as `retry` says");
    }
    let container = &template["spec"]["containers"][0];
    if let Some((field, reason)) = CONTAINER.iter().find(|(field, _)| is_set(container.get(field))) {
        return rejected(&format!("spec.containers[0].{field}"), reason);
    }
    match QUANTITIES.iter().find(|(path, _)| is_set(container.pointer(path))) {
        Some((path, reason)) => rejected(&format!("spec.containers[0]{path}"), reason),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_dcp_sets_are_rejected_by_name() {
        let found = |template: Value| check(&template).err().map(|error| error.to_string());
        for (template, expected) in [
            (
                json!({"metadata": {"name": "x"}}),
                "`pods.driver.template.metadata.name`: dcp sets it itself: ",
            ),
            (json!({"spec": {"restartPolicy": "Always"}}), "`pods.driver.template.spec.restartPolicy`: "),
            (
                json!({"spec": {"containers": [{"image": "x"}]}}),
                "`pods.driver.template.spec.containers[0].image`: dcp sets it itself: set `pods.driver.image`",
            ),
            (
                json!({"spec": {"containers": [{"resources": {"limits": {"memory": "1Gi"}}}]}}),
                "`pods.driver.template.spec.containers[0].resources.limits.memory`: ",
            ),
        ] {
            let error = found(template).expect(expected);
            assert!(error.starts_with(expected), "{error}");
        }
        let resources = json!({"requests": {"ephemeral-storage": "1Gi"}});
        let container = json!({"name": "spark", "resources": resources, "command": ["x"]});
        let spec = json!({"restartPolicy": "Never", "containers": [container, {"image": "sidecar"}]});
        assert_eq!(found(json!({"metadata": {"labels": {}}, "spec": spec})), None);
        assert_eq!(found(Value::Null), None);
    }
}
