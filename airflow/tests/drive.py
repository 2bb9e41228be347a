"""Runs DAGs as `airflow dags test` does, without a new process for each.

Reads commands as lines of JSON from standard input. Prints `ENDED STATE` after each.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone

LOGICAL_DATE = datetime(2026, 11, 20, tzinfo=timezone.utc)


def main() -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagrun import DagRun
    from airflow.sdk.definitions.dag import _run_task
    from airflow.utils.session import create_session

    DagBundlesManager().sync_bundles_to_db()
    for line in sys.stdin:
        command = json.loads(line)
        next_try = command["next_try"]
        bag = DagBag(command["path"])
        if bag.import_errors:
            print(bag.import_errors, "\nENDED import-error", flush=True)
            continue
        sync_bag_to_db(bag, "dags-folder", None)
        dag = bag.dags[command["dag"]]
        if not next_try:
            # `test` deletes an earlier run with the same date first.
            run = dag.test(run_after=LOGICAL_DATE, logical_date=LOGICAL_DATE)
            state = str(run.state)
        else:
            with create_session() as session:
                run = session.query(DagRun).filter(DagRun.dag_id == dag.dag_id).one()
                tis = run.get_task_instances(session=session)
                for ti in tis:
                    if next_try == "cleared":
                        ti.max_tries = ti.try_number + dag.get_task(ti.task_id).retries
                    ti.state, ti.next_method, ti.next_kwargs, ti.try_number = (
                        None,
                        None,
                        None,
                        ti.try_number + 1,
                    )
                session.commit()
                session.expunge_all()
            for ti in tis:
                _run_task(ti=ti, task=dag.get_task(ti.task_id), run_triggerer=True)
            state = str(tis[-1].state)
        print(f"ENDED {state.rpartition('.')[2].lower()}", flush=True)


main()
