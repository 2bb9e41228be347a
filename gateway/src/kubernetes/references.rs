//! References of an application that a cluster can't resolve: files of the project, and secrets in texts.

use crate::SparkApplication;
use crate::error::{Error, Result};

const SECRET: &str = "${secret.";

/// Rejects an application that refers to files of the project, or to secrets outside of pods.
pub(super) fn check(application: &SparkApplication) -> Result<()> {
    check_files(application)?;
    check_secrets(application)
}

fn check_files(application: &SparkApplication) -> Result<()> {
    let spec = &application.spec;
    let conf = |key: &str| spec.spark_conf.get(key).map(String::as_str);
    let lists = [
        ("job.jar.main", spec.jars.as_deref()),
        ("job.pyspark.main", spec.py_files.as_deref()),
        ("dependencies.files", spec.files.as_deref()),
        ("dependencies.jars", conf("spark.jars")),
        ("dependencies.archives", conf("spark.archives")),
    ];
    for (field, list) in lists {
        let mut files = list.into_iter().flat_map(|list| list.split(',')).enumerate();
        if let Some((at, file)) = files.find(|(_, file)| !is_reachable(file)) {
            let field = if field == "job.pyspark.main" && at > 0 { "job.pyspark.pyFiles" } else { field };
            let reason = format!(
                "`{file}` is a file of the project, and the cluster has no copy: put it into the image (`local:///…`) or \
                 into a bucket"
            );
            return Err(Error::field(field, reason));
        }
    }
    Ok(())
}

/// Returns true if a pod can read a file.
fn is_reachable(file: &str) -> bool {
    file.is_empty() || file.split_once("://").is_some_and(|(scheme, _)| scheme != "file")
}

fn check_secrets(application: &SparkApplication) -> Result<()> {
    let spec = &application.spec;
    let reason = "the cluster resolves no secrets in texts: use `pods.driver.env` with a secret's key, or `pods.driver.secrets`";
    if let Some((key, _)) = spec.spark_conf.iter().find(|(_, value)| value.contains(SECRET)) {
        return Err(Error::field(format!("spark.conf.{key}"), reason));
    }
    let programs = spec.config_map_specs.iter().flat_map(|map| map.data.values());
    let is_found = |text: &str| text.contains(SECRET);
    let found = [
        (
            "job",
            programs.into_iter().any(|text| is_found(text)) || spec.driver_args.iter().any(|it| is_found(it)),
        ),
        ("pods.driver", is_found(&spec.driver_spec.pod_template_spec.to_string())),
        ("pods.executors", is_found(&spec.executor_spec.pod_template_spec.to_string())),
    ];
    match found.into_iter().find(|(_, is_found)| *is_found) {
        Some((field, _)) => Err(Error::field(field, reason)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_of_the_project_are_rejected_by_field() {
        let with = |change: fn(&mut SparkApplication)| {
            let mut application = SparkApplication::default();
            application.spec.py_files = Some("local:///opt/main.py".to_owned());
            change(&mut application);
            check(&application).err().map(|error| error.to_string())
        };
        assert_eq!(with(|_| ()), None);
        assert_eq!(with(|it| it.spec.files = Some("s3a://b/x.txt#x".to_owned())), None);
        let error = with(|it| it.spec.py_files = Some("local:///a.py,lib/b.py".to_owned()));
        assert!(
            error.as_ref().is_some_and(|it| it.starts_with("`job.pyspark.pyFiles`: `lib/b.py` is")),
            "{error:?}"
        );
        let error = with(|it| it.spec.jars = Some("file:///home/a.jar".to_owned()));
        assert!(error.as_ref().is_some_and(|it| it.starts_with("`job.jar.main`: ")), "{error:?}");
    }

    #[test]
    fn secrets_in_texts_are_rejected_by_field() {
        let mut application = SparkApplication::default();
        let template =
            json!({"spec": {"containers": [{"env": [{"name": "A", "value": "${secret.db/password}"}]}]}});
        application.spec.driver_spec.pod_template_spec = template;
        let error = check(&application).expect_err("the secret is rejected").to_string();
        assert!(error.starts_with("`pods.driver`: "), "{error}");
        application.spec.driver_args = vec!["${secret.db/password}".to_owned()];
        let error = check(&application).expect_err("the secret is rejected").to_string();
        assert!(error.starts_with("`job`: "), "{error}");
    }
}
