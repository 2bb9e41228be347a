"""Measures a reconciler of continuous jobs, with a Runner that responds at once."""

import json
import os
import statistics
import subprocess
from pathlib import Path

from .common import NO_GOAL, REPETITIONS, log

DATABASES = {"SQLite": [], "PostgreSQL": ["--postgres"]}
ACTIONS = 250
"""Goal for stops and starts per second."""
RESTART_SECONDS = 5
"""Goal for the time until the first action."""


def measure(dcp: Path, bench: Path, count: int) -> list:
    """Measures this part, and returns the rows of its table."""
    # The default folder for temporary files may be in memory, where a flush costs nothing.
    environment = {"TMPDIR": "/var/tmp"} | os.environ
    rows = []
    for title, options in DATABASES.items():
        log(f"measuring the reconciler with {title} (some minutes) …")
        command = [str(word) for word in [bench, "reconcile", "--repeat", REPETITIONS, "--jobs", count, *options]]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
        if done.returncode != 0:
            raise SystemExit("bench/run: measuring the reconciler failed; see the error above")
        found = json.loads(done.stdout)
        rows += rows_of_database(title, found["jobs"], found["failures"], found["found"])
    return rows


def rows_of_database(title: str, jobs: int, failures: int, lists: dict) -> list:
    """Returns the rows that compare the figures of one database with the goals."""
    medians = {name: statistics.median(values) for name, values in lists.items()}
    value = f"{medians['start']:.1f} s: {jobs / medians['start']:.0f} starts a second"
    rows = [(f"{title}: start of {jobs} jobs without stored state", NO_GOAL, value, True)]
    writes = medians["steady_writes"]
    what = f"{title}: writes of {jobs} unchanged jobs in {medians['steady_seconds']:.0f} s"
    rows.append((what, "0", f"{writes:.0f}", writes == 0))
    value = f"{100 * medians['steady_core']:.1f}% of a core, {medians['steady_memory']:.0f} MiB"
    rows.append((f"{title}: resources of reconciler and Runner meanwhile", NO_GOAL, value, True))
    for percent in (1, 10):
        count, seconds = -(-jobs * percent // 100), medians[f"drift_{percent}"]
        rate = 2 * count / seconds
        value = f"{seconds:.2f} s: {rate:.0f} actions a second"
        rows.append((f"{title}: from a commit that changes {count} of {jobs} jobs until all are restarted", f"≥ {ACTIONS} a second", value, rate >= ACTIONS))
    rows.append((f"{title}: from the start of a reconciler to its first action, {jobs} jobs running", f"≤ {RESTART_SECONDS} s", f"{medians['restart']:.2f} s", medians["restart"] <= RESTART_SECONDS))
    value = f"{medians['failover_15']:.1f} s with a lease of 15 s, {medians['failover_5']:.1f} s with one of 5 s"
    rows.append((f"{title}: from the death of the leading reconciler to the first action of the next one", NO_GOAL, value, True))
    value = (
        f"{medians['failure_restart']:.1f} s: detected after {medians['failure_detected']:.2f} s, backoff of {medians['failure_backoff']:.1f} s, "
        f"{medians['failure_delay']:.2f} s late"
    )
    rows.append((f"{title}: from the death of an execution to its restart, of {failures}", NO_GOAL, value, True))
    return rows
