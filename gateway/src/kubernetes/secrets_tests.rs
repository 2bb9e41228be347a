use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::application::{ConfigMapSpec, PodSpec};

/// Returns an application of dcp's own program with a password in an option of its sink.
fn stream() -> SparkApplication {
    let mut application = SparkApplication::default();
    let spec = &mut application.spec;
    let task = json!({"stream": {"sink": {"jdbc": {"user": "dcp", "password": "${secret.db/password}"}}}});
    let data = [("job.json".to_owned(), task.to_string()), ("main.py".to_owned(), "pass".to_owned())].into();
    spec.config_map_specs = vec![ConfigMapSpec { name: "a-1-job".to_owned(), data }];
    spec.driver_args = vec!["/opt/dcp/job/job.json".to_owned(), "/opt/dcp/job/other.json".to_owned()];
    spec.driver_spec = PodSpec {
        pod_template_spec: json!({"spec": {
            "volumes": [{"name": "dcp-job", "configMap": {"name": "a-1-job"}}],
            "containers": [{"name": "spark", "securityContext": {"runAsUser": 185},
                "volumeMounts": [{"name": "dcp-job", "mountPath": "/opt/dcp/job"}]}],
        }}),
    };
    application
}

#[test]
fn a_program_reads_its_options_from_the_file_with_the_secrets() {
    let application = stream();
    let files = Files::of(&application).expect("the references are valid");
    assert_eq!(files.arguments(&application.spec), ["/opt/dcp/secrets/job.json", "/opt/dcp/job/other.json"]);
    let mut pod = application.spec.driver_spec.pod_template_spec.clone();
    files.add_to(&mut pod, "spark:1");
    let init = &pod["spec"]["initContainers"][0];
    assert_eq!((&init["image"], &init["securityContext"]), (&json!("spark:1"), &json!({"runAsUser": 185})));
    assert_eq!(init["command"].as_array().and_then(|it| it.last()), Some(&json!("job.json")));
    let sources = json!([
        {"configMap": {"name": "a-1-job", "items": [{"key": "job.json", "path": "files/job.json"}]}},
        {"secret": {"name": "db", "items": [{"key": "password", "path": "secrets/db/password"}]}},
    ]);
    assert_eq!(pod["spec"]["volumes"][2]["projected"]["sources"], sources);
    let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array().expect("it is a list");
    assert!(
        mounts.iter().all(|mount| mount["name"] != SOURCES_VOLUME),
        "the driver has no file of the secret"
    );
    let mut conf = Conf::new();
    files.redact(&mut conf, &[]);
    assert!(conf["spark.redaction.regex"].ends_with("|(?i:^\\Qpassword\\E$)"), "{conf:?}");
}

#[test]
fn an_application_without_secrets_has_no_init_container() {
    let mut pod = json!({"spec": {"containers": [{"name": "spark"}]}});
    let before = pod.clone();
    Files::of(&SparkApplication::default()).expect("it has no reference").add_to(&mut pod, "spark:1");
    assert_eq!(pod, before);
}

#[test]
fn variables_refer_to_the_secrets_of_the_namespace() {
    let mut template = json!({"spec": {"containers": [{"env": [
        {"name": "PLAIN", "value": "x"},
        {"name": "WHOLE", "value": "${secret.db/password}"},
        {"name": "PART", "value": "a ${secret.db/user}:${secret.db/password}"},
    ]}]}});
    resolve_template(&mut template, "pods.driver").expect("the references are valid");
    let of = |name: &str, key: &str| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": "db", "key": key}}});
    let expected = json!([
        of("DCP_SECRET_0", "user"),
        of("DCP_SECRET_1", "password"),
        {"name": "PLAIN", "value": "x"},
        of("WHOLE", "password"),
        {"name": "PART", "value": "a $(DCP_SECRET_0):$(DCP_SECRET_1)"},
    ]);
    assert_eq!(template["spec"]["containers"][0]["env"], expected);
}

#[test]
fn settings_that_spark_copies_into_pods_are_rejected_by_name() {
    for (key, value) in [
        ("spark.authenticate.secret", "${secret.db/password}"),
        ("spark.ssl.keyPassword", "${secret.db/password}"),
        ("spark.kubernetes.driver.label.x", "${secret.db/password}"),
        ("spark.executorEnv.A", "${secret.db/password}"),
        ("spark.driver.extraJavaOptions", "-Dx=${secret.db/password}"),
    ] {
        let conf = Conf::from([(key.to_owned(), value.to_owned())]);
        let error = settings(&conf).expect_err(key).to_string();
        assert!(error.starts_with(&format!("`spark.conf.{key}`: ")), "{error}");
    }
}

#[test]
fn names_that_no_secret_of_kubernetes_has_are_rejected_by_field() {
    for name in ["DB", "db_1", "-db", "db."] {
        let mut application = SparkApplication::default();
        let data =
            [("job.json".to_owned(), json!({"a": format!("${{secret.{name}/k}}")}).to_string())].into();
        application.spec.config_map_specs = vec![ConfigMapSpec { name: "m".to_owned(), data }];
        let error = Files::of(&application).expect_err(name).to_string();
        assert!(error.starts_with("`job.a`: "), "{error}");
    }
}

/// Runs the script of the init container in a folder, and returns the files that it wrote.
fn rendered(
    folder: &Path,
    files: &[(&str, &str)],
    secrets: &[(&str, &str)],
) -> std::result::Result<Vec<String>, String> {
    let write = |path: &Path, text: &str| {
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("folders can be created");
        fs::write(path, text).expect("files can be written");
    };
    for (name, text) in files {
        write(&folder.join("sources/files").join(name), text);
    }
    for (name, text) in secrets {
        write(&folder.join("sources/secrets").join(name), text);
    }
    fs::create_dir_all(folder.join("out")).expect("folders can be created");
    let path = |name: &str| folder.join(name).display().to_string();
    let script = RENDER.replace(SOURCES, &path("sources")).replace(FOLDER, &path("out"));
    let names = files.iter().map(|(name, _)| *name);
    let done = Command::new("bash").args(["-c", &script, CONTAINER]).args(names.clone()).output();
    let done = done.expect("bash can be run");
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned());
    }
    Ok(names.map(|name| fs::read_to_string(folder.join("out").join(name)).expect("it was written")).collect())
}

#[test]
fn json_with_any_secret_is_read_unchanged() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let ascii: String = (1u8..127).map(char::from).collect();
    let secret = format!("{ascii}\\\\ \\u0041 & \"$(x)\" ${{secret.a/user}} ü𝄞\n\nlast");
    let text =
        json!({"p": "<${secret.a/password}>", "plain": "$${secret.a/password} $x", "u": "${secret.a/user}"});
    let secrets = [("a/password", &*format!("{secret}\n")), ("a/user", "dcp")];
    let written = rendered(folder.path(), &[("job.json", &text.to_string())], &secrets);
    let written: Value = serde_json::from_str(&written.expect("it succeeds")[0]).expect("it is JSON");
    let expected = json!({"p": format!("<{secret}>"), "plain": "${secret.a/password} $x", "u": "dcp"});
    assert_eq!(written, expected);
}

#[test]
fn properties_have_escaped_secrets() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let written = rendered(
        folder.path(),
        &[("spark.properties", "a=${secret.a/password}\nb=c\\u00fc\n")],
        &[("a/password", " p\"=:\\s\n")],
    );
    assert_eq!(written, Ok(vec!["a=\\u0020p\\u0022=:\\\\s\nb=c\\u00fc\n".to_owned()]));
}

#[test]
fn a_secret_that_is_no_text_fails_without_its_value() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let error =
        rendered(folder.path(), &[("f", "${secret.a/b}")], &[("a/b", "canary\0x")]).expect_err("it fails");
    assert!(error.contains("a/b") && !error.contains("canary"), "{error}");
}
