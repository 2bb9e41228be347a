"""Tests with all components of Airflow, as in production, on PostgreSQL."""

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
from support import FOLDER, JOBS, Dcp, dag_file, free_port, task, terminate, wait_until

HOME = FOLDER / "production"
DAGS = HOME / "dags"
PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")
TABLE = "table:lake.mart.counted"
OUTPUT = "  outputs: [{table: lake.mart.counted}]\n"

dcp = Dcp("production-dcp")
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
        "AIRFLOW_CONN_DCP_DEFAULT": dcp.connection(outage_timeout=60, poll=1),
    }


def start(part: str) -> None:
    with open(HOME / f"{part}.log", "ab") as log:
        processes[part] = subprocess.Popen(
            ["airflow", part], env=environment(), stdout=log, stderr=log, start_new_session=True
        )


def api(method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    if path != "/auth/token":
        request.add_header("authorization", f"Bearer {api_token()}")
    data = None
    if body is not None:
        request.add_header("content-type", "application/json")
        data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, data, timeout=60) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None


_token = ""


def api_token() -> str:
    global _token
    if not _token:
        _token = api("GET", "/auth/token")["access_token"]
    return _token


def setUpModule() -> None:
    global database
    DAGS.mkdir(parents=True)
    database = Postgres(free_port())
    wait_until("PostgreSQL is ready", database.is_ready, 60)
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
    wait_until("the API server responds", api_responds, 120)
    wait_until("Airflow has all DAGs", lambda: len(api("GET", "/api/v2/dags")["dags"]) == 5 + len(JOBS), 120)


def api_responds() -> bool:
    try:
        return bool(api_token())
    except (OSError, AssertionError):
        return False


def tearDownModule() -> None:
    for part in reversed(PARTS):
        if part in processes:
            terminate(processes[part])
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

    def only_run(self, dag: str) -> str:
        """Waits for the only run of a DAG, and returns its id."""
        wait_until(f"Airflow has {dag}", lambda: dag in self.dags())
        runs = wait_until(f"{dag} runs", lambda: self.runs(dag))
        self.assertEqual(len(runs), 1)
        return str(runs[0]["dag_run_id"])

    def task(self, dag: str, run: str) -> dict[str, Any]:
        found: dict[str, Any] = api("GET", self.path(dag, run))
        return found

    @staticmethod
    def path(dag: str, run: str) -> str:
        """Returns the API path of the only task: that of the workload if `dcp apply` wrote the DAG, else `it`."""
        id = dag.partition("__")[2] or "it"
        return f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{id}"

    def wait_for_state(self, dag: str, run: str, *states: str, seconds: float = 180) -> dict[str, Any]:
        def poll() -> dict[str, Any] | None:
            it = self.task(dag, run)
            if it["state"] in ("failed", "success") and it["state"] not in states:
                raise AssertionError(f"{dag} is {it['state']}:\n{self.log(dag, run, it['try_number'])}")
            return it if it["state"] in states else None

        return wait_until(f"{dag} is {' or '.join(states)}", poll, seconds)

    def log(self, dag: str, run: str, number: int) -> str:
        page = api("GET", f"{self.path(dag, run)}/logs/{number}?full_content=true")
        return "\n".join(
            str(it.get("event", it)) if isinstance(it, dict) else str(it) for it in page["content"]
        )

    def running_execution(self, dag: str, run: str, other_than: str = "") -> str:
        """Waits until the execution of the task's link runs, and returns its id."""

        def poll() -> str:
            links = api("GET", f"{self.path(dag, run)}/links")["extra_links"]
            id = (links.get("Execution") or "").rpartition("/")[2]
            return id if id and id != other_than and self.phase(id) == "RUNNING" else ""

        return wait_until(f"an execution of {dag} runs", poll, 120)

    def phase(self, id: str) -> str:
        return next((str(it["phase"]) for it in dcp.runs() if it["id"] == id), "")


class Production(Case):
    def test_scheduled_run_starts_its_consumer_despite_killed_triggerers(self) -> None:
        # A yearly schedule without catchup starts one run, for the last due time.
        yearly = '{schedule: {cron: "0 0 1 1 *", startDate: 2020-01-01}}'
        produces, consumes = "sales__produces", "sales__consumes"
        dcp.write("consumes", JOBS["count"], run="{onAssets: {all: [{table: lake.mart.counted}]}}")
        dcp.write("produces", JOBS["count"].replace("default: 1}", "default: 25}"), run=yearly, more=OUTPUT)
        dcp.apply()
        wait_until("Airflow has the consumer", lambda: consumes in self.dags(), 60)
        run = self.only_run(produces)
        id = self.running_execution(produces, run)
        self.wait_for_state(produces, run, "deferred")
        wait_until("the log has output of the driver", lambda: "| count 3 of" in self.log(produces, run, 1), 60)
        terminate(processes["triggerer"], signal.SIGKILL)
        start("triggerer")
        self.assertEqual(self.phase(id), "RUNNING")
        self.assertEqual(self.wait_for_state(produces, run, "success")["try_number"], 1)
        self.assertEqual(self.phase(id), "SUCCEEDED")
        self.assertIn("| count 24 of", self.log(produces, run, 1))
        consumer = self.only_run(consumes)
        self.wait_for_state(consumes, consumer, "success")
        # Airflow lists an asset event only after the run that it started has begun.
        events = api("GET", "/api/v2/assets/events?source_dag_id=sales__produces")["asset_events"]
        self.assertEqual([it["extra"]["execution"] for it in events], [id])
        # The completion that this Airflow reported starts no second run of the consumer.
        self.assertIn(id, dcp.cli("assets", TABLE))
        self.assert_external_completion_starts(consumes, 1)
        terminate(processes["triggerer"], signal.SIGKILL)
        # This completion is recorded while no triggerer runs.
        dcp.cli("assets", "complete", TABLE, "--partition", "day=2026-11-22")
        start("triggerer")
        self.assert_external_completion_starts(consumes, 2, record=False)

    def test_deferred_task_resumes_if_the_scheduler_reads_its_exit_late(self) -> None:
        dcp.write("late", JOBS["count"].replace("default: 1}", "default: 5}"))
        dcp.apply()
        wait_until("Airflow has the DAG", lambda: "sales__late" in self.dags(), 60)
        run = self.trigger("sales__late")
        id = self.running_execution("sales__late", run)
        scheduler = processes["scheduler"].pid
        # The scheduler reads that the worker has exited only after the trigger has made the task resume.
        os.kill(scheduler, signal.SIGSTOP)
        try:
            self.wait_for_state("sales__late", run, "scheduled")
        finally:
            os.kill(scheduler, signal.SIGCONT)
        wait_until("the task has ended", lambda: self.task("sales__late", run)["state"] in ("success", "failed"))
        ended = self.task("sales__late", run)
        self.assertEqual(ended["state"], "success", self.log("sales__late", run, ended["try_number"]))
        self.assertEqual([it["id"] for it in dcp.runs("late")], [id])
        (dcp.folder / "manifests" / "late.yaml").unlink()
        dcp.apply()

    def assert_external_completion_starts(self, consumes: str, before: int, record: bool = True) -> None:
        """Asserts that the consumer runs once more for a completion that was recorded outside of Airflow."""
        self.assertEqual(len(self.runs(consumes)), before)
        if record:
            dcp.cli("assets", "complete", TABLE, "--partition", f"day=2026-11-2{before}")
        wait_until("the consumer runs once more", lambda: len(self.runs(consumes)) > before, 90)
        wait_until("it has succeeded", lambda: all(it["state"] == "success" for it in self.runs(consumes)), 120)
        self.assertEqual(len(self.runs(consumes)), before + 1)

    def runs(self, dag: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api("GET", f"/api/v2/dags/{dag}/dagRuns")["dag_runs"]
        return found

    def test_completion_by_a_stream_starts_its_consumer(self) -> None:
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
        wait_until("Airflow has the consumer of the stream", lambda: "sales__follows" in self.dags(), 60)
        wait_until("the stream completes a partition", lambda: self.runs("sales__follows"), 180)
        first = self.runs("sales__follows")[-1]["dag_run_id"]
        self.wait_for_state("sales__follows", first, "success")
        path = f"/api/v2/dags/sales__follows/dagRuns/{first}/upstreamAssetEvents"
        extra = api("GET", path)["asset_events"][0]["extra"]["payload"]
        self.assertEqual(extra["asset"], f"path:{FOLDER / 'ticks'}")
        self.assertRegex(extra["partition"], r"^to=20\d\d-\d\d-\d\dT\d\d:\d\d:[024]0Z$")
        self.assertEqual(extra["run"], "sales/ticks-1")
        for name in ("ticks", "follows"):
            (dcp.folder / "manifests" / f"{name}.yaml").unlink()
        dcp.cli("apply", "--auto-approve", "--quiet", "--allow-delete", "sales/ticks")
        wait_until("the stream has ended", lambda: not dcp.unfinished_runs(), 60)

    def test_run_parameters_have_the_bounds_of_the_interval(self) -> None:
        dag, length = "sales__counts", timedelta(hours=10)
        bounds = "from: {type: timestamp, run: intervalStart}, to: {type: timestamp, run: intervalEnd}"
        job = JOBS["count"].replace("${param.day}", "${param.from} to ${param.to}")
        job = job.replace("day: {type: string, default: none}", bounds)
        dcp.write("counts", job, run="{schedule: {every: 10h, startDate: 2026-01-01, timezone: Asia/Kolkata}}")
        dcp.apply()
        origin = datetime.fromisoformat("2026-01-01T00:00:00+05:30")
        scheduled = self.only_run(dag)
        body = {"logical_date": (origin + 10.5 * length).isoformat()}
        manual = api("POST", f"/api/v2/dags/{dag}/dagRuns", body)["dag_run_id"]
        lines = []
        for run in (scheduled, manual):
            found = api("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")
            start, end, created = (
                datetime.fromisoformat(found[it]) for it in ("data_interval_start", "data_interval_end", "queued_at")
            )
            self.assertEqual(end - start, length)
            self.assertEqual((start - origin) % length, timedelta(0))
            if run == manual:
                self.assertEqual(start, origin + 9 * length)
            else:
                self.assertLess(created - end, length)
            self.wait_for_state(dag, run, "success")
            lines.append(f"count 0 of {start.isoformat()} to {end.isoformat()}")
        self.assertEqual(len(self.runs(dag)), 2)
        # Airflow may lose the log of a try that it loses.
        logs = [dcp.cli("logs", it["id"]) for it in dcp.runs("counts")]
        self.assertEqual(sorted(log.splitlines()[0] for log in logs), sorted(lines))
        (dcp.folder / "manifests" / "counts.yaml").unlink()
        dcp.apply()

    def test_later_run_replaces_the_running_one(self) -> None:
        dag = "sales__newest"
        # Suspended, so that the time of day has no influence.
        job = JOBS["count"].replace("default: 1}", "default: 300}")
        dcp.write("newest", job, run="{schedule: {every: 1d, concurrencyPolicy: replace, suspended: true}}")
        dcp.apply()
        wait_until("Airflow has the DAG", lambda: dag in self.dags(), 60)
        first = self.trigger(dag)
        replaced = self.running_execution(dag, first)
        self.wait_for_state(dag, first, "deferred")
        second = self.trigger(dag)
        newest = self.running_execution(dag, second)
        self.assertEqual(self.phase(replaced), "CANCELLED")
        skipped = self.wait_for_state(dag, first, "skipped")
        self.assertIn(f"was replaced by execution {newest}", self.log(dag, first, skipped["try_number"]))
        ended = f"/api/v2/dags/{dag}/dagRuns/{first}"
        wait_until("the DAG run has ended", lambda: api("GET", ended)["state"] == "success", 60)
        # A cleared run that was replaced submits the job again, and is replaced again at once.
        body = {"dry_run": False, "dag_run_id": first, "task_ids": ["newest"], "only_failed": False}
        api("POST", f"/api/v2/dags/{dag}/clearTaskInstances", body)
        wait_until("a third execution exists", lambda: len(dcp.runs("newest")) == 3, 120)
        self.wait_for_state(dag, first, "skipped")
        self.assertEqual(sorted(it["phase"] for it in dcp.runs("newest")), ["CANCELLED", "CANCELLED", "RUNNING"])
        self.assertEqual(self.phase(newest), "RUNNING")
        dcp.cli("cancel", newest)
        self.wait_for_state(dag, second, "failed")
        (dcp.folder / "manifests" / "newest.yaml").unlink()
        dcp.apply()

    def test_suspended_schedule_starts_no_run_until_resumed(self) -> None:
        dag, run = "sales__rests", '{schedule: {cron: "0 0 1 1 *", startDate: 2020-01-01, suspended: %s}}'
        dcp.write("rests", JOBS["count"], run=run % "true")
        dcp.apply()
        wait_until("Airflow has the DAG", lambda: dag in self.dags(), 60)
        manual = self.trigger(dag)
        self.wait_for_state(dag, manual, "success")
        # Without `suspended`, the run of January would have started at once.
        self.assertEqual([it["dag_run_id"] for it in self.runs(dag)], [manual])
        self.assertIsNone(api("GET", f"/api/v2/dags/{dag}")["next_dagrun_run_after"])
        dcp.write("rests", JOBS["count"], run=run % "false")
        dcp.apply()
        resumed = wait_until(
            "a scheduled run starts", lambda: [it for it in self.runs(dag) if it["dag_run_id"] != manual]
        )
        self.assertEqual([it["run_type"] for it in resumed], ["scheduled"])
        self.wait_for_state(dag, resumed[0]["dag_run_id"], "success")
        dcp.write("rests", JOBS["count"], run=run % "true")
        dcp.apply()
        path = f"/api/v2/dags/{dag}"
        wait_until("no run is scheduled", lambda: api("GET", path)["next_dagrun_run_after"] is None, 60)
        (dcp.folder / "manifests" / "rests.yaml").unlink()
        dcp.apply()

    def test_applied_dags_reach_airflow_and_an_invalid_manifest_changes_none(self) -> None:
        def files() -> dict[str, bytes]:
            return {it.name: it.read_bytes() for it in DAGS.glob("*.py")}

        def tags(dag: str) -> list[str]:
            return [it["name"] for it in api("GET", f"/api/v2/dags/{dag}")["tags"]]

        job = JOBS["count"]
        dcp.write("grows", job)
        dcp.apply()
        wait_until("Airflow has the first DAG", lambda: "sales__grows" in self.dags(), 60)
        before = files()
        dcp.write("grows", job.replace("jobs/count.py", "jobs/count.py\n      argz: []"))
        dcp.write("comes", job)
        with self.assertRaisesRegex(AssertionError, "unknown field `argz`"):
            dcp.apply()
        self.assertEqual(files(), before)
        dcp.write("grows", job, labels="{tier: gold}")
        dcp.apply()
        wait_until("Airflow has the changed DAG", lambda: "tier:gold" in tags("sales__grows"), 60)
        wait_until("Airflow has the second DAG", lambda: "sales__comes" in self.dags(), 60)
        for name in ("grows", "comes"):
            (dcp.folder / "manifests" / f"{name}.yaml").unlink()
        dcp.apply()
        wait_until("Airflow has removed both DAGs", lambda: not {"sales__grows", "sales__comes"} & set(self.dags()), 90)

    def test_cleared_running_task_cancels_and_reruns(self) -> None:
        for dag, state in (("cleared-deferred", "deferred"), ("cleared-worker", "running")):
            with self.subTest(dag):
                run = self.trigger(dag)
                first = self.running_execution(dag, run)
                self.wait_for_state(dag, run, state)
                # Airflow cancels a trigger only after a triggerer has started it.
                wait_until("the trigger or worker reads the log", lambda: "| count 1 of" in self.log(dag, run, 1), 60)
                body = {"dry_run": False, "dag_run_id": run, "task_ids": ["it"], "only_failed": False}
                api("POST", f"/api/v2/dags/{dag}/clearTaskInstances", body)
                wait_until("the first execution is cancelled", lambda: self.phase(first) == "CANCELLED", 90)
                second = self.running_execution(dag, run, other_than=first)
                self.assertEqual(self.wait_for_state(dag, run, "success")["try_number"], 2)
                self.assertEqual(self.phase(second), "SUCCEEDED")

    def test_running_task_marked_as_failed_cancels_its_execution(self) -> None:
        for dag, state in (("marked-deferred", "deferred"), ("marked-worker", "running")):
            with self.subTest(dag):
                run = self.trigger(dag)
                id = self.running_execution(dag, run)
                self.wait_for_state(dag, run, state)
                wait_until("the trigger or worker reads the log", lambda: "| count 1 of" in self.log(dag, run, 1), 60)
                api("PATCH", self.path(dag, run), {"new_state": "failed"})
                wait_until("the execution is cancelled", lambda: self.phase(id) == "CANCELLED", 90)

    def test_execution_timeout_of_a_deferred_task_cancels_its_execution(self) -> None:
        run = self.trigger("too-long")
        id = self.running_execution("too-long", run)
        self.wait_for_state("too-long", run, "failed")
        self.assertEqual(self.phase(id), "CANCELLED")
        self.assertIn("the task exceeded its execution_timeout", self.log("too-long", run, 1))
        message = f"DAG too-long missed its deadline: run {run} was due by"
        wait_until("the missed deadline is logged", lambda: message in (HOME / "triggerer.log").read_text(), 60)
