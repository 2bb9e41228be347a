"""Retries of a call while the server does not respond."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from dcp_airflow.errors import Unavailable

_MIN_BACKOFF, _MAX_BACKOFF = 0.5, 15.0


class Outage:
    """Decides when to retry a call, until `timeout` is over. Logs the beginning and the end of an outage once each."""

    def __init__(self, timeout: float, log: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout = timeout
        self._log = log
        self._clock = clock
        self._since: float | None = None
        self._retries = 0

    def next_backoff(self, error: Unavailable) -> float:
        """Returns the seconds to wait before the next retry. Raises `Unavailable` once the timeout is over."""
        now = self._clock()
        if self._since is None:
            self._since = now
            if self._timeout > 0:
                self._log.warning("no response, retrying for up to %g s: %s", self._timeout, error)
        remaining = self._since + self._timeout - now
        if remaining <= 0:
            raise Unavailable(f"no response for {self._timeout:g} s: {error}") from error
        # The jitter keeps many tasks from calling the server at the same moment.
        backoff = min(_MAX_BACKOFF, _MIN_BACKOFF * 2.0 ** min(self._retries, 10)) * random.uniform(0.5, 1.0)
        self._retries += 1
        return min(backoff, remaining)

    def end(self) -> None:
        """Records a response, so that the next failure begins a new outage."""
        if self._since is not None:
            self._log.info("responding again after %.1f s", self._clock() - self._since)
        self._since, self._retries = None, 0
