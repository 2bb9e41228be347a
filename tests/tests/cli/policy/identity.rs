//! A service whose policy has a real `OpenID` provider.

use dcp_tests::fake_spark::FakeSpark;
use dcp_tests::oidc_provider::OidcProvider;

use super::world::{SCRIPT, command, manifest};
use crate::continuous::Process;
use crate::harness::{DCP, Sandbox};

#[test]
fn the_groups_of_a_provider_have_roles() {
    let provider = OidcProvider::start();
    let (sandbox, fake_spark) = (Sandbox::new(), FakeSpark::with_version("4.1.1", SCRIPT));
    let policy = format!(
        "issuers:\n  corp: {{url: \"{}\", audiences: [dcp], groups: groups}}\n\
         bindings:\n- {{role: viewer, groups: [\"corp:data\"], scopes: [\"*\"], domains: [sales]}}\n",
        provider.issuer()
    );
    sandbox.write("policy.yaml", policy);
    sandbox.run(&["policy", "test"]).exits_with(0).prints("1 binding, and 0 tests passed");
    let args =
        ["serve", "runner", "--listen", "127.0.0.1:0", "--database", "runs.db", "--policy", "policy.yaml"];
    let runner = Process::start(command(&sandbox, &fake_spark, &args), "runner", sandbox.join("log"));
    let target = format!("prod: {{default: true, server: \"{}\"}}", runner.url);
    sandbox
        .write("dcp.yaml", format!("project: shop\nmanifests: [manifests]\ntargets:\n  {target}\n"))
        .write("manifests/orders.yaml", manifest("sales", "orders", "done", "{manual: {}}"));
    let runs = |token: &str| {
        let mut runs = sandbox.command(&DCP);
        let output = runs.args(["runs"]).env("DCP_TOKEN", token).output().expect("the binary can be run");
        sandbox.capture(&["runs"], &output)
    };
    runs(&provider.access_token(Some("dcp"))).exits_with(0);
    runs(&provider.access_token(Some("warehouse"))).exits_with(1).prints("another audience");
}
