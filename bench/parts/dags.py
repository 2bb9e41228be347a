"""Measures Airflow's `DagBag` with generated DAG files, handwritten DAG files and dag-factory."""

import json
import os
import shutil
import statistics
import sys
from pathlib import Path

from .common import CACHE, NO_GOAL, REPETITIONS, ROOT, check_output, corpus, log, run

DAG_FACTORY = "1.1.0"
DRIVER = Path(__file__).resolve().parent / "dagbag.py"


def install() -> Path:
    """Installs the Airflow of the provider's tests, and dag-factory with the same pins."""
    pins = ROOT / "airflow" / "tests" / "requirements.txt"
    venv = CACHE / f"dag-factory-{DAG_FACTORY}"
    python = venv / "bin" / "python"
    if not (venv / "complete").exists():
        log(f"installing Airflow and dag-factory {DAG_FACTORY} …")
        check_output([sys.executable, "-m", "venv", "--clear", venv])
        check_output([python, "-m", "pip", "install", "-q", "--no-deps", "-r", pins])
        check_output([python, "-m", "pip", "install", "-q", "-c", pins, f"dag-factory=={DAG_FACTORY}"])
        (venv / "complete").touch()
    return python


def is_comparable(dag: dict) -> bool:
    """Returns False for DAGs that dag-factory cannot express: with deadlines, or a start date that is not in UTC."""
    return "deadlineSeconds" not in dag and ("startDate" not in dag or dag["timezone"] == "UTC")


def measure(dcp: Path, bench: Path, count: int) -> list:
    """Measures this part, and returns the rows of its table."""
    count = count // 10
    folder = CACHE / "dags"
    shutil.rmtree(folder, ignore_errors=True)
    log(f"compiling {count} DAGs …")
    check_output([dcp, "--project", corpus(bench, 10 * count), "compile", "--out", folder / "compiled", "--quiet"])
    (folder / "dcp").mkdir()
    chosen = []
    for path in sorted((folder / "compiled" / "Orchestrator").rglob("*.json")):
        body = json.loads(path.read_text())["body"]
        if len(chosen) < count and is_comparable(body["dag"]):
            chosen.append(str(path))
            (folder / "dcp" / body["file"]).write_text(body["content"])
    (folder / "chosen").write_text("\n".join(chosen))
    python = install()
    environment = os.environ | {
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "3600",
        "PYTHONPATH": str(ROOT / "airflow" / "src"),
        "DO_NOT_TRACK": "1",
    }
    call = lambda *words: check_output([python, DRIVER, *words], env=environment)  # noqa: E731
    call("write", folder / "chosen", folder)
    for other in ("hand", "factory"):
        log(f"comparing the DAGs of `{other}` …")
        done = run([python, DRIVER, "equal", folder / "dcp", folder / other], env=environment)
        if done.returncode != 0 or int(done.stdout.split()[-1]) != count:
            raise SystemExit(f"bench/run: the DAGs of `{other}` differ:\n{done.stdout[-500:]}{done.stderr[-3000:]}")

    def seconds(which: str) -> float:
        found = json.loads(call("time", folder / which).splitlines()[-1])
        if found["dags"] != count:
            raise SystemExit(f"bench/run: {found['dags']} DAGs of `{which}` instead of {count}")
        return found["seconds"]

    log("timing …")
    all_times = {"dcp": [], "hand": [], "factory": []}
    for _ in range(REPETITIONS):
        for which, measured in all_times.items():
            measured.append(seconds(which))
    times = {which: statistics.median(measured) for which, measured in all_times.items()}
    size = {which: sum(path.stat().st_size for path in (folder / which).glob("*.py")) // count for which in ("dcp", "hand")}

    handwritten, factory = times["dcp"] / times["hand"], times["factory"] / times["dcp"]
    text = f"{times['dcp']:.2f} s against {times['hand']:.2f} s: {handwritten:.2f}×"
    rows = [(f"{count} generated DAGs against handwritten ones", "≤ 1.1×", text, handwritten <= 1.1)]
    text = f"{times['dcp']:.2f} s against {times['factory']:.2f} s: {factory:.1f}×"
    rows.append((f"{count} generated DAGs against those of dag-factory {DAG_FACTORY}", "≥ 3×", text, factory >= 3))
    rows.append(("bytes of a file, generated and handwritten", NO_GOAL, f"{size['dcp']} and {size['hand']}", True))
    return rows
