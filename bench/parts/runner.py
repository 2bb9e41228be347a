"""A Runner against what this machine's disk and databases do by themselves."""

import json
import os
import statistics
import subprocess
from pathlib import Path

from .common import REPETITIONS, say

DATABASES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
KEPT = 100
"""So many finished executions are kept for each manifest that other parts are given."""
STARTS = 30


def measure(dcp: Path, bench: Path, count: int) -> list:
    """The rows of the table."""
    say("measuring the Runner: some minutes …")
    command = [bench, "runner", "--dcp", dcp, "--repeat", REPETITIONS, "--kept", KEPT * count, "--starts", STARTS]
    # The usual folder for temporary files may be in memory, and what is flushed there costs nothing.
    environment = {"TMPDIR": "/var/tmp"} | os.environ
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        raise SystemExit("bench/run: the Runner could not be measured: what went wrong stands above")
    return rows(json.loads(done.stdout))


def rows(found: dict) -> list:
    """What was found, against the goals."""
    disk = medians(found["rates"]["disk"])
    told = f"{disk['flushes']:.0f} a second; median {micros(disk['flush_median'])}, p99 {micros(disk['flush_p99'])}"
    rows = [("this disk: 4 KiB appended and `fdatasync`, one at a time", "told", told, True)]
    for name, title in DATABASES.items():
        rows += of_database(title, found["clients"], disk, medians(found["rates"][name]))
    for name, title in DATABASES.items():
        rows += of_kept(title, found["kept"][name])
    start = found["start"]
    extra = start["submitted"] - start["by_hand"]
    value = f"{millis(start['submitted'])} against {millis(start['by_hand'])}: {millis(extra)} more"
    rows.append((f"from `Submit` to spark-submit's first line, against starting it by hand, {start['starts']} times", "told", value, True))
    return rows


def of_database(title: str, clients: int, disk: dict, here: dict) -> list:
    """How often, and how quickly, with one database."""
    ratio = here["submits"] / disk["flushes"]
    value = f"{here['submits']:.0f} a second: {ratio:.2f}×"
    submits = (f"{title}: durable `Submit`s of {clients} clients against `fdatasync`s", "≥ 2×", value, ratio >= 2)
    submit, flush, empty = here["one_submit_median"], disk["flush_median"], here["one_empty_median"]
    limit = 2 * flush + empty
    value = f"{micros(submit)} (p99 {micros(here['one_submit_p99'])}) against 2 × {micros(flush)} + {micros(empty)} = {micros(limit)}"
    what = f"{title}: one client's `Submit` against `fdatasync` and an empty call, medians"
    one = (what, "≤ 2 `fdatasync`s + 1 empty call", value, submit <= limit)
    ratio = here["checks"] / here["empty"]
    value = f"{here['checks']:.0f} against {here['empty']:.0f} a second: {ratio:.2f}×; {here['checks'] / here['submits']:.1f}× of `Submit`s"
    checks = (f"{title}: `Check`s of {clients} clients against empty calls", "≥ 0.7×", value, ratio >= 0.7)
    alone = f"median {micros(here['one_check_median'])}, p99 {micros(here['one_check_p99'])}"
    bare = (
        f"{title}: the store without gRPC, against bare inserts of the same rows, {clients} in a transaction",
        "told",
        f"{here['store']:.0f} against {here['bare']:.0f} a second: {here['store'] / here['bare']:.2f}×; "
        f"with gRPC {here['submits'] / here['bare']:.2f}×",
        True,
    )
    return [submits, one, checks, (f"{title}: one client's `Check`", "told", alone, True), bare]


def of_kept(title: str, kept: dict) -> list:
    """What many executions cost that have ended."""
    what = f"{title}, {kept['count']} finished executions kept"
    memory = f"{kept['memory']:.0f} MiB, and {kept['memory_of_none']:.0f} MiB with none"
    check = f"median {micros(kept['check'])}, p99 {micros(kept['check_p99'])}; {kept['submits']:.0f} `Submit`s a second beside them"
    names = {"all": "all", "workload": "a workload's", "failed": "failed", "ended": "ended", "live": "live"}
    lists = ", ".join(f"{words} {millis(kept[f'list_{name}'])}" for name, words in names.items())
    page = kept["list_domain"]
    return [
        (f"{what}: the Runner's memory", "told", memory, True),
        (f"{what}: one client's `Check`", "told", check, True),
        (f"{what}: `List`, a page of 50 of a domain, median", "≤ 2 ms", millis(page), page <= 0.002),
        (f"{what}: `List`, other pages of 50, medians", "told", lists, True),
    ]


def medians(lists: dict) -> dict:
    return {name: statistics.median(values) for name, values in lists.items()}


def micros(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 0.01 else millis(seconds)


def millis(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
