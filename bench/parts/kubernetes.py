"""Measures a Runner with a real cluster of one node, beside a bare client and the Kubeflow operator."""

import json
import statistics
import subprocess
from pathlib import Path

from .common import NO_GOAL, REPETITIONS, log

DELAYS = 300
SUBMITS = 100


def measure(dcp: Path, bench: Path, count: int) -> list:
    """Measures this part, and returns the rows of its table."""
    log("measuring a Runner with a cluster (some minutes) …")
    sizes = ["--creates", count // 20, "--submits", SUBMITS, "--applications", count, "--delays", DELAYS]
    command = [bench, "kubernetes", "--dcp", dcp, "--repeat", REPETITIONS, *sizes]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit("bench/run: measuring a Runner with a cluster failed; see the error above")
    return rows(json.loads(done.stdout))


def rows(found: dict) -> list:
    """Returns the rows that compare the figures with the goals."""
    own, bare = statistics.median(found["own"]), statistics.median(found["bare"])
    ratio = own / bare
    creates = (
        f"applications created by the Runner and {found['clients']} clients, against their objects created by a bare client, {found['creates']} a round",
        "≥ 0.8×",
        f"{own:.0f} against {bare:.0f} a second: {ratio:.2f}×",
        ratio >= 0.8,
    )
    value = f"median {millis(found['submit_median'])}, p99 {millis(found['submit_p99'])}"
    submit = (f"from `Submit` to the driver's pod, {found['submits']} times", NO_GOAL, value, True)
    ratio = found["kubeflow_median"] / found["submit_median"]
    value = f"{found['kubeflow_median']:.1f} s against {millis(found['submit_median'])}: {ratio:.0f}×"
    kubeflow = (f"the same of the Kubeflow operator 2.5.2, {found['kubeflow']} times, against dcp", NO_GOAL, value, True)
    ratio = own / found["kubeflow_rate"]
    value = f"{own * 60:.0f} against {found['kubeflow_rate'] * 60:.0f} a minute: {ratio:.0f}×"
    many = (f"drivers' pods by dcp against the Kubeflow operator, {found['kubeflow']} at once", "≥ 10×", value, ratio >= 10)
    value = f"median {millis(found['delay_median'])}, p99 {millis(found['delay_p99'])}"
    what = f"from a change of a pod to `Check`, with {found['applications']} applications, {found['delays']} times"
    delay = (what, "median ≤ 100 ms", value, found["delay_median"] <= 0.1)
    memory = (f"the Runner's memory, with {found['applications']} applications", NO_GOAL, f"{found['memory']:.0f} MiB", True)
    return [creates, submit, kubeflow, many, delay, memory]


def millis(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
