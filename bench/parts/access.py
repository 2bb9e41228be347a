"""Measures what authorization adds to a call, and the latency of a caller beside hostile callers."""

import json
import statistics
import subprocess
from pathlib import Path

from .common import NO_GOAL, log

ROUNDS = 15
"""Number of short rounds, as the difference is small."""
HOSTILE = {
    "no_token": "{:.0f} calls a second without a token",
    "wrong_tokens": "{:.0f} calls a second, each with another wrong token",
    "cancelled": "{:.0f} calls a second that are cancelled at once",
    "slow": "500 connections that send a byte a second, {:.0f} of them new each second",
}


def measure(dcp: Path, bench: Path, count: int) -> list:
    """Measures this part, and returns the rows of its table."""
    log("measuring authorization …")
    command = [bench, "access", "--repeat", ROUNDS, "--seconds", 1]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit("bench/run: measuring authorization failed; see the error above")
    return rows(json.loads(done.stdout))


def rows(found: dict) -> list:
    """Returns the rows that compare the figures with the goals."""
    times = {name: statistics.median(values) for name, values in found["authorization"].items()}
    # The two take turns within a round, so that the speed of the machine is the same for both.
    pairs = zip(found["authorization"]["guarded"], found["authorization"]["open"])
    added = statistics.median(guarded - open for guarded, open in pairs)
    value = f"{micros(added)} more within a round; {micros(times['guarded'])} against {micros(times['open'])}"
    what = f"one client's `Check` with a policy of {found['bindings']} bindings, against a caller without a policy, medians"
    table = [(what, "≤ 20 µs more", value, added <= 20e-6)]
    alone = found["load"]["alone"]
    value = f"median {micros(alone['median'])}, p99 {micros(alone['p99'])}"
    table.append(("a caller's `Check`, alone", NO_GOAL, value, True))
    for name, title in HOSTILE.items():
        load = found["load"][name]
        ratio = load["median"] / alone["median"]
        value = f"median {micros(load['median'])}: {ratio:.2f}×, p99 {micros(load['p99'])}"
        table.append((f"the same beside {title.format(load['calls'])}", NO_GOAL, value, True))
    return table


def micros(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs"
