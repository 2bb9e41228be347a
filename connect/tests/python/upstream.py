"""Runs PySpark's own tests of Spark Connect. Each of its modules is one test here, as `scripts/test-connect upstream` runs it.

A test fails if one of PySpark's tests fails at DCP_CONNECT_URL without a reason in EXPECTED, or, with the address of another
server of the same kind in DCP_CONNECT_DIRECT, if it has another result there.

PySpark's packages contain doctests. Its unit tests are only in Spark's source: with a tree of it, of the client's version, in
SPARK_SOURCE, those of UNIT_TESTS run as well.
"""

import json
import os
import subprocess
import sys
import time
import unittest
from pathlib import Path

from support import URL, ConnectTest

DIRECT = os.environ.get("DCP_CONNECT_DIRECT", "")
SOURCE = os.environ.get("SPARK_SOURCE", "")
SECONDS = 600
"""Deadline of a module."""

DOCTESTS = {
    "catalog": 21, "column": 13, "conf": 1, "dataframe": 70, "functions.builtin": 70, "functions.partitioning": 1, "group": 7,
    "observation": 2, "readwriter": 12, "session": 8, "streaming.query": 8, "streaming.readwriter": 77, "tvf": 5, "window": 2,
}
"""Modules of pyspark.sql.connect, and about how many seconds each takes directly."""

UNIT_TESTS = [
    "test_connect_basic", "test_connect_error", "test_connect_session", "test_connect_function", "test_connect_collection",
    "test_connect_creation", "test_connect_dataframe_property", "test_connect_readwriter", "client.test_artifact",
    "client.test_client", "client.test_client_retries", "client.test_reattach",
]
"""Modules of pyspark.sql.tests.connect."""

FILE_MISSING = "reads a file of Spark's source"
EARLY = "expects that a query has made no progress yet, which depends on time"
NEWER_FUNCTION = "a function that a server before the client's version lacks"
EXPECTED = {
    "pyspark.sql.connect.functions.builtin.input_file_block_length": FILE_MISSING,
    "pyspark.sql.connect.functions.builtin.input_file_block_start": FILE_MISSING,
    **{
        f"pyspark.sql.connect.functions.builtin.{name}": NEWER_FUNCTION
        for name in (
            "kll_merge_agg_bigint", "kll_merge_agg_double", "kll_merge_agg_float",
            "st_asbinary", "st_geogfromwkb", "st_geomfromwkb", "st_setsrid", "st_srid",
        )
    },
    "pyspark.sql.connect.streaming.query.StreamingQuery.lastProgress": EARLY,
}
"""PySpark's tests that may fail, with the reason."""

DIFFERENT = {"pyspark.sql.connect.streaming.query.StreamingQuery.lastProgress": EARLY}
"""PySpark's tests that may have another result through the proxy, with the reason."""


def run(module: str, url: str) -> tuple[dict[str, list[str]], float]:
    """Returns the failures of each test of a module, and the seconds that they took."""
    arguments = [module, SOURCE] if ".tests." in module else [module]
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", Path(__file__).with_name("upstream_child.py"), *arguments],
        env={**os.environ, "SPARK_CONNECT_TESTING_REMOTE": url},
        capture_output=True, text=True, errors="replace", timeout=SECONDS,
    )
    if done.returncode != 0:
        raise AssertionError(f"{module} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    sys.stderr.write("".join(f"{line[:300]}\n" for line in done.stderr.splitlines() if " at " not in line))
    return json.loads(done.stdout), time.monotonic() - begun


class Upstream(ConnectTest):
    DEADLINE = 2 * SECONDS + 60

    @classmethod
    def setUpClass(cls) -> None:
        if not URL:
            raise AssertionError("DCP_CONNECT_URL has no address: set it, such as to sc://127.0.0.1:15002")

    def check(self, module: str) -> None:
        results, seconds = run(module, URL)
        failures = {name: failed for name, failed in results.items() if failed and failed != ["skipped"]}
        print(f"{len(results)} tests, {len(failures)} failed, {seconds:.0f} s", file=sys.stderr)
        self.assertTrue(results, "the module has no test")
        if DIRECT:
            direct, seconds = run(module, DIRECT)
            print(f"directly: {len(direct)} tests, {seconds:.0f} s", file=sys.stderr)
            names = sorted({*results, *direct} - {*DIFFERENT})
            pairs = {name: (direct.get(name, "not run"), results.get(name, "not run")) for name in names}
            different = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
            self.assertEqual(different, {}, "other results than directly")
        unexpected = {name: failed for name, failed in failures.items() if name not in EXPECTED}
        # Without the source's own list of expected failures, its unit tests are only compared.
        if ".tests." not in module:
            self.assertEqual(unexpected, {}, "failed without a reason in EXPECTED")


def add(module: str) -> None:
    name = "test_" + module.removeprefix("pyspark.sql.").replace(".", "_")
    setattr(Upstream, name, lambda self: self.check(module))


for doctests in DOCTESTS:
    add(f"pyspark.sql.connect.{doctests}")
for unit_tests in UNIT_TESTS if SOURCE else []:
    add(f"pyspark.sql.tests.connect.{unit_tests}")

if __name__ == "__main__":
    unittest.main()
