//! schemathesis calls the REST API in all documented ways, and in some undocumented ones. Each response must be a
//! documented one. `make test-schemathesis` runs these tests.

use std::process::Stdio;

use tokio::process::Command;

use super::{TOKEN, TestServer};

#[tokio::test(flavor = "multi_thread")]
async fn every_response_is_documented() {
    let served = TestServer::new().await;
    let root = dcp_tests::workspace();
    let work = tempfile::TempDir::new().unwrap();
    let mut command = Command::new(root.join("scripts/schemathesis"));
    command.arg("--config-file").arg(root.join("tests/tests/runner/rest/schemathesis.toml"));
    command.arg("run").arg(format!("http://{}/openapi.json", served.address));
    command.args(["--header", &format!("Authorization: Bearer {TOKEN}"), "--no-color"]);
    command.current_dir(work.path()).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    let ran = command.kill_on_drop(true).output().await.unwrap();
    let output = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{output}");

    // The test is meaningful only if jobs were accepted and ended.
    let path = "/api/v1/job?domain=shop&phase=SUCCEEDED&phase=FAILED&phase=CANCELLED";
    let jobs = served.get(path).await.expect_status(200).json();
    assert!(jobs["jobs"].as_array().is_some_and(|jobs| !jobs.is_empty()), "{jobs:#}\n{output}");
    assert!(!served.fake_spark.lines("started").is_empty(), "{output}");
    let assets = served.get("/api/v1/asset?scope=shop/prod").await.expect_status(200).lines();
    assert!(!assets.is_empty(), "no assets were completed\n{output}");
}
