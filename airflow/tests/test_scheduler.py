"""All parts of Airflow, as in production but for SQLite: scheduler, triggerer, DAG processor and API server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import unittest
import urllib.error
import urllib.request
from typing import Any

from support import FOLDER, Dcp, asset, dag_file, end, free_port, task, until

HOME = FOLDER / "whole"
DAGS = HOME / "dags"
PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")
TABLE = "table:lake.mart.counted"

dcp = Dcp("whole-dcp")
port = free_port()
processes: dict[str, subprocess.Popen[bytes]] = {}


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": "of-the-tests-alone-" * 4,
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
        "AIRFLOW_CONN_DCP_DEFAULT": dcp.connection(patience=60, poll=1),
    }


def start(part: str) -> None:
    with open(HOME / f"{part}.log", "ab") as log:
        processes[part] = subprocess.Popen(
            ["airflow", part], env=environment(), stdout=log, stderr=log, start_new_session=True
        )


def api(method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    if path != "/auth/token":
        request.add_header("authorization", f"Bearer {token()}")
    data = None
    if body is not None:
        request.add_header("content-type", "application/json")
        data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, data, timeout=60) as response:
            return json.load(response)
    except urllib.error.HTTPError as why:
        raise AssertionError(f"{method} {path}: {why.code} {why.read().decode()}") from None


_token = ""


def token() -> str:
    global _token
    if not _token:
        _token = api("GET", "/auth/token")["access_token"]
    return _token


def setUpModule() -> None:
    DAGS.mkdir(parents=True)
    made = subprocess.run(
        ["airflow", "db", "migrate"], env=environment(), capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise AssertionError(made.stdout + made.stderr)
    dcp.apply()
    dcp.start()
    for deferrable, name in ((True, "deferred"), (False, "worker")):
        long = {"parameters": {"seconds": 30}, "deferrable": deferrable}
        dag_file(DAGS, f"cleared-{name}", task("it", "sales/count", **long))
        dag_file(DAGS, f"marked-{name}", task("it", "sales/count", **long))
    deadline = (
        ", deadline=DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=timedelta(seconds=1), "
        "callback=AsyncCallback('dcp_airflow.deadline_missed'))"
    )
    long = {"parameters": {"seconds": 90}, "execution_timeout": "timedelta(seconds=25)"}
    dag_file(DAGS, "too-long", task("it", "sales/count", **long), more=deadline)
    for part in PARTS:
        start(part)
    until("the API server answers", answers, 120)
    until("all DAGs are there", lambda: len(api("GET", "/api/v2/dags")["dags"]) == 5, 120)


def answers() -> bool:
    try:
        return bool(token())
    except (OSError, AssertionError):
        return False


def tearDownModule() -> None:
    for part in reversed(PARTS):
        if part in processes:
            end(processes[part])
    dcp.close()


class Case(unittest.TestCase):
    def run(self, result: Any = None) -> Any:
        before = len(result.failures) + len(result.errors)
        it = super().run(result)
        if len(result.failures) + len(result.errors) > before:
            for part in PARTS:
                print(f"--- {part}\n" + (HOME / f"{part}.log").read_text(errors="replace")[-3000:])
        return it

    def dags(self) -> list[str]:
        return [it["dag_id"] for it in api("GET", "/api/v2/dags")["dags"]]

    def trigger(self, dag: str) -> str:
        return str(api("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None})["dag_run_id"])

    def one(self, dag: str) -> str:
        """The id of its only run, once there is one."""
        until(f"{dag} is there", lambda: dag in self.dags())
        runs = until(f"{dag} runs", lambda: self.runs(dag))
        self.assertEqual(len(runs), 1)
        return str(runs[0]["dag_run_id"])

    def task(self, dag: str, run: str) -> dict[str, Any]:
        found: dict[str, Any] = api("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/it")
        return found

    def reaches(self, dag: str, run: str, *states: str, seconds: float = 180) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            it = self.task(dag, run)
            if it["state"] in ("failed", "success") and it["state"] not in states:
                raise AssertionError(f"{dag} is {it['state']}:\n{self.log(dag, run, it['try_number'])}")
            return it if it["state"] in states else None

        return until(f"{dag} is {' or '.join(states)}", look, seconds)

    def log(self, dag: str, run: str, number: int) -> str:
        told = api(
            "GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/it/logs/{number}?full_content=true"
        )
        return "\n".join(
            str(it.get("event", it)) if isinstance(it, dict) else str(it) for it in told["content"]
        )

    def execution(self, dag: str, run: str, but: str = "") -> str:
        """The execution that its link leads to, once it runs."""

        def look() -> str:
            links = api("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/it/links")["extra_links"]
            id = (links.get("Execution") or "").rpartition("/")[2]
            return id if id and id != but and self.phase(id) == "RUNNING" else ""

        return until(f"an execution of {dag} runs", look, 120)

    def phase(self, id: str) -> str:
        return next((str(it["phase"]) for it in dcp.runs() if it["id"] == id), "")


class Whole(Case):
    def test_schedule_to_consumer_with_a_triggerer_that_dies(self) -> None:
        # Yearly, and not caught up: it fires once, for the last time that it was due.
        yearly = "CronTriggerTimetable('0 0 1 1 *', timezone='UTC')"
        since = ", start_date=pendulum.datetime(2020, 1, 1), catchup=False"
        produces = task("it", "sales/count", parameters={"seconds": 25}, outlets=[asset(TABLE)])
        waits = f"AssetAll(AssetAny({asset(TABLE)}, completed({Dcp.scope!r}, {TABLE!r})))"
        dag_file(DAGS, "consumes", task("it", "sales/count"), schedule=waits)
        until("the consumer is there", lambda: "consumes" in self.dags(), 60)
        dag_file(DAGS, "produces", produces, schedule=yearly, more=since)
        run = self.one("produces")
        id = self.execution("produces", run)
        self.reaches("produces", run, "deferred")
        until("its log comes", lambda: "| count 3 of" in self.log("produces", run, 1), 60)
        end(processes["triggerer"], signal.SIGKILL)
        start("triggerer")
        self.assertEqual(self.phase(id), "RUNNING")
        self.assertEqual(self.reaches("produces", run, "success")["try_number"], 1)
        self.assertEqual(self.phase(id), "SUCCEEDED")
        self.assertIn("| count 24 of", self.log("produces", run, 1))
        events = api("GET", "/api/v2/assets/events?source_dag_id=produces")["asset_events"]
        self.assertEqual([it["extra"]["execution"] for it in events], [id])
        consumer = self.one("consumes")
        self.reaches("consumes", consumer, "success")
        # What this Airflow has told dcp does not come back to it: the consumer has run once.
        self.assertIn(id, dcp.dcp("assets", TABLE))
        self.completed_elsewhere(1)
        end(processes["triggerer"], signal.SIGKILL)
        # This one comes while nobody looks.
        dcp.dcp("assets", "complete", TABLE, "--partition", "day=2026-11-22")
        start("triggerer")
        self.completed_elsewhere(2, tell=False)

    def completed_elsewhere(self, before: int, tell: bool = True) -> None:
        """That the consumer runs once more for a completion that Airflow has no part in."""
        self.assertEqual(len(self.runs("consumes")), before)
        if tell:
            dcp.dcp("assets", "complete", TABLE, "--partition", f"day=2026-11-2{before}")
        until("the consumer runs once more", lambda: len(self.runs("consumes")) > before, 90)
        until("it is done", lambda: all(it["state"] == "success" for it in self.runs("consumes")), 120)
        self.assertEqual(len(self.runs("consumes")), before + 1)

    def runs(self, dag: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api("GET", f"/api/v2/dags/{dag}/dagRuns")["dag_runs"]
        return found

    def test_cleared_while_it_runs(self) -> None:
        for dag, state in (("cleared-deferred", "deferred"), ("cleared-worker", "running")):
            with self.subTest(dag):
                run = self.trigger(dag)
                first = self.execution(dag, run)
                self.reaches(dag, run, state)
                body = {"dry_run": False, "dag_run_id": run, "task_ids": ["it"], "only_failed": False}
                api("POST", f"/api/v2/dags/{dag}/clearTaskInstances", body)
                until("the first execution is cancelled", lambda: self.phase(first) == "CANCELLED", 90)
                second = self.execution(dag, run, but=first)
                self.assertEqual(self.reaches(dag, run, "success")["try_number"], 2)
                self.assertEqual(self.phase(second), "SUCCEEDED")

    def test_marked_as_failed_while_it_runs(self) -> None:
        for dag, state in (("marked-deferred", "deferred"), ("marked-worker", "running")):
            with self.subTest(dag):
                run = self.trigger(dag)
                id = self.execution(dag, run)
                self.reaches(dag, run, state)
                until("it is waited for", lambda: "| count 1 of" in self.log(dag, run, 1), 60)
                api("PATCH", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/it", {"new_state": "failed"})
                until("the execution is cancelled", lambda: self.phase(id) == "CANCELLED", 90)

    def test_deferred_for_too_long(self) -> None:
        run = self.trigger("too-long")
        id = self.execution("too-long", run)
        self.reaches("too-long", run, "failed")
        self.assertEqual(self.phase(id), "CANCELLED")
        self.assertIn("ran longer than the task's execution_timeout", self.log("too-long", run, 1))
        told = f"DAG too-long has missed its deadline: run {run} had to be done by"
        until("the deadline was told of", lambda: told in (HOME / "triggerer.log").read_text(), 60)
