"""Tasks that run real jobs, with whatever can go wrong on the way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import unittest
from pathlib import Path

from support import FOLDER, JOBS, Airflow, Dcp, asset, dag_file, free_port, migrate, task, until

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
    nobody = free_port()
    airflow = Airflow(
        {
            "dcp_default": dcp.connection(patience=60),
            "impatient": dcp.connection(patience=2),
            "nobody": dcp.connection(port=nobody, patience=2),
            "no_control": dcp.connection(control=f"127.0.0.1:{nobody}", patience=2),
        }
    )


def tearDownModule() -> None:
    airflow.close()
    dcp.close()


class Case(unittest.TestCase):
    def dag(self, *tasks: str) -> Path:
        return dag_file(DAGS, re.sub(r"\W+", "-", self.id().rpartition(".")[2]), *tasks)

    def begun(self, before: int, name: str = "count") -> str:
        """Waits until one more execution runs, and gives its id."""

        def running() -> str:
            found = dcp.runs(name)
            return found[0]["id"] if len(found) > before and found[0]["phase"] == "RUNNING" else ""

        return until("an execution runs", running)


class Ends(Case):
    def test_success_with_its_log(self) -> None:
        dag = self.dag(
            task("it", "CoreEtlJob/sales/count", parameters={"seconds": 2}, run_parameters={"day": DAY})
        )
        state, log = airflow.run(dag)
        self.assertEqual(state, "success", log)
        self.assertIn("| count 1 of 2026-11-20", log)
        self.assertIn("| counted all", log)
        self.assertIn("running, attempt 1: the driver runs", log)
        self.assertIn("the log of attempt 1, from its beginning:", log)
        self.assertEqual(log.count("| count 1 of"), 1)

    def test_success_in_the_worker(self) -> None:
        state, log = airflow.run(
            self.dag(task("it", "sales/orders", run_parameters={"day": DAY}, deferrable=False))
        )
        self.assertEqual(state, "success", log)
        self.assertNotIn("Pausing task as DEFERRED", log)
        self.assertIn("succeeded, attempt 1", log)
        self.assertIn("Successfully stopped SparkContext", log)

    def test_failure_with_its_cause_and_evidence(self) -> None:
        state, log = airflow.run(self.dag(task("it", "sales/broken", logs=False)))
        self.assertEqual(state, "failed", log)
        self.assertRegex(log, r"AirflowFailException: sales/broken failed after 1 attempt: .*not there")
        self.assertRegex(log, r"    .*TABLE_OR_VIEW_NOT_FOUND")
        id = dcp.runs("broken")[0]["id"]
        self.assertIn(f"its whole log: dcp logs {id}", log)
        # Whoever clears it means a new run.
        airflow.run(self.dag(task("it", "sales/broken", logs=False)), again="cleared")
        self.assertEqual(len(dcp.runs("broken")), 2)

    def test_retry_of_a_try_whose_outcome_was_reported_runs_nothing(self) -> None:
        for job, ends in (("count", "success"), ("broken", "failed")):
            with self.subTest(job):
                before = len(dcp.runs(job))
                dag = self.dag(task("it", f"sales/{job}"))
                for again in ("", "retried"):
                    state, log = airflow.run(dag, again=again)
                    self.assertEqual(state, ends, log)
                self.assertIn("found execution", log)
                self.assertEqual(len(dcp.runs(job)), before + 1)

    def test_too_long_in_the_worker(self) -> None:
        # Where it is deferred, Airflow's scheduler ends it: see test_scheduler.
        arguments = {"deferrable": False, "execution_timeout": "timedelta(seconds=6)"}
        dag = self.dag(task("it", "sales/count", parameters={"seconds": 60}, **arguments))
        state, log = airflow.run(dag)
        self.assertEqual(state, "failed", log)
        self.assertIn("ran longer than the task's execution_timeout", log)
        self.assertEqual(dcp.runs("count")[0]["phase"], "CANCELLED")


class Generated(Case):
    """DAG files as `dcp apply` has made them."""

    def test_success_by_the_command_line(self) -> None:
        # A run that nobody has given a date is for the day that it runs on.
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
        rows = json.loads(dcp.dcp("result", run["id"]))
        self.assertRegex(rows[0]["day"], r"^\d{4}-\d{2}-\d{2}$")

    def test_a_moment_has_a_day_and_a_day_its_first_moment(self) -> None:
        state, log = airflow.run(dcp.dags / "sales__moments.py")
        self.assertEqual(state, "success", log)
        [row] = json.loads(dcp.dcp("result", dcp.runs("moments")[0]["id"]))
        # The run is for midnight in UTC, and the days are those of Berlin: by UTC, the interval would begin on the 18th.
        days = {"begins": "2026-11-19", "ends": "2026-11-20", "moment": "2026-11-20"}
        self.assertEqual(row, {**days, "midnight": "2026-11-20 00:00:00"})

    def test_failure_with_its_cause(self) -> None:
        state, log = airflow.run(dcp.dags / "sales__broken.py")
        self.assertEqual(state, "failed", log)
        self.assertRegex(log, r"AirflowFailException: sales/broken failed after 1 attempt: .*not there")
        self.assertRegex(log, r"    .*TABLE_OR_VIEW_NOT_FOUND")

    def test_a_try_that_dies(self) -> None:
        dcp.write("steady", JOBS["count"].replace("default: 1}", "default: 12}"))
        dcp.apply()
        dag = dcp.dags / "sales__steady.py"
        airflow.begin(dag)
        id = self.begun(0, "steady")
        airflow.kill()
        state, log = airflow.run(dag, again="retried")
        self.assertEqual(state, "success", log)
        self.assertIn(f"found execution {id}", log)
        self.assertEqual(len(dcp.runs("steady")), 1)

    def test_a_group_in_its_order(self) -> None:
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
            told = json.loads(dcp.dcp("assets", f"table:lake.mart.{name}", "--output", "json"))
            self.assertEqual(told["last"]["run"], dcp.runs(name)[0]["id"])
            self.assertEqual((told["last"]["job"], told["last"]["origin"]), (f"sales/{name}", "airflow"))

    def test_a_revision_that_was_taken_away(self) -> None:
        dcp.write("short", JOBS["count"])
        dcp.apply()
        dag = DAGS / "sales__short.py"
        dag.write_text((dcp.dags / "sales__short.py").read_text())
        state, log = airflow.run(dag)
        self.assertEqual(state, "success", log)
        # Airflow may run a file for a while that is not there any more.
        (dcp.folder / "manifests" / "short.yaml").unlink()
        dcp.apply()
        self.assertFalse((dcp.dags / "sales__short.py").exists())
        state, log = airflow.run(dag, again="cleared")
        self.assertEqual(state, "failed", log)
        self.assertIn("there is no sales/short of shop/prod in revision", log)
        self.assertEqual(len(dcp.runs("short")), 1)


class Refused(Case):
    def refused(self, *tasks: str) -> str:
        before = len(dcp.runs())
        state, log = airflow.run(self.dag(*tasks))
        self.assertEqual(state, "failed", log)
        self.assertEqual(len(dcp.runs()), before)
        return log

    def test_unknown_job(self) -> None:
        log = self.refused(task("it", "sales/unknown"))
        self.assertIn("there is no sales/unknown of shop/prod to run", log)
        self.assertIn("dcp apply", log)

    def test_unknown_revision(self) -> None:
        log = self.refused(task("it", "sales/count", fingerprint="0" * 64))
        self.assertIn("in revision 000", log)
        self.assertIn("dcp apply", log)

    def test_unknown_parameter(self) -> None:
        log = self.refused(task("it", "sales/count", parameters={"secunds": 1}))
        self.assertIn("sales/count of shop/prod can't be run like this", log)
        self.assertIn("did you mean `seconds`?", log)

    def test_parameter_that_is_no_scalar(self) -> None:
        self.assertIn(
            "parameter `seconds` is [1]", self.refused(task("it", "sales/count", parameters={"seconds": [1]}))
        )

    def test_undefined_name(self) -> None:
        log = self.refused(task("it", "sales/count", run_parameters={"day": "{{ nowhere }}"}))
        self.assertIn("'nowhere' is undefined", log)

    def test_templates_in_parameters_are_text(self) -> None:
        dag = self.dag(task("it", "sales/count", parameters={"seconds": 1, "day": "{{ ds }}"}))
        state, log = airflow.run(dag)
        self.assertEqual(state, "success", log)
        self.assertIn("| count 0 of {{ ds }}", log)


class Outage(Case):
    def test_nobody_to_submit_to(self) -> None:
        dag = self.dag(task("it", "sales/count", conn_id="nobody"))
        state, log = airflow.run(dag)
        self.assertEqual(state, "failed", log)
        self.assertEqual(log.count("no answer, trying again for up to 2 s"), 1)
        self.assertIn("Whether it has heard of it is not known; clear the task to ask again", log)

    def test_away_for_a_while(self) -> None:
        before = len(dcp.runs("count"))
        airflow.begin(self.dag(task("it", "sales/count", parameters={"seconds": 8})))
        self.begun(before)
        dcp.stop()
        until("it is noticed", lambda: "no answer, trying again" in "".join(airflow._lines), 60)
        dcp.start()
        state, log = airflow.wait()
        self.assertEqual(state, "success", log)
        self.assertIn("there are answers again", log)
        self.assertIn("| count 7 of", log)
        self.assertEqual(log.count("| count 3 of"), 1, log)
        self.assertEqual(len(dcp.runs("count")), before + 1)

    def test_away_for_longer_and_found_again(self) -> None:
        for deferrable in (True, False):
            with self.subTest(deferrable=deferrable):
                before = len(dcp.runs("count"))
                arguments = {"parameters": {"seconds": 12}, "deferrable": deferrable}
                dag = self.dag(task("it", "sales/count", conn_id="impatient", **arguments))
                airflow.begin(dag)
                id = self.begun(before)
                dcp.stop()
                state, log = airflow.wait()
                self.assertEqual(state, "failed", log)
                self.assertIn(f"how execution {id} is could not be found out", log)
                dcp.start()
                state, log = airflow.run(dag, again="cleared")
                self.assertEqual(state, "success", log)
                self.assertIn(f"found execution {id} of sales/count", log)
                self.assertEqual(len(dcp.runs("count")), before + 1)

    def test_nobody_to_tell_of_completion(self) -> None:
        before = len(dcp.runs("count"))
        outlets = [asset("table:lake.mart.orders")]
        dag = self.dag(task("it", "sales/count", conn_id="no_control", outlets=outlets))
        state, log = airflow.run(dag)
        self.assertEqual(state, "failed", log)
        self.assertIn("the job has succeeded, but that its outputs are complete could not be told", log)
        state, log = airflow.run(self.dag(task("it", "sales/count", outlets=outlets)), again="cleared")
        self.assertEqual(state, "success", log)
        self.assertEqual(len(dcp.runs("count")), before + 1)


class Tries(Case):
    def test_a_try_that_dies(self) -> None:
        for deferrable in (True, False):
            with self.subTest(deferrable=deferrable):
                before = len(dcp.runs("count"))
                dag = self.dag(task("it", "sales/count", parameters={"seconds": 12}, deferrable=deferrable))
                airflow.begin(dag)
                id = self.begun(before)
                airflow.kill()
                state, log = airflow.run(dag, again="cleared")
                self.assertEqual(state, "success", log)
                self.assertIn(f"found execution {id}", log)
                self.assertEqual(len(dcp.runs("count")), before + 1)

    def test_a_try_that_dies_and_a_run_that_is_made_again(self) -> None:
        before = len(dcp.runs("count"))
        dag = self.dag(task("it", "sales/count", parameters={"seconds": 40}))
        airflow.begin(dag)
        id = self.begun(before)
        airflow.kill()
        state, log = airflow.run(dag)
        self.assertEqual(state, "success", log)
        self.assertIn(f"found execution {id}", log)
        self.assertEqual(len(dcp.runs("count")), before + 1)
        # It has ended by now: a run of this name that is made again is another one.
        state, log = airflow.run(
            dag_file(DAGS, dag.stem, task("it", "sales/count", parameters={"seconds": 1}))
        )
        self.assertEqual(state, "success", log)
        self.assertIn("the job is run anew", log)
        self.assertEqual(len(dcp.runs("count")), before + 2)

    def test_cancelled_while_no_try_was_there(self) -> None:
        before = len(dcp.runs("count"))
        dag = self.dag(task("it", "sales/count", parameters={"seconds": 30}))
        airflow.begin(dag)
        id = self.begun(before)
        airflow.kill()
        dcp.dcp("cancel", id)
        state, log = airflow.run(dag_file(DAGS, dag.stem, task("it", "sales/count")), again="cleared")
        self.assertEqual(state, "success", log)
        self.assertIn("the job is run anew", log)
        self.assertEqual([it["phase"] for it in dcp.runs("count")[:2]], ["SUCCEEDED", "CANCELLED"])

    def test_cancelled_by_somebody_else(self) -> None:
        before = len(dcp.runs("count"))
        airflow.begin(self.dag(task("it", "sales/count", parameters={"seconds": 30})))
        dcp.dcp("cancel", self.begun(before))
        state, log = airflow.wait()
        self.assertEqual(state, "failed", log)
        self.assertIn("AirflowFailException: sales/count was cancelled", log)

    def test_a_dag_that_was_changed_meanwhile(self) -> None:
        before = len(dcp.runs("count"))
        dag = self.dag(task("it", "sales/count", parameters={"seconds": 12}))
        airflow.begin(dag)
        id = self.begun(before)
        airflow.kill()
        state, log = airflow.run(
            dag_file(DAGS, dag.stem, task("it", "sales/count", parameters={"seconds": 9})), again="retried"
        )
        self.assertEqual(state, "success", log)
        self.assertIn(f"found execution {id}", log)
        self.assertIn("it was submitted with something else than the DAG has now, and runs that", log)
        self.assertEqual(len(dcp.runs("count")), before + 1)

    def test_cleared_after_success(self) -> None:
        before = len(dcp.runs("count"))
        dag = self.dag(task("it", "sales/count"))
        for tries in (1, 2, 3):
            state, log = airflow.run(dag, again="cleared" if tries > 1 else "")
            self.assertEqual(state, "success", log)
            self.assertEqual(len(dcp.runs("count")), before + tries)
