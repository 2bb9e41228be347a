"""Tests of scripts/dist: packs the debug binary, and installs and runs each package."""

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "scripts" / "dist"
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("dist", str(SCRIPT))
dist = importlib.util.module_from_spec(importlib.util.spec_from_loader("dist", loader))
loader.exec_module(dist)


def run(*command, **options):
    words = [str(word) for word in command]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = Path(temporary.name)
        # `--test cli` makes cargo enable the same features of dependencies as `make test-unit`.
        run("cargo", "build", "--quiet", "--locked", "--workspace", "--bin", "dcp", "--test", "cli", cwd=ROOT)
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        cls.binary = cls.folder / "dcp"
        run("strip", "--strip-all", "-o", cls.binary, target / "debug" / "dcp", cwd=ROOT)
        cls.out = cls.folder / "dist"
        run(SCRIPT, "--binary", cls.binary, "--out", cls.out)

    def only_file(self, pattern):
        found = list(self.out.glob(pattern))
        self.assertEqual(len(found), 1, f"{pattern}: {found}")
        return found[0]

    def test_wheel_installs_dcp(self):
        venv.create(self.folder / "venv", with_pip=True)
        pip = self.folder / "venv" / "bin" / "pip"
        run(pip, "install", "--quiet", "--no-index", "--no-deps", self.only_file("dcp-*.whl"), self.only_file("dcp_airflow-*.whl"))
        self.assertIn("dcp", run(self.folder / "venv" / "bin" / "dcp", "--version"))
        listed = run(pip, "show", "--files", "dcp")
        self.assertIn("sboms/dcp.cdx.json", listed)
        self.assertIn("licenses/THIRD-PARTY-LICENSES.txt", listed)
        run(pip, "uninstall", "--quiet", "--yes", "dcp")
        self.assertFalse((self.folder / "venv" / "bin" / "dcp").exists())

    def test_debian_package_has_dcp_and_its_dependencies(self):
        package = self.only_file("dcp_*.deb")
        root = self.folder / "root"
        run("dpkg-deb", "--extract", package, root)
        self.assertIn("dcp", run(root / "usr/bin/dcp", "--version"))
        self.assertIn("_dcp", (root / "usr/share/bash-completion/completions/dcp").read_text())
        dependencies = run("dpkg-deb", "--field", package, "Depends")
        major, minor = dist.required_glibc(self.binary.read_bytes())
        self.assertIn(f"libc6 (>= {major}.{minor})", dependencies)
        listed = run("dpkg-deb", "--contents", package).splitlines()
        self.assertTrue(all(" root/root " in line for line in listed), listed)

    def test_archive_has_executable_completions_and_licenses(self):
        with tarfile.open(self.only_file("dcp-*.tar.gz")) as archive:
            members = {Path(member.name).name: member for member in archive}
        self.assertEqual(members["dcp"].mode, 0o755)
        self.assertGreater(members["THIRD-PARTY-LICENSES.txt"].size, 10_000)
        self.assertIn("dcp.fish", members)

    def test_bill_of_materials_lists_linked_packages_only(self):
        bill = json.loads(self.only_file("*.cdx.json").read_text())
        components = {it["name"]: it for it in bill["components"]}
        self.assertIn("dcp-compiler", components)
        self.assertEqual(len(components["sqlparser"]["hashes"][0]["content"]), 64)
        self.assertEqual(components["sqlparser"]["licenses"], [{"expression": "Apache-2.0"}])
        for absent in ("proptest", "insta", "serde_derive", "dcp-tests"):
            self.assertNotIn(absent, components)

    def test_checksums_cover_all_files(self):
        run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=self.out)
        named = {line.split("  ")[1] for line in (self.out / "SHA256SUMS").read_text().splitlines()}
        self.assertEqual(named | {"SHA256SUMS"}, {it.name for it in self.out.iterdir()})

    def test_second_run_writes_identical_files(self):
        sums = (self.out / "SHA256SUMS").read_text()
        run(SCRIPT, "--binary", self.binary, "--out", self.out)
        self.assertEqual((self.out / "SHA256SUMS").read_text(), sums)

    def test_folder_with_other_files_is_rejected(self):
        other = self.folder / "other"
        other.mkdir()
        (other / "mine").touch()
        done = subprocess.run([SCRIPT, "--binary", self.binary, "--out", other], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("files that scripts/dist did not write", done.stderr)
        self.assertTrue((other / "mine").exists())


if __name__ == "__main__":
    unittest.main()
