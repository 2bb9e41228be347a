"""What is said of an execution, in a task's log and where it fails."""

from __future__ import annotations

import json
from typing import Any

from dcp_airflow import _wire
from dcp_airflow._lines import clean

_EVIDENCE = 12


def step(transition: Any) -> str:
    """One line for a step from phase to phase."""
    attempt = f", attempt {transition.attempt}" if transition.attempt else ""
    why = f": {clean(transition.why)}" if transition.why else ""
    return f"{_wire.phase(transition.to).lower()}{attempt}{why}"


def replaced_by(execution: Any) -> str:
    """The execution of a later run that has taken the place of this one, or nothing."""
    try:
        stopping = json.loads(execution.stopping or "null")
    except ValueError:
        return ""
    replaced = stopping.get("replaced") if isinstance(stopping, dict) else None
    return str(replaced.get("by", "")) if isinstance(replaced, dict) else ""


def failure(execution: Any) -> str:
    """Why it has not succeeded, what says so, and where to look."""
    phase = _wire.phase(execution.phase)
    job = f"{execution.domain}/{execution.name}"
    attempts = len(execution.attempts)
    if phase == "CANCELLED":
        who = next((it.why for it in execution.history if _wire.phase(it.to) == "CANCELLING"), "")
        lines = [f"{job} was cancelled" + (f": {clean(who)}" if who else "")]
    else:
        many = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        lines = [f"{job} failed after {many}: {_cause(execution)}"]
        last = next((it for it in reversed(execution.attempts) if it.HasField("diagnosis")), None)
        evidence = list(last.diagnosis.evidence) if last is not None else []
        lines += [f"    {clean(line)[:400]}" for line in evidence[:_EVIDENCE]]
    lines.append(f"execution {execution.id}; its whole log: dcp logs {execution.id}")
    return "\n".join(lines)


def _cause(execution: Any) -> str:
    for attempt in reversed(execution.attempts):
        if attempt.HasField("diagnosis"):
            diagnosis = attempt.diagnosis
            summary = clean(diagnosis.summary)
            return f"{summary} ({diagnosis.cause})" if diagnosis.cause else summary
        if attempt.HasField("end") and attempt.end.message:
            return clean(attempt.end.message)
    if execution.history and execution.history[-1].why:
        return clean(execution.history[-1].why)
    return "nothing says why"
