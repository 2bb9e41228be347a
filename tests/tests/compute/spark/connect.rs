//! A driver of a Spark Connect pool.

use std::time::Duration;

use dcp_gateway::{Compute as _, ConnectKey, Name};
use dcp_tests::connect::{probe, settings};
use tonic::Code;

use super::addresses::address;
use super::{Project, wait_for_end};

#[tokio::test]
async fn a_driver_of_a_pool_serves_only_calls_with_its_token() {
    let mut project = Project::new();
    let key = ConnectKey::load_or_create(&project.path("connect.key")).expect("the folder is writable");
    project.connect_key = Some(key.clone());
    let mut job =
        project.job("  job: {jar: {class: org.apache.spark.sql.connect.service.SparkConnectServer}}\n");
    job.connect = true;
    let name: Name = "dcp-a1-1".parse().expect("the name is valid");
    let token = key.token(&name);
    let other = key.token(&"dcp-a1-2".parse().expect("the name is valid"));
    let seen = async {
        let address = address(&project, |it| it.connect).await;
        assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":15002"), "{address}");
        for wrong in [None, Some(other.expose()), Some("")] {
            let status = probe(&address, wrong).await.expect_err("the token is wrong");
            assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        }
        probe(&address, Some(token.expose())).await.expect("the token is right");
        let named = ["spark.connect.authenticate.token"];
        let settings = settings(&address, Some(token.expose()), &named).await.expect("the token is right");
        project.local().delete(&name, Duration::from_secs(20)).await.expect("the backend responds");
        (settings, wait_for_end(&project.local(), &name).await)
    };
    let (_, (settings, (end, log))) = tokio::join!(project.run(&job, &[], None), seen);
    assert!(end.stopped, "{log}");
    assert!(settings.contains_key("spark.app.name"), "{settings:?}");
    assert!(!settings.values().any(|value| value.contains(token.expose())), "{settings:?}");
    assert!(!log.contains(token.expose()));
    crate::files::assert_absent(&project.path("runs"), token.expose());
}
