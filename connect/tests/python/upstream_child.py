"""Runs one of PySpark's own test modules for Spark Connect, and prints the result of each test as one line of JSON.

    python upstream_child.py pyspark.sql.connect.column [SPARK_SOURCE]

Modules without `.tests.` have doctests, which the client's package contains. The address is in SPARK_CONNECT_TESTING_REMOTE.
"""

import doctest
import importlib
import io
import json
import os
import sys
import tempfile
import unittest

Results = dict[str, list[str]]
"""Failures of each test: exception classes, or `output` for another output. Empty for a test that passed."""


class Recorder(doctest.DocTestRunner):
    """Runs doctests, and records their failures by the numbers of lines within the docstring."""

    def __init__(self, results: Results, optionflags: int) -> None:
        super().__init__(verbose=False, optionflags=optionflags)
        self._results = results

    def run(self, test, *arguments, **options):
        if test.examples:
            self._results.setdefault(test.name, [])
        return super().run(test, *arguments, out=io.StringIO().write, **options)

    def report_failure(self, out, test, example, got):
        self._results[test.name].append(f"line {example.lineno + 1}: output")
        print(f"{test.name}: {example.source}expected:\n{example.want}got:\n{got}", file=sys.stderr)

    def report_unexpected_exception(self, out, test, example, exc_info):
        self._results[test.name].append(f"line {example.lineno + 1}: {exc_info[0].__name__}")
        print(f"{test.name}: {example.source}{exc_info[0].__name__}: {str(exc_info[1])[:1000]}", file=sys.stderr)


def run_doctests(module: str) -> Results:
    """Runs the doctests as `python -m MODULE` would, which also prepares their session."""
    results: Results = {}

    def testmod(tested, globs=None, optionflags=0, **_):
        recorder = Recorder(results, optionflags)
        for test in doctest.DocTestFinder().find(tested, globs=globs):
            recorder.run(test)
        return doctest.TestResults(0, recorder.tries)

    doctest.testmod = testmod
    importlib.import_module(module)._test()
    return results


class Outcomes(unittest.TestResult):
    """Records the outcome of each test of unittest."""

    def __init__(self) -> None:
        super().__init__()
        self.results: Results = {}

    def startTest(self, test):
        super().startTest(test)
        self.results[test.id()] = []

    def addError(self, test, err):
        super().addError(test, err)
        self.results.setdefault(test.id(), []).append(err[0].__name__)
        print(f"{test.id()}: {err[0].__name__}: {str(err[1])[:1000]}", file=sys.stderr)

    addFailure = addError

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.addError(test, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.results.setdefault(test.id(), []).append("skipped")


def run_unit_tests(module: str, source: str) -> Results:
    """Runs tests that the client's package lacks, from a tree of Spark's source of the same version."""
    import pyspark.sql

    pyspark.sql.__path__.append(os.path.join(source, "python", "pyspark", "sql"))
    outcomes = Outcomes()
    unittest.defaultTestLoader.loadTestsFromName(module).run(outcomes)
    return outcomes.results


def main() -> None:
    module, *source = sys.argv[1:]
    # Tests print much; the result is the only line on standard output.
    results_file = os.dup(1)
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as folder:
        # Modules change into SPARK_HOME before their tests.
        os.environ["SPARK_HOME"] = folder
        os.chdir(folder)
        results = run_unit_tests(module, *source) if source else run_doctests(module)
    os.write(results_file, json.dumps(results).encode() + b"\n")


if __name__ == "__main__":
    main()
