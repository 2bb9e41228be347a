"""Tests of scripts/cached, and of a script that uses it."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent


class Cached(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.cached = self.folder / "cache" / "parts" / "it"
        self.environment = os.environ | {"DCP_CACHE": str(self.folder / "cache")}

    def start(self, script, **options):
        command = [SCRIPTS / "cached", "parts/it", "a part", "sh", "-c", script, "sh", self.folder]
        return subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            **options,
        )

    def run_with(self, script):
        """Returns the exit code, what is printed, and the number of calls of the script."""
        with self.start(f"echo >>$1/calls; {script}") as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err, len((self.folder / "calls").read_text().splitlines())

    def test_folder_is_made_once(self):
        for _ in range(2):
            code, out, _, calls = self.run_with("mkdir $2; echo made")
            self.assertEqual((code, out, calls), (0, f"{self.cached}\n", 1))

    def test_failed_command_is_repeated_in_an_empty_folder(self):
        # Fails unless it is the second call, and if it finds the folder of the first one.
        code, out, err, calls = self.run_with("mkdir $2 && [ $(wc -l <$1/calls) = 2 ]")
        self.assertEqual((code, out, calls), (0, f"{self.cached}\n", 2))
        self.assertIn("attempt 1 of 3 to install a part failed with exit code 1", err)

    def test_last_failure_is_reported_and_the_next_call_begins_again(self):
        for calls in (3, 6):
            done = self.run_with("echo offline >&2; exit 7")
            self.assertEqual((done[0], done[1], done[3]), (7, "", calls))
            self.assertIn("offline\nattempt 3 of 3", done[2])

    def test_concurrent_calls_make_one_folder(self):
        processes = [self.start("mkdir $2 && echo >>$1/calls && sleep 0.2") for _ in range(4)]
        for process in processes:
            with process:
                self.assertEqual((process.communicate(timeout=60)[0], process.returncode), (f"{self.cached}\n", 0))
        self.assertEqual((self.folder / "calls").read_text(), "\n")

    def test_interrupted_command_is_not_repeated(self):
        # Like pip, the command exits by itself when it is interrupted.
        script = "trap 'exit 1' INT; echo >>$1/calls; while :; do sleep 0.01; done"
        with self.start(script, process_group=0) as process:
            deadline = time.monotonic() + 20
            while not (self.folder / "calls").exists():
                self.assertLess(time.monotonic(), deadline, "the command did not start")
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGINT)
            try:
                self.assertEqual((process.communicate(timeout=20)[0], process.returncode), ("", 130))
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        self.assertEqual((self.folder / "calls").read_text(), "\n")

    def test_processes_of_the_command_do_not_hold_the_lock(self):
        # The output must be closed, or `communicate` would wait for the process.
        code, *_ = self.run_with("sleep 10 >/dev/null 2>&1 & exit 3")
        self.assertEqual(code, 3)
        subprocess.run(["flock", "--nonblock", f"{self.cached}.lock", "true"], check=True)

    def test_failed_installation_serves_nothing(self):
        # The environment is created, but pip fails.
        venv = 'for last; do :; done; mkdir -p "$last/bin"; printf "#!/bin/sh\\necho offline >&2; exit 3" > "$last/bin/pip"'
        (self.folder / "python3").write_text(f'#!/bin/sh\n{venv}; chmod +x "$last/bin/pip"\n')
        (self.folder / "python3").chmod(0o755)
        environment = self.environment | {"PATH": f"{self.folder}:{os.environ['PATH']}"}
        done = subprocess.run([SCRIPTS / "moto"], env=environment, input="", capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertIn("offline", done.stderr)


if __name__ == "__main__":
    unittest.main()
