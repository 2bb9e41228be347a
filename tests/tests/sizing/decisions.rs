//! Decisions for typical histories of runs, compared with a golden file.

use std::fmt::Write as _;

use dcp_runner::execution::Adjustment;
use dcp_runner::sizing::{Measured, RunResources, size};

use crate::{MIB, auto};

/// Returns a typical run with a change.
pub(crate) fn run(change: impl FnOnce(&mut Measured)) -> Measured {
    let given = RunResources {
        executors: 4,
        executor_cores: 4,
        executor_memory_mib: 2048,
        driver_memory_mib: 1024,
        tasks_at_once: 4,
        memory_percent: 60,
        shuffle_partitions: 200,
        ..RunResources::default()
    };
    let mut run = Measured {
        complete: true,
        wall_millis: 300_000,
        executors: 4,
        cores: 16,
        tasks: 400,
        task_millis: 3_600_000,
        longest_task_millis: 20_000,
        gc_millis: 36_000,
        heap_bytes: 1200 * MIB,
        task_memory_bytes: 100 * MIB,
        driver_heap_bytes: 600 * MIB,
        input_bytes: 10 << 30,
        shuffle_write_bytes: 4 << 30,
        largest_shuffle_bytes: 4 << 30,
        given,
        ..Measured::default()
    };
    change(&mut run);
    run
}

fn thrice(change: impl Fn(&mut Measured)) -> Vec<Measured> {
    (0..3).map(|_| run(&change)).collect()
}

#[expect(clippy::too_many_lines, reason = "it is one list of cases")]
fn cases() -> Vec<(&'static str, Vec<Measured>)> {
    let spilled = |run: &mut Measured| {
        run.disk_spilled_bytes = 3 << 30;
        run.task_spilled_bytes = 50 * MIB;
    };
    let at_most = |run: &mut Measured| run.given.executor_memory_mib = 8192;
    let few_cores = |run: &mut Measured| run.given.executor_cores = 2;
    let one_process = |run: &mut Measured| {
        run.given.one_process = true;
        run.driver_heap_bytes = 0;
    };
    vec![
        ("nothing is known", vec![]),
        ("all is well", vec![run(|_| {})]),
        ("a run spilled", vec![run(spilled)]),
        (
            "a run spilled with all the memory there may be",
            vec![run(|run| {
                spilled(run);
                at_most(run);
            })],
        ),
        ("a run collected garbage", vec![run(|run| run.gc_millis = 800_000)]),
        (
            "a run's heap was full",
            vec![run(|run| {
                run.heap_bytes = 2000 * MIB;
                run.gc_millis = 250_000;
            })],
        ),
        ("two runs used little", thrice(|run| run.heap_bytes = 300 * MIB)[..2].to_vec()),
        (
            "three runs used little",
            thrice(|run| {
                run.heap_bytes = 300 * MIB;
                run.task_memory_bytes = 20 * MIB;
                run.driver_heap_bytes = 150 * MIB;
                (run.task_millis, run.gc_millis) = (60_000, 600);
                run.largest_shuffle_bytes = 40 * MIB;
            }),
        ),
        (
            "three runs used little, and spilled a little",
            thrice(|run| {
                run.heap_bytes = 300 * MIB;
                run.task_memory_bytes = 20 * MIB;
                run.disk_spilled_bytes = 1;
                run.largest_shuffle_bytes = 40 * MIB;
            }),
        ),
        (
            "three runs used little, and a task of one of them failed",
            [
                thrice(|run| {
                    run.heap_bytes = 300 * MIB;
                    run.task_memory_bytes = 20 * MIB;
                }),
                vec![run(|run| {
                    run.heap_bytes = 300 * MIB;
                    run.task_memory_bytes = 20 * MIB;
                    run.failed_tasks = 1;
                })],
            ]
            .concat()[1..]
                .to_vec(),
        ),
        (
            "three runs used little, and one before them did much more",
            [
                thrice(|run| {
                    run.heap_bytes = 300 * MIB;
                    run.task_memory_bytes = 20 * MIB;
                    (run.task_millis, run.gc_millis) = (60_000, 600);
                }),
                vec![run(|run| run.input_bytes = 1 << 40)],
            ]
            .concat(),
        ),
        (
            "three runs used little of what was too little once",
            [
                thrice(|run| {
                    run.heap_bytes = 300 * MIB;
                    run.task_memory_bytes = 20 * MIB;
                    run.given.executor_memory_mib = 4096;
                }),
                vec![run(|run| {
                    spilled(run);
                    run.given.executor_memory_mib = 1536;
                })],
            ]
            .concat(),
        ),
        ("much work", vec![run(|run| run.task_millis = 50_000_000)]),
        (
            "much work, most of it one task's",
            vec![run(|run| {
                run.task_millis = 50_000_000;
                run.longest_task_millis = 10_000_000;
            })],
        ),
        (
            "a shuffle too large for its partitions, which spilled",
            vec![run(|run| {
                spilled(run);
                run.largest_shuffle_bytes = 60 << 30;
            })],
        ),
        ("executors of fewer cores than the manifest says", thrice(few_cores)),
        ("one machine", thrice(one_process)),
        (
            "one machine, where little is used",
            thrice(|run| {
                one_process(run);
                run.heap_bytes = 300 * MIB;
                run.task_memory_bytes = 20 * MIB;
            }),
        ),
        ("no memory was measured", thrice(|run| run.heap_bytes = 0)),
        (
            "a run whose log has no end, and one that had nothing to do",
            vec![run(|run| run.complete = false), run(|run| run.tasks = 0)],
        ),
    ]
}

/// Compares the decisions and their reasons with a golden file.
#[test]
fn decisions_match_the_golden_file() {
    let mut decisions = String::new();
    for (name, earlier) in cases() {
        writeln!(decisions, "{name}").expect("writing to a String does not fail");
        for (key, Adjustment { value, why }) in size(&auto(), &earlier) {
            writeln!(decisions, "  {key} = {value}\n    {why}").expect("writing to a String does not fail");
        }
    }
    let path = dcp_tests::workspace().join("tests/sizing/decisions.txt");
    if dcp_tests::update_golden() {
        std::fs::create_dir_all(path.parent().expect("the path has a folder"))
            .expect("the folder can be created");
        std::fs::write(&path, &decisions).expect("the file can be written");
    }
    assert_eq!(decisions, std::fs::read_to_string(path).unwrap_or_default());
}
