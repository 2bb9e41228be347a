"""Generated DAG files in Airflow's own `DagBag`, against the same DAGs by hand, and by dag-factory."""

import json
import os
import shutil
import statistics
import sys
from pathlib import Path

from .common import CACHE, REPETITIONS, ROOT, corpus, must, run, say

DAG_FACTORY = "1.1.0"
DRIVER = Path(__file__).resolve().parent / "dagbag.py"


def install() -> Path:
    """Airflow as the tests have it, and dag-factory beside it. The pins of the former hold for the latter too."""
    pins = ROOT / "airflow" / "tests" / "requirements.txt"
    venv = CACHE / f"dag-factory-{DAG_FACTORY}"
    python = venv / "bin" / "python"
    if not (venv / "complete").exists():
        say(f"installing Airflow and dag-factory {DAG_FACTORY} …")
        must([sys.executable, "-m", "venv", "--clear", venv])
        must([python, "-m", "pip", "install", "-q", "--no-deps", "-r", pins])
        must([python, "-m", "pip", "install", "-q", "-c", pins, f"dag-factory=={DAG_FACTORY}"])
        (venv / "complete").touch()
    return python


def can_all_say(dag: dict) -> bool:
    """dag-factory knows no deadlines, and reads a start date in UTC."""
    return "deadlineSeconds" not in dag and ("startDate" not in dag or dag["timezone"] == "UTC")


def measure(dcp: Path, bench: Path, count: int) -> list:
    """The rows of the table."""
    count = count // 10
    folder = CACHE / "dags"
    shutil.rmtree(folder, ignore_errors=True)
    say(f"compiling {count} DAGs …")
    must([dcp, "--project", corpus(bench, 10 * count), "compile", "--out", folder / "compiled", "--quiet"])
    (folder / "dcp").mkdir()
    chosen = []
    for path in sorted((folder / "compiled" / "Orchestrator").rglob("*.json")):
        body = json.loads(path.read_text())["body"]
        if len(chosen) < count and can_all_say(body["dag"]):
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
    call = lambda *words: must([python, DRIVER, *words], env=environment)  # noqa: E731
    call("write", folder / "chosen", folder)
    for other in ("hand", "factory"):
        say(f"are the DAGs of `{other}` the same? …")
        done = run([python, DRIVER, "equal", folder / "dcp", folder / other], env=environment)
        if done.returncode != 0 or int(done.stdout.split()[-1]) != count:
            raise SystemExit(f"bench/run: the DAGs of `{other}` are not the same:\n{done.stdout[-500:]}{done.stderr[-3000:]}")

    def seconds(which: str) -> float:
        found = json.loads(call("time", folder / which).splitlines()[-1])
        if found["dags"] != count:
            raise SystemExit(f"bench/run: {found['dags']} DAGs of `{which}`, and not {count}")
        return found["seconds"]

    say("timing …")
    all_times = {"dcp": [], "hand": [], "factory": []}
    for _ in range(REPETITIONS):
        for which, those in all_times.items():
            those.append(seconds(which))
    times = {which: statistics.median(those) for which, those in all_times.items()}
    size = {which: sum(path.stat().st_size for path in (folder / which).glob("*.py")) // count for which in ("dcp", "hand")}

    by_hand, factory = times["dcp"] / times["hand"], times["factory"] / times["dcp"]
    text = f"{times['dcp']:.2f} s against {times['hand']:.2f} s: {by_hand:.2f}×"
    rows = [(f"{count} generated DAGs against the same by hand", "≤ 1.1×", text, by_hand <= 1.1)]
    text = f"{times['dcp']:.2f} s against {times['factory']:.2f} s: {factory:.1f}×"
    rows.append((f"against the same by dag-factory {DAG_FACTORY}", "≥ 3×", text, factory >= 3))
    rows.append(("bytes of a file, generated and by hand", "told", f"{size['dcp']} and {size['hand']}", True))
    return rows
