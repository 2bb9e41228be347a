"""Waits for an execution in a worker. The trigger does the same in an event loop."""

from __future__ import annotations

import threading
import time
from typing import Any

from dcp_airflow import _report, _wire
from dcp_airflow._client import Client
from dcp_airflow._lines import Lines
from dcp_airflow.errors import DcpError, Unreachable

# What the driver has written last may come after the news of its end.
LAST_LINES = 15.0
PAUSE, LONGEST_PAUSE = 1.0, 15.0


def follow(client: Client, id: str, log: Any, logs: bool) -> Any:
    """The execution once it has ended; its steps and what its driver writes are in the log on the way."""
    reader = _Reader(client, id, log)
    known, pause = 0, PAUSE
    try:
        while True:
            # This waits an outage out; that a stream has broken off does not say that there is one.
            execution = client.check(id)
            for transition in execution.history[known:]:
                log.info("%s", _report.step(transition))
            known = len(execution.history)
            if logs and execution.attempts:
                reader.begin()
            if _wire.phase(execution.phase) in _wire.ENDED:
                reader.finish()
                return execution
            try:
                for transition in client.watch(id, known):
                    known, pause = known + 1, PAUSE
                    log.info("%s", _report.step(transition))
                    if logs and transition.attempt:
                        reader.begin()
                    if _wire.phase(transition.to) in _wire.ENDED:
                        break
                else:
                    time.sleep(pause)
            except Unreachable:
                time.sleep(pause)
            # A Runner that answers and has no stream to give is not asked ever so often.
            pause = min(pause * 2, LONGEST_PAUSE)
    finally:
        reader.stop()


class _Reader:
    """Reads what the driver writes, on a thread and a connection of its own."""

    def __init__(self, client: Client, id: str, log: Any) -> None:
        self._client = Client(client.settings, log)
        self._id = id
        self._log = log
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Waits for the last lines."""
        if self._thread is not None:
            self._thread.join(LAST_LINES)

    def stop(self) -> None:
        self._stop.set()
        self._client.close()

    def _read(self) -> None:
        lines = Lines(self._id)
        while not self._stop.is_set():
            try:
                for piece in self._client.logs(self._id, lines.attempt, lines.offset, follow=True):
                    for line in lines.feed(piece.attempt, piece.offset, piece.data):
                        self._log.info("%s", line)
                    if lines.full:
                        return
                for line in lines.end():
                    self._log.info("%s", line)
                return
            except Unreachable:
                self._stop.wait(PAUSE)
            except DcpError as why:
                if not self._stop.is_set():
                    self._log.warning("what the driver writes can't be read: %s", why)
                return
            except ValueError:
                # The connection was closed under it, as nobody waits any more.
                return
