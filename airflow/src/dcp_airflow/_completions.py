"""Polls a control plane for all assets of a scope that DAGs wait for.

Each poll yields a `Batch` to every trigger, even if it has no completions: `after` and `seen` are its range, so that a
trigger that is behind knows which completions to fetch by itself. Each trigger adds its new cursor to the batch. Once
Airflow has stored all events of the batch, it calls `advance`, which stores the cursors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow.triggers.shared_stream import SharedStreamProducer

from dcp_airflow.errors import DcpError, Unavailable
from dcp_airflow.hooks import DcpHook

CURSOR_KEY = "dcp"
PAGE_SIZE = 1_000
# Factor of the poll interval after the control plane has rejected a poll.
_REJECTED_FACTOR = 6


@dataclass(eq=False)
class Batch:
    """Completions with numbers greater than `after`, up to and including `seen`."""

    after: int
    seen: int
    completions: list[Any]
    # Origin of the completions that this Airflow reports itself.
    own_origin: str = "airflow"
    # Pairs of a trigger's state store and its new cursor.
    cursors: list[tuple[Any, int]] = field(default_factory=list)


async def poll_completions(conn_id: str, scope: str, log: Any) -> AsyncIterator[Batch]:
    """Yields completions that are recorded from now on. Logs errors and continues."""
    after: int | None = None
    logged_error = ""
    while True:
        interval = 5.0
        try:
            hook = DcpHook(conn_id)
            settings = await hook.asettings()
            interval = settings.poll
            async with await hook.aclient(outage_timeout=0) as client:
                while True:
                    if after is None:
                        last, seen = await client.completions(scope, limit=1)
                        after = max([seen, *(it.number for it in last)])
                        yield Batch(after, after, [], settings.origin)
                    else:
                        new, seen = await client.completions(scope, after=after, limit=PAGE_SIZE)
                        seen = max([seen, after, *(it.number for it in new)])
                        yield Batch(after, seen, new, settings.origin)
                        after = seen
                        if len(new) >= PAGE_SIZE:
                            continue
                    if logged_error:
                        log.info("polling completions of %s works again", scope)
                        logged_error = ""
                    await asyncio.sleep(interval)
        except DcpError as error:
            if logged_error != type(error).__name__:
                logged_error = type(error).__name__
                log.warning("cannot poll completions of %s, still retrying: %s", scope, error)
            await asyncio.sleep(interval if isinstance(error, Unavailable) else interval * _REJECTED_FACTOR)


class CompletionProducer(SharedStreamProducer):
    """Connects the poll to Airflow's shared streams."""

    def __init__(self, conn_id: str, scope: str, log: Any) -> None:
        self._conn_id = conn_id
        self._scope = scope
        self._log = log
        self._stored: dict[Any, int] = {}

    async def open_stream(self) -> AsyncIterator[tuple[Batch, Batch]]:
        async for batch in poll_completions(self._conn_id, self._scope, self._log):
            yield batch, batch

    async def advance(self, batch: Sequence[Any]) -> None:
        """Stores the cursors of the triggers after Airflow has stored their events."""
        for item in batch:
            # Airflow does not name the trigger that failed, so all triggers deliver this batch again.
            if not item.outcome.is_clean:
                continue
            for store, number in item.broker_payload.cursors:
                if self._stored.get(store) != number:
                    await store.aset(CURSOR_KEY, number)
                    self._stored[store] = number
