"""Text about an execution, in a task's log and in error messages."""

from __future__ import annotations

from typing import Any

from dcp_airflow import _wire
from dcp_airflow._lines import sanitize

_MAX_EVIDENCE = 12


def transition_line(transition: Any) -> str:
    """Returns one line about a change of the phase."""
    attempt = f", attempt {transition.attempt}" if transition.attempt else ""
    cause = f": {sanitize(transition.why)}" if transition.why else ""
    return f"{_wire.phase_name(transition.to).lower()}{attempt}{cause}"


def replaced_by(execution: Any) -> str:
    """Returns the id of the later execution that replaced this one, or an empty string."""
    return str(execution.stopping.replaced_by)


def failure_message(execution: Any) -> str:
    """Returns the cause of a failure or cancellation, the log lines that show it, and the command for the whole log."""
    phase = _wire.phase_name(execution.phase)
    job = f"{execution.domain}/{execution.name}"
    attempts = len(execution.attempts)
    if phase == "CANCELLED":
        cause = next((it.why for it in execution.history if _wire.phase_name(it.to) == "CANCELLING"), "")
        lines = [f"{job} was cancelled" + (f": {sanitize(cause)}" if cause else "")]
    else:
        count = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        lines = [f"{job} failed after {count}: {_cause(execution)}"]
        last = next((it for it in reversed(execution.attempts) if it.HasField("diagnosis")), None)
        evidence = list(last.diagnosis.evidence) if last is not None else []
        lines += [f"    {sanitize(line)[:400]}" for line in evidence[:_MAX_EVIDENCE]]
    lines.append(f"execution {execution.id}; for its whole log: dcp logs {execution.id}")
    return "\n".join(lines)


def _cause(execution: Any) -> str:
    for attempt in reversed(execution.attempts):
        if attempt.HasField("diagnosis"):
            diagnosis = attempt.diagnosis
            summary = sanitize(diagnosis.summary)
            return f"{summary} ({diagnosis.cause})" if diagnosis.cause else summary
        if attempt.HasField("end") and attempt.end.message:
            return sanitize(attempt.end.message)
    if execution.history and execution.history[-1].why:
        return sanitize(execution.history[-1].why)
    return "unknown cause"
