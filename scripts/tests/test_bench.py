"""Tests of what bench/run works out from its measurements."""

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
bench = load().validate


class Extrapolation(unittest.TestCase):
    def test_what_a_start_costs_counts_once(self):
        start, file = 0.5, 0.004
        seconds = {size: start + file * size for size in (250, 500)}
        self.assertAlmostEqual(bench.extrapolated(seconds, 10_000), start + file * 10_000)

    def test_the_order_of_the_sizes_does_not_matter(self):
        self.assertAlmostEqual(bench.extrapolated({500: 3.0, 250: 2.0}, 1_000), 5.0)

    def test_more_files_in_less_time_are_no_measurement(self):
        with self.assertRaises(SystemExit):
            bench.extrapolated({250: 2.0, 500: 1.9}, 10_000)

    def test_the_slow_ones_are_given_two_sizes(self):
        self.assertEqual(len(bench.SUBSETS), 2)
        self.assertLessEqual(set(bench.SLOW), set(bench.PEERS))


if __name__ == "__main__":
    unittest.main()
