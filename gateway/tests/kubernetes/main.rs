//! Simulates the backend `kubernetes` against a double of an API server, to check the invariants of its records.
//!
//! All randomness comes from one seed, and time is virtual. `SIMULATION_SEEDS` is a number of seeds, or a range such as
//! `17..18`; the history of the first seed that fails is printed.

mod checks;
mod cluster;
mod random;
mod runner;
mod scenario;
mod server;
mod service;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::AssertUnwindSafe;

/// The namespace of records.
const RECORDS: &str = "dcp";
const SEEDS: u64 = 1000;
const THREADS: u64 = 2;
const MAX_HISTORY_LINES: usize = 1500;

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Runs one seed. Returns the violations, and the history if it was asked for.
fn run(seed: u64, has_history: bool) -> (Vec<String>, Vec<String>) {
    PANICS.with_borrow_mut(Vec::clear);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime starts");
    let simulation = AssertUnwindSafe(|| runtime.block_on(scenario::simulate(seed, has_history)));
    let (mut violations, history) = std::panic::catch_unwind(simulation).unwrap_or_default();
    drop(runtime);
    violations.extend(PANICS.take().into_iter().map(|text| format!("invariant 7: {text}")));
    (violations, history)
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("SIMULATION_SEEDS") else { return 0..SEEDS };
    let number = |text: &str| text.parse().expect("SIMULATION_SEEDS is a number or a range");
    text.split_once("..").map_or_else(|| 0..number(&text), |(first, end)| number(first)..number(end))
}

/// Returns every so many seeds that fail, with their first violations.
fn failures(seeds: Range<u64>) -> Vec<(u64, String)> {
    let seeds = seeds.step_by(usize::try_from(THREADS).expect("it fits"));
    seeds.filter_map(|seed| Some((seed, run(seed, false).0.into_iter().next()?))).collect()
}

/// Describes all failures, and the history of the first one.
fn report(failures: &BTreeMap<u64, String>) -> Option<String> {
    let (seed, _) = failures.first_key_value()?;
    let (violations, history) = run(*seed, true);
    let skipped = history.len().saturating_sub(MAX_HISTORY_LINES);
    let mut lines = vec![format!("{} seeds fail", failures.len())];
    lines.extend(failures.iter().map(|(seed, violation)| format!("seed {seed}: {violation}")));
    lines.push(format!("\nviolations of seed {seed}:"));
    lines.extend(violations);
    lines.push(format!("\nhistory of seed {seed} without its first {skipped} lines:"));
    lines.extend_from_slice(&history[skipped..]);
    Some(lines.join("\n"))
}

#[test]
fn invariants_hold_for_all_seeds() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
    }));
    let seeds = seeds();
    let failures: BTreeMap<u64, String> = std::thread::scope(|scope| {
        let part = |at| {
            let seeds = seeds.start + at..seeds.end;
            scope.spawn(move || failures(seeds))
        };
        let parts: Vec<_> = (0..THREADS).map(part).collect();
        parts.into_iter().flat_map(|part| part.join().expect("a thread ends")).collect()
    });
    let report = report(&failures);
    drop(std::panic::take_hook());
    assert!(report.is_none(), "{}", report.unwrap_or_default());
}

#[test]
fn a_seed_has_one_history() {
    for seed in 0..20 {
        assert_eq!(run(seed, true), run(seed, true), "seed {seed}");
    }
}
