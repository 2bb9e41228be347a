//! TLS, client certificates and tokens between parts of dcp, as processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dcp_tests::fake_spark::{FakeSpark, wait_until};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

use crate::continuous::Process;
use crate::harness::{CommandOutput, DCP, Sandbox};

const POLICY: &str = "\
clientCertificates: {certificateAuthority: ca.pem}
bindings:
- {role: viewer, users: [\"certificate:control\", \"certificate:runner\"], scopes: [\"*\"], domains: [\"*\"]}
- {role: operator, users: [\"certificate:reconciler\"], scopes: [\"*\"], domains: [\"*\"]}
- {role: developer, groups: [\"certificate:data\"], scopes: [\"*\"], domains: [sales]}
";

const STREAM: &str = "\
apiVersion: dcp/v1
kind: CoreETL
metadata: {name: clicks, domain: sales, owner: data@example.com}
spec:
  engine: {version: \"4.1\"}
  job: {pyspark: {main: main.py}}
  outputs: [{table: lake.clicks}]
  run: {continuous: {checkpoint: \"CHECKPOINT\", stateVersion: 1}}
";

/// Writes the authority, and a certificate for each part and person.
fn write_certificates(sandbox: &Sandbox) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "test authority");
    let key = KeyPair::generate().expect("a key can be made");
    sandbox.write("ca.pem", params.self_signed(&key).expect("it can be signed").pem());
    let issuer = Issuer::new(params, key);
    let certificates =
        [("control", ""), ("runner", ""), ("reconciler", ""), ("ada", "data"), ("eve", "sales")];
    for (name, organization) in certificates {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("the names are valid");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        if !organization.is_empty() {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &issuer).expect("it can be signed");
        sandbox.write(&format!("{name}.pem"), certificate.pem());
        sandbox.write(&format!("{name}.key"), key.serialize_pem());
    }
}

/// Returns a command that is identified by a certificate.
fn command(sandbox: &Sandbox, spark: &FakeSpark, name: &str, args: &[&str]) -> Command {
    let mut command = sandbox.command(&DCP);
    let file = |end: &str| sandbox.join(&format!("{name}.{end}"));
    command.args(args).env("SPARK_HOME", spark.path("spark")).stdin(Stdio::null());
    command.env("DCP_CERTIFICATE_AUTHORITY", sandbox.join("ca.pem"));
    command.env("DCP_CLIENT_CERTIFICATE", file("pem")).env("DCP_CLIENT_KEY", file("key"));
    command
}

fn serve(sandbox: &Sandbox, spark: &FakeSpark, name: &str, args: &[&str]) -> Process {
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    let common = ["--listen", "127.0.0.1:0", "--policy", "policy.yaml", "--quiet"];
    let tls = ["--certificate", &certificate, "--key", &key];
    let args = [&["serve"], args, &common, &tls].concat();
    Process::start(command(sandbox, spark, name, &args), name, sandbox.join(&format!("{name}.log")))
}

/// A control plane, a Runner and a reconciler, which identify each other by certificates.
struct World {
    sandbox: Sandbox,
    spark: FakeSpark,
    _services: [Process; 2],
    _reconciler: Killed,
}

impl World {
    fn start() -> Self {
        let spark = FakeSpark::with_version("4.1.1", "while :; do sleep 0.05; done");
        let sandbox = Sandbox::new();
        write_certificates(&sandbox);
        sandbox.write("policy.yaml", POLICY).write("main.py", "").write("manifests/main.py", "");
        sandbox.run(&["policy", "test"]).exits_with(0);
        let control = serve(&sandbox, &spark, "control", &["control", "--database", "control.db"]);
        let runner_args = ["runner", "--database", "runs.db", "--control", &control.url];
        let runner = serve(&sandbox, &spark, "runner", &runner_args);
        assert!(control.url.starts_with("https://") && runner.url.starts_with("https://"));
        let args =
            ["serve", "reconciler", "--database", "control.db", "--runner", &runner.url, "--lease", "2"];
        let reconciler = command(&sandbox, &spark, "reconciler", &args).spawn();
        let reconciler = Killed(reconciler.expect("the binary can be run"));
        let checkpoint = format!("file://{}", spark.path("checkpoint").display());
        let (server, at) = (&control.url, &runner.url);
        let target = format!("prod: {{default: true, server: \"{server}\", runner: \"{at}\", dags: dags}}");
        sandbox
            .write("dcp.yaml", format!("project: shop\nmanifests: [manifests]\ntargets:\n  {target}\n"))
            .write("manifests/clicks.yaml", STREAM.replace("CHECKPOINT", &checkpoint));
        Self { sandbox, spark, _services: [control, runner], _reconciler: reconciler }
    }

    fn run(&self, name: &str, args: &[&str]) -> CommandOutput {
        self.run_without(&[], name, args)
    }

    /// Runs a command without some variables.
    fn run_without(&self, variables: &[&str], name: &str, args: &[&str]) -> CommandOutput {
        let mut command = command(&self.sandbox, &self.spark, name, args);
        for variable in variables {
            command.env_remove(variable);
        }
        self.sandbox.capture(args, &command.output().expect("the binary can be run"))
    }
}

#[test]
fn parts_and_people_are_identified_by_certificates() {
    let world = World::start();
    let apply = ["apply", "--auto-approve"];
    world.run("eve", &apply).exits_with(1).prints("you have no role");
    world.run("ada", &apply).exits_with(0).prints("applied serial 1");
    let is_running = || {
        let output = world.run("ada", &["runs"]);
        (output.stdout.contains("sales/clicks") && output.stdout.to_uppercase().contains("RUNNING"))
            .then_some(())
    };
    wait_until(is_running);
    world.run("ada", &["history"]).exits_with(0).prints("certificate:ada");

    // The reconciler submits for the person who applied the stream.
    let runs = world.run("ada", &["runs", "sales/clicks", "--output", "json"]).exits_with(0).json();
    let request = &runs[0]["request"];
    assert_eq!(
        (&request["by"], &request["onBehalfOf"]),
        (&"certificate:reconciler".into(), &"certificate:ada".into())
    );
    let audit = ["audit", "--database", "runs.db", "--action", "submit", "--output", "json"];
    let audit = world.run("ada", &audit).exits_with(0);
    audit.prints("\"caller\":\"certificate:reconciler\"").prints("\"onBehalfOf\":\"certificate:ada\"");

    // Without the authority, or without a certificate, nothing works.
    let rejected = |variables: &[&str], why: &str| {
        world.run_without(variables, "ada", &["history"]).exits_with(1).prints(why);
    };
    rejected(&["DCP_CERTIFICATE_AUTHORITY"], "certificate");
    rejected(&["DCP_CLIENT_CERTIFICATE", "DCP_CLIENT_KEY"], "a token is needed");
    rejected(&["DCP_CLIENT_KEY"], "DCP_CLIENT_KEY belong together");
}

/// A process that is killed when it is dropped.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_service_outside_loopback_needs_tls() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "policy.yaml",
        "bindings:\n- {role: viewer, users: [ada], scopes: [\"*\"], domains: [\"*\"]}\n",
    );
    let args = ["serve", "control", "--database", "a.db", "--policy", "policy.yaml", "--listen", "0.0.0.0:0"];
    sandbox.run(&args).exits_with(2).prints("without TLS, tokens could be read").prints("DCP_ALLOW_HTTP=1");
    write_certificates(&sandbox);
    sandbox.write("policy.yaml", POLICY);
    let args =
        ["serve", "control", "--database", "a.db", "--policy", "policy.yaml", "--listen", "127.0.0.1:0"];
    sandbox.run(&args).exits_with(2).prints("`clientCertificates`, which need TLS");
}

#[test]
fn the_token_of_a_file_is_sent() {
    let sandbox = Sandbox::new();
    let token_file = |name: &str| -> PathBuf { sandbox.join(name) };
    sandbox.write(
        "policy.yaml",
        "bindings:\n- {role: viewer, users: [ada], scopes: [\"*\"], domains: [\"*\"]}\n",
    );
    let spark = FakeSpark::with_version("4.1.1", "exit 0");
    let mut create = sandbox.command(&DCP);
    let created = create.args(["token", "create", "ada", "--quiet", "--database", "control.db"]).output();
    fs::write(token_file("token"), created.expect("the binary can be run").stdout)
        .expect("it can be written");
    let args = ["serve", "control", "--listen", "127.0.0.1:0", "--database", "control.db", "--policy"];
    let mut command = sandbox.command(&DCP);
    command.args(args).arg("policy.yaml").env("SPARK_HOME", spark.path("spark")).stdin(Stdio::null());
    let control = Process::start(command, "control", sandbox.join("log"));
    let target = format!("prod: {{default: true, server: \"{}\"}}", control.url);
    sandbox.write("dcp.yaml", format!("project: shop\nmanifests: [manifests]\ntargets:\n  {target}\n"));
    let history = |file: Option<&Path>, token: &str| {
        let mut command = sandbox.command(&DCP);
        command.arg("history").env("DCP_TOKEN", token).stdin(Stdio::null());
        if let Some(file) = file {
            command.env("DCP_TOKEN_FILE", file);
        }
        let output = command.output().expect("the binary can be run");
        sandbox.capture(&["history"], &output)
    };
    history(Some(&token_file("token")), "").exits_with(0);
    history(None, "").exits_with(1).prints("a token is needed");
    history(Some(&token_file("missing")), "").exits_with(1).prints("can't be read");
    history(Some(&token_file("token")), "x").exits_with(1).prints("are both set");
}
