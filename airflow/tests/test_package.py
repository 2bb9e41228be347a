"""What the package is: light, whole, and known to Airflow."""

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
HEAVY = ("grpc", "google.protobuf", "airflow.triggers", "airflow.models.dag", "airflow.jobs")


def python(code: str) -> str:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise AssertionError(ran.stderr)
    return ran.stdout


class Light(unittest.TestCase):
    def test_a_dag_file_imports_nothing_heavy(self) -> None:
        folder = FOLDER / "light"
        folder.mkdir()
        # What dcp's DAGs import, from Airflow alone and then with the provider: no more may come in by that.
        path = dag_file(folder, "light", task("it", "sales/orders"))
        loaded = python(
            "import sys, json, runpy\n"
            "from airflow.sdk import DAG, Asset, AssetAll, AssetAny, CronTriggerTimetable\n"
            "before = set(sys.modules)\n"
            f"runpy.run_path({str(path)!r})\n"
            "print(json.dumps(sorted(set(sys.modules) - before)))"
        )
        new = json.loads(loaded.splitlines()[-1])
        self.assertIn("dcp_airflow.operators", new)
        self.assertEqual([it for it in new if it.startswith(HEAVY)], [])

    def test_the_package_alone_imports_nothing(self) -> None:
        loaded = python(
            "import sys, json, dcp_airflow\nprint(json.dumps([m for m in sys.modules if 'airflow' in m]))"
        )
        self.assertEqual(json.loads(loaded), ["dcp_airflow"])

    def test_a_watched_asset_imports_no_grpc(self) -> None:
        loaded = python(
            "import sys\nfrom dcp_airflow import completed\ncompleted('shop/prod', 'table:lake.mart.orders')\n"
            "print([m for m in sys.modules if m == 'grpc' or m.startswith('google.protobuf')])"
        )
        self.assertEqual(loaded.splitlines()[-1], "[]")


class Known(unittest.TestCase):
    def test_airflow_knows_the_provider(self) -> None:
        told = python(
            "import json\nfrom airflow.providers_manager import ProvidersManager\n"
            "from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime\n"
            "it = ProvidersManager()\nhook = ProvidersManagerTaskRuntime().hooks['dcp']\n"
            "print(json.dumps({'provider': 'dcp-airflow' in it.providers, 'hook': hook.hook_class_name,\n"
            "'name': hook.hook_name, 'links': [m for m in it.extra_links_class_names if 'dcp' in m],\n"
            "'hidden': it.field_behaviours['dcp']['hidden_fields'],\n"
            "'fields': [m for m in it.connection_form_widgets if '__dcp__' in m]}))"
        )
        told = json.loads(told.splitlines()[-1])
        self.assertTrue(told["provider"])
        self.assertEqual(told["hook"], "dcp_airflow.hooks.DcpHook")
        self.assertEqual(told["name"], "Data control plane")
        self.assertEqual(told["links"], ["dcp_airflow.links.ExecutionLink"])
        self.assertEqual(told["hidden"], ["schema", "login"])
        self.assertIn("extra__dcp__tls", told["fields"])

    def test_the_provider_info_is_as_airflow_wants_it(self) -> None:
        import airflow
        import jsonschema
        from dcp_airflow import get_provider_info

        schema = json.loads((Path(airflow.__path__[0]) / "provider_info.schema.json").read_text())
        jsonschema.validate(get_provider_info(), schema)

    def test_the_wheel_has_all_that_is_needed(self) -> None:
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


class Generated(unittest.TestCase):
    def test_every_golden_dag_is_imported(self) -> None:
        from airflow.dag_processing.dagbag import DagBag

        self.assertTrue(GOLDEN)
        for path in GOLDEN:
            with self.subTest(path.name):
                bag = DagBag(str(path))
                self.assertEqual(bag.import_errors, {})
                self.assertEqual(len(bag.dags), 1)
