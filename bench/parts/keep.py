"""A reconciler that keeps continuous jobs by a Runner that answers at once."""

import json
import os
import statistics
import subprocess
from pathlib import Path

from .common import REPETITIONS, say

DATABASES = {"SQLite": [], "PostgreSQL": ["--postgres"]}
ACTIONS = 250
"""The goal: so many stops and starts a second."""
RESTART = 5


def measure(dcp: Path, bench: Path, count: int) -> list:
    """The rows of the table."""
    # The usual folder for temporary files may be in memory, and what is flushed there costs nothing.
    environment = {"TMPDIR": "/var/tmp"} | os.environ
    rows = []
    for title, options in DATABASES.items():
        say(f"measuring the reconciler with {title}: some minutes …")
        command = [str(word) for word in [bench, "keep", "--repeat", REPETITIONS, "--jobs", count, *options]]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
        if done.returncode != 0:
            raise SystemExit("bench/run: the reconciler could not be measured: what went wrong stands above")
        found = json.loads(done.stdout)
        rows += of_database(title, found["jobs"], found["deaths"], found["found"])
    return rows


def of_database(title: str, jobs: int, deaths: int, lists: dict) -> list:
    """What was found with one database, against the goals."""
    here = {name: statistics.median(values) for name, values in lists.items()}
    value = f"{here['start']:.1f} s: {jobs / here['start']:.0f} starts a second"
    rows = [(f"{title}: from nothing remembered to {jobs} jobs started", "told", value, True)]
    writes = here["steady_writes"]
    what = f"{title}: writes of {jobs} jobs that nothing happens to, in {here['steady_seconds']:.0f} s"
    rows.append((what, "none", f"{writes:.0f}", writes == 0))
    value = f"{100 * here['steady_core']:.1f}% of a core, {here['steady_memory']:.0f} MiB"
    rows.append((f"{title}: what this process needs meanwhile, that Runner included", "told", value, True))
    for percent in (1, 10):
        count, seconds = -(-jobs * percent // 100), here[f"drift_{percent}"]
        rate = 2 * count / seconds
        value = f"{seconds:.2f} s: {rate:.0f} actions a second"
        rows.append((f"{title}: from a commit that changes {count} of {jobs} jobs until all run anew", f"≥ {ACTIONS} a second", value, rate >= ACTIONS))
    rows.append((f"{title}: from the start of a reconciler to its first action, {jobs} jobs running", f"≤ {RESTART} s", f"{here['restart']:.2f} s", here["restart"] <= RESTART))
    value = f"{here['failover_15']:.1f} s by a lease of 15 s, {here['failover_5']:.1f} s by one of 5 s"
    rows.append((f"{title}: from the death of the reconciler that acts to the other one's first action", "told", value, True))
    value = (
        f"{here['death']:.1f} s: noticed after {here['death_noticed']:.2f} s, left alone for {here['death_left_alone']:.1f} s, "
        f"{here['death_late']:.2f} s late"
    )
    rows.append((f"{title}: from the death of an execution to the next start, each of {deaths}", "told", value, True))
    return rows
