"""Measures what authorization adds to a call, and the latency of a caller beside hostile callers."""

import json
import statistics
import subprocess
from pathlib import Path

from .common import NO_GOAL, REPETITIONS, log

HOSTILE = {
    "no_token": "calls without a token",
    "wrong_tokens": "calls with a different wrong token each",
    "cancelled": "calls that are cancelled at once",
    "slow": "connections, 500 at once, that send a byte a second",
}


def measure(dcp: Path, bench: Path, count: int) -> list:
    """Measures this part, and returns the rows of its table."""
    log("measuring authorization …")
    command = [bench, "access", "--repeat", REPETITIONS]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit("bench/run: measuring authorization failed; see the error above")
    return rows(json.loads(done.stdout))


def rows(found: dict) -> list:
    """Returns the rows that compare the figures with the goals."""
    times = {name: statistics.median(values) for name, values in found["authorization"].items()}
    added = times["guarded"] - times["open"]
    value = f"{micros(times['guarded'])} against {micros(times['open'])}: {micros(added)} more"
    what = f"one client's `Check` with a policy of {found['bindings']} bindings, against a caller without a policy, medians"
    table = [(what, "≤ 20 µs more", value, added <= 20e-6)]
    alone = found["load"]["alone"]
    value = f"median {micros(alone['median'])}, p99 {micros(alone['p99'])}"
    table.append(("a caller's `Check`, alone", NO_GOAL, value, True))
    for name, title in HOSTILE.items():
        load = found["load"][name]
        ratio = load["median"] / alone["median"]
        value = f"median {micros(load['median'])}: {ratio:.2f}×, p99 {micros(load['p99'])}"
        table.append((f"the same beside {load['calls']:.0f} {title} a second", NO_GOAL, value, True))
    return table


def micros(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs"
