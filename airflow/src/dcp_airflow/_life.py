"""Which execution belongs to a try of a task.

A task's token is the same for all its tries, so that a try after a crash finds the execution that it had. A person who
clears a task means it to run anew: that is the next generation, which is part of the token. What generation it is and
whether its outcome was told (then it is *settled*) is remembered with the task, where Airflow can: from 3.3 on.

A retry by Airflow never begins a generation: a job's failure fails its task for good, so that Airflow retries only a try
that it has lost. It loses some that did not die: its scheduler can fail a deferred task that resumes, when it reads late
that the worker which deferred it has exited (apache/airflow issues 67287 and 72716).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from dcp_airflow._wire import ENDED

_KEY = "dcp"
# How far the clocks of a worker and the Runner may be apart.
_SKEW = 120.0


class Life(Enum):
    """What is known of an execution that is there before it was asked for."""

    RESUMED = "an earlier try of this very run asked for it"
    REPORTED = "an earlier try reported its outcome, and Airflow has lost that try"
    UNKNOWN = "it may be of a run that had the same name, and was deleted"
    STATELESS = "there is nowhere to remember it"


class Next(Enum):
    """What to do with an execution."""

    FOLLOW = "wait for its end, if it has not ended, and tell of it"
    RENEW = "wait for its end, and have the next generation run"


def decide(phase: str, fresh: bool, life: Life) -> Next:
    """What to do with the execution that a submit has answered."""
    if fresh or life is Life.REPORTED:
        return Next.FOLLOW
    if phase in ("CANCELLING", "CANCELLED"):
        # Airflow cancels what a person clears or marks: this try is to run anew.
        return Next.RENEW
    if life is Life.UNKNOWN and phase in ENDED:
        return Next.RENEW
    if life is Life.STATELESS and phase == "FAILED":
        return Next.RENEW
    return Next.FOLLOW


def retried(try_number: int, max_tries: int, retries: int) -> bool:
    """Whether Airflow retries a try that it has lost. Clearing a task sets `max_tries` so that its next try is a first one."""
    return try_number > max_tries - retries + 1


def token(deployment: str, dag: str, run: str, task: str, map_index: int, generation: int) -> str:
    """What tells this run of this task from all others: of at most 128 visible ASCII characters, whatever the names."""
    name = json.dumps([deployment, dag, run, task, map_index], ensure_ascii=True, separators=(",", ":"))
    return f"airflow:{hashlib.sha256(name.encode()).hexdigest()}:{generation}"


@dataclass(frozen=True)
class State:
    """What is remembered of a task between its tries."""

    generation: int
    settled: bool = False
    execution: str = ""
    # When the generation was first asked for, by the worker's clock.
    asked: float = 0.0
    # Whether this try has found what an earlier one began.
    resumed: bool = False

    def life(self, created: float) -> Life:
        """What a later try is to think of an execution of this generation, made at a time."""
        # Between remembering to ask and asking, a try can die; then the token may lead to something much older, which
        # an earlier run by the same name left. Where its id is known, it is ours.
        if self.settled:
            return Life.REPORTED
        older = not self.execution and created + _SKEW < self.asked
        return Life.UNKNOWN if older else Life.RESUMED


def begin(state: State | None, retried: bool) -> tuple[State, bool]:
    """The state that a new try begins with, and whether it goes on with what an earlier one began."""
    if state is None:
        return State(1, asked=time.time()), False
    if state.settled and not retried:
        return State(state.generation + 1, asked=time.time()), False
    return state, True


def following(state: State) -> State:
    """The next generation."""
    return State(state.generation + 1, asked=time.time())


class Memory:
    """Where a task's state is between its tries, and while it is deferred."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._store = context.get("task_state_store")
        self._ti = context["ti"]

    @property
    def lasting(self) -> bool:
        """Whether it outlives a try."""
        return self._store is not None

    def load(self) -> State | None:
        """What was remembered; nothing where that can't be read, as of a version to come."""
        if self._store is not None:
            raw = self._store.get(_KEY)
        else:
            # Airflow clears this when a try begins, and keeps it while it is deferred.
            raw = self._ti.xcom_pull(task_ids=self._ti.task_id, key=_KEY, map_indexes=self._ti.map_index)
        if not isinstance(raw, dict) or not isinstance(raw.get("generation"), int):
            return None
        fields = State.__dataclass_fields__
        return State(**{name: value for name, value in raw.items() if name in fields})

    def save(self, state: State) -> State:
        """Remembers a state."""
        raw = {name: getattr(state, name) for name in State.__dataclass_fields__}
        if self._store is not None:
            self._store.set(_KEY, raw)
        else:
            self._ti.xcom_push(key=_KEY, value=raw)
        return state

    def settle(self) -> None:
        """Remembers that the outcome was told: clearing the task means a new run from now on."""
        state = self.load()
        if state is not None:
            self.save(replace(state, settled=True))
