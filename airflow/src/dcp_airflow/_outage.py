"""How long to go on where nobody answers."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from dcp_airflow.errors import Unreachable

_FIRST, _LONGEST = 0.5, 15.0


class Outage:
    """Says when to try again, until patience is over; in the log are an outage's beginning and its end, once each."""

    def __init__(self, patience: float, log: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._log = log
        self._clock = clock
        self._since: float | None = None
        self._tries = 0

    def failed(self, why: Unreachable) -> float:
        """How many seconds to wait before the next try. Raises `why` where there is to be none."""
        now = self._clock()
        if self._since is None:
            self._since = now
            if self._patience > 0:
                self._log.warning("no answer, trying again for up to %g s: %s", self._patience, why)
        left = self._since + self._patience - now
        if left <= 0:
            raise Unreachable(f"no answer for {self._patience:g} s: {why}") from why
        # Many tasks wait for the same server: they are not to come back all at once.
        delay = min(_LONGEST, _FIRST * 2.0 ** min(self._tries, 10)) * random.uniform(0.5, 1.0)
        self._tries += 1
        return min(delay, left)

    def over(self) -> None:
        """There was an answer."""
        if self._since is not None:
            self._log.info("there are answers again, after %.1f s", self._clock() - self._since)
        self._since, self._tries = None, 0
