//! Kills a committing process repeatedly. Stored states must be complete, and no lock may remain.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dcp_reconciler::registry::{Error, Registry};
use dcp_reconciler::state::{Base, State};
use dcp_tests::commits::{commit, create, delete, scope};

const KILLS: u32 = 8;

/// Tests a registry; `arguments` are those of the committer.
pub(crate) async fn assert_complete_states(registry: &dyn Registry, arguments: [&str; 2]) {
    let mut interrupted = 0;
    for kill in 0..KILLS {
        let acknowledged = kill_committer(arguments, Duration::from_millis(u64::from(kill) * 17));
        let began = Instant::now();
        let mut state = registry.state(&scope()).await.unwrap();
        assert!(
            state.base.serial >= acknowledged,
            "serial {acknowledged} was acknowledged, but the state has {}",
            state.base.serial
        );

        // A lock of the killed process would delay this commit.
        let probe = |base: &Base| commit(base, vec![create("probe", "probe")]);
        let mut done = registry.commit(&scope(), probe(&state.base)).await;
        if let Err(Error::Moved(head)) = &done {
            // The server may still have executed the last commit of the killed process, which was sent completely.
            assert_eq!(head.base.serial, state.base.serial + 1);
            assert_complete(&state);
            state = registry.state(&scope()).await.unwrap();
            done = registry.commit(&scope(), probe(&state.base)).await;
        }
        assert_complete(&state);
        interrupted += u32::from(state.base.serial == acknowledged);
        let base = done.unwrap().base;
        let base = registry.commit(&scope(), commit(&base, vec![delete("probe")])).await.unwrap().base;
        assert!(began.elapsed() < Duration::from_secs(8), "the killed process left a lock");
        for serial in [acknowledged, base.serial] {
            assert_complete(&registry.state_at(&scope(), serial).await.unwrap());
        }
    }
    assert!(interrupted > 0, "no kill interrupted a commit, so the test checked nothing");
}

/// Kills a committer, and returns the last serial that it printed.
fn kill_committer(arguments: [&str; 2], delay: Duration) -> u64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dcp-test-committer"));
    let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("the committer runs");
    let mut lines = BufReader::new(child.stdout.take().expect("the stream is piped")).lines();
    let mut last: u64 = lines.next().expect("the committer prints a serial").unwrap().parse().unwrap();
    // Kill the process at a different point of its next commit each time.
    std::thread::sleep(delay);
    child.kill().unwrap();
    for line in lines {
        last = line.unwrap().parse().unwrap();
    }
    child.wait().unwrap();
    last
}

fn assert_complete(state: &State) {
    let serials: std::collections::BTreeSet<_> = state.entries.values().map(|it| it.serial).collect();
    let texts: std::collections::BTreeSet<_> = state.entries.values().map(|it| &it.fingerprint).collect();
    let (serial, count) = (state.base.serial, state.entries.len());
    assert!(serials.len() <= 1 && texts.len() <= 1, "incomplete commit at {serial}: {serials:?}");
    assert!(count == 1_500 || count == 0, "{count} addresses at {serial}");
}
