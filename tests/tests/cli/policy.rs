//! Every method of every protocol, and every path of REST, called by callers of each role: `tests/golden/access.txt`.

mod calls;
mod identity;
mod postgres;
mod world;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use dcp_proto::runner::v1::runner_client::RunnerClient;
use dcp_proto::runner::v1::{WatchRequest, WatchResponse};
use dcp_tests::fake_spark::wait_until;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Request, Streaming};

use crate::harness::DCP;
use calls::{call_connect, call_control, call_gateway, call_identity, call_rest, call_runner};
use world::{CALLERS, DOMAINS, Outcome, POLICY, World, manifest};

/// Returns the paths of all methods of dcp's protocols.
fn methods() -> BTreeSet<String> {
    let descriptors = FileDescriptorSet::decode(dcp_proto::DESCRIPTORS).expect("the descriptors are valid");
    let files = descriptors.file.iter().filter(|file| file.package().starts_with("dcp."));
    files
        .flat_map(|file| {
            file.service.iter().flat_map(move |service| {
                let path = move |name: &str| format!("/{}.{}/{name}", file.package(), service.name());
                service.method.iter().map(move |method| path(method.name()))
            })
        })
        .collect()
}

/// Returns the operations of REST.
fn operations() -> BTreeSet<String> {
    let document: Value = serde_json::from_str(&dcp_tests::openapi()).expect("the document is JSON");
    let paths = document["paths"].as_object().expect("the document has paths");
    let of_path = |(path, operations): (&String, &Value)| {
        let verbs = operations.as_object().into_iter().flatten().map(|(verb, _)| verb.to_uppercase());
        verbs.map(|verb| format!("{verb} {path}")).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).filter(|it| it.contains("/api/")).collect()
}

async fn outcome(world: &World, caller: &str, domain: &str, call: &'static str) -> Outcome {
    match call.strip_prefix("/dcp.").and_then(|rest| rest.split('.').next()) {
        Some("runner") => call_runner(world, caller, domain, call).await,
        Some("control") => call_control(world, caller, domain, call).await,
        Some("gateway") => call_gateway(world, caller, call).await,
        Some("connect") => call_connect(world, caller, domain, call).await,
        Some("identity") => call_identity(world, caller, call).await,
        _ => call_rest(world, caller, domain, call),
    }
}

/// Returns a line of the table.
fn row(name: &str, columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| format!("{column:<17}")).collect();
    format!("{}\n", format!("{name:<45} {}", columns.join(" ")).trim_end())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_has_the_outcome_that_the_role_of_its_caller_gives() {
    let world = World::start();
    let mut calls: Vec<String> = methods().into_iter().chain(operations()).collect();
    calls.extend(
        ["/dcp.runner.v1.Runner/Submit of another job", "POST /api/v1/job of another job"].map(str::to_owned),
    );
    calls.sort();
    let mut rows = vec![row("method", CALLERS.map(str::to_owned).as_slice())];
    for call in calls {
        let mut outcomes = Vec::new();
        // A method needs a static path.
        let call: &'static str = call.leak();
        for caller in CALLERS {
            let own = outcome(&world, caller, DOMAINS[0], call).await;
            let other = outcome(&world, caller, DOMAINS[1], call).await;
            outcomes.push(format!("{} {}", own.as_str(), other.as_str()));
        }
        rows.push(row(call.trim_start_matches('/'), &outcomes));
    }
    let table = rows.concat();
    let path = dcp_tests::workspace().join("tests/golden/access.txt");
    if dcp_tests::update_golden() {
        std::fs::write(&path, &table).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(Path::new(&path)).unwrap_or_default();
    assert!(expected == table, "the outcomes differ from tests/golden/access.txt:\n{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_list_of_logins_needs_no_token() {
    let mut world = World::start();
    world.tokens.insert("stranger", "0123456789abcdef".to_owned());
    let mut public = Vec::new();
    for method in methods() {
        match world.call::<(), ()>("stranger", method.clone().leak(), vec![()]).await {
            Err(status) if status.code() == tonic::Code::Unauthenticated => {}
            _ => public.push(method),
        }
    }
    assert_eq!(public, ["/dcp.identity.v1.Logins/List"]);
}

/// Returns the caller, the action, the place and the decision of an entry of the audit log.
fn decision(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    let allowed = entry["allowed"].as_bool().expect("it is decided");
    let (place, reason) = (format!("{} {}", text("scope"), text("domain")), text("reason"));
    format!("{} {} {place} {allowed} {reason}", text("caller"), text("action"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_and_refusals_are_in_the_audit_log() {
    let world = World::start();
    let submit = "/dcp.runner.v1.Runner/Submit";
    let check = "/dcp.runner.v1.Runner/Check";
    let calls = [
        ("operator", "sales", submit, Outcome::Ok),
        ("viewer", "sales", submit, Outcome::Denied),
        ("viewer", "sales", check, Outcome::Ok),
        ("viewer", "finance", check, Outcome::Hidden),
        ("developer", "sales", "/dcp.control.v1.Control/Commit", Outcome::Ok),
    ];
    for (caller, domain, call, expected) in calls {
        assert_eq!(outcome(&world, caller, domain, call).await, expected, "{call} as {caller}");
    }
    let lines = world.run(&["audit", "--output", "json"]).exits_with(0).stdout;
    assert_eq!(lines, world.sandbox.read("audit.jsonl"), "the file has the entries of the database");
    let entries: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("the line is JSON")).collect();
    let id = &world.executions["finance"];
    let found: Vec<String> =
        entries.iter().filter(|entry| entry["caller"] != "developer-of-all").map(decision).collect();
    let expected = [
        "operator submit shop sales true binding 2",
        "viewer submit shop sales false needs the role `operator`",
        "viewer check shop finance false no role",
        "developer commit shop sales true binding 3",
    ];
    assert_eq!(found, expected);
    let refused =
        entries.iter().find(|entry| entry["subject"] == id.as_str()).expect("the refused call is about it");
    let credential = refused["credential"].as_str().expect("it is known");
    assert!(credential.starts_with("token ") && refused["peer"] == "127.0.0.1", "{refused}");
    assert_eq!(refused["trace"].as_str().map(str::len), Some(32), "{refused}");
    assert!(world.tokens.values().all(|token| !lines.contains(token.as_str())), "no entry has a token");
    let table = world.run(&["audit", "--refused", "--domain", "sales"]).exits_with(0);
    table.prints("refused: needs the role `operator`");
}

#[test]
fn a_revoked_token_is_rejected() {
    let world = World::start();
    let (status, _) = world.http("viewer", "GET", "/api/v1/job", None);
    assert_eq!(status, 200);
    let list = world.run(&["token", "list", "--output", "json"]).exits_with(0).json();
    let tokens = list["tokens"].as_array().expect("there are tokens");
    let viewer = tokens.iter().find(|token| token["name"] == "viewer").expect("it was created");
    world
        .run(&["token", "revoke", viewer["id"].as_str().expect("it has an id")])
        .exits_with(0)
        .prints("10 seconds");
    wait_until(|| (world.http("viewer", "GET", "/api/v1/job", None).0 == 401).then_some(()));
    world.run(&["token", "list"]).exits_with(0).prints("revoked");
    world.run(&["token", "revoke", "nothing"]).exits_with(1).prints("there is no token `nothing`");
}

#[test]
fn a_changed_policy_is_in_force_and_one_with_a_failing_test_is_not() {
    let world = World::start();
    let status = |caller: &str| {
        world.http(caller, "GET", &format!("/api/v1/job/{}", world.executions["sales"]), None).0
    };
    assert_eq!((status("nobody"), status("viewer")), (404, 200));
    let added = "- {role: viewer, users: [nobody], scopes: [\"*\"], domains: [sales]}\n";
    let tests = "tests:\n- {user: nobody, domain: sales, role: none}\n";
    world.sandbox.write("policy.yaml", format!("{POLICY}{added}{tests}"));
    wait_until(|| world.sandbox.read("up.log").contains("the old content stays in force").then_some(()));
    assert_eq!(status("nobody"), 404);
    world.sandbox.write("policy.yaml", format!("{POLICY}{added}"));
    wait_until(|| (status("nobody") == 200).then_some(()));
    world.sandbox.write("policy.yaml", POLICY);
    wait_until(|| (status("nobody") == 404).then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_once_its_caller_has_lost_the_role() {
    let world = World::start();
    let runs = world.run(&["runs", "sales/clicks", "--output", "json"]).exits_with(0).json();
    let id = runs[0]["execution"]["id"].as_str().expect("the stream runs").to_owned();
    let watch = async |caller: &str| {
        let channel = Channel::from_shared(world.url.clone()).expect("the URL is valid").connect().await;
        let mut client = RunnerClient::new(channel.expect("the server listens"));
        let mut request = Request::new(WatchRequest { id: id.clone(), from: 0 });
        let bearer = format!("Bearer {}", world.tokens[caller]).parse().expect("a token is ASCII");
        request.metadata_mut().insert("authorization", bearer);
        let mut steps = client.watch(request).await.expect("the caller is a viewer").into_inner();
        steps.message().await.expect("the caller is a viewer").expect("the stream was started");
        steps
    };
    let next_error = async |mut steps: Streaming<WatchResponse>| loop {
        match steps.message().await {
            Ok(Some(_)) => {}
            Ok(None) => unreachable!("the execution does not end"),
            Err(status) => return status,
        }
    };
    let ended = async |steps| {
        tokio::time::timeout(Duration::from_mins(1), next_error(steps)).await.expect("the stream ends")
    };
    let (by_policy, by_token, kept) =
        (watch("viewer").await, watch("operator").await, watch("viewer-of-all").await);
    let without_viewer = POLICY.replace("users: [viewer]", "users: [another]");
    world.sandbox.write("policy.yaml", without_viewer);
    let status = ended(by_policy).await;
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    assert!(status.message().contains("`viewer` needs the role `viewer`"), "{status:?}");

    let stored = world.run(&["token", "list", "--output", "json"]).exits_with(0).json();
    let tokens = stored["tokens"].as_array().expect("there are tokens");
    let token = tokens.iter().find(|token| token["name"] == "operator").expect("it was created");
    world.run(&["token", "revoke", token["id"].as_str().expect("it has an id")]).exits_with(0);
    let status = ended(by_token).await;
    assert!(status.message().contains("was revoked"), "{status:?}");
    // Another caller keeps the stream.
    let more = tokio::time::timeout(Duration::from_millis(100), next_error(kept)).await;
    assert!(more.is_err(), "{more:?}");
}

#[test]
fn a_key_or_checkpoint_of_another_domain_does_not_stop_its_stream() {
    let world = World::start();
    let checkpoint = format!("file://{}", world.fake_spark.path("checkpoint/finance").display());
    // The job of the stream runs until it is stopped.
    let definition = world.run(&["show", "CoreEtlJob/sales/clicks"]).exits_with(0).json()["body"].clone();
    let submit = |token: &str, fields: Value| {
        let mut body = json!({"token": token, "definition": definition});
        body.as_object_mut()
            .expect("it is an object")
            .extend(fields.as_object().cloned().unwrap_or_default());
        world.http("developer", "POST", "/api/v1/job", Some(&body))
    };
    let (status, text) = submit("key", json!({"exclusive": checkpoint}));
    assert!((200..300).contains(&status), "{text}");
    let (status, text) = submit("ordered", json!({"exclusive": checkpoint, "order": i64::MAX >> 11}));
    assert!((200..300).contains(&status), "{text}");
    let streaming = json!({"exclusive": checkpoint, "streaming": {"checkpoint": checkpoint}});
    let (status, text) = submit("checkpoint", streaming.clone());
    assert!(
        status == 409 && text.contains("NOT_NOW") && text.contains("belongs to another domain"),
        "{text}"
    );
    let streams = || world.http("developer-of-all", "GET", "/api/v1/job?domain=finance&name=clicks", None).1;
    assert!(!streams().contains("CANCELLED"));
    // While the stream is stopped, its checkpoint stays its own, and it starts again.
    world.run(&["pause", "finance/clicks", "--wait"]).exits_with(0);
    let (status, text) = submit("paused", streaming);
    assert!(status == 409 && text.contains("belongs to another domain"), "{text}");
    world.run(&["resume", "finance/clicks"]).exits_with(0);
    wait_until(|| streams().contains("RUNNING").then_some(()));
}

#[test]
fn a_developer_applies_the_workloads_of_the_own_domain_only() {
    let world = World::start();
    let scheduled = |domain: &str| manifest(domain, "nightly", "done", "{schedule: {cron: \"0 2 * * *\"}}");
    let target = format!("prod: {{default: true, server: \"{}\", dags: dags}}", world.url);
    world
        .sandbox
        .write("client/dcp.yaml", format!("project: web\nmanifests: [manifests]\ntargets:\n  {target}\n"))
        .write("client/main.py", "")
        .write("client/manifests/nightly.yaml", scheduled("sales"));
    let run = |args: &[&str], caller: &str| {
        let mut command = world.sandbox.command(&DCP);
        command.current_dir(world.sandbox.join("client")).args(args).env("DCP_TOKEN", &world.tokens[caller]);
        let output = command.stdin(Stdio::null()).output().expect("the binary can be run");
        world.sandbox.capture(args, &output)
    };
    let apply = ["apply", "--auto-approve"];
    run(&apply, "operator")
        .exits_with(1)
        .prints("`operator` needs the role `developer` for the domain `sales`");
    run(&apply, "developer").exits_with(0).prints("applied serial 1");
    assert!(world.sandbox.read("client/dags/sales__nightly.py").contains("sales__nightly"));
    run(&["plan"], "developer").exits_with(0).prints("nothing to do");
    run(&["plan"], "nobody")
        .exits_with(0)
        .prints("1 workload is not planned, as you have no role in `web/prod` for `sales`");

    world.sandbox.write("client/manifests/nightly.yaml", scheduled("finance"));
    run(&apply, "developer")
        .exits_with(1)
        .prints("you have no role in `web/prod` for `finance`; nothing was applied");
    run(&["apply", "--auto-approve", "--select", "sales/*"], "developer")
        .exits_with(0)
        .prints("applied serial 2");
    run(&["history"], "developer").exits_with(0).prints("     1  2").prints("developer");
}
