//! Limits of pod templates. A template can't leave its namespace: no access to the node, no other accounts.

use serde_json::Value;

use super::{Allow, Settings};
use crate::SparkApplication;
use crate::error::{Error, Result};

/// Returns true if a cluster allows a field.
type IsAllowed = fn(&Allow) -> bool;

/// Fields of a pod's specification that give access to the node, and whether a cluster allows them.
const HOST_FIELDS: &[(&str, IsAllowed)] = &[
    ("hostNetwork", |allow| allow.host_network),
    ("hostPID", |allow| allow.privileged),
    ("hostIPC", |allow| allow.privileged),
    ("nodeName", |allow| allow.node_names),
];

/// Settings of Spark that give the same access, or that name another account.
const SETTINGS: &[(&str, &str)] = &[
    (
        "spark.kubernetes.driver.volumes.hostPath.",
        "use `pods.driver.volumes`, whose paths the cluster can allow",
    ),
    (
        "spark.kubernetes.executor.volumes.hostPath.",
        "use `pods.executors.volumes`, whose paths the cluster can allow",
    ),
    ("spark.kubernetes.authenticate.", "the account is a setting of the cluster"),
    ("spark.kubernetes.driver.master", "it is a setting of the cluster"),
];

/// Rejects an application whose pods would have more rights than the cluster gives its domain.
pub(super) fn check(application: &SparkApplication, settings: &Settings) -> Result<()> {
    let spec = &application.spec;
    for key in spec.spark_conf.keys() {
        if let Some((_, reason)) = SETTINGS.iter().find(|(prefix, _)| key.starts_with(prefix)) {
            return Err(Error::field(format!("spark.conf.{key}"), *reason));
        }
    }
    for (role, pod) in [("pods.driver", &spec.driver_spec), ("pods.executors", &spec.executor_spec)] {
        let template = &pod.pod_template_spec["spec"];
        check_account(role, template, settings)?;
        check_template(role, template, &settings.allow)?;
    }
    Ok(())
}

fn check_account(role: &str, spec: &Value, settings: &Settings) -> Result<()> {
    let account = ["serviceAccountName", "serviceAccount"].into_iter().find_map(|field| spec[field].as_str());
    match account {
        Some(account)
            if account != settings.service_account && !settings.service_accounts.contains(account) =>
        {
            let reason =
                format!("the cluster `{}` does not allow the service account `{account}`", settings.name);
            Err(Error::field(format!("{role}.serviceAccount"), reason))
        }
        _ => Ok(()),
    }
}

fn check_template(role: &str, spec: &Value, allow: &Allow) -> Result<()> {
    let rejected =
        |field: String, reason: &str| Err(Error::field(format!("{role}.template.spec.{field}"), reason));
    for (field, is_allowed) in HOST_FIELDS {
        if !is_allowed(allow) && !matches!(spec[field], Value::Null | Value::Bool(false)) {
            return rejected(
                (*field).to_owned(),
                "it gives access to the node, which the cluster does not allow",
            );
        }
    }
    for (at, volume) in items(&spec["volumes"]) {
        let path = &volume["hostPath"];
        if !path.is_null() && !path["path"].as_str().is_some_and(|path| is_allowed_path(path, allow)) {
            let reason = "the cluster does not allow this path of the node";
            return rejected(format!("volumes[{at}].hostPath"), reason);
        }
    }
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        for (at, container) in items(&spec[kind]) {
            check_container(container, allow)
                .or_else(|(field, reason)| rejected(format!("{kind}[{at}].{field}"), reason))?;
        }
    }
    Ok(())
}

fn check_container(container: &Value, allow: &Allow) -> std::result::Result<(), (String, &'static str)> {
    let context = &container["securityContext"];
    for field in ["privileged", "allowPrivilegeEscalation"] {
        if !allow.privileged && context[field] == true {
            return Err((format!("securityContext.{field}"), "containers have no rights of the node"));
        }
    }
    if !allow.privileged && items(&context["capabilities"]["add"]).next().is_some() {
        return Err(("securityContext.capabilities.add".to_owned(), "containers have no rights of the node"));
    }
    if !allow.privileged && context["procMount"] == "Unmasked" {
        return Err(("securityContext.procMount".to_owned(), "containers have no rights of the node"));
    }
    for (at, port) in items(&container["ports"]) {
        if !allow.host_network && !port["hostPort"].is_null() {
            return Err((format!("ports[{at}].hostPort"), "a port of the node can't be used"));
        }
    }
    Ok(())
}

/// Returns true if the cluster allows volumes to mount a path of the node.
fn is_allowed_path(path: &str, allow: &Allow) -> bool {
    let is_plain = !path.split('/').any(|part| part == "..");
    is_plain
        && allow.host_paths.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == allowed,
        })
}

fn items(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(driver: &Value) -> Option<String> {
        let mut application = SparkApplication::default();
        application.spec.driver_spec.pod_template_spec = json!({"spec": driver});
        check(&application, &Settings::new("main")).err().map(|error| error.to_string())
    }

    #[test]
    fn access_to_the_node_is_rejected_by_field() {
        for (spec, field) in [
            (json!({"hostNetwork": true}), "hostNetwork"),
            (json!({"hostPID": true}), "hostPID"),
            (json!({"nodeName": "n"}), "nodeName"),
            (json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), "volumes[0].hostPath"),
            (
                json!({"containers": [{"securityContext": {"privileged": true}}]}),
                "containers[0].securityContext.privileged",
            ),
            (
                json!({"initContainers": [{}, {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]}),
                "initContainers[1].securityContext.capabilities.add",
            ),
            (
                json!({"containers": [{"ports": [{"containerPort": 1, "hostPort": 1}]}]}),
                "containers[0].ports[0].hostPort",
            ),
        ] {
            let error = checked(&spec).expect(field);
            assert!(error.starts_with(&format!("`pods.driver.template.spec.{field}`: ")), "{error}");
        }
        let error = checked(&json!({"serviceAccountName": "admin"})).expect("the account is rejected");
        assert_eq!(
            error,
            "`pods.driver.serviceAccount`: the cluster `main` does not allow the service account `admin`"
        );
        assert_eq!(checked(&json!({"serviceAccountName": "spark"})), None);
        assert_eq!(checked(&json!({"hostNetwork": false, "containers": [{"name": "spark"}]})), None);
    }

    #[test]
    fn a_cluster_may_allow_paths_of_its_nodes() {
        let allow = Allow { host_paths: vec!["/data/*".to_owned(), "/etc/x".to_owned()], ..Allow::default() };
        for (path, expected) in
            [("/data/a", true), ("/data/../etc", false), ("/etc/x", true), ("/etc/xy", false), ("/", false)]
        {
            assert_eq!(is_allowed_path(path, &allow), expected, "{path}");
        }
    }

    #[test]
    fn settings_that_leave_the_namespace_are_rejected() {
        for key in [
            "spark.kubernetes.executor.volumes.hostPath.x.mount.path",
            "spark.kubernetes.authenticate.driver.serviceAccountName",
            "spark.kubernetes.driver.master",
        ] {
            let mut application = SparkApplication::default();
            application.spec.spark_conf.insert(key.to_owned(), "x".to_owned());
            let error = check(&application, &Settings::new("main")).expect_err(key).to_string();
            assert!(error.starts_with(&format!("`spark.conf.{key}`: ")), "{error}");
        }
    }
}
