"""Tests of scripts/moto: reports a failed installation, and repeats an incomplete one."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "moto"


class Installation(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def run_with(self, python):
        (self.folder / "python3").write_text(f"#!/bin/sh\n{python}\n")
        (self.folder / "python3").chmod(0o755)
        path = f"{self.folder}:{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "DCP_CACHE": str(self.folder / "cache")}
        return subprocess.run([SCRIPT], env=environment, input="", capture_output=True, text=True, timeout=60)

    def test_failed_installation_is_reported_and_serves_nothing(self):
        for _ in range(2):
            done = self.run_with("echo no venv here >&2; exit 7")
            self.assertEqual((done.returncode, done.stdout), (7, ""))
            self.assertIn("no venv here", done.stderr)

    def test_incomplete_installation_is_repeated(self):
        # The venv is created, but pip fails.
        venv = 'for last; do :; done; mkdir -p "$last/bin"; printf "#!/bin/sh\\necho offline >&2; exit 3" > "$last/bin/pip"'
        for _ in range(2):
            done = self.run_with(venv + '; chmod +x "$last/bin/pip"')
            self.assertEqual((done.returncode, done.stdout), (3, ""))
            self.assertIn("offline", done.stderr)
            self.assertIn("installing moto", done.stderr)


if __name__ == "__main__":
    unittest.main()
