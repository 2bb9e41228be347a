"""Tests of scripts/check-advisories with a fake cargo-deny."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "check-advisories"
# Fake cargo-deny with fixed outcomes of its two calls.
DENY = """#!/bin/sh
case $1 in
fetch) {fetch} ;;
check) echo "checked $*"; exit {check} ;;
esac
"""


class CheckAdvisories(unittest.TestCase):
    def run_script(self, fetch, check=0):
        with tempfile.TemporaryDirectory() as folder:
            deny = Path(folder) / "cargo-deny"
            deny.write_text(DENY.format(fetch=fetch, check=check))
            deny.chmod(0o755)
            environment = {**os.environ, "DCP_ADVISORIES_TIMEOUT": "1"}
            return subprocess.run(
                [SCRIPT, deny], capture_output=True, text=True, check=False, env=environment
            )

    def test_fetched_database_without_findings_passes(self):
        ran = self.run_script("exit 0")
        self.assertEqual(ran.returncode, 0)
        self.assertIn("checked check --disable-fetch --hide-inclusion-graph advisories", ran.stdout)

    def test_finding_fails(self):
        self.assertNotEqual(self.run_script("exit 0", check=1).returncode, 0)

    def test_unreachable_database_is_reported_and_passes(self):
        for fetch in ("exit 1", "exec sleep 60"):
            with self.subTest(fetch):
                ran = self.run_script(fetch)
                self.assertEqual((ran.returncode, ran.stdout), (0, ""))
                self.assertIn("NOT CHECKED", ran.stderr)


if __name__ == "__main__":
    unittest.main()
