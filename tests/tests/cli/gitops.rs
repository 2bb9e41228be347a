//! The commands of the workflow files in `examples/gitops`, run against a real git repository.

use std::process::{Command, Output};

use dcp_compiler::source::FileId;
use dcp_compiler::yaml;

use crate::harness::{DCP, Sandbox};

/// Returns a repository with a project that has a target `prod`.
fn repository() -> Sandbox {
    let sandbox = Sandbox::quickstart();
    // Without a server, the state is stored in the repository's folder.
    sandbox.edit("dcp.yaml", "    server: https://dcp.example.com:7420\n", "");
    for args in [
        &["init", "-q", "-b", "main"][..],
        &["config", "user.name", "tester"],
        &["config", "user.email", "tester@example.com"],
    ] {
        git(&sandbox, args);
    }
    sandbox.write(".gitignore", ".dcp/\nplan.json\nplan.md\ndcp.sarif\n");
    git(&sandbox, &["add", "-A"]);
    git(&sandbox, &["commit", "-q", "-m", "begin"]);
    sandbox
}

fn git(sandbox: &Sandbox, args: &[&str]) {
    let output = sandbox.command("git".as_ref()).args(args).output().expect("git can be run");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the `dcp` commands of a workflow file. GitHub's steps have them in `run`, GitLab's jobs in lists named
/// `script`.
fn commands(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(dcp_tests::workspace().join("examples/gitops").join(file))
        .expect("the example exists");
    let parsed = yaml::parse(FileId(0), &text);
    let mut found = Vec::new();
    for tree in &parsed.documents {
        tree.root().walk(&mut |node| {
            for member in node.members().filter(|member| matches!(member.key, "run" | "script")) {
                found.extend(member.value.as_str().map(str::to_owned));
                found.extend(member.value.items().filter_map(|item| item.as_str().map(str::to_owned)));
            }
        });
    }
    found.retain(|command| command.contains("dcp "));
    assert!(found.len() >= 4, "{file}: {found:?}");
    found
}

/// Returns the only command with this verb and option, adapted to run locally.
fn command(file: &str, verb: &str, more: &str) -> String {
    let all = commands(file);
    let fits = |it: &&String| it.contains(&format!("dcp {verb} ")) && it.contains(&format!("{more} "));
    let all: Vec<String> = all.iter().map(|it| format!("{it} ")).collect();
    let found: Vec<&String> = all.iter().filter(fits).collect();
    assert_eq!(found.len(), 1, "{file}: {verb} {more} in {all:?}");
    // There is no remote, so the command compares with the local main branch.
    found[0].replace("origin/", "")
}

fn shell(sandbox: &Sandbox, command: &str, allow: &str) -> Output {
    let bin = DCP.parent().expect("the binary is in a folder");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH is set"));
    let mut shell = Command::new("bash");
    shell.current_dir(sandbox.path()).env_clear().env("PATH", path).env("TARGET", "prod").env("ALLOW", allow);
    shell.env("GITHUB_BASE_REF", "main").env("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main");
    shell.args(["-e", "-c", command]).output().expect("bash can be run")
}

fn output_text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn example(file: &str) -> String {
    let path = dcp_tests::workspace().join("examples/gitops").join(file);
    std::fs::read_to_string(path).expect("the example exists")
}

#[test]
fn jobs_have_a_token_without_a_stored_secret() {
    let github = example(FILES[0]);
    assert!(github.contains("id-token: write") && !github.contains("secrets."), "{github}");
    let gitlab: Vec<String> = example(FILES[1]).lines().map(str::to_owned).collect();
    let tokens = gitlab
        .iter()
        .filter(|line| line.contains("id_tokens: {DCP_TOKEN: {aud: \"https://dcp.example.com\"}}"));
    assert_eq!(tokens.count(), 2, "the jobs that call the server have a token");
}

#[test]
fn policy_of_the_example_lets_jobs_plan_and_those_of_the_branch_apply() {
    let sandbox = Sandbox::new();
    sandbox.write("policy.yaml", example("policy.yaml"));
    sandbox.run(&["policy", "test"]).exits_with(0).prints("2 bindings, and 4 tests passed");
    let role = |user: &str, groups: &[&str]| {
        let mut args = vec!["policy", "role", "--scope", "shop/prod", "--domain", "sales", "--user", user];
        args.extend(groups.iter().flat_map(|group| ["--group", group]));
        sandbox.run(&args).exits_with(0).stdout
    };
    let fork = role("github:repo:fork/shop:ref:refs/heads/main", &["github:fork/shop"]);
    assert!(fork.contains("no role"), "{fork}");
}

const FILES: [&str; 2] = [".github/workflows/dcp.yaml", ".gitlab-ci.yml"];
const BATCH: &str = "manifests/orders-daily.yaml";

fn validate(file: &str) -> String {
    command(file, "validate", if file.starts_with(".github") { "--output github" } else { "" })
}

#[test]
fn valid_change_is_planned_and_applied() {
    for file in FILES {
        let sandbox = repository();
        let run = |command: &str| {
            let output = shell(&sandbox, command, "");
            assert!(output.status.success(), "{command}\n{}", output_text(&output));
            output_text(&output)
        };
        run(&command(file, "plan", "--out"));
        run(&command(file, "apply", "plan.json"));
        git(&sandbox, &["checkout", "-q", "-b", "change"]);
        sandbox.edit(BATCH, "0 2 * * *", "0 3 * * *");
        git(&sandbox, &["commit", "-q", "-a", "-m", "later"]);
        run(&validate(file));
        run(&command(file, "plan", "--since"));
        let comment = sandbox.read("plan.md");
        assert!(comment.contains("`0 2 * * *` → `0 3 * * *`"), "{comment}");
        git(&sandbox, &["checkout", "-q", "main"]);
        git(&sandbox, &["merge", "-q", "change"]);
        run(&command(file, "plan", "--out"));
        assert!(run(&command(file, "apply", "plan.json")).contains("applied serial 2"));
        let history = sandbox.run(&["history", "--target", "prod", "--output", "json"]).exits_with(0).json();
        assert_eq!(history[0]["commit"].as_str().map(str::len), Some(40), "{history}");
    }
}

#[test]
fn invalid_change_is_rejected() {
    for file in FILES {
        let sandbox = repository();
        sandbox.edit(BATCH, "cron:", "corn:");
        let output = shell(&sandbox, &validate(file), "");
        assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
        assert!(output_text(&output).contains("corn"), "{}", output_text(&output));
        let output = shell(&sandbox, &command(file, "plan", "--out"), "");
        assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
        assert!(!sandbox.join("plan.json").exists());
    }
}

#[test]
fn dangerous_change_needs_consent() {
    for file in FILES {
        let sandbox = repository();
        let apply = command(file, "apply", "plan.json");
        let plan = command(file, "plan", "--out");
        assert!(shell(&sandbox, &plan, "").status.success());
        assert!(shell(&sandbox, &apply, "").status.success());
        sandbox.edit("manifests/clicks-per-store.yaml", "partitions: 8", "partitions: 16");
        assert!(shell(&sandbox, &plan, "").status.success());
        let refused = shell(&sandbox, &apply, "");
        assert_eq!(refused.status.code(), Some(1), "{}", output_text(&refused));
        assert!(
            output_text(&refused).contains("--allow-reset logistics/clicks-per-store"),
            "{}",
            output_text(&refused)
        );
        // The value of a consent can't inject commands.
        let tricked = shell(&sandbox, &apply, "; touch tricked; $(touch tricked)");
        assert!(!tricked.status.success() && !sandbox.join("tricked").exists(), "{}", output_text(&tricked));
        let allowed = shell(&sandbox, &apply, "--allow-reset logistics/clicks-per-store");
        assert!(allowed.status.success(), "{}", output_text(&allowed));
    }
}

#[test]
fn stale_plan_is_rejected() {
    for file in FILES {
        let sandbox = repository();
        assert!(shell(&sandbox, &command(file, "plan", "--out"), "").status.success());
        sandbox.run(&["apply", "--target", "prod", "--auto-approve"]).exits_with(0);
        let stale = shell(&sandbox, &command(file, "apply", "plan.json"), "");
        assert_eq!(stale.status.code(), Some(1), "{}", output_text(&stale));
        assert!(output_text(&stale).contains("the state moved on"), "{}", output_text(&stale));
    }
}
