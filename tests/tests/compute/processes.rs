//! Processes that end with a local application: all of its descendants, even if they detach themselves.

use std::time::Duration;

use dcp_gateway::local::Local;
use dcp_gateway::{Compute as _, Phase};
use dcp_tests::machine::{Machine, alive, kill, parent, until};
use futures_util::poll;
use rustix::process::Signal;

use crate::local::{SUPERVISOR, application, end, name, was_lost};

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

fn backends(machine: &Machine) -> [Local; 2] {
    [machine.local(SUPERVISOR), machine.local(SUPERVISOR).without_cgroups()]
}

fn runaways(machine: &Machine) -> Vec<String> {
    machine.line("pid");
    RUNAWAY.iter().map(|name| machine.line(name)).collect()
}

#[tokio::test]
async fn cancelled_application_leaves_no_process() {
    for number in 0..2 {
        let machine = Machine::new(RUNAWAYS);
        let local = &backends(&machine)[number];
        local.create(&application("a-1")).await.expect("it starts");
        let pids = runaways(&machine);
        assert!(pids.iter().all(|pid| alive(pid)), "{pids:?}");
        local.delete(&name("a-1"), Duration::from_millis(100)).await.expect("it can be asked");
        assert!(end(local, &name("a-1")).await.stopped);
        let left: Vec<_> = pids.iter().filter(|pid| alive(pid)).collect();
        assert!(left.is_empty(), "{left:?} of {pids:?}");
    }
}

#[tokio::test]
async fn ended_application_leaves_no_process() {
    for number in 0..2 {
        let machine = Machine::new(RUNAWAYS);
        let local = &backends(&machine)[number];
        local.create(&application("a-1")).await.expect("it starts");
        let pids = runaways(&machine);
        std::fs::write(machine.path("go"), "").expect("there is room");
        assert!(end(local, &name("a-1")).await.succeeded);
        let left: Vec<_> = pids.iter().filter(|pid| alive(pid)).collect();
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
        let machine = Machine::new(RUNAWAYS);
        let local = &backends(&machine)[number];
        local.create(&application("a-1")).await.expect("it starts");
        let pids = runaways(&machine);
        let has_cgroup = machine.path("runs/a-1/cgroup").exists();
        assert!(number == 1 && !has_cgroup || number == 0 && (has_cgroup || !has_cgroups()));
        let supervisor = parent(&machine.line("pid"));
        kill(&supervisor, Signal::KILL);
        until(|| (!alive(&supervisor)).then_some(()));
        assert!(was_lost(&end(local, &name("a-1")).await));
        for (name, pid) in RUNAWAY.iter().zip(&pids) {
            let escapes = !has_cgroup && matches!(*name, "bare" | "gone");
            assert_eq!(alive(pid), escapes, "{name}");
            if escapes {
                kill(pid, Signal::KILL);
            }
        }
    }
}

/// The first poll returns while another thread does the work.
#[tokio::test]
async fn ending_what_a_killed_supervisor_left_does_not_block_an_async_thread() {
    let machine = Machine::new(RUNAWAYS);
    let local = machine.local(SUPERVISOR);
    local.create(&application("a-1")).await.expect("it starts");
    runaways(&machine);
    let supervisor = parent(&machine.line("pid"));
    kill(&supervisor, Signal::KILL);
    until(|| (!alive(&supervisor)).then_some(()));
    let name = name("a-1");
    let mut get = local.get(&name);
    assert!(poll!(&mut get).is_pending(), "it is done on this thread");
    let status = get.await.expect("it can be asked").expect("it is known");
    assert!(matches!(status.phase, Phase::Running | Phase::Ended));
    end(&local, &name).await;
}
