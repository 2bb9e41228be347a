//! References of an application that a cluster can't resolve: files of the project, and secrets in visible places.

use super::secrets;
use crate::error::{Error, Result};
use crate::{SparkApplication, references};

/// Rejects an application that refers to files of the project, or to secrets where others could see them.
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
    for argument in &spec.driver_args {
        references::reject(argument, "job.args", "the command line")?;
    }
    for (role, pod) in [("pods.driver", &spec.driver_spec), ("pods.executors", &spec.executor_spec)] {
        secrets::resolve_template(&mut pod.pod_template_spec.clone(), role)?;
    }
    secrets::Files::of(application).map(drop)
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
    fn secrets_in_visible_places_are_rejected_by_field() {
        let with = |change: fn(&mut SparkApplication)| {
            let mut application = SparkApplication::default();
            change(&mut application);
            check(&application).err().map(|error| error.to_string())
        };
        let error = with(|it| it.spec.driver_args = vec!["${secret.db/password}".to_owned()]);
        assert!(error.as_ref().is_some_and(|it| it.starts_with("`job.args`: ")), "{error:?}");
        let error = with(|it| {
            let container = json!({"command": ["run", "${secret.db/password}"]});
            it.spec.driver_spec.pod_template_spec = json!({"spec": {"containers": [container]}});
        });
        assert!(error.as_ref().is_some_and(|it| it.starts_with("`pods.driver`: ")), "{error:?}");
        let error = with(|it| {
            let container = json!({"env": [{"name": "A", "value": "${secret.DB/password}"}]});
            it.spec.executor_spec.pod_template_spec = json!({"spec": {"containers": [container]}});
        });
        assert!(error.as_ref().is_some_and(|it| it.starts_with("`pods.executors.env.A`: ")), "{error:?}");
    }
}
