//! Jobs of GitHub Actions. A double of GitHub issues their tokens; the server and the policy, that of `examples/gitops`, are
//! real.

mod double;

use super::{POLICY, control_plane};
use crate::continuous::Process;
use crate::harness::{CommandOutput, DCP, Sandbox};
use double::GitHub;

const MAIN: &str = "repo:example/shop:ref:refs/heads/main";
const PULL_REQUEST: &str = "repo:example/shop:pull_request";

const MANIFEST: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: orders, domain: sales, owner: data@example.com}
spec:
  engine: {version: \"4.1\"}
  job: {pyspark: {main: main.py}}
  outputs: [{table: lake.orders}]
  run: {manual: {}}
";

/// A repository with a project, and a server with the policy of the example, which trusts the certificate of the double.
struct World {
    github: GitHub,
    control: Process,
    sandbox: Sandbox,
}

impl World {
    fn start() -> Self {
        let (github, sandbox) = (GitHub::start(), Sandbox::new());
        let policy = dcp_tests::workspace().join("examples/gitops/policy.yaml");
        let policy = std::fs::read_to_string(policy).expect("the example exists");
        let groups = "    groups: repository\n";
        assert!(policy.contains(groups), "the example has GitHub's issuer");
        let policy = policy.replace(groups, &format!("{groups}    certificateAuthority: github.pem\n"));
        sandbox.write("control/github.pem", &github.certificate);
        let control = control_plane(&sandbox, "control", &policy, &[("HTTPS_PROXY", &github.proxy)]);
        let target = format!("prod: {{server: \"{}\", dags: dags}}", control.url);
        sandbox
            .write("dcp.yaml", format!("project: shop\nmanifests: [manifests]\ntargets:\n  {target}\n"))
            .write("manifests/orders.yaml", MANIFEST)
            .write("main.py", "");
        Self { github, control, sandbox }
    }

    /// Runs a command in a job with this subject.
    fn run(&self, subject: &str, args: &[&str]) -> CommandOutput {
        self.github.set_subject(subject);
        run(&self.sandbox, args, &self.github.environment())
    }
}

fn run(sandbox: &Sandbox, args: &[&str], environment: &[(&str, &str)]) -> CommandOutput {
    let mut command = sandbox.command(&DCP);
    command.args(args).envs(environment.iter().copied()).env("XDG_STATE_HOME", sandbox.join("state"));
    sandbox.capture(args, &command.output().expect("the binary can be run"))
}

#[test]
fn a_job_of_the_branch_applies_and_one_of_a_pull_request_plans_only() {
    let world = World::start();
    let whoami = world.run(MAIN, &["whoami", "--target", "prod"]).exits_with(0);
    whoami
        .prints(&format!("name        github:{MAIN}"))
        .prints("groups      github:example/shop")
        .prints("credential  oidc github")
        .prints("developer  shop/prod  *");
    let requests = world.github.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].contains("&audience=https%3A%2F%2Fdcp.example.com "), "{requests:?}");

    let plan = ["plan", "--target", "prod", "--out", "plan.json"];
    let apply = ["apply", "plan.json", "--auto-approve"];
    world.run(PULL_REQUEST, &plan).exits_with(0).prints("sales/orders");
    world
        .run(PULL_REQUEST, &apply)
        .exits_with(1)
        .prints(&format!("`github:{PULL_REQUEST}` needs the role `developer` for the domain `sales`"));
    world.run(MAIN, &plan).exits_with(0);
    world.run(MAIN, &apply).exits_with(0).prints("applied serial 1");
    let history = world.run(MAIN, &["history", "--target", "prod", "--output", "json"]).exits_with(0);
    history.prints(&format!("\"github:{MAIN}\""));
    assert!(!world.sandbox.join("state").exists(), "tokens are in memory only");
}

#[test]
fn tokens_that_github_does_not_vouch_for_are_rejected() {
    let world = World::start();
    let whoami = ["whoami", "--target", "prod"];
    world.github.set_audience(Some("https://github.com/example"));
    let rejected = world.run(MAIN, &whoami).exits_with(1).prints("the token is for another audience");
    assert!(
        !rejected.stderr.contains("eyJ") && !rejected.stderr.contains(double::REQUEST_TOKEN),
        "{}",
        rejected.stderr
    );
    world.github.set_audience(None);
    world.run(MAIN, &whoami).exits_with(0);
    world.github.forge();
    world.run(MAIN, &whoami).exits_with(1).prints("the signature of the token is wrong");
}

#[test]
fn a_token_is_requested_for_servers_that_know_github_only() {
    let world = World::start();
    let server = world.control.url.as_str();
    let environment = world.github.environment();
    let [url, token] = environment;

    // A token of the environment is used as it is.
    let with_token = [url, token, ("DCP_TOKEN", "dcp_0123456789abcdef")];
    run(&world.sandbox, &["whoami", "--server", server], &with_token).exits_with(1);
    let other = control_plane(&world.sandbox, "other", POLICY, &[]);
    run(&world.sandbox, &["whoami", "--server", &other.url], &environment)
        .exits_with(1)
        .prints("a token is needed");
    assert_eq!(world.github.requests(), [""; 0], "no token was requested");

    let wrong = [url, (token.0, "wrong")];
    run(&world.sandbox, &["whoami", "--server", server], &wrong)
        .exits_with(1)
        .prints("GitHub's endpoint of ID tokens responds with the status 401");
    let remote = [(url.0, "http://example.com"), token];
    run(&world.sandbox, &["whoami", "--server", server], &remote)
        .exits_with(1)
        .prints("ACTIONS_ID_TOKEN_REQUEST_URL begins with `http:`");
}
