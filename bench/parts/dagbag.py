"""Reads and compares DAG files, in an environment with Airflow, dag-factory and the provider. See `dags.py`.

    python dagbag.py write ORCHESTRATORS FOLDER    write the DAGs as handwritten files and as YAML for dag-factory
    python dagbag.py equal FOLDER FOLDER           print the number of equal DAGs; exit with 1 unless all are equal
    python dagbag.py time FOLDER                   print the seconds that Airflow takes to read a folder, without imports
"""

import json
import sys
import time
from pathlib import Path

FACTORY = """\
# Airflow skips files without the words airflow and dag.
from dagfactory import load_yaml_dags

load_yaml_dags(globals_dict=globals(), dags_folder={folder!r})
"""


def handwritten(dag: dict) -> str:
    """Returns the shortest reasonable handwritten source of a DAG."""
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
    """Returns a DAG in the format of dag-factory."""

    def instance(class_name: str, *args, **named) -> dict:
        return {"__type__": class_name, **({"__args__": list(args)} if args else {}), **named}

    def asset(it: dict) -> dict:
        return instance("airflow.sdk.Asset", name=it["name"], uri=it["uri"])

    def schedule():
        match dag["schedule"]:
            case {"cron": cron}:
                return instance("airflow.sdk.CronDataIntervalTimetable", cron, dag["timezone"])
            case {"assets": {"mode": mode, "assets": assets}}:
                pairs = [(asset(it), instance("dcp_airflow.completed", scope=dag["scope"], asset=it["name"])) for it in assets]
                if mode == "any" or len(pairs) == 1:
                    return instance("airflow.sdk.AssetAny", *[one for pair in pairs for one in pair])
                return instance("airflow.sdk.AssetAll", *[instance("airflow.sdk.AssetAny", *pair) for pair in pairs])
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
        # dag-factory reads a text as a time in UTC, so the date is an object.
        day = {key: start[key] for key in ("year", "month", "day")}
        config["start_date"] = instance("pendulum.datetime", **day, tz=dag["timezone"])
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
    for part in (hand, factory, configs):
        part.mkdir(parents=True)
    for path in primitives:
        dag = json.loads(path.read_text())["body"]["dag"]
        (hand / f"{dag['dagId']}.py").write_text(handwritten(dag))
        (configs / f"{dag['dagId']}.yaml").write_text(yaml.safe_dump(as_yaml(dag), sort_keys=False, allow_unicode=True))
    (factory / "load.py").write_text(FACTORY.format(folder=str(configs)))


def read_dags(folder: str):
    from airflow.dag_processing.dagbag import DagBag

    start = time.perf_counter()
    bag = DagBag(dag_folder=folder)
    seconds = time.perf_counter() - start
    if bag.import_errors:
        raise SystemExit(f"{len(bag.import_errors)} import errors in {folder}, such as {next(iter(bag.import_errors.items()))}")
    return bag, seconds


def comparable(dag) -> dict:
    """Returns Airflow's serialized DAG, without the paths of its file and the additions of dag-factory."""
    from airflow.serialization.serialized_objects import DagSerialization

    serialized = json.loads(json.dumps(DagSerialization.to_dict(dag)["dag"], sort_keys=True, default=str))
    for key in ("fileloc", "relative_fileloc", "_processor_dags_folder", "client_defaults"):
        serialized.pop(key, None)
    serialized["tags"] = sorted(tag for tag in serialized.get("tags", []) if tag != "dagfactory")
    serialized["doc_md"] = serialized["doc_md"].split("\n## YML DAG")[0]
    # Arguments of the operator that Airflow does not serialize.
    names = ("scope", "job", "fingerprint", "parameters", "run_parameters", "partition", "conn_id")
    serialized["arguments"] = {task.task_id: [repr(getattr(task, name)) for name in names] for task in dag.tasks}
    return serialized


def equal(one: str, other: str) -> None:
    ones, others = read_dags(one)[0].dags, read_dags(other)[0].dags
    differ = [id for id in ones if id not in others or comparable(ones[id]) != comparable(others[id])]
    print(len(ones) - len(differ))
    if differ or len(ones) != len(others):
        id = (differ or sorted(set(others) - set(ones)))[0]
        sys.exit(f"{len(differ)} of {len(ones)} differ, such as {id}:\n{comparable(ones[id]) if id in ones else None}\n{comparable(others[id]) if id in others else None}")


def main() -> None:
    match sys.argv[1:]:
        case ["write", orchestrators, folder]:
            write([Path(line) for line in Path(orchestrators).read_text().splitlines()], Path(folder))
        case ["equal", one, other]:
            equal(one, other)
        case ["time", folder]:
            import airflow.sdk  # noqa: F401

            bag, seconds = read_dags(folder)
            print(json.dumps({"dags": len(bag.dags), "seconds": seconds}))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
