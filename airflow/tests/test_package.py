"""Tests of the package: imports, contents, and registration with Airflow."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

from support import FOLDER, ROOT, dag_file, task

GOLDEN = sorted((ROOT / "templates" / "golden").glob("*.py"))
SLOW_MODULES = ("grpc", "google.protobuf", "airflow.triggers", "airflow.models.dag", "airflow.jobs")


def run_python(code: str) -> str:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise AssertionError(ran.stderr)
    return ran.stdout


class Imports(unittest.TestCase):
    def test_dag_file_imports_no_slow_module(self) -> None:
        folder = FOLDER / "light"
        folder.mkdir()
        # `before` has the modules that a DAG of dcp imports from Airflow itself.
        path = dag_file(folder, "light", task("it", "sales/orders"))
        loaded = run_python(
            "import sys, json, runpy\n"
            "from airflow.sdk import DAG, Asset, AssetAll, AssetAny, CronTriggerTimetable\n"
            "before = set(sys.modules)\n"
            f"runpy.run_path({str(path)!r})\n"
            "print(json.dumps(sorted(set(sys.modules) - before)))"
        )
        new = json.loads(loaded.splitlines()[-1])
        self.assertIn("dcp_airflow.operators", new)
        self.assertEqual([it for it in new if it.startswith(SLOW_MODULES)], [])

    def test_package_imports_none_of_its_modules(self) -> None:
        loaded = run_python(
            "import sys, json, dcp_airflow\nprint(json.dumps([m for m in sys.modules if 'airflow' in m]))"
        )
        self.assertEqual(json.loads(loaded), ["dcp_airflow"])

    def test_completed_asset_imports_no_grpc(self) -> None:
        loaded = run_python(
            "import sys\nfrom dcp_airflow import completed\ncompleted('shop/prod', 'table:lake.mart.orders')\n"
            "print([m for m in sys.modules if m == 'grpc' or m.startswith('google.protobuf')])"
        )
        self.assertEqual(loaded.splitlines()[-1], "[]")


class Registration(unittest.TestCase):
    def test_provider_is_registered_with_airflow(self) -> None:
        output = run_python(
            "import json\nfrom airflow.providers_manager import ProvidersManager\n"
            "from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime\n"
            "it = ProvidersManager()\nhook = ProvidersManagerTaskRuntime().hooks['dcp']\n"
            "print(json.dumps({'provider': 'dcp-airflow' in it.providers, 'hook': hook.hook_class_name,\n"
            "'name': hook.hook_name, 'links': [m for m in it.extra_links_class_names if 'dcp' in m],\n"
            "'hidden': it.field_behaviours['dcp']['hidden_fields'],\n"
            "'fields': [m for m in it.connection_form_widgets if '__dcp__' in m]}))"
        )
        found = json.loads(output.splitlines()[-1])
        self.assertTrue(found["provider"])
        self.assertEqual(found["hook"], "dcp_airflow.hooks.DcpHook")
        self.assertEqual(found["name"], "Data control plane")
        self.assertEqual(found["links"], ["dcp_airflow.links.ExecutionLink"])
        self.assertEqual(found["hidden"], ["schema", "login"])
        self.assertIn("extra__dcp__tls", found["fields"])

    def test_provider_info_matches_the_schema_of_airflow(self) -> None:
        import airflow
        import jsonschema
        from dcp_airflow import get_provider_info

        schema = json.loads((Path(airflow.__path__[0]) / "provider_info.schema.json").read_text())
        jsonschema.validate(get_provider_info(), schema)

    def test_wheel_has_descriptors_and_modules(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            made = subprocess.run(
                [sys.executable, "-c", f"import flit_core.buildapi as it; print(it.build_wheel({folder!r}))"],
                cwd=ROOT / "airflow",
                capture_output=True,
                text=True,
                check=True,
            )
            with zipfile.ZipFile(Path(folder) / made.stdout.strip()) as wheel:
                names = wheel.namelist()
        for name in ("descriptors.bin", "py.typed", "operators.py"):
            self.assertIn(f"dcp_airflow/{name}", names)


class GeneratedDags(unittest.TestCase):
    def test_golden_dag_is_importable(self) -> None:
        from airflow.dag_processing.dagbag import DagBag

        self.assertTrue(GOLDEN)
        for path in GOLDEN:
            with self.subTest(path.name):
                bag = DagBag(str(path))
                self.assertEqual(bag.import_errors, {})
                self.assertEqual(len(bag.dags), 1)
