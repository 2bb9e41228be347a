"""Tests of tasks that run real jobs, with failures of each component."""

from __future__ import annotations

import json
import os
import re
import subprocess
import unittest
from pathlib import Path

from support import FOLDER, JOBS, Airflow, Dcp, asset, dag_file, free_port, migrate, task, wait_until

DAGS = FOLDER / "driven"
DAY = "{{ ds }}"

MOMENTS = """\
    sql:
      query: |
        SELECT CAST(:begins AS STRING) AS begins, CAST(:ends AS STRING) AS ends, CAST(:moment AS STRING) AS moment,
          CAST(:midnight AS STRING) AS midnight
      parameters:
        begins: {type: date, run: intervalStart}
        ends: {type: date, run: intervalEnd}
        moment: {type: date, run: timestamp}
        midnight: {type: timestamp, run: date}
      returnResult: true"""
DAILY = "{schedule: {cron: 0 0 * * *, timezone: Europe/Berlin, startDate: 2026-01-01}}"

dcp = Dcp("driven-dcp")
airflow = Airflow({})


def setUpModule() -> None:
    global airflow
    DAGS.mkdir(exist_ok=True)
    migrate()
    dcp.write("moments", MOMENTS, run=DAILY)
    dcp.apply()
    dcp.start()
    unused_port = free_port()
    airflow = Airflow(
        {
            "dcp_default": dcp.connection(outage_timeout=60),
            "short_timeout": dcp.connection(outage_timeout=2),
            "no_server": dcp.connection(port=unused_port, outage_timeout=2),
            "no_control_plane": dcp.connection(control=f"127.0.0.1:{unused_port}", outage_timeout=2),
        }
    )


def tearDownModule() -> None:
    airflow.close()
    dcp.close()


class Case(unittest.TestCase):
    def dag(self, *tasks: str) -> Path:
        return dag_file(DAGS, re.sub(r"\W+", "-", self.id().rpartition(".")[2]), *tasks)

    def wait_for_running(self, before: int, name: str = "count") -> str:
        """Waits until one more execution runs than before, and returns its id."""

        def running() -> str:
            found = dcp.runs(name)
            return found[0]["id"] if len(found) > before and found[0]["phase"] == "RUNNING" else ""

        return wait_until("an execution runs", running)


class Outcomes(Case):
    def test_log_has_transitions_and_driver_output(self) -> None:
        dag = self.dag(
            task("it", "CoreEtlJob/sales/count", parameters={"seconds": 2}, run_parameters={"day": DAY})
        )
        state, log = airflow.run(dag)
        self.assertEqual(state, "success", log)
        self.assertIn("| count 1 of 2026-11-20", log)
        self.assertIn("| counted all", log)
        self.assertIn("running, attempt 1: the driver runs", log)
        self.assertIn("log of attempt 1:", log)
        self.assertEqual(log.count("| count 1 of"), 1)

    def test_not_deferrable_task_waits_in_the_worker(self) -> None:
        state, log = airflow.run(
            self.dag(task("it", "sales/orders", run_parameters={"day": DAY}, deferrable=False))
        )
        self.assertEqual(state, "success", log)
        self.assertNotIn("Pausing task as DEFERRED", log)
        self.assertIn("succeeded, attempt 1", log)
        self.assertIn("Successfully stopped SparkContext", log)

    def test_failed_job_fails_the_task_with_cause_and_evidence(self) -> None:
        before = len(dcp.runs("broken"))
        state, log = airflow.run(self.dag(task("it", "sales/broken", logs=False)))
        self.assertEqual(state, "failed", log)
        self.assertRegex(log, r"AirflowFailException: sales/broken failed after 1 attempt: .*not there")
        self.assertRegex(log, r"    .*TABLE_OR_VIEW_NOT_FOUND")
        id = dcp.runs("broken")[0]["id"]
        self.assertIn(f"for its whole log: dcp logs {id}", log)
        # Clearing the task runs the job again.
        airflow.run(self.dag(task("it", "sales/broken", logs=False)), next_try="cleared")
        self.assertEqual(len(dcp.runs("broken")), before + 2)

    def test_retry_after_a_reported_outcome_runs_nothing(self) -> None:
        for job, expected in (("count", "success"), ("broken", "failed")):
            with self.subTest(job):
                before = len(dcp.runs(job))
                dag = self.dag(task("it", f"sales/{job}"))
                for next_try in ("", "retried"):
                    state, log = airflow.run(dag, next_try=next_try)
                    self.assertEqual(state, expected, log)
                self.assertIn("continuing execution", log)
                self.assertEqual(len(dcp.runs(job)), before + 1)

    def test_execution_timeout_in_the_worker_cancels_the_execution(self) -> None:
        # Airflow's scheduler enforces the timeout of deferred tasks; see test_scheduler.
        arguments = {"deferrable": False, "execution_timeout": "timedelta(seconds=6)"}
        dag = self.dag(task("it", "sales/count", parameters={"seconds": 60}, **arguments))
        state, log = airflow.run(dag)
        self.assertEqual(state, "failed", log)
        self.assertIn("the task exceeded its execution_timeout", log)
        self.assertEqual(dcp.runs("count")[0]["phase"], "CANCELLED")


class GeneratedDags(Case):
    """Runs DAG files that `dcp apply` wrote."""

    def test_dag_runs_by_airflow_dags_test(self) -> None:
        # A run without a date is for the current day.
        ran = subprocess.run(
            ["airflow", "dags", "test", "--dagfile-path", str(dcp.dags / "sales__orders.py"), "sales__orders"],
            env={
                **os.environ,
                "AIRFLOW__CORE__DAGS_FOLDER": str(dcp.dags),
                "AIRFLOW_CONN_DCP_DEFAULT": dcp.connection(),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        log = ran.stdout + ran.stderr
        self.assertEqual(ran.returncode, 0, log)
        self.assertIn("succeeded, attempt 1", log)
        run = dcp.runs("orders")[0]
        self.assertEqual(run["phase"], "SUCCEEDED")
        rows = json.loads(dcp.cli("result", run["id"]))
        self.assertRegex(rows[0]["day"], r"^\d{4}-\d{2}-\d{2}$")

    def test_run_parameter_is_converted_between_date_and_timestamp(self) -> None:
        state, log = airflow.run(dcp.dags / "sales__moments.py")
        self.assertEqual(state, "success", log)
        [row] = json.loads(dcp.cli("result", dcp.runs("moments")[0]["id"]))
        # The run is for midnight in UTC, and the dates are those in Berlin: in UTC, the interval begins on the 18th.
        days = {"begins": "2026-11-19", "ends": "2026-11-20", "moment": "2026-11-20"}
        self.assertEqual(row, {**days, "midnight": "2026-11-20 00:00:00"})

    def test_failed_job_fails_the_task_with_its_cause(self) -> None:
        state, log = airflow.run(dcp.dags / "sales__broken.py")
        self.assertEqual(state, "failed", log)
        self.assertRegex(log, r"AirflowFailException: sales/broken failed after 1 attempt: .*not there")
        self.assertRegex(log, r"    .*TABLE_OR_VIEW_NOT_FOUND")

    def test_retry_after_a_crash_continues_the_execution(self) -> None:
        dcp.write("steady", JOBS["count"].replace("default: 1}", "default: 12}"))
        dcp.apply()
        dag = dcp.dags / "sales__steady.py"
        airflow.start_run(dag)
        id = self.wait_for_running(0, "steady")
        airflow.kill()
        state, log = airflow.run(dag, next_try="retried")
        self.assertEqual(state, "success", log)
        self.assertIn(f"continuing execution {id}", log)
        self.assertEqual(len(dcp.runs("steady")), 1)

    def test_workload_of_a_group_runs_after_its_input_is_written(self) -> None:
        output = "  orchestrator: {group: both}\n  outputs: [{table: lake.mart.%s}]\n"
        dcp.write("before", JOBS["count"], more=output % "before")
        dcp.write("behind", JOBS["count"], "{onAssets: {all: [{table: lake.mart.before}]}}", output % "behind")
        dcp.apply()
        text = (dcp.dags / "sales__both.py").read_text()
        self.assertIn("- revision: 1", text)
        state, log = airflow.run(dcp.dags / "sales__both.py")
        self.assertEqual(state, "success", log)
        ended, began = dcp.runs("before")[0]["ended"], dcp.runs("behind")[0]["created"]
        self.assertLess(ended, began)
        for name in ("before", "behind"):
            found = json.loads(dcp.cli("assets", f"table:lake.mart.{name}", "--output", "json"))
            self.assertEqual(found["last"]["run"], dcp.runs(name)[0]["id"])
            self.assertEqual((found["last"]["job"], found["last"]["origin"]), (f"sales/{name}", "airflow"))

    def test_task_of_a_deleted_job_fails(self) -> None:
        dcp.write("short", JOBS["count"])
        dcp.apply()
        dag = DAGS / "sales__short.py"
        dag.write_text((dcp.dags / "sales__short.py").read_text())
        state, log = airflow.run(dag)
        self.assertEqual(state, "success", log)
        # Airflow may run a deleted DAG file for a while.
        (dcp.folder / "manifests" / "short.yaml").unlink()
        dcp.apply()
        self.assertFalse((dcp.dags / "sales__short.py").exists())
        state, log = airflow.run(dag, next_try="cleared")
        self.assertEqual(state, "failed", log)
        self.assertIn("there is no sales/short of shop/prod in revision", log)
        self.assertEqual(len(dcp.runs("short")), 1)


class Rejections(Case):
    def run_rejected(self, *tasks: str) -> str:
        before = len(dcp.runs())
        state, log = airflow.run(self.dag(*tasks))
        self.assertEqual(state, "failed", log)
        self.assertEqual(len(dcp.runs()), before)
        return log

    def test_unknown_job_is_rejected(self) -> None:
        log = self.run_rejected(task("it", "sales/unknown"))
        self.assertIn("there is no sales/unknown of shop/prod", log)
        self.assertIn("dcp apply", log)

    def test_unknown_revision_is_rejected(self) -> None:
        log = self.run_rejected(task("it", "sales/count", fingerprint="0" * 64))
        self.assertIn("in revision 000", log)
        self.assertIn("dcp apply", log)

    def test_unknown_parameter_is_rejected(self) -> None:
        log = self.run_rejected(task("it", "sales/count", parameters={"secunds": 1}))
        self.assertIn("the submit of sales/count of shop/prod is invalid", log)
        self.assertIn("did you mean `seconds`?", log)

    def test_parameter_that_is_not_a_scalar_is_rejected(self) -> None:
        self.assertIn(
            "parameter `seconds` is [1]", self.run_rejected(task("it", "sales/count", parameters={"seconds": [1]}))
        )

    def test_undefined_name_in_a_template_is_rejected(self) -> None:
        log = self.run_rejected(task("it", "sales/count", run_parameters={"day": "{{ nowhere }}"}))
        self.assertIn("'nowhere' is undefined", log)

    def test_template_in_parameters_is_not_rendered(self) -> None:
        dag = self.dag(task("it", "sales/count", parameters={"seconds": 1, "day": "{{ ds }}"}))
        state, log = airflow.run(dag)
        self.assertEqual(state, "success", log)
        self.assertIn("| count 0 of {{ ds }}", log)


class Outages(Case):
    def test_submit_without_a_server_fails_after_the_outage_timeout(self) -> None:
        dag = self.dag(task("it", "sales/count", conn_id="no_server"))
        state, log = airflow.run(dag)
        self.assertEqual(state, "failed", log)
        self.assertEqual(log.count("no response, retrying for up to 2 s"), 1)
        self.assertIn("The job may run. Clear the task to submit again", log)

    def test_task_continues_after_an_outage(self) -> None:
        before = len(dcp.runs("count"))
        airflow.start_run(self.dag(task("it", "sales/count", parameters={"seconds": 8})))
        self.wait_for_running(before)
        dcp.stop()
        wait_until("the outage is logged", lambda: "no response, retrying" in "".join(airflow._lines), 60)
        dcp.start()
        state, log = airflow.wait_for_end()
        self.assertEqual(state, "success", log)
        self.assertIn("responding again after", log)
        self.assertIn("| count 7 of", log)
        self.assertEqual(log.count("| count 3 of"), 1, log)
        self.assertEqual(len(dcp.runs("count")), before + 1)

    def test_task_that_failed_in_an_outage_continues_when_cleared(self) -> None:
        for deferrable in (True, False):
            with self.subTest(deferrable=deferrable):
                before = len(dcp.runs("count"))
                arguments = {"parameters": {"seconds": 12}, "deferrable": deferrable}
                dag = self.dag(task("it", "sales/count", conn_id="short_timeout", **arguments))
                airflow.start_run(dag)
                id = self.wait_for_running(before)
                dcp.stop()
                state, log = airflow.wait_for_end()
                self.assertEqual(state, "failed", log)
                self.assertIn(f"the status of execution {id} is unknown", log)
                dcp.start()
                state, log = airflow.run(dag, next_try="cleared")
                self.assertEqual(state, "success", log)
                self.assertIn(f"continuing execution {id} of sales/count", log)
                self.assertEqual(len(dcp.runs("count")), before + 1)

    def test_completion_that_was_not_recorded_is_reported_again_when_cleared(self) -> None:
        before = len(dcp.runs("count"))
        outlets = [asset("table:lake.mart.orders")]
        dag = self.dag(task("it", "sales/count", conn_id="no_control_plane", outlets=outlets))
        state, log = airflow.run(dag)
        self.assertEqual(state, "failed", log)
        self.assertIn("the job succeeded, but the control plane did not record its outputs as complete", log)
        state, log = airflow.run(self.dag(task("it", "sales/count", outlets=outlets)), next_try="cleared")
        self.assertEqual(state, "success", log)
        self.assertEqual(len(dcp.runs("count")), before + 1)


class Tries(Case):
    def test_try_after_a_crash_continues_the_execution(self) -> None:
        for deferrable in (True, False):
            with self.subTest(deferrable=deferrable):
                before = len(dcp.runs("count"))
                dag = self.dag(task("it", "sales/count", parameters={"seconds": 12}, deferrable=deferrable))
                airflow.start_run(dag)
                id = self.wait_for_running(before)
                airflow.kill()
                state, log = airflow.run(dag, next_try="cleared")
                self.assertEqual(state, "success", log)
                self.assertIn(f"continuing execution {id}", log)
                self.assertEqual(len(dcp.runs("count")), before + 1)

    def test_deleted_and_recreated_run_reruns_an_ended_execution(self) -> None:
        before = len(dcp.runs("count"))
        dag = self.dag(task("it", "sales/count", parameters={"seconds": 40}))
        airflow.start_run(dag)
        id = self.wait_for_running(before)
        airflow.kill()
        state, log = airflow.run(dag)
        self.assertEqual(state, "success", log)
        self.assertIn(f"continuing execution {id}", log)
        self.assertEqual(len(dcp.runs("count")), before + 1)
        # The execution has ended, so a new run of the same name does not continue it.
        state, log = airflow.run(
            dag_file(DAGS, dag.stem, task("it", "sales/count", parameters={"seconds": 1}))
        )
        self.assertEqual(state, "success", log)
        self.assertIn("running the job again", log)
        self.assertEqual(len(dcp.runs("count")), before + 2)

    def test_execution_cancelled_between_tries_is_rerun(self) -> None:
        before = len(dcp.runs("count"))
        dag = self.dag(task("it", "sales/count", parameters={"seconds": 30}))
        airflow.start_run(dag)
        id = self.wait_for_running(before)
        airflow.kill()
        dcp.cli("cancel", id)
        state, log = airflow.run(dag_file(DAGS, dag.stem, task("it", "sales/count")), next_try="cleared")
        self.assertEqual(state, "success", log)
        self.assertIn("running the job again", log)
        self.assertEqual([it["phase"] for it in dcp.runs("count")[:2]], ["SUCCEEDED", "CANCELLED"])

    def test_cancelled_execution_fails_the_task(self) -> None:
        before = len(dcp.runs("count"))
        airflow.start_run(self.dag(task("it", "sales/count", parameters={"seconds": 30})))
        dcp.cli("cancel", self.wait_for_running(before))
        state, log = airflow.wait_for_end()
        self.assertEqual(state, "failed", log)
        self.assertIn("AirflowFailException: sales/count was cancelled", log)

    def test_retry_after_a_changed_dag_continues_with_a_warning(self) -> None:
        before = len(dcp.runs("count"))
        dag = self.dag(task("it", "sales/count", parameters={"seconds": 12}))
        airflow.start_run(dag)
        id = self.wait_for_running(before)
        airflow.kill()
        state, log = airflow.run(
            dag_file(DAGS, dag.stem, task("it", "sales/count", parameters={"seconds": 9})), next_try="retried"
        )
        self.assertEqual(state, "success", log)
        self.assertIn(f"continuing execution {id}", log)
        self.assertIn("the DAG has changed since that submit", log)
        self.assertEqual(len(dcp.runs("count")), before + 1)

    def test_cleared_task_runs_the_job_again_after_success(self) -> None:
        before = len(dcp.runs("count"))
        dag = self.dag(task("it", "sales/count"))
        for tries in (1, 2, 3):
            state, log = airflow.run(dag, next_try="cleared" if tries > 1 else "")
            self.assertEqual(state, "success", log)
            self.assertEqual(len(dcp.runs("count")), before + tries)
