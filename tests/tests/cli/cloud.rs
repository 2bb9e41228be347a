//! AWS Secrets Manager, which moto serves over HTTP. `make test-cloud` runs these tests.

use std::path::Path;
use std::process::Command;

use dcp_tests::moto::Moto;

use crate::harness::{CommandOutput, DCP, Sandbox};

const MANIFEST: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {domain: sales, name: orders, owner: a@example.com}
spec:
  engine: {version: \"4.1\"}
  run: {manual: {}}
  spark: {conf: {spark.shop.password: \"${secret.shop-db/password}\", spark.shop.key: \"${secret.shop-db/absent}\"}}
  job: {sql: {query: SELECT 1 AS one, returnResult: true}}
";

/// Creates a secret in moto.
fn create_secret(moto: &Moto, name: &str, content: &str) {
    let body =
        serde_json::json!({"Name": name, "SecretString": content, "ClientRequestToken": "x".repeat(32)});
    let status = Command::new("curl")
        .args(["--silent", "--fail", "--output", "/dev/null", "-X", "POST", moto.endpoint()])
        .args(["-H", "X-Amz-Target: secretsmanager.CreateSecret"])
        .args(["-H", "Content-Type: application/x-amz-json-1.1"])
        .args(["-H", "Authorization: AWS4-HMAC-SHA256 Credential=AKIATESTKEYOFNOBODY/20260101/us-east-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=none"])
        .args(["-d", &body.to_string()])
        .status();
    assert!(status.expect("curl can be run").success(), "the secret can be created");
}

fn check(sandbox: &Sandbox, moto: &Moto, args: &[&str]) -> CommandOutput {
    let mut command = sandbox.command(Path::new(&*DCP));
    command.args(["secrets", "check", "--secrets", "secrets.yaml"]).args(args);
    let environment = moto.environment().into_iter().filter(|(name, _)| *name != "AWS_ENDPOINT_URL");
    command.envs(environment);
    let output = command.output().expect("the program can be run");
    sandbox.capture(&["secrets", "check"], &output)
}

#[test]
fn secrets_of_aws_are_found_by_domain_and_key_without_their_values() {
    let (moto, sandbox) = (Moto::shared(), Sandbox::new());
    create_secret(moto, "dcp/sales/shop-db", "{\"password\": \"canary-aws\"}");
    create_secret(moto, "dcp/sales/shop-db/absent", "canary-aws");
    sandbox.write("manifests/orders.yaml", MANIFEST);
    sandbox.write("dcp.yaml", "project: shop\ntargets: {prod: {secrets: aws}, keys: {secrets: keys}}\n");
    let provider = |name: &str| {
        format!(
            "{{awsSecretsManager: {{region: us-east-1, endpoint: \"{}\", name: \"{name}\"}}}}",
            moto.endpoint()
        )
    };
    let file = format!(
        "providers:\n  aws: {}\n  keys: {}\n",
        provider("dcp/{domain}/{name}"),
        provider("dcp/{domain}/{name}/{key}")
    );
    sandbox.write("secrets.yaml", file);
    let found = check(&sandbox, moto, &["--target", "prod", "--output", "json"]).exits_with(1);
    let states = |output: &CommandOutput| -> Vec<String> {
        let document = output.json();
        let all = document["secrets"].as_array().expect("it is a list").iter();
        all.map(|it| format!("{} {}", it["secret"], it["state"]).replace('"', "")).collect()
    };
    assert_eq!(states(&found), ["shop-db/absent missing", "shop-db/password found"]);
    let by_key = check(&sandbox, moto, &["--target", "keys", "--output", "json"]).exits_with(1);
    assert_eq!(states(&by_key), ["shop-db/absent found", "shop-db/password missing"]);
    assert!(!found.stdout.contains("canary") && !found.stderr.contains("canary"));
}
