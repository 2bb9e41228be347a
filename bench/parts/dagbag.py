"""Runs inside of an environment that has Airflow, dag-factory and the provider: see `dags.py` beside this file.

    python dagbag.py write ORCHESTRATORS FOLDER    the same DAGs by hand, and as dag-factory has them
    python dagbag.py equal FOLDER FOLDER           how many DAGs of the second are those of the first; exits with 1 unless all are
    python dagbag.py time FOLDER                   seconds that Airflow takes to read a folder, its own imports not counted
"""

import json
import sys
import time
from pathlib import Path

FACTORY = """\
# Airflow only looks into files that speak of airflow and dag.
from dagfactory import load_yaml_dags

load_yaml_dags(globals_dict=globals(), dags_folder={folder!r})
"""


def by_hand(dag: dict) -> str:
    """A DAG as somebody would write it who wants to write as little as possible."""
    used, lines = {"DAG"}, []

    def asset(it: dict) -> str:
        used.add("Asset")
        return f"Asset({it['name']!r}, {it['uri']!r})"

    def schedule() -> str:
        match dag["schedule"]:
            case {"cron": cron}:
                used.add("CronDataIntervalTimetable")
                return f"CronDataIntervalTimetable({cron!r}, {dag['timezone']!r})"
            case {"assets": {"mode": mode, "assets": assets}}:
                used.add("AssetAny")
                either = [f"{asset(it)}, completed({dag['scope']!r}, {it['name']!r})" for it in assets]
                if mode == "any" or len(either) == 1:
                    return f"AssetAny({', '.join(either)})"
                used.add("AssetAll")
                return f"AssetAll({', '.join(f'AssetAny({it})' for it in either)})"
            case _:
                return "None"

    args = [repr(dag["dagId"]), f"description={dag['description']!r}", f"doc_md={dag['doc'] + chr(10)!r}", f"schedule={schedule()}"]
    if start := dag.get("startDate"):
        args.append(f"start_date=datetime({start['year']}, {start['month']}, {start['day']}, tz={dag['timezone']!r})")
    if dag["catchup"]:
        args.append("catchup=True")
    args.append(f"max_active_runs={dag['maxActiveRuns']}")
    if seconds := dag.get("deadlineSeconds"):
        used.update(("AsyncCallback", "DeadlineAlert", "DeadlineReference"))
        callback = 'AsyncCallback("dcp_airflow.deadline_missed")'
        args.append(f"deadline=DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(seconds={seconds}), {callback})")
    args.append(f"default_args={({'owner': dag['owner'], 'retries': 2, 'retry_delay': 10})!r}")
    args.append(f"tags={dag['tags']!r}")
    for task in dag["tasks"]:
        options = [f"task_id={task['taskId']!r}", f"scope={dag['scope']!r}", f"job={task['job']!r}", f"fingerprint={task['fingerprint']!r}"]
        if values := task.get("runParameters"):
            options.append(f"run_parameters={ {name: EXPRESSIONS[value] for name, value in values.items()}!r}")
        if partition := sorted(name for name, value in (task.get("runParameters") or {}).items() if value != "runId"):
            options.append(f"partition={partition!r}")
        if outlets := task.get("outlets"):
            options.append(f"outlets=[{', '.join(map(asset, outlets))}]")
        lines.append(f"    SparkOperator({', '.join(options)})")
    head = ["from datetime import timedelta"] if "DeadlineAlert" in used else []
    head += ["from pendulum import datetime"] if dag.get("startDate") else []
    head.append(f"from airflow.sdk import {', '.join(sorted(used))}")
    head.append(f"from dcp_airflow import SparkOperator{', completed' if 'assets' in dag['schedule'] else ''}")
    return "\n".join([*head, "", f"with DAG({', '.join(args)}):", *lines, ""])


EXPRESSIONS = {
    "date": "{{ ds }}",
    "localDate": "{{ logical_date.in_timezone(dag.timetable.timezone | default(dag.timezone)) | ds }}",
    "timestamp": "{{ ts }}",
    "intervalStart": "{{ data_interval_start | ts }}",
    "intervalStartDate": "{{ data_interval_start.in_timezone(dag.timetable.timezone | default(dag.timezone)) | ds }}",
    "intervalEnd": "{{ data_interval_end | ts }}",
    "intervalEndDate": "{{ data_interval_end.in_timezone(dag.timetable.timezone | default(dag.timezone)) | ds }}",
    "runAfter": "{{ dag_run.run_after | ts }}",
    "runAfterDate": "{{ dag_run.run_after | ds }}",
    "runId": "{{ run_id }}",
}


def as_yaml(dag: dict) -> dict:
    """A DAG as dag-factory has it."""

    def made(what: str, *args, **named) -> dict:
        return {"__type__": what, **({"__args__": list(args)} if args else {}), **named}

    def asset(it: dict) -> dict:
        return made("airflow.sdk.Asset", name=it["name"], uri=it["uri"])

    def schedule():
        match dag["schedule"]:
            case {"cron": cron}:
                return made("airflow.sdk.CronDataIntervalTimetable", cron, dag["timezone"])
            case {"assets": {"mode": mode, "assets": assets}}:
                pairs = [(asset(it), made("dcp_airflow.completed", scope=dag["scope"], asset=it["name"])) for it in assets]
                if mode == "any" or len(pairs) == 1:
                    return made("airflow.sdk.AssetAny", *[one for pair in pairs for one in pair])
                return made("airflow.sdk.AssetAll", *[made("airflow.sdk.AssetAny", *pair) for pair in pairs])
            case _:
                return "none"

    config = {
        "description": dag["description"],
        "doc_md": dag["doc"] + "\n",
        "schedule": schedule(),
        "catchup": dag["catchup"],
        "max_active_runs": dag["maxActiveRuns"],
        "default_args": {"owner": dag["owner"], "retries": 2, "retry_delay": 10},
        "tags": dag["tags"],
        "tasks": [],
    }
    if start := dag.get("startDate"):
        # The whole of it can only be given as an object; a text would be taken in UTC.
        where = {key: start[key] for key in ("year", "month", "day")}
        config["start_date"] = made("pendulum.datetime", **where, tz=dag["timezone"])
    for task in dag["tasks"]:
        options = {"task_id": task["taskId"], "operator": "dcp_airflow.SparkOperator", "scope": dag["scope"], "job": task["job"], "fingerprint": task["fingerprint"]}
        if values := task.get("runParameters"):
            options["run_parameters"] = {name: EXPRESSIONS[value] for name, value in values.items()}
        if partition := sorted(name for name, value in (task.get("runParameters") or {}).items() if value != "runId"):
            options["partition"] = partition
        if outlets := task.get("outlets"):
            options["outlets"] = [asset(it) for it in outlets]
        config["tasks"].append(options)
    return {dag["dagId"]: config}


def write(primitives: list, folder: Path) -> None:
    import yaml

    hand, factory, configs = folder / "hand", folder / "factory", folder / "configs"
    for made in (hand, factory, configs):
        made.mkdir(parents=True)
    for path in primitives:
        dag = json.loads(path.read_text())["body"]["dag"]
        (hand / f"{dag['dagId']}.py").write_text(by_hand(dag))
        (configs / f"{dag['dagId']}.yaml").write_text(yaml.safe_dump(as_yaml(dag), sort_keys=False, allow_unicode=True))
    (factory / "load.py").write_text(FACTORY.format(folder=str(configs)))


def bag(folder: str):
    from airflow.dag_processing.dagbag import DagBag

    begun = time.perf_counter()
    found = DagBag(dag_folder=folder)
    seconds = time.perf_counter() - begun
    if found.import_errors:
        raise SystemExit(f"{len(found.import_errors)} import errors in {folder}, such as {next(iter(found.import_errors.items()))}")
    return found, seconds


def plain(dag) -> dict:
    """All that Airflow keeps of a DAG, but where it was read from, and the mark that dag-factory leaves."""
    from airflow.serialization.serialized_objects import DagSerialization

    kept = json.loads(json.dumps(DagSerialization.to_dict(dag)["dag"], sort_keys=True, default=str))
    for key in ("fileloc", "relative_fileloc", "_processor_dags_folder", "client_defaults"):
        kept.pop(key, None)
    kept["tags"] = sorted(tag for tag in kept.get("tags", []) if tag != "dagfactory")
    kept["doc_md"] = kept["doc_md"].split("\n## YML DAG")[0]
    # What an operator has that Airflow need not know.
    names = ("scope", "job", "fingerprint", "parameters", "run_parameters", "partition", "conn_id")
    kept["ours"] = {task.task_id: [repr(getattr(task, name)) for name in names] for task in dag.tasks}
    return kept


def equal(one: str, other: str) -> None:
    ones, others = bag(one)[0].dags, bag(other)[0].dags
    differ = [id for id in ones if id not in others or plain(ones[id]) != plain(others[id])]
    print(len(ones) - len(differ))
    if differ or len(ones) != len(others):
        id = (differ or sorted(set(others) - set(ones)))[0]
        sys.exit(f"{len(differ)} of {len(ones)} differ, such as {id}:\n{plain(ones[id]) if id in ones else None}\n{plain(others[id]) if id in others else None}")


def main() -> None:
    match sys.argv[1:]:
        case ["write", orchestrators, folder]:
            write([Path(line) for line in Path(orchestrators).read_text().splitlines()], Path(folder))
        case ["equal", one, other]:
            equal(one, other)
        case ["time", folder]:
            import airflow.sdk  # noqa: F401

            found, seconds = bag(folder)
            print(json.dumps({"dags": len(found.dags), "seconds": seconds}))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
