"""All parts of Airflow, as in production: scheduler, triggerer, DAG processor and API server, on PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import unittest
import urllib.error
import urllib.request
from datetime import datetime, timedelta
from typing import Any

from postgres import Postgres
from support import FOLDER, JOBS, Dcp, dag_file, end, free_port, task, until

HOME = FOLDER / "whole"
DAGS = HOME / "dags"
PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")
TABLE = "table:lake.mart.counted"
OUTPUT = "  outputs: [{table: lake.mart.counted}]\n"

dcp = Dcp("whole-dcp")
port = free_port()
database: Postgres
processes: dict[str, subprocess.Popen[bytes]] = {}


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.url,
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
    global database
    DAGS.mkdir(parents=True)
    database = Postgres(free_port())
    until("PostgreSQL is ready", database.is_ready, 60)
    made = subprocess.run(
        ["airflow", "db", "migrate"], env=environment(), capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise AssertionError(made.stdout + made.stderr)
    dcp.publish_to(DAGS)
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
    until("all DAGs are there", lambda: len(api("GET", "/api/v2/dags")["dags"]) == 5 + len(JOBS), 120)


def answers() -> bool:
    try:
        return bool(token())
    except (OSError, AssertionError):
        return False


def tearDownModule() -> None:
    for part in reversed(PARTS):
        if part in processes:
            end(processes[part])
    database.close()
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
        found: dict[str, Any] = api("GET", self.path(dag, run))
        return found

    @staticmethod
    def path(dag: str, run: str) -> str:
        """Of its only task, which has the workload's name where `dcp apply` has made the DAG."""
        id = dag.partition("__")[2] or "it"
        return f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{id}"

    def reaches(self, dag: str, run: str, *states: str, seconds: float = 180) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            it = self.task(dag, run)
            if it["state"] in ("failed", "success") and it["state"] not in states:
                raise AssertionError(f"{dag} is {it['state']}:\n{self.log(dag, run, it['try_number'])}")
            return it if it["state"] in states else None

        return until(f"{dag} is {' or '.join(states)}", look, seconds)

    def log(self, dag: str, run: str, number: int) -> str:
        told = api("GET", f"{self.path(dag, run)}/logs/{number}?full_content=true")
        return "\n".join(
            str(it.get("event", it)) if isinstance(it, dict) else str(it) for it in told["content"]
        )

    def execution(self, dag: str, run: str, but: str = "") -> str:
        """The execution that its link leads to, once it runs."""

        def look() -> str:
            links = api("GET", f"{self.path(dag, run)}/links")["extra_links"]
            id = (links.get("Execution") or "").rpartition("/")[2]
            return id if id and id != but and self.phase(id) == "RUNNING" else ""

        return until(f"an execution of {dag} runs", look, 120)

    def phase(self, id: str) -> str:
        return next((str(it["phase"]) for it in dcp.runs() if it["id"] == id), "")


class Whole(Case):
    def test_schedule_to_consumer_with_a_triggerer_that_dies(self) -> None:
        # Yearly, and not caught up: it fires once, for the last time that it was due.
        yearly = '{schedule: {cron: "0 0 1 1 *", startDate: 2020-01-01}}'
        produces, consumes = "sales__produces", "sales__consumes"
        dcp.write("consumes", JOBS["count"], run="{onAssets: {all: [{table: lake.mart.counted}]}}")
        dcp.write("produces", JOBS["count"].replace("default: 1}", "default: 25}"), run=yearly, more=OUTPUT)
        dcp.apply()
        until("the consumer is there", lambda: consumes in self.dags(), 60)
        run = self.one(produces)
        id = self.execution(produces, run)
        self.reaches(produces, run, "deferred")
        until("its log comes", lambda: "| count 3 of" in self.log(produces, run, 1), 60)
        end(processes["triggerer"], signal.SIGKILL)
        start("triggerer")
        self.assertEqual(self.phase(id), "RUNNING")
        self.assertEqual(self.reaches(produces, run, "success")["try_number"], 1)
        self.assertEqual(self.phase(id), "SUCCEEDED")
        self.assertIn("| count 24 of", self.log(produces, run, 1))
        consumer = self.one(consumes)
        self.reaches(consumes, consumer, "success")
        # Airflow can't tell of an event while what it has started waits to begin.
        events = api("GET", "/api/v2/assets/events?source_dag_id=sales__produces")["asset_events"]
        self.assertEqual([it["extra"]["execution"] for it in events], [id])
        # What this Airflow has told dcp does not come back to it: the consumer has run once.
        self.assertIn(id, dcp.dcp("assets", TABLE))
        self.completed_elsewhere(consumes, 1)
        end(processes["triggerer"], signal.SIGKILL)
        # This one comes while nobody looks.
        dcp.dcp("assets", "complete", TABLE, "--partition", "day=2026-11-22")
        start("triggerer")
        self.completed_elsewhere(consumes, 2, tell=False)

    def test_deferred_task_resumes_when_the_scheduler_reads_its_exit_late(self) -> None:
        dcp.write("late", JOBS["count"].replace("default: 1}", "default: 5}"))
        dcp.apply()
        until("the DAG is there", lambda: "sales__late" in self.dags(), 60)
        run = self.trigger("sales__late")
        id = self.execution("sales__late", run)
        scheduler = processes["scheduler"].pid
        # The scheduler reads that the worker has exited only after the trigger has made the task resume.
        os.kill(scheduler, signal.SIGSTOP)
        try:
            self.reaches("sales__late", run, "scheduled")
        finally:
            os.kill(scheduler, signal.SIGCONT)
        until("the task has ended", lambda: self.task("sales__late", run)["state"] in ("success", "failed"))
        ended = self.task("sales__late", run)
        self.assertEqual(ended["state"], "success", self.log("sales__late", run, ended["try_number"]))
        self.assertEqual([it["id"] for it in dcp.runs("late")], [id])
        (dcp.folder / "manifests" / "late.yaml").unlink()
        dcp.apply()

    def completed_elsewhere(self, consumes: str, before: int, tell: bool = True) -> None:
        """That the consumer runs once more for a completion that Airflow has no part in."""
        self.assertEqual(len(self.runs(consumes)), before)
        if tell:
            dcp.dcp("assets", "complete", TABLE, "--partition", f"day=2026-11-2{before}")
        until("the consumer runs once more", lambda: len(self.runs(consumes)) > before, 90)
        until("it is done", lambda: all(it["state"] == "success" for it in self.runs(consumes)), 120)
        self.assertEqual(len(self.runs(consumes)), before + 1)

    def runs(self, dag: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api("GET", f"/api/v2/dags/{dag}/dagRuns")["dag_runs"]
        return found

    def test_what_a_stream_completes_starts_who_waits_for_it(self) -> None:
        stream = """\
    stream:
      sources: {ticks: {rate: {rowsPerSecond: 5}}}
      watermark: {source: ticks, column: timestamp, delay: 1s}
      query: SELECT timestamp, value FROM ticks
      sink: {files: {path: %s, format: json}}""" % (FOLDER / "ticks")
        run = "{continuous: {checkpoint: %s, trigger: {every: 2s}, completes: {every: 20s}}}" % (
            FOLDER / "ticks-checkpoint"
        )
        dcp.write("ticks", stream, run=run)
        waits = "{onAssets: {all: [{path: %s}]}}" % (FOLDER / "ticks")
        dcp.write("follows", JOBS["count"], run=waits)
        dcp.apply()
        until("who waits is there", lambda: "sales__follows" in self.dags(), 60)
        until("the stream completes something", lambda: self.runs("sales__follows"), 180)
        first = self.runs("sales__follows")[-1]["dag_run_id"]
        self.reaches("sales__follows", first, "success")
        path = f"/api/v2/dags/sales__follows/dagRuns/{first}/upstreamAssetEvents"
        extra = api("GET", path)["asset_events"][0]["extra"]["payload"]
        self.assertEqual(extra["asset"], f"path:{FOLDER / 'ticks'}")
        self.assertRegex(extra["partition"], r"^to=20\d\d-\d\d-\d\dT\d\d:\d\d:[024]0Z$")
        self.assertEqual(extra["run"], "sales/ticks-1")
        for name in ("ticks", "follows"):
            (dcp.folder / "manifests" / f"{name}.yaml").unlink()
        dcp.dcp("apply", "--auto-approve", "--quiet", "--allow-delete", "sales/ticks")
        until("the stream is gone", lambda: not dcp.live(), 60)

    def test_run_of_an_interval_has_its_bounds(self) -> None:
        dag, length = "sales__counts", timedelta(hours=10)
        bounds = "from: {type: timestamp, run: intervalStart}, to: {type: timestamp, run: intervalEnd}"
        job = JOBS["count"].replace("${param.day}", "${param.from} to ${param.to}")
        job = job.replace("day: {type: string, default: none}", bounds)
        dcp.write("counts", job, run="{schedule: {every: 10h, startDate: 2026-01-01, timezone: Asia/Kolkata}}")
        dcp.apply()
        origin = datetime.fromisoformat("2026-01-01T00:00:00+05:30")
        by_time = self.one(dag)
        body = {"logical_date": (origin + 10.5 * length).isoformat()}
        by_hand = api("POST", f"/api/v2/dags/{dag}/dagRuns", body)["dag_run_id"]
        for run in (by_time, by_hand):
            found = api("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")
            start, end, created = (
                datetime.fromisoformat(found[it]) for it in ("data_interval_start", "data_interval_end", "queued_at")
            )
            self.assertEqual(end - start, length)
            self.assertEqual((start - origin) % length, timedelta(0))
            if run == by_hand:
                self.assertEqual(start, origin + 9 * length)
            else:
                self.assertLess(created - end, length)
            number = self.reaches(dag, run, "success")["try_number"]
            self.assertIn(f"| count 0 of {start.isoformat()} to {end.isoformat()}", self.log(dag, run, number))
        self.assertEqual(len(self.runs(dag)), 2)
        (dcp.folder / "manifests" / "counts.yaml").unlink()
        dcp.apply()

    def test_run_that_is_due_replaces_the_one_that_still_runs(self) -> None:
        dag = "sales__newest"
        # By hand, so that nothing depends on the time of day.
        job = JOBS["count"].replace("default: 1}", "default: 300}")
        dcp.write("newest", job, run="{schedule: {every: 1d, concurrencyPolicy: replace, suspended: true}}")
        dcp.apply()
        until("the DAG is there", lambda: dag in self.dags(), 60)
        first = self.trigger(dag)
        replaced = self.execution(dag, first)
        self.reaches(dag, first, "deferred")
        second = self.trigger(dag)
        newest = self.execution(dag, second)
        self.assertEqual(self.phase(replaced), "CANCELLED")
        skipped = self.reaches(dag, first, "skipped")
        self.assertIn(f"was replaced by execution {newest}", self.log(dag, first, skipped["try_number"]))
        ended = f"/api/v2/dags/{dag}/dagRuns/{first}"
        until("the DAG run has ended", lambda: api("GET", ended)["state"] == "success", 60)
        # The one that was replaced runs anew if a person clears it, and gives way to the newer one at once.
        body = {"dry_run": False, "dag_run_id": first, "task_ids": ["newest"], "only_failed": False}
        api("POST", f"/api/v2/dags/{dag}/clearTaskInstances", body)
        until("there is another execution", lambda: len(dcp.runs("newest")) == 3, 120)
        self.reaches(dag, first, "skipped")
        self.assertEqual(sorted(it["phase"] for it in dcp.runs("newest")), ["CANCELLED", "CANCELLED", "RUNNING"])
        self.assertEqual(self.phase(newest), "RUNNING")
        dcp.dcp("cancel", newest)
        self.reaches(dag, second, "failed")
        (dcp.folder / "manifests" / "newest.yaml").unlink()
        dcp.apply()

    def test_suspended_schedule_starts_no_run_until_it_is_resumed(self) -> None:
        dag, run = "sales__rests", '{schedule: {cron: "0 0 1 1 *", startDate: 2020-01-01, suspended: %s}}'
        dcp.write("rests", JOBS["count"], run=run % "true")
        dcp.apply()
        until("the DAG is there", lambda: dag in self.dags(), 60)
        by_hand = self.trigger(dag)
        self.reaches(dag, by_hand, "success")
        # It would have run by time when it came: it was due on the first of January.
        self.assertEqual([it["dag_run_id"] for it in self.runs(dag)], [by_hand])
        self.assertIsNone(api("GET", f"/api/v2/dags/{dag}")["next_dagrun_run_after"])
        dcp.write("rests", JOBS["count"], run=run % "false")
        dcp.apply()
        resumed = until("a run starts by time", lambda: [it for it in self.runs(dag) if it["dag_run_id"] != by_hand])
        self.assertEqual([it["run_type"] for it in resumed], ["scheduled"])
        self.reaches(dag, resumed[0]["dag_run_id"], "success")
        dcp.write("rests", JOBS["count"], run=run % "true")
        dcp.apply()
        path = f"/api/v2/dags/{dag}"
        until("no run is due any more", lambda: api("GET", path)["next_dagrun_run_after"] is None, 60)
        (dcp.folder / "manifests" / "rests.yaml").unlink()
        dcp.apply()

    def test_what_is_published_comes_to_airflow_and_nothing_of_a_bad_manifest_does(self) -> None:
        def files() -> dict[str, bytes]:
            return {it.name: it.read_bytes() for it in DAGS.glob("*.py")}

        def tags(dag: str) -> list[str]:
            return [it["name"] for it in api("GET", f"/api/v2/dags/{dag}")["tags"]]

        job = JOBS["count"]
        dcp.write("grows", job)
        dcp.apply()
        until("it is there", lambda: "sales__grows" in self.dags(), 60)
        before = files()
        dcp.write("grows", job.replace("jobs/count.py", "jobs/count.py\n      argz: []"))
        dcp.write("comes", job)
        with self.assertRaisesRegex(AssertionError, "unknown field `argz`"):
            dcp.apply()
        self.assertEqual(files(), before)
        dcp.write("grows", job, labels="{tier: gold}")
        dcp.apply()
        until("it has changed", lambda: "tier:gold" in tags("sales__grows"), 60)
        until("the other one is there", lambda: "sales__comes" in self.dags(), 60)
        for name in ("grows", "comes"):
            (dcp.folder / "manifests" / f"{name}.yaml").unlink()
        dcp.apply()
        until("they are gone", lambda: not {"sales__grows", "sales__comes"} & set(self.dags()), 90)

    def test_cleared_while_it_runs(self) -> None:
        for dag, state in (("cleared-deferred", "deferred"), ("cleared-worker", "running")):
            with self.subTest(dag):
                run = self.trigger(dag)
                first = self.execution(dag, run)
                self.reaches(dag, run, state)
                # Before a triggerer has taken it up, Airflow asks none to stop it.
                until("it is waited for", lambda: "| count 1 of" in self.log(dag, run, 1), 60)
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
                api("PATCH", self.path(dag, run), {"new_state": "failed"})
                until("the execution is cancelled", lambda: self.phase(id) == "CANCELLED", 90)

    def test_deferred_for_too_long(self) -> None:
        run = self.trigger("too-long")
        id = self.execution("too-long", run)
        self.reaches("too-long", run, "failed")
        self.assertEqual(self.phase(id), "CANCELLED")
        self.assertIn("ran longer than the task's execution_timeout", self.log("too-long", run, 1))
        told = f"DAG too-long has missed its deadline: run {run} had to be done by"
        until("the deadline was told of", lambda: told in (HOME / "triggerer.log").read_text(), 60)
