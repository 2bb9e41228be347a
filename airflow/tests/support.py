"""A dcp and an Airflow to test with: the real ones, in folders of their own."""

from __future__ import annotations

import atexit
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(tempfile.mkdtemp(prefix="dcp-airflow-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

# Before anything of Airflow is imported, which reads it then.
os.environ.update(
    AIRFLOW_HOME=str(FOLDER / "airflow"),
    AIRFLOW__CORE__DAGS_FOLDER=str(FOLDER / "airflow" / "dags"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__LOGGING__LOGGING_LEVEL="INFO",
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
)
DAGS = FOLDER / "airflow" / "dags"
DAGS.mkdir(parents=True, exist_ok=True)

T = TypeVar("T")


def until(what: str, look: Callable[[], T], seconds: float = 120.0) -> T:
    """What `look` gives, once that is something."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return int(it.getsockname()[1])


def end(process: subprocess.Popen[Any], how: int = signal.SIGTERM) -> None:
    """Ends a process and all that it has started, which is the group that it leads."""
    for sent in (how, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
        except ProcessLookupError:
            break
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


MANIFEST = """\
apiVersion: dcp/v1
kind: CoreETL
metadata: {{name: {name}, domain: sales, owner: sales@example.com, labels: {labels}}}
spec:
  engine: {{version: "4.1"}}
  job:
{job}
  run: {run}
{more}  retry: {{attempts: 1}}
  timeouts: {{stop: 5s}}
  resources: {{driver: {{memory: 512m}}, executors: {{cores: 1, memory: 512m}}}}
"""

# Writes a line a second, and needs no Spark but its launcher.
COUNT = """\
import sys, time
for number in range(int(sys.argv[1])):
    print(f"count {number} of {sys.argv[2]}", flush=True)
    time.sleep(1)
print("counted \\x1b[31mall\\x1b[0m", flush=True)
"""

JOBS = {
    "count": """\
    pyspark:
      main: jobs/count.py
      args: ["${param.seconds}", "${param.day}"]
      parameters: {seconds: {type: integer, default: 1}, day: {type: string, default: none}}""",
    "orders": """\
    sql:
      query: SELECT CAST(:day AS STRING) AS day
      parameters: {day: {type: date, run: date}}
      returnResult: true""",
    "broken": """\
    sql:
      query: SELECT * FROM nowhere.at_all
      returnResult: true""",
}


class Dcp:
    """A project that is applied, and `dcp up` for it."""

    scope = "shop/prod"

    def __init__(self, name: str) -> None:
        self.folder = FOLDER / name
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._binary = os.environ.get("DCP") or str(ROOT / "target" / "debug" / "dcp")
        (self.folder / "manifests").mkdir(parents=True)
        (self.folder / "jobs").mkdir()
        (self.folder / "jobs" / "count.py").write_text(COUNT)
        (self.folder / "dcp.yaml").write_text("project: shop\ntargets: {prod: {default: true}}\n")
        for job, text in JOBS.items():
            self.write(job, text)

    def write(self, name: str, job: str, run: str = "{manual: {}}", more: str = "", labels: str = "{}") -> None:
        """Writes a manifest; `more` are lines of its spec."""
        text = MANIFEST.format(name=name, job=job, run=run, more=more, labels=labels)
        (self.folder / "manifests" / f"{name}.yaml").write_text(text)

    def publish_to(self, dags: Path) -> None:
        """Has `apply` put DAG files where an Airflow reads them."""
        text = f"project: shop\ntargets: {{prod: {{default: true, dags: {json.dumps(str(dags))}}}}}\n"
        (self.folder / "dcp.yaml").write_text(text)

    @property
    def dags(self) -> Path:
        """Where `apply` puts DAG files by default."""
        return self.folder / ".dcp" / "dags"

    def dcp(self, *arguments: str) -> str:
        ran = subprocess.run(
            [self._binary, *arguments], cwd=self.folder, capture_output=True, text=True, check=False
        )
        if ran.returncode != 0:
            raise AssertionError(f"dcp {' '.join(arguments)}: {ran.stdout}{ran.stderr}")
        return ran.stdout

    def apply(self) -> None:
        self.dcp("apply", "--auto-approve", "--quiet")

    def start(self) -> None:
        home = subprocess.run(
            [ROOT / "scripts" / "spark"], capture_output=True, text=True, check=True
        ).stdout.strip()
        with open(self.folder / "up.log", "ab") as log:
            self._process = subprocess.Popen(
                [self._binary, "up", "--listen", f"127.0.0.1:{self.port}"],
                cwd=self.folder,
                env={**os.environ, "SPARK_HOME": home},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until("dcp listens", self._listens, 30)

    def _listens(self) -> bool:
        with socket.socket() as it:
            return it.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Ends dcp, and not the drivers that it runs, which are in groups of their own."""
        if self._process is not None:
            end(self._process, how)
            self._process = None

    def close(self) -> None:
        try:
            if self._process is None:
                self.start()
            for run in self.live():
                self.dcp("cancel", run["id"])
            until("all that runs has ended", lambda: not self.live(), 60)
        finally:
            self.stop()

    def runs(self, name: str = "") -> list[dict[str, Any]]:
        text = self.dcp("runs", "--limit", "1000", "--output", "json", *([f"sales/{name}"] if name else []))
        return [it["execution"] for it in json.loads(text)]

    def live(self) -> list[dict[str, Any]]:
        return [it for it in self.runs() if it["phase"] not in ("SUCCEEDED", "FAILED", "CANCELLED")]

    def connection(self, **extra: Any) -> str:
        """A connection of Airflow's to it, as an environment variable has it."""
        port = extra.pop("port", self.port)
        fields = {"conn_type": "dcp", "host": "127.0.0.1", "port": port, "password": self.token, "extra": extra}
        return json.dumps(fields)

    @property
    def token(self) -> str:
        """The token of callers over TCP, which the first start makes; before it, one that is made here."""
        path = self.folder / ".dcp" / "token"
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32))
        return path.read_text()


def task(task_id: str, job: str, **arguments: Any) -> str:
    """A task, as a DAG file has it."""
    outlets = arguments.pop("outlets", None)
    text = f"SparkOperator(task_id={task_id!r}, scope={Dcp.scope!r}, job={job!r}"
    for name, value in arguments.items():
        text += f", {name}={value if name == 'execution_timeout' else repr(value)}"
    if outlets:
        text += f", outlets=[{', '.join(outlets)}]"
    return text + ")"


def asset(name: str) -> str:
    kind, _, rest = name.partition(":")
    return f"Asset(name={name!r}, uri={f'dcp://{kind}/{rest}'!r})"


def dag_file(folder: Path, dag_id: str, *tasks: str, schedule: str = "None", more: str = "") -> Path:
    """Writes a DAG file, like the ones that `dcp apply` makes."""
    lines = [
        "from datetime import timedelta",
        "import pendulum",
        "from airflow.sdk import DAG, Asset, AssetAll, AssetAny, CronTriggerTimetable",
        "from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference",
        "from dcp_airflow import SparkOperator, completed",
        f"with DAG(dag_id={dag_id!r}, schedule={schedule}, default_args={{'retries': 0}}{more}) as dag:",
        *[f"    task_{number} = {text}" for number, text in enumerate(tasks)],
    ]
    path = folder / f"{dag_id}.py"
    temporary = path.with_suffix(".tmp")
    temporary.write_text("\n".join(lines) + "\n")
    temporary.rename(path)
    return path


class Airflow:
    """A process that runs DAGs as `airflow dags test` does, one after the other: its start takes longer than that."""

    def __init__(self, connections: dict[str, str]) -> None:
        self._connections = {f"AIRFLOW_CONN_{name.upper()}": text for name, text in connections.items()}
        self._process: subprocess.Popen[str] | None = None
        self._lines: list[str] = []

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("drive.py"))],
            env={**os.environ, **self._connections},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._lines = []
        threading.Thread(target=self._read, args=(self._process, self._lines), daemon=True).start()

    @staticmethod
    def _read(process: subprocess.Popen[str], lines: list[str]) -> None:
        assert process.stdout is not None
        try:
            lines.extend(process.stdout)
        except ValueError:
            # It was closed, as it was killed.
            pass

    def kill(self) -> None:
        assert self._process is not None
        end(self._process, signal.SIGKILL)
        self._process = None

    def close(self) -> None:
        if self._process is not None:
            end(self._process)
            self._process = None

    def begin(self, dag: Path, again: str = "") -> None:
        """Starts a run of a DAG, or a further try of the run before: `cleared` by a person, or `retried` by Airflow."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        assert self._process is not None and self._process.stdin is not None
        self._lines.clear()
        print(
            json.dumps({"path": str(dag), "dag": dag.stem, "again": again}),
            file=self._process.stdin,
            flush=True,
        )

    def wait(self, seconds: float = 180.0) -> tuple[str, str]:
        """How it has ended, and all that it has written."""
        process = self._process
        assert process is not None

        def ended() -> str | None:
            for line in list(self._lines):
                if line.startswith("ENDED "):
                    return line.split()[1]
            if process.poll() is not None:
                raise AssertionError("Airflow has died:\n" + "".join(self._lines))
            return None

        try:
            state = until("the DAG has ended", ended, seconds)
        except AssertionError as why:
            raise AssertionError(f"{why}\n{''.join(self._lines)}") from None
        return state, "".join(self._lines)

    def run(self, dag: Path, again: str = "") -> tuple[str, str]:
        self.begin(dag, again)
        return self.wait()


def migrate() -> None:
    """Makes Airflow's database, once."""
    if not (FOLDER / "airflow" / "airflow.db").exists():
        made = subprocess.run(["airflow", "db", "migrate"], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise AssertionError(made.stdout + made.stderr)
