"""Tests of scripts/run-tests: its readers on sample output, and the script on small shell commands."""

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "scripts" / "run-tests"


def load():
    loader = importlib.machinery.SourceFileLoader("run_tests", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("run_tests", loader))
    loader.exec_module(module)
    return module


sys.dont_write_bytecode = True
run_tests = load()

PASSES = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.01s"
RUNNING = "     Running tests/conventions.rs (target/debug/deps/conventions-0123456789abcdef)"


def counted(reader, text):
    for line in text.splitlines():
        reader.read(line)
    reader.end()
    return reader.passed, reader.failed, reader.skipped, reader.names


def shell(*lines, code=0):
    return (run_tests.Cargo, ["sh", "-c", "".join(f"echo '{line}'; " for line in lines) + f"exit {code}"])


def run_step(reader, command):
    return run_tests.run_step(reader, command, run_tests.Children())


def outcome(groups, names=(), **environment):
    """Returns the exit code, and the lines after the output of the commands."""
    out = io.StringIO()
    with mock.patch.dict(os.environ, {"CI": "", **environment}), contextlib.redirect_stdout(out):
        code = run_tests.main(list(names), groups)
    return code, out.getvalue().rpartition("\n\n")[2].splitlines()


class CargoReader(unittest.TestCase):
    def test_results_of_binaries_are_added_and_failures_named(self):
        text = f"""
     Running unittests src/lib.rs (/t/debug/deps/dcp_compiler-00112233445566aa)
test diag::works ... ok
test diag::slow ... ignored, needs a moon
test diag::breaks ... FAILED
test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s
{RUNNING}
{PASSES}
   Doc-tests dcp_compiler
test compiler/src/lib.rs - a (line 3) ... FAILED
test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s
"""
        names = [
            "skipped: dcp_compiler: diag::slow",
            "failed: dcp_compiler: diag::breaks",
            "failed: dcp_compiler (doc): compiler/src/lib.rs - a (line 3)",
        ]
        self.assertEqual(counted(run_tests.Cargo(), text), (4, 2, 1, names))

    def test_crashed_binary_is_a_failure(self):
        died = ["failed: conventions: exited without a result"]
        self.assertEqual(counted(run_tests.Cargo(), RUNNING), (0, 1, 0, died))
        long = "test {} has been running for over 60 seconds"
        text = "\n".join([RUNNING, long.format("a::b"), long.format("c"), "test c ... ok", long.format("d")])
        self.assertEqual(counted(run_tests.Cargo(), text)[3], [f"{died[0]}; a::b, d had not ended"])
        again = RUNNING.replace("conventions", "cli")
        self.assertEqual(counted(run_tests.Cargo(), f"{RUNNING}\n{again}\n{PASSES}"), (3, 1, 0, died))


class UnittestReader(unittest.TestCase):
    def test_summary_is_read(self):
        for text, expected in [
            ("Ran 3 tests in 0.1s\n\nOK", (3, 0, 0, [])),
            ("Ran 0 tests in 0.0s\n\nNO TESTS RAN", (0, 0, 0, [])),
            (
                "test_a (m.C.test_a) ... skipped 'why'\nRan 5 tests in 0.1s\n\nOK (skipped=1, expected failures=1)",
                (4, 0, 1, ["skipped: test_a (m.C.test_a): 'why'"]),
            ),
            (
                "FAIL: test_b (m.C.test_b)\nERROR: setUpClass (m.D)\nRan 2 tests in 0.1s\n\nFAILED (failures=1, errors=1)",
                (0, 2, 0, ["failed: test_b (m.C.test_b)", "failed: setUpClass (m.D)"]),
            ),
            ("Ran 3 tests in 0.1s\n\nFAILED (errors=1)\nRan 2 tests in 0.1s\n\nOK", (4, 1, 0, [])),
        ]:
            with self.subTest(text=text):
                self.assertEqual(counted(run_tests.Unittest(), text), expected)

    def test_output_of_unittest_is_read(self):
        case = """
import unittest
class C(unittest.TestCase):
    def test_a(self): pass
    def test_b(self): self.fail()
    def test_c(self): self.skipTest("why")
unittest.main()
"""
        with contextlib.redirect_stdout(io.StringIO()):
            reader = run_step(run_tests.Unittest(), [sys.executable, "-c", case, "--verbose"])
        self.assertEqual((reader.passed, reader.failed, reader.skipped), (1, 1, 1))


class Budgets(unittest.TestCase):
    def test_contributing_shows_the_budget_of_each_group(self):
        self.assertEqual(list(run_tests.BUDGETS), list(run_tests.GROUPS))
        text = (run_tests.ROOT / "CONTRIBUTING.md").read_text()
        shown = dict(re.findall(r"^\| `(\w+)` \| .* \| (\d+) s \|$", text, re.MULTILINE))
        self.assertEqual(shown, {name: str(seconds) for name, seconds in run_tests.BUDGETS.items()})

    def test_group_beyond_its_budget_is_named(self):
        out = io.StringIO()
        with mock.patch.dict(run_tests.BUDGETS, {"unit": 0}), contextlib.redirect_stdout(out):
            run_tests.main([], {"unit": [shell(PASSES)], "spark": [shell(PASSES)]})
        self.assertIn("unit took longer than its budget of 0 s", out.getvalue())
        self.assertNotIn("spark took longer", out.getvalue())


class Totals(unittest.TestCase):
    def test_output_ends_with_totals_of_groups_and_their_sum(self):
        groups = {"unit": [shell(PASSES), shell(PASSES)], "spark": [shell(PASSES)]}
        self.assertEqual(
            outcome(groups),
            (0, ["unit: 6 passed, 0 failed, 0 skipped", "spark: 3 passed, 0 failed, 0 skipped",
                 "9 passed, 0 failed, 0 skipped"]),
        )
        self.assertEqual(outcome(groups, ["spark"])[1][-1], "3 passed, 0 failed, 0 skipped")

    def test_failure_fails_and_other_groups_still_run(self):
        failing = shell(RUNNING, "test a ... FAILED", PASSES.replace("0 failed", "1 failed"), code=101)
        code, lines = outcome({"unit": [failing], "spark": [shell(PASSES)]})
        self.assertEqual((code, lines[0], lines[-1]), (1, "unit: failed: conventions: a", "6 passed, 1 failed, 0 skipped"))

    def test_output_of_failed_tests_is_repeated_at_the_end(self):
        lines = [
            RUNNING, "test a ... FAILED", "failures:", "---- a stdout ----", "first", *["more"] * 24, "cause", "failures:", "    a",
            PASSES.replace("0 failed", "1 failed"),
        ]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            run_tests.main([], {"unit": [shell(*lines, code=101)], "airflow": [shell(PASSES)]})
        end = out.getvalue().partition("---- the end of the output of a\n")[2].partition("\n\n")[0]
        self.assertEqual(end.splitlines(), [*["more"] * 24, "cause"])

    def test_output_of_failed_unittest_is_repeated_at_the_end(self):
        text = "ERROR: test_b (m.C)\n-----\nTraceback\ncause\n\n-----\nRan 2 tests in 0.1s\n\nFAILED (errors=1)"
        reader = run_tests.Unittest()
        for line in text.splitlines():
            reader.read_output(line)
        self.assertEqual(list(reader.outputs["test_b (m.C)"]), ["-----", "Traceback", "cause", "-----"])

    def test_failed_command_without_failed_tests_fails(self):
        code, lines = outcome({"unit": [shell("error: could not compile", code=101), shell(PASSES)]})
        self.assertEqual((code, lines[-1]), (1, "3 passed, 1 failed, 0 skipped"))
        self.assertIn("exited with 101", lines[0])

    def test_missing_command_fails(self):
        code, lines = outcome({"unit": [(run_tests.Cargo, ["/no/such/command"])]})
        self.assertEqual((code, lines[-1]), (1, "0 passed, 1 failed, 0 skipped"))

    def test_command_without_tests_fails(self):
        nothing = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0s"
        for step in (shell(nothing), shell("nothing at all"), (run_tests.Unittest, ["echo", "Ran 0 tests in 0.0s"])):
            code, lines = outcome({"unit": [step]})
            self.assertEqual((code, lines[-1]), (1, "0 passed, 1 failed, 0 skipped"))
            self.assertIn("ran no test", lines[0])

    def test_skipped_test_is_reported_and_fails_in_ci(self):
        step = shell(RUNNING, "test a ... ignored", PASSES.replace("0 ignored", "1 ignored"))
        for ci, expected in (("", 0), ("false", 0), ("true", 1), ("1", 1)):
            code, lines = outcome({"unit": [step]}, CI=ci)
            self.assertEqual((code, lines[0]), (expected, "unit: skipped: conventions: a"))
            self.assertIn("SKIPPED", lines[1])
            self.assertEqual(lines[-1], "3 passed, 0 failed, 1 skipped")

    def test_group_that_the_machine_cannot_run_is_skipped(self):
        code, lines = outcome({"kubernetes": [shell("skipped: a cluster: it needs root")]}, CI="")
        self.assertEqual((code, lines[0]), (0, "kubernetes: skipped: a cluster: it needs root"))
        self.assertEqual(lines[-1], "0 passed, 0 failed, 1 skipped")

    def test_colors_are_ignored(self):
        self.assertEqual(outcome({"unit": [shell(f"\x1b[32m{PASSES}\x1b[0m")]})[0], 0)

    def test_unknown_group_is_a_usage_error(self):
        with contextlib.redirect_stderr(io.StringIO()) as err:
            self.assertEqual(outcome({"unit": []}, ["spork"])[0], 2)
        self.assertIn("spork", err.getvalue())


class SideBySide(unittest.TestCase):
    def test_groups_run_beside_others_after_the_first(self):
        # Each of the two waits for the other one, and both for the first.
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

        def step(done, *needs):
            # If they do not run at the same time, the first one fails.
            loops = "".join(f"timeout 20 sh -c 'until test -e {folder}/{need}; do sleep 0.01; done' || exit 4; " for need in needs)
            check = f"test -e {folder}/unit || exit 3; " if needs else ""
            return (run_tests.Cargo, ["sh", "-c", f"{check}touch {folder}/{done}; {loops}echo '{PASSES}'"])

        groups = {"unit": [step("unit")], "spark": [step("spark", "kubernetes")], "kubernetes": [step("kubernetes", "spark")]}
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(run_tests.main([], groups), 0)
        self.assertIn(f"\nkubernetes: {PASSES}\n", out.getvalue())
        self.assertIn(f"\nspark: {PASSES}\n", out.getvalue())
        totals = [f"{name}: 3 passed, 0 failed, 0 skipped" for name in groups]
        self.assertEqual(out.getvalue().splitlines()[-4:], [*totals, "9 passed, 0 failed, 0 skipped"])


class Children(unittest.TestCase):
    def test_leftover_processes_are_killed(self):
        # The sleep holds the output open, so the test hangs if it is not killed.
        out = self.enterContext(contextlib.redirect_stdout(io.StringIO()))
        run_step(run_tests.Cargo(), ["sh", "-c", "sleep 1000 & echo left $!"])
        self.assert_gone(int(re.search(r"^left (\d+)$", out.getvalue(), re.MULTILINE)[1]))

    def test_silent_command_is_killed_and_fails(self):
        out = self.enterContext(contextlib.redirect_stdout(io.StringIO()))
        with mock.patch.object(run_tests, "SILENCE", 0.5):
            reader = run_step(run_tests.Cargo(), ["sh", "-c", "echo left $$; sh -c 'sleep 1000; true'"])
        self.assertIn("killed: no output for 0.5 s\n", out.getvalue())
        self.assertEqual([line.rpartition(" s of CPU: ")[2] for line in reader.outputs["sh"][2:]], ["sh -c sleep 1000; true", "sleep 1000"])
        self.assertEqual(reader.failed, 1)
        self.assert_gone(int(re.search(r"^left (\d+)$", out.getvalue(), re.MULTILINE)[1]))

    def test_interrupt_kills_the_children(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number=number):
                self.assert_interrupt_kills_children(number)

    def assert_interrupt_kills_children(self, number):
        # Runs the script with a fake cargo that starts a child and waits for it.
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "cargo").write_text("#!/bin/sh\nsleep 1000 &\necho child $!\nwait\n")
        (folder / "cargo").chmod(0o755)
        path = f"{folder}:{os.environ['PATH']}"
        script = subprocess.Popen(
            [sys.executable, str(SCRIPT), "unit"], stdout=subprocess.PIPE, text=True, env={**os.environ, "PATH": path}
        )
        with script:
            child = next(int(line.split()[1]) for line in script.stdout if line.startswith("child "))
            script.send_signal(number)
            self.assertEqual(script.wait(timeout=20), 128 + number)
        self.assert_gone(child)

    def assert_gone(self, pid):
        """Waits until the process is gone, or a zombie that its parent has not reaped."""
        deadline = time.monotonic() + 10
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                self.assertLess(time.monotonic(), deadline, f"process {pid} is still running")
                time.sleep(0.01)


class Groups(unittest.TestCase):
    def test_makefile_and_script_have_the_same_groups(self):
        makefile = (ROOT / "Makefile").read_text()
        groups = re.search(r"^GROUPS := (.*)$", makefile, re.MULTILINE)[1].split()
        self.assertEqual(groups, list(run_tests.GROUPS))
        for group in groups:
            self.assertRegex(makefile, rf"(?m)^needs-{group} := ", "must name the requirements")
            self.assertRegex(makefile, rf"(?m)^## test-{group} ", "must be in `make help`")

    def test_tests_that_need_a_service_are_in_their_group_only(self):
        def filters(group):
            return [command[command.index("--") + 1 :] for _, command in run_tests.GROUPS[group] if "--" in command]

        services = {
            "postgres": "postgres", "cloud": "venv", "schemathesis": "venv", "identity": "npm", "spark": "javac",
            "streaming": "maven", "kubernetes": "java",
        }
        # The backend itself has modules named `kubernetes`.
        modules = {group: "cluster" if group == "kubernetes" else group for group in services}
        skipped = [word for module in modules.values() for word in ("--skip", f"{module}::")]
        self.assertEqual(filters("unit"), [skipped])
        makefile = (ROOT / "Makefile").read_text()
        for group, need in services.items():
            self.assertEqual([words[0] for words in filters(group)], [f"{modules[group]}::"])
            needs = re.findall(rf"^needs-(\w+) := .*\b{need}\b", makefile, re.MULTILINE)
            self.assertIn(group, needs)
