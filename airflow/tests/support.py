"""Runs a real dcp and a real Airflow for tests, each in a temporary folder."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import random
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

# Airflow reads the environment on import.
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


def wait_until(condition: str, poll: Callable[[], T], seconds: float = 120.0) -> T:
    """Calls `poll` until its result is true, and returns that. Fails after a timeout."""
    deadline = time.monotonic() + seconds
    while True:
        found = poll()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {condition}")
        time.sleep(0.2)


def free_port() -> int:
    """Returns a free port of this machine that the kernel, whose own are 32768 and above, gives to no other socket."""
    for port in random.sample(range(20_000, 32_768), 1000):
        with contextlib.suppress(OSError), socket.socket() as it:
            it.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def terminate(process: subprocess.Popen[Any], first_signal: int = signal.SIGTERM) -> None:
    """Ends the process group of a process, by SIGKILL if the first signal does not end it."""
    for number in (first_signal, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
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

# Prints a line a second. The program starts no Spark session, so that it starts fast.
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
    """Project with manifests, and its `dcp up`."""

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
        """Writes a manifest; `more` has further lines of its spec."""
        text = MANIFEST.format(name=name, job=job, run=run, more=more, labels=labels)
        (self.folder / "manifests" / f"{name}.yaml").write_text(text)

    def publish_to(self, dags: Path) -> None:
        """Makes `apply` write DAG files to the folder of an Airflow."""
        text = f"project: shop\ntargets: {{prod: {{default: true, dags: {json.dumps(str(dags))}}}}}\n"
        (self.folder / "dcp.yaml").write_text(text)

    @property
    def dags(self) -> Path:
        """Default folder of DAG files."""
        return self.folder / ".dcp" / "dags"

    def cli(self, *arguments: str) -> str:
        ran = subprocess.run(
            [self._binary, *arguments], cwd=self.folder, capture_output=True, text=True, check=False
        )
        if ran.returncode != 0:
            raise AssertionError(f"dcp {' '.join(arguments)}: {ran.stdout}{ran.stderr}")
        return ran.stdout

    def apply(self) -> None:
        self.cli("apply", "--auto-approve", "--quiet")

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
        wait_until("dcp listens", self._listens, 30)

    def _listens(self) -> bool:
        with socket.socket() as it:
            return it.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Stops `dcp up`. Its drivers, in process groups of their own, continue."""
        if self._process is not None:
            terminate(self._process)
            self._process = None

    def close(self) -> None:
        try:
            if self._process is None:
                self.start()
            for run in self.unfinished_runs():
                self.cli("cancel", run["id"])
            wait_until("all executions have ended", lambda: not self.unfinished_runs(), 60)
        finally:
            self.stop()

    def runs(self, name: str = "") -> list[dict[str, Any]]:
        text = self.cli("runs", "--limit", "1000", "--output", "json", *([f"sales/{name}"] if name else []))
        return [it["execution"] for it in json.loads(text)]

    def unfinished_runs(self) -> list[dict[str, Any]]:
        return [it for it in self.runs() if it["phase"] not in ("SUCCEEDED", "FAILED", "CANCELLED")]

    def connection(self, **extra: Any) -> str:
        """Returns an Airflow connection to this dcp, in the format of environment variables."""
        port = extra.pop("port", self.port)
        fields = {"conn_type": "dcp", "host": "127.0.0.1", "port": port, "password": self.token, "extra": extra}
        return json.dumps(fields)

    @property
    def token(self) -> str:
        """Token for TCP. Before the first start, creates the file that `dcp up` would create."""
        path = self.folder / ".dcp" / "token"
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32))
        return path.read_text()


def task(task_id: str, job: str, **arguments: Any) -> str:
    """Returns the source of a task."""
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
    """Writes a DAG file similar to those of `dcp apply`."""
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
    """Process that runs DAGs one after the other, as `airflow dags test` does. Its start takes longer than a run."""

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
            # `kill` closed the pipe.
            pass

    def kill(self) -> None:
        assert self._process is not None
        terminate(self._process, signal.SIGKILL)
        self._process = None

    def close(self) -> None:
        if self._process is not None:
            terminate(self._process)
            self._process = None

    def start_run(self, dag: Path, next_try: str = "") -> None:
        """Starts a run of a DAG, or the next try of its last run: `cleared` by a person, or `retried` by Airflow."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        assert self._process is not None and self._process.stdin is not None
        self._lines.clear()
        print(
            json.dumps({"path": str(dag), "dag": dag.stem, "next_try": next_try}),
            file=self._process.stdin,
            flush=True,
        )

    def wait_for_end(self, seconds: float = 180.0) -> tuple[str, str]:
        """Waits for the end of the run. Returns its state and the output."""
        process = self._process
        assert process is not None

        def ended() -> str | None:
            for line in list(self._lines):
                if line.startswith("ENDED "):
                    return line.split()[1]
            if process.poll() is not None:
                raise AssertionError("Airflow exited:\n" + "".join(self._lines))
            return None

        try:
            state = wait_until("the DAG run has ended", ended, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{''.join(self._lines)}") from None
        return state, "".join(self._lines)

    def run(self, dag: Path, next_try: str = "") -> tuple[str, str]:
        self.start_run(dag, next_try)
        return self.wait_for_end()


def migrate() -> None:
    """Creates Airflow's database if it does not exist."""
    if not (FOLDER / "airflow" / "airflow.db").exists():
        made = subprocess.run(["airflow", "db", "migrate"], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise AssertionError(made.stdout + made.stderr)
