//! Compares random histories on a registry with the same histories on the in-memory registry.

use dcp_reconciler::registry::memory::Memory;
use dcp_reconciler::registry::{Registry, Result};
use dcp_reconciler::state::Action;
use dcp_reconciler::state::{Base, Change, Commit, Scope};
use dcp_tests::commits::{address, commit, create, delete};

const STEPS: usize = 25;
const NAMES: u64 = 6;

/// A pseudo-random generator (xorshift64), the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Returns a change that is often invalid: it creates an existing entry, changes a missing one, or repeats an
    /// address.
    fn change(&mut self) -> Change {
        let (name, text) = (format!("job-{}", self.below(NAMES)), format!("text {}", self.below(4)));
        let actions = [Action::Update, Action::Redeploy, Action::Reset];
        match self.below(8) {
            0..=3 => create(&name, &text),
            4 | 5 => {
                Change { action: actions[usize::try_from(self.below(3)).unwrap()], ..create(&name, &text) }
            }
            _ => delete(&name),
        }
    }

    fn commit(&mut self, base: &Base, earlier: &[Commit]) -> Commit {
        match (self.below(10), earlier) {
            // A repeated commit, or the id of another commit.
            (0, [.., last]) => last.clone(),
            (1, [first, ..]) => Commit { base: base.clone(), ..first.clone() },
            // A commit based on an outdated state.
            (2, [_, .., middle]) => commit(&middle.base, vec![self.change()]),
            _ => {
                let count = self.below(3) + 1;
                commit(base, (0..count).map(|_| self.change()).collect())
            }
        }
    }
}

/// Commits alternate between two connections to the same registry.
pub(crate) async fn compare(seed: u64, scope: &Scope, registries: [&dyn Registry; 2]) {
    let model = Memory::default();
    let mut random = Random(seed);
    let mut made = Vec::new();
    for step in 0..STEPS {
        let at = format!("seed {seed}, step {step}");
        let (writer, reader) = (registries[step % 2], registries[(step + 1) % 2]);
        let base = model.state(scope).await.unwrap().base;
        let commit = random.commit(&base, &made);
        let (expected, actual) =
            (model.commit(scope, commit.clone()).await, writer.commit(scope, commit.clone()).await);
        assert_eq!(plain(actual), plain(expected), "{at}: {commit:?}");
        made.push(commit);
        if random.below(3) == 0 {
            let serials = [random.below(5), base.serial];
            model.published(scope, &serials).await.unwrap();
            writer.published(scope, &serials).await.unwrap();
        }
        assert_eq!(reader.state(scope).await.unwrap(), model.state(scope).await.unwrap(), "{at}");
    }
    let reader = registries[0];
    for serial in 0..=STEPS as u64 {
        let (expected, actual) = (model.state_at(scope, serial).await, reader.state_at(scope, serial).await);
        assert_eq!(plain(actual), plain(expected), "seed {seed}, serial {serial}");
    }
    for name in (0..NAMES).map(|it| format!("job-{it}")) {
        let expected = model.revisions(scope, &address(&name)).await.unwrap();
        assert_eq!(reader.revisions(scope, &address(&name)).await.unwrap(), expected, "seed {seed}, {name}");
    }
    let expected = model.history(scope, None, 100).await.unwrap();
    assert_eq!(reader.history(scope, None, 100).await.unwrap(), expected);
    assert!(model.state(scope).await.unwrap().base.serial > 3, "seed {seed} has too few commits");
}

/// Formats errors, because they can't be compared.
fn plain<T>(result: Result<T>) -> std::result::Result<T, String> {
    result.map_err(|error| format!("{error:?}"))
}
