//! `dcp secrets check`, the file of providers, and canary values that nothing may show.

mod spark;

use insta::assert_snapshot;

use crate::harness::{CommandOutput, DCP, Sandbox};

const MANIFEST: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {domain: sales, name: orders, owner: a@example.com}
spec:
  engine: {version: \"4.1\"}
  run: {manual: {}}
  spark: {conf: {spark.shop.password: \"${secret.shop-db/password}\", spark.shop.key: \"x ${secret.shop-db/key}\"}}
  pods: {driver: {env: {PASSWORD: {secret: {name: shop-db, key: password}}}}}
  job: {sql: {query: SELECT 1 AS one, returnResult: true}}
";

const ON_CLUSTERS: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {domain: hr, name: staff, owner: a@example.com}
spec:
  engine: {version: \"4.1\"}
  placement: {backends: [kubernetes]}
  run: {manual: {}}
  spark: {hadoopConf: {fs.s3a.secret.key: \"${secret.lake/secret-key}\"}}
  job: {sql: {query: SELECT 1 AS one, returnResult: true}}
";

fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("dcp.yaml", "project: shop\n");
    sandbox.write("manifests/orders.yaml", MANIFEST);
    sandbox.write("manifests/staff.yaml", ON_CLUSTERS);
    sandbox
}

fn check(sandbox: &Sandbox, args: &[&str]) -> CommandOutput {
    let mut command = sandbox.command(&DCP);
    command.args(["secrets", "check"]).args(args);
    command.env("DCP_SECRET_SHOP_DB_PASSWORD", "canary-cli");
    let output = command.output().expect("the program can be run");
    sandbox.capture(&[&["secrets", "check"], args].concat(), &output)
}

#[test]
fn secrets_are_listed_with_their_fields_and_places_and_without_values() {
    let sandbox = project();
    let shown = check(&sandbox, &[]).exits_with(1);
    assert!(!shown.stdout.contains("canary"));
    assert_snapshot!(shown.stdout);
}

#[test]
fn all_secrets_are_found_with_exit_code_0() {
    let sandbox = project();
    sandbox.edit("manifests/orders.yaml", "${secret.shop-db/key}", "y");
    let found = check(&sandbox, &["manifests/orders.yaml", "--output", "json"]).exits_with(0).json();
    assert_eq!(found["secrets"][0]["state"], "found");
    assert_eq!(
        found["secrets"][0]["fields"],
        serde_json::json!(["pods.driver.env.PASSWORD", "spark.conf.spark.shop.password"])
    );
}

#[test]
fn the_provider_of_the_target_is_searched() {
    let sandbox = project();
    sandbox.write("dcp.yaml", "project: shop\ntargets: {prod: {secrets: files}}\n");
    sandbox.write("secrets.yaml", "providers: {files: {files: {folder: of-domains}}}\n");
    sandbox.write("of-domains/sales/shop-db/key", "canary-file");
    set_private(&sandbox, "of-domains/sales/shop-db/key");
    let found = check(&sandbox, &["--target", "prod", "--secrets", "secrets.yaml", "--output", "json"]);
    let found = found.exits_with(1);
    assert!(!found.stdout.contains("canary"));
    let states = found.json()["secrets"].as_array().map(|all| {
        all.iter().map(|it| it["state"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(states.unwrap_or_default(), ["unknown", "found", "missing"]);
    // Without the file, the provider is not there.
    check(&sandbox, &["--target", "prod"]).exits_with(1).prints("--secrets");
}

fn set_private(sandbox: &Sandbox, path: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let permissions = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(sandbox.join(path), permissions).expect("the file belongs to this user");
}

#[test]
fn errors_of_the_file_of_providers_end_the_command() {
    let sandbox = project();
    sandbox.write("secrets.yaml", "providers:\n  main: {files: {folder: a}, vault: {path: \"{name}\"}}\n");
    let failed = check(&sandbox, &["--secrets", "secrets.yaml"]).exits_with(1);
    assert!(
        failed.stderr.contains("DCP0016") && failed.stderr.contains("secrets.yaml:2:"),
        "{}",
        failed.stderr
    );
    let up = sandbox.run(&["up", "--secrets", "secrets.yaml"]).exits_with(1).stderr;
    assert!(up.contains("DCP0016") && up.contains("`secrets.yaml` can't be used"), "{up}");
}
