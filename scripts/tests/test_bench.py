"""Tests of the computations of bench/run."""

import importlib.machinery
import importlib.util
import sys
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent.parent / "bench" / "run"


def load():
    loader = importlib.machinery.SourceFileLoader("bench_run", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_run", loader))
    loader.exec_module(module)
    return module


sys.dont_write_bytecode = True
script = load()
validate, runner, connect = script.validate, script.runner, script.connect


class Extrapolation(unittest.TestCase):
    def test_start_counts_once(self):
        start, file = 0.5, 0.004
        seconds = {size: start + file * size for size in (250, 500)}
        self.assertAlmostEqual(validate.extrapolate(seconds, 10_000), start + file * 10_000)

    def test_order_of_sizes_is_ignored(self):
        self.assertAlmostEqual(validate.extrapolate({500: 3.0, 250: 2.0}, 1_000), 5.0)

    def test_less_time_for_more_files_is_rejected(self):
        with self.assertRaises(SystemExit):
            validate.extrapolate({250: 2.0, 500: 1.9}, 10_000)

    def test_slow_peers_have_two_sizes(self):
        self.assertEqual(len(validate.SUBSETS), 2)
        self.assertLessEqual(set(validate.SLOW), set(validate.PEERS))


def figures(**changed):
    """Returns figures of a Runner that just meets every goal, except the changed ones."""
    disk = {"flushes": [900.0, 1000.0, 1200.0], "flush_median": [0.001], "flush_p99": [0.004]}
    rates = {
        "plain_inserts": [4000.0],
        "store": [3000.0],
        "submits": [2000.0],
        "checks": [17_500.0],
        "empty": [25_000.0],
        "one_empty_median": [0.0002],
        "one_submit": [500.0],
        "one_submit_median": [0.0022],
        "one_submit_p99": [0.006],
        "one_check": [5000.0],
        "one_check_median": [0.0002],
        "one_check_p99": [0.02],
    } | changed
    lists = {f"list_{name}": 0.002 for name in ("all", "domain", "workload", "failed", "ended", "live")}
    history = {"count": 1_000_000, "memory": 30.0, "memory_of_none": 20.0, "check": 0.0003, "check_p99": 0.001, "submits": 1900.0} | lists
    return {
        "clients": 64,
        "rates": {"disk": disk, "sqlite": rates, "postgres": rates},
        "history": {"sqlite": history, "postgres": history},
        "start": {"submitted": 0.030, "by_hand": 0.004, "starts": 30},
    }


class RunnerRows(unittest.TestCase):
    def verdicts(self, **changed):
        return [(what, met) for what, goal, _, met in runner.rows(figures(**changed)) if goal != runner.NO_GOAL]

    def test_goal_that_is_just_reached_is_met(self):
        verdicts = self.verdicts()
        self.assertEqual(len(verdicts), 8)
        self.assertTrue(all(met is True for _, met in verdicts), verdicts)

    def test_each_goal_can_be_missed(self):
        for changed, words in (
            ({"submits": [1999.0]}, "durable"),
            ({"one_submit_median": [0.0023]}, "one client's `Submit`"),
            ({"checks": [17_499.0]}, "`Check`s of"),
        ):
            missed = [what for what, met in self.verdicts(**changed) if not met]
            self.assertEqual(len(missed), 2)
            self.assertTrue(all(words in what for what in missed), missed)

    def test_ratios_are_of_medians(self):
        submits = next(value for what, _, value, _ in runner.rows(figures()) if "durable" in what)
        self.assertEqual(submits, "2000 a second: 2.00×")

    def test_start_reports_its_overhead(self):
        self.assertEqual(runner.rows(figures())[-1][2], "30.0 ms against 4.0 ms: 26.0 ms more")


class ConnectRows(unittest.TestCase):
    TIMES = {"direct": [0.010, 0.020, 0.030], "nginx, TCP": [0.012, 0.022, 0.062]}
    RATES = {"direct": [2e8, 1e8, 3e8], "nginx, TCP": [1e8, 1e8, 1e8]}

    def rows(self):
        results = {"size": 1_000_000, "rates": self.RATES}
        rows = connect.rows({"select": self.TIMES}, results, {"nginx, TCP": (10.0, 20.0)})
        return [(what, value) for what, _, value, _ in rows]

    def goals_met(self, own_times, own_rate):
        times = {"select": self.TIMES | {"dcp": own_times}}
        haproxy = {"HAProxy, TCP": [1e8], "HAProxy, HTTP/2": [0.5e8]}
        results = {"size": 1_000_000, "rates": self.RATES | haproxy | {"dcp": [own_rate]}}
        return [met for _, goal, _, met in connect.rows(times, results, {}) if goal != connect.NO_GOAL]

    def test_goals_compare_with_the_best_of_all_ways(self):
        self.assertEqual(self.goals_met([0.010, 0.021, 0.031], 0.95e8), [True, True])
        self.assertEqual(self.goals_met([0.010, 0.023, 0.024], 0.95e8), [False, True])
        self.assertEqual(self.goals_met([0.010, 0.020, 0.040], 0.85e8), [False, False])

    def test_starts_of_warm_and_cold_pools_are_compared(self):
        sandboxes = {"sandbox, warm": [2.0], "sandbox, cold-sandbox": [61.0]}
        first, second = {"warm": [0.1, 0.3], "cold": [12.0]}, {"warm": [0.2, 11.0], "cold": [8.0]}
        rows = connect.rows_of_starts([first | sandboxes, second | sandboxes])
        self.assertEqual(rows[0][2:], ("median 0.25 s, longest 11.00 s", False))
        self.assertEqual(rows[1][2:], ("median 10.0 s, longest 12.0 s: 40×", True))
        self.assertEqual(rows[2][2:], ("median 2.00 s, longest 2.00 s", True))
        self.assertEqual(rows[3][2:], ("median 61.0 s, longest 61.0 s: 30×", False))

    def test_proxies_are_compared_with_the_direct_way(self):
        values = dict(self.rows())
        self.assertEqual(values["`SELECT 1`, encoded before, 3 times: direct"], "median 20.00 ms, p99 29.80 ms")
        self.assertIn("1.10× and 2.05×, 2000 µs more", values["`SELECT 1`, encoded before, 3 times: nginx, TCP"])
        self.assertEqual(values["a result of 1 MB: nginx, TCP"], "100 MB/s: 0.50×")

    def test_memory_is_divided_by_the_sessions(self):
        self.assertEqual(self.rows()[-1][1], "10.0 MiB, 10.2 KiB each; 20.0 MiB in all")

    def test_each_proxy_has_a_template(self):
        folder = SCRIPT.parent / "connect"
        self.assertEqual(sorted(connect.PROXIES), sorted(path.name for path in folder.iterdir()))


if __name__ == "__main__":
    unittest.main()
