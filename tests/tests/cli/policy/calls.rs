//! A call of each method of the protocols, and of each path of REST.

use dcp_proto::connect::v1 as connect;
use dcp_proto::control::v1 as control;
use dcp_proto::gateway::v1 as gateway;
use dcp_proto::identity::v1 as identity;
use dcp_proto::runner::v1 as runner;
use serde_json::{Value, json};

use super::world::{Outcome, World, always, rejected, session};

/// Calls a method of the Runner.
#[expect(clippy::too_many_lines, reason = "it has one call for each method")]
pub(super) async fn call_runner(world: &World, caller: &str, domain: &str, method: &'static str) -> Outcome {
    let id = world.executions[domain].clone();
    let token = || format!("{caller}-{domain}-{method}").replace(' ', "-");
    let submit = |job: runner::submit_request::Job| runner::SubmitRequest {
        token: token(),
        job: Some(job),
        ..Default::default()
    };
    let of_domain = |execution: &runner::Execution| execution.domain == domain;
    let path = method.split(' ').next().map_or(method, |_| method);
    match method {
        "/dcp.runner.v1.Runner/Submit" => {
            let reference = runner::Reference {
                scope: "shop".to_owned(),
                domain: domain.to_owned(),
                name: "orders".to_owned(),
                fingerprint: None,
            };
            let job = runner::submit_request::Job::Reference(reference);
            world.rpc(caller, path, submit(job), always::<runner::SubmitResponse>).await
        }
        "/dcp.runner.v1.Runner/Submit of another job" => {
            let job = runner::submit_request::Job::Definition(world.jobs[domain].1.clone());
            let path = "/dcp.runner.v1.Runner/Submit";
            world.rpc(caller, path, submit(job), always::<runner::SubmitResponse>).await
        }
        "/dcp.runner.v1.Runner/Check" => {
            world.rpc(caller, path, runner::CheckRequest { id }, always::<runner::CheckResponse>).await
        }
        "/dcp.runner.v1.Runner/Cancel" => {
            world.rpc(caller, path, runner::CancelRequest { id }, always::<runner::CancelResponse>).await
        }
        "/dcp.runner.v1.Runner/List" => {
            let found = |it: &runner::ListResponse| it.executions.iter().any(of_domain);
            world.rpc(caller, path, runner::ListRequest::default(), found).await
        }
        "/dcp.runner.v1.Runner/Holders" => {
            world
                .rpc(caller, path, runner::HoldersRequest::default(), always::<runner::HoldersResponse>)
                .await
        }
        "/dcp.runner.v1.Runner/Watch" => {
            let request = runner::WatchRequest { id, from: 0 };
            world.rpc(caller, path, request, always::<runner::WatchResponse>).await
        }
        "/dcp.runner.v1.Runner/Logs" => {
            let request = runner::LogsRequest { id, ..Default::default() };
            // The driver writes nothing.
            match world.call::<_, runner::LogsResponse>(caller, path, vec![request]).await {
                Ok(_) => Outcome::Ok,
                Err(status) => rejected(&status),
            }
        }
        "/dcp.runner.v1.Runner/Result" => {
            let request = runner::ResultRequest { id, format: runner::Format::Json.into() };
            world.rpc(caller, path, request, always::<runner::ResultResponse>).await
        }
        _ => unreachable!("no call of {method}"),
    }
}

/// Calls a method for sessions. No pool has the engine of a new sandbox, so that nothing waits for a driver.
#[expect(clippy::too_many_lines, reason = "it has one call for each method")]
pub(super) async fn call_connect(world: &World, caller: &str, domain: &str, method: &'static str) -> Outcome {
    let (domain, name) = (domain.to_owned(), "missing".to_owned());
    match method {
        "/dcp.connect.v1.Connect/ListPools" => {
            let found = |it: &connect::ListPoolsResponse| it.pools.iter().any(|it| it.domain == domain);
            world.rpc(caller, method, connect::ListPoolsRequest::default(), found).await
        }
        "/dcp.connect.v1.Connect/ListSessions" => {
            let request = connect::ListSessionsRequest::default();
            world.rpc(caller, method, request, always::<connect::ListSessionsResponse>).await
        }
        "/dcp.connect.v1.Connect/EndSession" => {
            let request = connect::EndSessionRequest { session_id: session(&domain), ..Default::default() };
            world.rpc(caller, method, request, always::<connect::EndSessionResponse>).await
        }
        "/dcp.connect.v1.Sandboxes/ListSandboxes" => {
            let request = connect::ListSandboxesRequest::default();
            world.rpc(caller, method, request, always::<connect::ListSandboxesResponse>).await
        }
        "/dcp.connect.v1.Sandboxes/CreateSandbox" => {
            let request = connect::CreateSandboxRequest {
                domain,
                name: "new".to_owned(),
                branch: "main".to_owned(),
                engine: "9.9".to_owned(),
                ttl_seconds: 3600,
                ..Default::default()
            };
            world.rpc(caller, method, request, always::<connect::CreateSandboxResponse>).await
        }
        "/dcp.connect.v1.Sandboxes/OpenSandbox" => {
            let request = connect::OpenSandboxRequest { name, domain };
            world.rpc(caller, method, request, always::<connect::OpenSandboxResponse>).await
        }
        "/dcp.connect.v1.Sandboxes/DeleteSandbox" => {
            let request = connect::DeleteSandboxRequest { domain, name, ..Default::default() };
            world.rpc(caller, method, request, always::<connect::DeleteSandboxResponse>).await
        }
        _ => unreachable!("no call of {method}"),
    }
}

/// Calls a method of the control plane.
#[expect(clippy::too_many_lines, reason = "it has one call for each method")]
pub(super) async fn call_control(world: &World, caller: &str, domain: &str, method: &'static str) -> Outcome {
    let scope = || "shop".to_owned();
    let (fingerprint, body) = &world.jobs[domain];
    let stream = || format!("ContinuousJob/{domain}/clicks");
    let has_domain = |it: &control::StateResponse| it.entries.iter().any(|it| it.address.contains(domain));
    match method {
        "/dcp.control.v1.Control/State" => {
            world.rpc(caller, method, control::StateRequest { scope: scope() }, has_domain).await
        }
        "/dcp.control.v1.Control/StateAt" => {
            let request = control::StateAtRequest { scope: scope(), serial: 1 };
            world.rpc(caller, method, request, has_domain).await
        }
        "/dcp.control.v1.Control/Bodies" => {
            let fingerprints = vec![fingerprint.as_str().to_owned()];
            let request = control::BodiesRequest { scope: scope(), fingerprints };
            let found = |it: &control::BodiesResponse| it.texts.contains(body);
            world.rpc(caller, method, request, found).await
        }
        "/dcp.control.v1.Control/Revisions" => {
            let address = format!("CoreEtlJob/{domain}/orders");
            let request = control::RevisionsRequest { scope: scope(), address };
            let found = |it: &control::RevisionsResponse| !it.revisions.is_empty();
            world.rpc(caller, method, request, found).await
        }
        "/dcp.control.v1.Control/History" => {
            let request = control::HistoryRequest { scope: scope(), before: None, limit: 10 };
            world.rpc(caller, method, request, |it: &control::HistoryResponse| !it.applied.is_empty()).await
        }
        "/dcp.control.v1.Control/Commit" => commit(world, caller, domain, method).await,
        "/dcp.control.v1.Control/Published" => {
            let request = control::PublishedRequest { scope: scope(), serials: vec![1] };
            world.rpc(caller, method, request, always::<control::PublishedResponse>).await
        }
        "/dcp.control.v1.ContinuousJobs/Leader" => {
            world.rpc(caller, method, control::LeaderRequest {}, always::<control::LeaderResponse>).await
        }
        "/dcp.control.v1.ContinuousJobs/Jobs" => {
            let found = |it: &control::JobsResponse| it.jobs.iter().any(|it| it.address.contains(domain));
            world.rpc(caller, method, control::JobsRequest { scope: scope(), address: None }, found).await
        }
        "/dcp.control.v1.ContinuousJobs/RequestJob" => {
            let request = control::RequestJobRequest {
                scope: scope(),
                address: stream(),
                request: control::JobRequest::Resume.into(),
            };
            world.rpc(caller, method, request, always::<control::RequestJobResponse>).await
        }
        "/dcp.control.v1.ContinuousJobs/Events" => {
            let request = control::EventsRequest { scope: scope(), address: stream(), limit: 10 };
            world.rpc(caller, method, request, |it: &control::EventsResponse| !it.events.is_empty()).await
        }
        "/dcp.control.v1.Assets/Complete" => {
            let request = control::CompleteRequest {
                scope: scope(),
                assets: vec![format!("table:lake.{domain}_orders")],
                run: "1".to_owned(),
                job: Some(format!("{domain}/orders")),
                origin: "test".to_owned(),
                ..Default::default()
            };
            world.rpc(caller, method, request, always::<control::CompleteResponse>).await
        }
        "/dcp.control.v1.Assets/Completions" => {
            let request = control::CompletionsRequest { scope: scope(), limit: 10, ..Default::default() };
            let found = |it: &control::CompletionsResponse| has_job(&it.completions, domain);
            world.rpc(caller, method, request, found).await
        }
        "/dcp.control.v1.Assets/Completed" => {
            let found = |it: &control::CompletedResponse| {
                it.completed.iter().any(|it| has_job(it.last.as_slice(), domain))
            };
            world.rpc(caller, method, control::CompletedRequest { scope: scope() }, found).await
        }
        _ => unreachable!("no call of {method}"),
    }
}

/// Returns true if a completion has the job of a domain. Its asset is known to all callers in the scope.
fn has_job(completions: &[control::Completion], domain: &str) -> bool {
    completions.iter().any(|it| it.job.as_ref().is_some_and(|job| job.starts_with(domain)))
}

/// Commits a new job of a domain.
async fn commit(world: &World, caller: &str, domain: &str, method: &'static str) -> Outcome {
    let request = control::StateRequest { scope: "shop".to_owned() };
    let state = world
        .call::<_, control::StateResponse>("developer-of-all", "/dcp.control.v1.Control/State", vec![request])
        .await
        .expect("the caller may read everything");
    let head = state.into_iter().find_map(|it| it.head).expect("there is a head");
    let (fingerprint, body) = &world.jobs[domain];
    let header = control::CommitHeader {
        scope: "shop".to_owned(),
        id: format!("{caller}-{domain}"),
        base: head.base,
        commit: None,
        changes: 1,
    };
    let body = control::Body { fingerprint: fingerprint.as_str().to_owned(), text: body.clone() };
    let change = control::Change {
        address: format!("CoreEtlJob/{domain}/by-{caller}"),
        action: control::Action::Create.into(),
        body: Some(body),
    };
    let changes = control::Changes { changes: vec![change] };
    let part = |part| control::CommitRequest { part: Some(part) };
    let messages = vec![
        part(control::commit_request::Part::Header(header)),
        part(control::commit_request::Part::Changes(changes)),
    ];
    match world.call::<_, control::CommitResponse>(caller, method, messages).await {
        Ok(_) => Outcome::Ok,
        Err(status) => rejected(&status),
    }
}

/// Calls a method about the identity of callers.
pub(super) async fn call_identity(world: &World, caller: &str, method: &'static str) -> Outcome {
    match method {
        "/dcp.identity.v1.Identity/WhoAmI" => {
            let is_caller = |it: &identity::WhoAmIResponse| it.name == caller;
            world.rpc(caller, method, identity::WhoAmIRequest {}, is_caller).await
        }
        "/dcp.identity.v1.Logins/List" => {
            world.rpc(caller, method, identity::ListRequest {}, always::<identity::ListResponse>).await
        }
        _ => unreachable!("no call of {method}"),
    }
}

/// Calls a method of the Gateway. Its cluster does not respond.
#[expect(clippy::too_many_lines, reason = "it has one call for each method")]
pub(super) async fn call_gateway(world: &World, caller: &str, method: &'static str) -> Outcome {
    let name = || "dcp-nothing-1".to_owned();
    match method {
        "/dcp.gateway.v1.Gateway/Validate" => {
            let request = gateway::ValidateRequest { application: "{}".to_owned() };
            world.rpc(caller, method, request, always::<gateway::ValidateResponse>).await
        }
        "/dcp.gateway.v1.Gateway/Create" => {
            let request = gateway::CreateRequest { application: "{}".to_owned() };
            world.rpc(caller, method, request, always::<gateway::CreateResponse>).await
        }
        "/dcp.gateway.v1.Gateway/Get" => {
            world
                .rpc(caller, method, gateway::GetRequest { name: name() }, always::<gateway::GetResponse>)
                .await
        }
        "/dcp.gateway.v1.Gateway/Watch" => {
            match world
                .call::<_, gateway::WatchResponse>(caller, method, vec![gateway::WatchRequest {}])
                .await
            {
                Ok(_) => Outcome::Ok,
                Err(status) => rejected(&status),
            }
        }
        "/dcp.gateway.v1.Gateway/Delete" => {
            let request = gateway::DeleteRequest { name: name(), grace_millis: 1 };
            world.rpc(caller, method, request, always::<gateway::DeleteResponse>).await
        }
        "/dcp.gateway.v1.Gateway/Logs" => {
            let request = gateway::LogsRequest { name: name(), ..Default::default() };
            world.rpc(caller, method, request, always::<gateway::LogsResponse>).await
        }
        "/dcp.gateway.v1.Gateway/Tail" => {
            let request = gateway::TailRequest { name: name(), limit: 1 };
            world.rpc(caller, method, request, always::<gateway::TailResponse>).await
        }
        "/dcp.gateway.v1.Gateway/Forget" => {
            let request = gateway::ForgetRequest { name: name() };
            world.rpc(caller, method, request, always::<gateway::ForgetResponse>).await
        }
        "/dcp.gateway.v1.Gateway/Capabilities" => {
            let request = gateway::CapabilitiesRequest {};
            world.rpc(caller, method, request, always::<gateway::CapabilitiesResponse>).await
        }
        "/dcp.gateway.v1.Clusters/List" => {
            world.rpc(caller, method, gateway::ListRequest {}, always::<gateway::ListResponse>).await
        }
        _ => unreachable!("no call of {method}"),
    }
}

/// Calls a path of REST.
#[expect(clippy::too_many_lines, reason = "it has one call for each method")]
pub(super) fn call_rest(world: &World, caller: &str, domain: &str, operation: &str) -> Outcome {
    let id = &world.executions[domain];
    let (fingerprint, body) = &world.jobs[domain];
    let address = json!({"scope": "shop", "address": format!("ContinuousJob/{domain}/clicks")});
    let get = |path: &str, found: &str| world.rest(caller, "GET", path, None, found);
    let post = |path: &str, body: &Value| world.rest(caller, "POST", path, Some(body), "");
    let token = format!("{caller}-{domain}-{operation}").replace(' ', "-");
    let in_domain = format!("\"{domain}\"");
    let has_address = format!("/{domain}/");
    match operation {
        "GET /api/v1/pool" => get("/api/v1/pool", &format!("\"domain\":\"{domain}\"")),
        "GET /api/v1/session" => get("/api/v1/session", ""),
        "DELETE /api/v1/session/{id}" => {
            world.rest(caller, "DELETE", &format!("/api/v1/session/{}", session(domain)), None, "")
        }
        // No pool has the engine, so that nothing waits for a driver.
        "POST /api/v1/sql" => {
            post("/api/v1/sql", &json!({"sql": "SELECT 1", "domain": domain, "engine": "9.9"}))
        }
        "GET /api/v1/whoami" => get("/api/v1/whoami", &format!("\"name\":\"{caller}\"")),
        "POST /api/v1/job" => {
            let reference = json!({"scope": "shop", "domain": domain, "name": "orders"});
            post("/api/v1/job", &json!({"token": token, "reference": reference}))
        }
        "POST /api/v1/job of another job" => {
            let definition: Value = serde_json::from_str(body).expect("the body is JSON");
            post("/api/v1/job", &json!({"token": token, "definition": definition}))
        }
        "GET /api/v1/job" => get("/api/v1/job", &in_domain),
        "GET /api/v1/job/{id}" => get(&format!("/api/v1/job/{id}"), ""),
        "POST /api/v1/job/{id}/cancel" => {
            world.rest(caller, "POST", &format!("/api/v1/job/{id}/cancel"), None, "")
        }
        "GET /api/v1/job/{id}/logs" => get(&format!("/api/v1/job/{id}/logs"), ""),
        "GET /api/v1/job/{id}/steps" => get(&format!("/api/v1/job/{id}/steps"), ""),
        "GET /api/v1/job/{id}/result" => get(&format!("/api/v1/job/{id}/result"), ""),
        "GET /api/v1/applied" => get("/api/v1/applied?scope=shop", &has_address),
        "GET /api/v1/applied/revisions" => {
            get(&format!("/api/v1/applied/revisions?scope=shop&address=CoreEtlJob/{domain}/orders"), "")
        }
        "GET /api/v1/applied/history" => get("/api/v1/applied/history?scope=shop", ""),
        "GET /api/v1/applied/body" => {
            get(&format!("/api/v1/applied/body?scope=shop&fingerprint={}", fingerprint.as_str()), "")
        }
        "GET /api/v1/reconciler" => get("/api/v1/reconciler", ""),
        "GET /api/v1/continuous" => get("/api/v1/continuous?scope=shop", &has_address),
        "POST /api/v1/continuous/pause" => {
            let outcome = post("/api/v1/continuous/pause", &address);
            world.http("developer-of-all", "POST", "/api/v1/continuous/resume", Some(&address));
            outcome
        }
        "POST /api/v1/continuous/resume" => post("/api/v1/continuous/resume", &address),
        "POST /api/v1/continuous/restart" => post("/api/v1/continuous/restart", &address),
        "GET /api/v1/continuous/events" => {
            let path = format!("/api/v1/continuous/events?scope=shop&address=ContinuousJob/{domain}/clicks");
            get(&path, "message")
        }
        "POST /api/v1/asset" => {
            let (asset, job) = (format!("table:lake.{domain}_orders"), format!("{domain}/orders"));
            post(
                "/api/v1/asset",
                &json!({"scope": "shop", "assets": [asset], "run": "1", "job": job, "origin": "test"}),
            )
        }
        "GET /api/v1/asset" => get("/api/v1/asset?scope=shop", &format!("\"{domain}/orders\"")),
        "GET /api/v1/asset/completions" => {
            get("/api/v1/asset/completions?scope=shop", &format!("\"{domain}/orders\""))
        }
        _ => unreachable!("no call of {operation}"),
    }
}
