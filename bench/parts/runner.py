"""Measures a Runner against the disk and the databases of this machine."""

import json
import os
import statistics
import subprocess
from pathlib import Path

from .common import NO_GOAL, REPETITIONS, log

DATABASES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
STORED = 100
"""Number of stored finished executions for each manifest of the other parts."""
STARTS = 30


def measure(dcp: Path, bench: Path, count: int) -> list:
    """Measures this part, and returns the rows of its table."""
    log("measuring the Runner (some minutes) …")
    command = [bench, "runner", "--dcp", dcp, "--repeat", REPETITIONS, "--stored", STORED * count, "--starts", STARTS]
    # The default folder for temporary files may be in memory, where a flush costs nothing.
    environment = {"TMPDIR": "/var/tmp"} | os.environ
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        raise SystemExit("bench/run: measuring the Runner failed; see the error above")
    return rows(json.loads(done.stdout))


def rows(found: dict) -> list:
    """Returns the rows that compare the figures with the goals."""
    disk = medians(found["rates"]["disk"])
    value = f"{disk['flushes']:.0f} a second; median {micros(disk['flush_median'])}, p99 {micros(disk['flush_p99'])}"
    rows = [("this disk: 4 KiB appended and `fdatasync`, one at a time", NO_GOAL, value, True)]
    for name, title in DATABASES.items():
        rows += rows_of_database(title, found["clients"], disk, medians(found["rates"][name]))
    for name, title in DATABASES.items():
        rows += rows_of_history(title, found["history"][name])
    start = found["start"]
    overhead = start["submitted"] - start["by_hand"]
    value = f"{millis(start['submitted'])} against {millis(start['by_hand'])}: {millis(overhead)} more"
    rows.append((f"from `Submit` to spark-submit's first line, against a direct start, {start['starts']} times", NO_GOAL, value, True))
    return rows


def rows_of_database(title: str, clients: int, disk: dict, rates: dict) -> list:
    """Returns rows about rates and times of calls with one database."""
    ratio = rates["submits"] / disk["flushes"]
    value = f"{rates['submits']:.0f} a second: {ratio:.2f}×"
    submits = (f"{title}: durable `Submit`s of {clients} clients against `fdatasync`s", "≥ 2×", value, ratio >= 2)
    submit, flush, empty = rates["one_submit_median"], disk["flush_median"], rates["one_empty_median"]
    limit = 2 * flush + empty
    value = f"{micros(submit)} (p99 {micros(rates['one_submit_p99'])}) against 2 × {micros(flush)} + {micros(empty)} = {micros(limit)}"
    what = f"{title}: one client's `Submit` against `fdatasync` and an empty call, medians"
    one = (what, "≤ 2 `fdatasync`s + 1 empty call", value, submit <= limit)
    ratio = rates["checks"] / rates["empty"]
    per_submit = rates["checks"] / rates["submits"]
    value = f"{rates['checks']:.0f} against {rates['empty']:.0f} a second: {ratio:.2f}×; {per_submit:.1f}× of `Submit`s"
    checks = (f"{title}: `Check`s of {clients} clients against empty calls", "≥ 0.7×", value, ratio >= 0.7)
    one_check = f"median {micros(rates['one_check_median'])}, p99 {micros(rates['one_check_p99'])}"
    plain = (
        f"{title}: the store without gRPC against plain inserts of the same rows, {clients} per transaction",
        NO_GOAL,
        f"{rates['store']:.0f} against {rates['plain_inserts']:.0f} a second: {rates['store'] / rates['plain_inserts']:.2f}×; "
        f"with gRPC {rates['submits'] / rates['plain_inserts']:.2f}×",
        True,
    )
    return [submits, one, checks, (f"{title}: one client's `Check`", NO_GOAL, one_check, True), plain]


def rows_of_history(title: str, stored: dict) -> list:
    """Returns rows about the effect of many finished executions."""
    what = f"{title}, {stored['count']} finished executions stored"
    memory = f"{stored['memory']:.0f} MiB, and {stored['memory_of_none']:.0f} MiB with none"
    check = f"median {micros(stored['check'])}, p99 {micros(stored['check_p99'])}; {stored['submits']:.0f} `Submit`s a second at the same time"
    names = {"all": "all", "workload": "a workload's", "failed": "failed", "ended": "ended", "live": "live"}
    lists = ", ".join(f"{words} {millis(stored[f'list_{name}'])}" for name, words in names.items())
    page = stored["list_domain"]
    return [
        (f"{what}: the Runner's memory", NO_GOAL, memory, True),
        (f"{what}: one client's `Check`", NO_GOAL, check, True),
        (f"{what}: `List`, a page of 50 of a domain, median", "≤ 2 ms", millis(page), page <= 0.002),
        (f"{what}: `List`, other pages of 50, medians", NO_GOAL, lists, True),
    ]


def medians(lists: dict) -> dict:
    return {name: statistics.median(values) for name, values in lists.items()}


def micros(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 0.01 else millis(seconds)


def millis(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
