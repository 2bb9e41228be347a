"""Decides which execution belongs to a try of a task.

All tries of a task share one submit token, so a try after a crash finds the execution of the try before. A person who
clears a task requests a new run: the next generation, which is part of the token. From Airflow 3.3 on, the generation is
stored with the task. A generation is *settled* once a try has reported its outcome to Airflow.

A retry by Airflow never starts a generation. A failed job fails its task for good, so Airflow retries only tries that it
has lost. It can lose a try that did not crash: its scheduler fails a deferred task that resumes if it learns too late
that the worker which deferred the task has exited (apache/airflow issues 67287 and 72716).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from dcp_airflow._wire import TERMINAL_PHASES

_KEY = "dcp"
# Maximum difference in seconds between the clocks of a worker and the Runner.
_MAX_CLOCK_SKEW = 120.0


class Provenance(Enum):
    """Origin of an execution that existed before this try submitted it."""

    RESUMED = "an earlier try of this task run submitted it"
    REPORTED = "an earlier try reported its outcome, and Airflow has lost that try"
    UNKNOWN = "it may belong to a deleted run with the same name"
    STATELESS = "Airflow has no store for task state"


class Action(Enum):
    """Next step for an execution."""

    FOLLOW = "wait for its end and report its outcome"
    RERUN = "wait for its end and submit the next generation"


def decide(phase: str, is_new: bool, provenance: Provenance) -> Action:
    """Returns the next step for the execution that a submit returned."""
    if is_new or provenance is Provenance.REPORTED:
        return Action.FOLLOW
    if phase in ("CANCELLING", "CANCELLED"):
        # Airflow cancels the execution of a task that a person clears or marks, so this try is a new run.
        return Action.RERUN
    if provenance is Provenance.UNKNOWN and phase in TERMINAL_PHASES:
        return Action.RERUN
    if provenance is Provenance.STATELESS and phase == "FAILED":
        return Action.RERUN
    return Action.FOLLOW


def is_retry(try_number: int, max_tries: int, retries: int) -> bool:
    """Returns True for a retry by Airflow, False for a cleared task: clearing sets `max_tries` so that the next try is a first one."""
    return try_number > max_tries - retries + 1


def submit_token(deployment: str, dag: str, run: str, task: str, map_index: int, generation: int) -> str:
    """Returns the token that identifies one generation of a task run: at most 128 visible ASCII characters."""
    name = json.dumps([deployment, dag, run, task, map_index], ensure_ascii=True, separators=(",", ":"))
    return f"airflow:{hashlib.sha256(name.encode()).hexdigest()}:{generation}"


@dataclass(frozen=True)
class TaskState:
    """Stored state of a task, shared by its tries."""

    generation: int
    settled: bool = False
    execution: str = ""
    # Time of the first submit of this generation, by the worker's clock.
    requested_at: float = 0.0
    # True if this try continues the execution of an earlier one.
    resumed: bool = False

    def provenance(self, created_at: float) -> Provenance:
        """Returns the provenance of an execution of this generation that a later try finds."""
        if self.settled:
            return Provenance.REPORTED
        # A try can die after it stores the state and before it submits. The token may then lead to a much older
        # execution of a deleted run. An execution whose id is stored belongs to this run.
        is_older = not self.execution and created_at + _MAX_CLOCK_SKEW < self.requested_at
        return Provenance.UNKNOWN if is_older else Provenance.RESUMED


def begin_try(stored: TaskState | None, is_retry: bool) -> tuple[TaskState, bool]:
    """Returns the state of a new try, and True if the try continues an earlier generation."""
    if stored is None:
        return TaskState(1, requested_at=time.time()), False
    if stored.settled and not is_retry:
        return next_generation(stored), False
    return stored, True


def next_generation(state: TaskState) -> TaskState:
    return TaskState(state.generation + 1, requested_at=time.time())


class TaskStateStore:
    """Stores a task's state in Airflow's task state store, or in an XCom where Airflow has no such store."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._store = context.get("task_state_store")
        self._ti = context["ti"]

    @property
    def is_persistent(self) -> bool:
        """True if the state survives until the next try."""
        return self._store is not None

    def load(self) -> TaskState | None:
        """Returns the stored state; None if there is none or this version can't read it."""
        if self._store is not None:
            raw = self._store.get(_KEY)
        else:
            # Airflow clears XComs when a try begins, and keeps them while the try is deferred.
            raw = self._ti.xcom_pull(task_ids=self._ti.task_id, key=_KEY, map_indexes=self._ti.map_index)
        if not isinstance(raw, dict) or not isinstance(raw.get("generation"), int):
            return None
        fields = TaskState.__dataclass_fields__
        return TaskState(**{name: value for name, value in raw.items() if name in fields})

    def save(self, state: TaskState) -> TaskState:
        raw = {name: getattr(state, name) for name in TaskState.__dataclass_fields__}
        if self._store is not None:
            self._store.set(_KEY, raw)
        else:
            self._ti.xcom_push(key=_KEY, value=raw)
        return state

    def settle(self) -> None:
        """Stores that the outcome was reported: clearing the task requests a new run from now on."""
        state = self.load()
        if state is not None:
            self.save(replace(state, settled=True))
