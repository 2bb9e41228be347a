"""One look at a control plane for all assets of a scope that are waited for.

Each look is handed to every trigger as a `Batch`, even if nothing is new: it says from where to where was looked, so
that a trigger that is behind knows what to fetch by itself. What each has told of is noted in the batch; where Airflow
has stored all of a batch's events, `advance` is called, and keeps what was noted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow.triggers.shared_stream import SharedStreamProducer

from dcp_airflow.errors import DcpError, Unreachable
from dcp_airflow.hooks import DcpHook

CURSOR = "dcp"
_MOST = 1_000
# Where the control plane refuses to be looked at, it is asked this much less often.
_SLOWER = 6


@dataclass(eq=False)
class Batch:
    """What was recorded after one number and up to another."""

    after: int
    seen: int
    completions: list[Any]
    # Who this Airflow is.
    origin: str = "airflow"
    # Where each trigger's cursor is kept, and what it is to be.
    told: list[tuple[Any, int]] = field(default_factory=list)


async def batches(conn_id: str, scope: str, log: Any) -> AsyncIterator[Batch]:
    """Looks, from the present end on, for ever. That nobody answers ends nothing."""
    after: int | None = None
    failing = ""
    while True:
        pause = 5.0
        try:
            hook = DcpHook(conn_id)
            settings = await hook.asettings()
            pause = settings.poll
            async with await hook.aclient(patience=0) as client:
                while True:
                    if after is None:
                        last, seen = await client.completions(scope, limit=1)
                        after = max([seen, *(it.number for it in last)])
                        yield Batch(after, after, [], settings.origin)
                    else:
                        new, seen = await client.completions(scope, after=after, limit=_MOST)
                        seen = max([seen, after, *(it.number for it in new)])
                        yield Batch(after, seen, new, settings.origin)
                        after = seen
                        if len(new) >= _MOST:
                            continue
                    if failing:
                        log.info("completions of %s are seen again", scope)
                        failing = ""
                    await asyncio.sleep(pause)
        except DcpError as why:
            if failing != type(why).__name__:
                failing = type(why).__name__
                log.warning("completions of %s can't be seen, still trying: %s", scope, why)
            await asyncio.sleep(pause if isinstance(why, Unreachable) else pause * _SLOWER)


class Producer(SharedStreamProducer):
    """Airflow's side of it."""

    def __init__(self, conn_id: str, scope: str, log: Any) -> None:
        self._conn_id = conn_id
        self._scope = scope
        self._log = log
        self._kept: dict[Any, int] = {}

    async def open_stream(self) -> AsyncIterator[tuple[Batch, Batch]]:
        async for batch in batches(self._conn_id, self._scope, self._log):
            yield batch, batch

    async def advance(self, batch: Sequence[Any]) -> None:
        """Keeps how far each trigger is, now that what it told of is stored."""
        for item in batch:
            # Where one of the triggers was failed, nothing tells which: what it was to tell of is told again.
            if not item.outcome.is_clean:
                continue
            for store, number in item.broker_payload.told:
                if self._kept.get(store) != number:
                    await store.aset(CURSOR, number)
                    self._kept[store] = number
