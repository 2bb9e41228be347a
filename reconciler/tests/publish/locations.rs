//! Valid and invalid locations of the DAG folder.

use std::path::Path;

use dcp_reconciler::publish::{Cause, DagFolder, Error};

use crate::fixture::{expected, file, wait};

fn refused(location: &str, base: &Path, environment: &[(&str, &str)]) -> Error {
    let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let opened = DagFolder::open_with(location, base, environment);
    let error = opened.map(|folder| format!("{folder:?}")).expect_err("it is no DAG folder");
    assert!(matches!(error, Error::Location { .. }), "{error}");
    assert!(error.help().is_some());
    error
}

#[test]
fn a_relative_path_is_created_below_the_project() {
    let project = tempfile::tempdir().expect("a folder can be made");
    let dags = [file("a.py", "x")];
    for location in ["build/dags", "./build/../build/more/", "."] {
        let folder = DagFolder::open(location, project.path()).expect("it is below");
        assert_eq!(wait(folder.list()), Ok(Vec::new()), "a folder that is not there yet is empty");
        assert_eq!(wait(folder.leftovers()), Ok(Vec::new()));
        wait(folder.remove(&["a.py".to_owned()])).expect("nothing is to be removed");
        wait(folder.put(&dags)).expect("the folder is made");
        let written = std::fs::read_to_string(project.path().join(location).join("a.py"));
        assert_eq!(written.ok(), expected(&dags).remove("a.py"));
    }
    let folder = DagFolder::open("absolute", project.path()).expect("it is below");
    wait(folder.put(&dags)).expect("the folder is made");
}

#[test]
fn a_relative_path_does_not_lead_out_of_the_project() {
    let all = tempfile::tempdir().expect("a folder can be made");
    let project = all.path().join("project");
    std::fs::create_dir_all(project.join("inside")).expect("a folder can be made");
    std::fs::create_dir(all.path().join("project-2")).expect("a folder can be made");
    for (link, to) in [("out", "../project-2"), ("up", ".."), ("dangling", "../none"), ("in", "inside")] {
        std::os::unix::fs::symlink(to, project.join(link)).expect("a link can be made");
    }
    for location in ["..", "../project-2", "a/../../b"] {
        let error = refused(location, &project, &[]);
        assert!(error.to_string().ends_with("it leads out of the project"), "{error}");
    }
    for location in ["out", "out/dags", "up/other", "dangling", "dangling/dags", "in/../out"] {
        let error = refused(location, &project, &[]);
        assert!(error.to_string().ends_with("a link leads it out of the project"), "{error}");
    }
    let folder = DagFolder::open("in/dags", &project).expect("this link stays in the project");
    wait(folder.put(&[file("a.py", "x")])).expect("it can be written");
    assert!(project.join("inside/dags/a.py").exists());
}

#[test]
fn a_folder_outside_of_the_project_has_to_exist() {
    let all = tempfile::tempdir().expect("a folder can be made");
    let location = all.path().join("dags").display().to_string();
    let folder = DagFolder::open(&location, Path::new("/nowhere")).expect("it is opened on first use");
    let missing = |cause: &Error| matches!(cause, Error::Failed { location: place, cause: Cause::NotFound, .. } if *place == location);
    for refused in [
        wait(folder.put(&[file("a.py", "x")])),
        wait(folder.list()).map(drop),
        wait(folder.leftovers()).map(drop),
        wait(folder.remove(&["a.py".to_owned()])),
        wait(folder.discard("1")),
    ] {
        let error = refused.expect_err("there is no folder");
        assert!(missing(&error), "{error}");
        assert!(error.help().is_some_and(|help| help.contains("mount it")), "{error}");
    }
}

#[test]
fn invalid_locations_are_rejected() {
    let base = Path::new("/nowhere");
    for (location, why) in [
        ("", "it is empty"),
        ("ftp://host/dags", "nothing is known of this kind of URL"),
        ("file:///dags", "nothing is known of this kind of URL"),
        ("s3://", "`s3://` can't be the DAG folder: it names no bucket"),
        ("s3://bad host/dags", "it is no URL"),
        ("s3:///dags", "it names no bucket"),
        ("az://container/dags", "Account must be specified"),
    ] {
        let error = refused(location, base, &[]).to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn no_message_contains_a_secret() {
    let base = Path::new("/nowhere");
    for location in [
        "s3://key:tops3cret@bucket/dags",
        "s3://tops3cret@bucket/dags",
        "s3://bucket/dags?token=tops3cret",
        "az://container/dags?sig=tops3cret",
        "abfs://container:tops3cret@account.dfs.core.windows.net/dags",
        "s3://key:tops3cret@bu cket/dags",
        "ftp://key:tops3cret@host/dags",
        "gs://bucket/dags#tops3cret",
    ] {
        let error = refused(location, base, &[]);
        assert!(!format!("{error} {error:?}").contains("tops3cret"), "{error:?}");
    }
    for (location, key) in [
        ("s3://bucket/dags", "AWS_ALLOW_HTTP"),
        ("s3://bucket/dags", "AWS_CONDITIONAL_PUT"),
        ("gs://bucket/dags", "GOOGLE_SERVICE_ACCOUNT_KEY"),
        ("az://container/dags", "AZURE_STORAGE_SAS_KEY"),
        ("az://container/dags", "AZURE_ALLOW_HTTP"),
    ] {
        let error = refused(location, base, &[(key, "{\"tops3cret\":1}")]);
        assert!(!format!("{error} {error:?}").contains("tops3cret"), "{key}: {error:?}");
    }
    let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
    let environment = keys.map(|key| (key.to_owned(), "tops3cret".to_owned()));
    let folder = DagFolder::open_with("s3://bucket/dags", base, environment).expect("it can be opened");
    assert!(!format!("{folder:?}").contains("tops3cret"), "{folder:?}");
}

#[test]
fn an_unencrypted_endpoint_needs_consent() {
    let endpoints = ["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"];
    for key in endpoints {
        let error = refused("s3://bucket/dags", Path::new("/"), &[(key, "http://minio:9000")]);
        assert!(error.help().is_some_and(|help| help.contains("AWS_ALLOW_HTTP=true")), "{error}");
    }
    for (endpoint, allow) in [("http://minio:9000", "true"), ("https://minio:9000", "")] {
        let environment = [("AWS_ENDPOINT_URL", endpoint), ("AWS_ALLOW_HTTP", allow)];
        let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned()));
        DagFolder::open_with("s3://bucket/dags", Path::new("/"), environment).expect("this is meant");
    }
}

#[test]
fn buckets_of_every_cloud_can_be_opened() {
    for (location, environment) in [
        ("s3://bucket", vec![]),
        ("s3a://bucket/a/b", vec![]),
        ("gs://bucket/dags/", vec![("GOOGLE_SKIP_SIGNATURE", "true")]),
        ("az://container/dags", vec![("AZURE_STORAGE_ACCOUNT_NAME", "account")]),
        ("abfs://container@account.dfs.core.windows.net/dags", vec![]),
    ] {
        let environment =
            environment.into_iter().map(|(key, value): (&str, &str)| (key.into(), value.into()));
        let opened = DagFolder::open_with(location, Path::new("/"), environment);
        assert!(opened.is_ok(), "{opened:?}");
    }
}
