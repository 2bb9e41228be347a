//! Processes that end with a local application: all of its descendants, even if they detach themselves.

use std::time::Duration;

use dcp_gateway::local::Local;
use dcp_gateway::{Compute as _, Phase};
use dcp_tests::fake_spark::{FakeSpark, is_alive, parent_pid, send_signal, wait_until};
use futures_util::poll;
use rustix::process::Signal;

use crate::local::{SUPERVISOR, application, name, wait_for_end, was_lost};

/// Starts a process in each way of leaving its parent, then waits for the file `go`.
const RUNAWAYS: &str = r#"
sleeps() { echo "echo \$\$ > $PWD/$1; exec /bin/sleep 1000"; }
setsid /bin/sh -c "$(sleeps session)" &
/bin/sh -c "/bin/sh -c '$(sleeps orphan)' & exit 0" &
/usr/bin/env -i /bin/sh -c "$(sleeps bare)" &
/usr/bin/env -i /usr/bin/setsid /bin/sh -c "/bin/sh -c '$(sleeps gone)' & exit 0" &
while [ ! -s session ] || [ ! -s orphan ] || [ ! -s bare ] || [ ! -s gone ]; do sleep 0.01; done
echo $$ > pid
while [ ! -e go ]; do sleep 0.01; done
"#;
const RUNAWAY: [&str; 4] = ["session", "orphan", "bare", "gone"];

fn backends(fake_spark: &FakeSpark) -> [Local; 2] {
    [fake_spark.local_backend(SUPERVISOR), fake_spark.local_backend(SUPERVISOR).without_cgroups()]
}

fn runaways(fake_spark: &FakeSpark) -> Vec<String> {
    fake_spark.wait_for_line("pid");
    RUNAWAY.iter().map(|name| fake_spark.wait_for_line(name)).collect()
}

#[tokio::test]
async fn cancelled_application_leaves_no_process() {
    for number in 0..2 {
        let fake_spark = FakeSpark::new(RUNAWAYS);
        let local = &backends(&fake_spark)[number];
        local.create(&application("a-1")).await.expect("the application starts");
        let pids = runaways(&fake_spark);
        assert!(pids.iter().all(|pid| is_alive(pid)), "{pids:?}");
        local.delete(&name("a-1"), Duration::from_millis(100)).await.expect("the backend responds");
        assert!(wait_for_end(local, &name("a-1")).await.stopped);
        let left: Vec<_> = pids.iter().filter(|pid| is_alive(pid)).collect();
        assert!(left.is_empty(), "{left:?} of {pids:?}");
    }
}

#[tokio::test]
async fn ended_application_leaves_no_process() {
    for number in 0..2 {
        let fake_spark = FakeSpark::new(RUNAWAYS);
        let local = &backends(&fake_spark)[number];
        local.create(&application("a-1")).await.expect("the application starts");
        let pids = runaways(&fake_spark);
        std::fs::write(fake_spark.path("go"), "").expect("the temporary folder is writable");
        assert!(wait_for_end(local, &name("a-1")).await.succeeded);
        let left: Vec<_> = pids.iter().filter(|pid| is_alive(pid)).collect();
        assert!(left.is_empty(), "{left:?} of {pids:?}");
    }
}

/// Returns true if this process can create a cgroup below its own.
fn has_cgroups() -> bool {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (mounts, groups) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|it| it.split(' ').nth(4));
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let (Some(mount), Some("/")) = (mount, group) else { return false };
    let own = std::path::Path::new(mount).join(format!("dcp-test-{}", std::process::id()));
    let made = std::fs::create_dir(&own).is_ok() && own.join("cgroup.kill").exists();
    _ = std::fs::remove_dir(&own);
    made
}

/// Without cgroups, a process with an empty environment can't be found after its supervisor was killed, as
/// `docs/reliability.md` documents.
#[tokio::test]
async fn killed_supervisor_leaves_only_processes_without_mark_or_cgroup() {
    for number in 0..2 {
        let fake_spark = FakeSpark::new(RUNAWAYS);
        let local = &backends(&fake_spark)[number];
        local.create(&application("a-1")).await.expect("the application starts");
        let pids = runaways(&fake_spark);
        let has_cgroup = fake_spark.path("runs/a-1/cgroup").exists();
        assert!(number == 1 && !has_cgroup || number == 0 && (has_cgroup || !has_cgroups()));
        let supervisor = parent_pid(&fake_spark.wait_for_line("pid"));
        send_signal(&supervisor, Signal::KILL);
        wait_until(|| (!is_alive(&supervisor)).then_some(()));
        assert!(was_lost(&wait_for_end(local, &name("a-1")).await));
        for (name, pid) in RUNAWAY.iter().zip(&pids) {
            let escapes = !has_cgroup && matches!(*name, "bare" | "gone");
            assert_eq!(is_alive(pid), escapes, "{name}");
            if escapes {
                send_signal(pid, Signal::KILL);
            }
        }
    }
}

/// The first poll returns while another thread does the work.
#[tokio::test]
async fn cleanup_after_a_killed_supervisor_does_not_block_an_async_thread() {
    let fake_spark = FakeSpark::new(RUNAWAYS);
    let local = fake_spark.local_backend(SUPERVISOR);
    local.create(&application("a-1")).await.expect("the application starts");
    runaways(&fake_spark);
    let supervisor = parent_pid(&fake_spark.wait_for_line("pid"));
    send_signal(&supervisor, Signal::KILL);
    wait_until(|| (!is_alive(&supervisor)).then_some(()));
    let name = name("a-1");
    let mut get = local.get(&name);
    assert!(poll!(&mut get).is_pending(), "the call blocked this thread");
    let status = get.await.expect("the backend responds").expect("the application is known");
    assert!(matches!(status.phase, Phase::Running | Phase::Ended));
    wait_for_end(&local, &name).await;
}

#[tokio::test]
async fn an_ended_application_leaves_no_control_group() {
    if !has_cgroups() {
        return;
    }
    for number in 0..10 {
        let fake_spark = FakeSpark::new("sleep 0.05 & exit 0");
        let local = fake_spark.local_backend(SUPERVISOR);
        let name = name(&format!("a-{number}"));
        local.create(&application(name.as_str())).await.expect("the application starts");
        wait_for_end(&local, &name).await;
        let group = std::fs::read_to_string(fake_spark.path(&format!("runs/{name}/cgroup")));
        let group = group.expect("the application had a control group");
        assert!(!std::path::Path::new(group.trim()).exists(), "{group} is left");
    }
}
