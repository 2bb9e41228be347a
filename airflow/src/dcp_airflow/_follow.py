"""Waits for an execution in a worker. The trigger does the same in an event loop."""

from __future__ import annotations

import threading
import time
from typing import Any

from dcp_airflow import _report, _wire
from dcp_airflow._client import Client
from dcp_airflow._lines import LogLines
from dcp_airflow.errors import DcpError, Unavailable

# The last lines of a driver may arrive after its execution has ended.
LOG_GRACE_PERIOD = 15.0
MIN_BACKOFF, MAX_BACKOFF = 1.0, 15.0


def follow(client: Client, id: str, log: Any, logs: bool) -> Any:
    """Waits for the end of an execution, writes its transitions and its driver's output to `log`, and returns it."""
    reader = _LogReader(client, id, log)
    seen, backoff = 0, MIN_BACKOFF
    try:
        while True:
            # `check` retries during an outage. A stream may break off without one.
            execution = client.check(id)
            for transition in execution.history[seen:]:
                log.info("%s", _report.transition_line(transition))
            seen = len(execution.history)
            if logs and execution.attempts:
                reader.start()
            if _wire.phase_name(execution.phase) in _wire.TERMINAL_PHASES:
                reader.wait_for_last_lines()
                return execution
            try:
                for transition in client.watch(id, seen):
                    seen, backoff = seen + 1, MIN_BACKOFF
                    log.info("%s", _report.transition_line(transition))
                    if logs and transition.attempt:
                        reader.start()
                    if _wire.phase_name(transition.to) in _wire.TERMINAL_PHASES:
                        break
                else:
                    time.sleep(backoff)
            except Unavailable:
                time.sleep(backoff)
            # A server whose streams break off at once is polled less and less often.
            backoff = min(backoff * 2, MAX_BACKOFF)
    finally:
        reader.stop()


class _LogReader:
    """Copies a driver's output to the log, on its own thread and connection."""

    def __init__(self, client: Client, id: str, log: Any) -> None:
        self._client = Client(client.settings, log)
        self._id = id
        self._log = log
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts reading unless it has already started."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()

    def wait_for_last_lines(self) -> None:
        """Waits until the log is read to its end, for a grace period at most."""
        if self._thread is not None:
            self._thread.join(LOG_GRACE_PERIOD)

    def stop(self) -> None:
        self._stop.set()
        self._client.close()

    def _read(self) -> None:
        lines = LogLines(self._id)
        while not self._stop.is_set():
            try:
                for piece in self._client.logs(self._id, lines.attempt, lines.cursor, follow=True):
                    for line in lines.feed(piece.attempt, piece.cursor, piece.data):
                        self._log.info("%s", line)
                    if lines.limit_reached:
                        return
                for line in lines.flush():
                    self._log.info("%s", line)
                return
            except Unavailable:
                self._stop.wait(MIN_BACKOFF)
            except DcpError as error:
                if not self._stop.is_set():
                    self._log.warning("cannot read the driver's log: %s", error)
                return
            except ValueError:
                # `stop` closed the connection during the call.
                return
