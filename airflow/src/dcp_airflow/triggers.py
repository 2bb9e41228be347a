"""Waits in the triggerer: for the end of an execution, and for assets to be complete."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Hashable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from dcp_airflow import _report, _wire
from dcp_airflow._client import AsyncClient
from dcp_airflow._follow import LAST_LINES, LONGEST_PAUSE, PAUSE
from dcp_airflow._lines import Lines
from dcp_airflow.errors import DcpError, NotFound, Unreachable
from dcp_airflow.hooks import DcpHook

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:  # Airflow 2, where nothing starts a DAG from a trigger
    BaseEventTrigger = BaseTrigger  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import SharedStreamProducer

_ON_KILL = 20.0
_MOST = 1_000


class ExecutionTrigger(BaseTrigger):
    """Waits for the end of an execution, and writes its steps and its log into the task's log on the way.

    That the triggerer is stopped does nothing to the execution; that a person stops the task cancels it.
    """

    def __init__(self, conn_id: str, execution_id: str, logs: bool = True) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.execution_id = execution_id
        self.logs = logs

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What Airflow keeps of it."""
        kwargs = {"conn_id": self.conn_id, "execution_id": self.execution_id, "logs": self.logs}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yields one event: how it ended, or that this can't be found out."""
        event: dict[str, str] = {"execution": self.execution_id}
        try:
            async with await DcpHook(self.conn_id).aclient() as client:
                event["phase"] = await self._follow(client)
        except NotFound as why:
            event["gone"] = str(why)
        except DcpError as why:
            event["lost"] = str(why)
        yield TriggerEvent(event)

    async def on_kill(self) -> None:
        """A person has stopped the task while it was deferred."""
        self.log.info("cancelling execution %s", self.execution_id)
        try:
            async with await DcpHook(self.conn_id).aclient(patience=_ON_KILL) as client:
                await client.cancel(self.execution_id)
        except DcpError as why:
            self.log.error("execution %s could not be cancelled, and may go on: %s", self.execution_id, why)

    async def _follow(self, client: AsyncClient) -> str:
        reader: asyncio.Task[None] | None = None
        known, pause = 0, PAUSE
        try:
            while True:
                # This waits an outage out; that a stream has broken off does not say that there is one.
                execution = await client.check(self.execution_id)
                for transition in execution.history[known:]:
                    self.log.info("%s", _report.step(transition))
                known = len(execution.history)
                if self.logs and execution.attempts and reader is None:
                    reader = asyncio.create_task(self._read(client))
                if (phase := _wire.phase(execution.phase)) in _wire.ENDED:
                    if reader is not None:
                        await asyncio.wait([reader], timeout=LAST_LINES)
                    return phase
                try:
                    async for transition in client.watch(self.execution_id, known):
                        known, pause = known + 1, PAUSE
                        self.log.info("%s", _report.step(transition))
                        if self.logs and transition.attempt and reader is None:
                            reader = asyncio.create_task(self._read(client))
                        if _wire.phase(transition.to) in _wire.ENDED:
                            break
                    else:
                        await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                except Unreachable:
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                # A Runner that answers and has no stream to give is not asked ever so often.
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            if reader is not None:
                reader.cancel()
                with suppress(asyncio.CancelledError):
                    await reader

    async def _read(self, client: AsyncClient) -> None:
        lines = Lines(self.execution_id)
        while True:
            try:
                async for piece in client.logs(self.execution_id, lines.attempt, lines.offset, follow=True):
                    for line in lines.feed(piece.attempt, piece.offset, piece.data):
                        self.log.info("%s", line)
                    if lines.full:
                        return
                    # Others wait in this loop as well, and a log can come in very fast.
                    await asyncio.sleep(0)
                for line in lines.end():
                    self.log.info("%s", line)
                return
            except Unreachable:
                await asyncio.sleep(PAUSE * random.uniform(0.5, 1.5))
            except DcpError as why:
                self.log.warning("what the driver writes can't be read: %s", why)
                return


class CompletionTrigger(BaseEventTrigger):
    """Tells of each completion of an asset that was recorded outside of this Airflow.

    What this Airflow's own tasks have completed is left out: of these their outlets tell.

    All assets of a connection and a scope are looked for by one call every few seconds (`poll` of the connection). How
    far each has been told of is kept with its asset, from Airflow 3.3 on, after Airflow has stored the events:

    - a triggerer that dies goes on where it was, and tells of all that came meanwhile;
    - one that dies after an event is stored, and before that is noted (a second or two), tells of it again: each
      event has the `number` of its completion, by which doubles can be told apart;
    - the very first time, it begins with what is recorded from then on.

    Before Airflow 3.3 nothing is kept, and what comes while no triggerer runs is not told of.
    """

    def __init__(self, scope: str, asset: str, conn_id: str = DcpHook.default_conn_name) -> None:
        super().__init__()
        self.scope = scope
        self.asset = asset
        self.conn_id = conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What Airflow keeps of it."""
        kwargs = {"scope": self.scope, "asset": self.asset, "conn_id": self.conn_id}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    def shared_stream_key(self) -> Hashable | None:
        """Those with the same key are looked for together."""
        return ("dcp", self.conn_id, self.scope)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Called by Airflow once for all with the same key."""
        import structlog

        from dcp_airflow._completions import Producer

        return Producer(kwargs["conn_id"], kwargs["scope"], structlog.get_logger(__name__))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """How it runs where Airflow does not know of sharing."""
        from dcp_airflow._completions import batches

        async for event in self.filter_shared_stream(batches(self.conn_id, self.scope, self.log)):
            yield event

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """The events of this asset, from all that is seen."""
        from dcp_airflow._completions import CURSOR

        store = self._store()
        cursor: int | None = None
        if store is not None:
            kept = await store.aget(CURSOR)
            cursor = kept if isinstance(kept, int) else None
        async for batch in shared_stream:
            if cursor is not None and cursor > batch.seen:
                self.log.warning(
                    "%s has fewer completions than there were: all that it has from now on is told",
                    self.scope,
                )
                cursor = None
            if cursor is None:
                cursor = batch.after
            try:
                missed = await self._missed(cursor, batch.after)
            except DcpError as why:
                # The next batch finds it where it is.
                self.log.warning("what came meanwhile can't be seen, still trying: %s", why)
                continue
            for completion in [*missed, *batch.completions]:
                if (
                    completion.number > cursor
                    and completion.asset == self.asset
                    and completion.origin != batch.origin
                ):
                    yield TriggerEvent(
                        {
                            "asset": completion.asset,
                            "partition": completion.partition,
                            "run": completion.run,
                            "number": completion.number,
                        }
                    )
            cursor = max(cursor, batch.seen)
            if store is not None:
                batch.told.append((store, cursor))

    async def _missed(self, cursor: int, until: int) -> list[Any]:
        """What came while this trigger did not look."""
        missed: list[Any] = []
        if cursor >= until:
            return missed
        async with await DcpHook(self.conn_id).aclient(patience=0) as client:
            while cursor < until:
                new, seen = await client.completions(self.scope, after=cursor, asset=self.asset, limit=_MOST)
                missed += [it for it in new if it.number <= until]
                if len(new) < _MOST:
                    break
                cursor = max(seen, new[-1].number)
        return missed

    def _store(self) -> Any:
        """Where the cursor is kept, if anywhere."""
        stores = getattr(self, "asset_state_store", None)
        if stores is None:
            return None
        from dcp_airflow.assets import completed

        return stores[completed(self.scope, self.asset, self.conn_id)]
