"""Triggers that wait for the end of an execution, and for completions of assets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Hashable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from dcp_airflow import _report, _wire
from dcp_airflow._client import AsyncClient
from dcp_airflow._follow import LOG_GRACE_PERIOD, MAX_BACKOFF, MIN_BACKOFF
from dcp_airflow._lines import LogLines
from dcp_airflow.errors import DcpError, NotFound, Unavailable
from dcp_airflow.hooks import DcpHook

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:  # Airflow 2, in which triggers can't start DAGs
    BaseEventTrigger = BaseTrigger  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import SharedStreamProducer

_KILL_TIMEOUT = 20.0


class ExecutionTrigger(BaseTrigger):
    """Waits for the end of an execution, and writes its transitions and its driver's output to the task's log.

    Stopping the triggerer does not affect the execution. Stopping the task cancels it.
    """

    def __init__(self, conn_id: str, execution_id: str, logs: bool = True) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.execution_id = execution_id
        self.logs = logs

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Returns the class and the arguments that Airflow stores."""
        kwargs = {"conn_id": self.conn_id, "execution_id": self.execution_id, "logs": self.logs}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yields one event: the last phase of the execution, or the error because of which it is unknown."""
        event: dict[str, str] = {"execution": self.execution_id}
        try:
            async with await DcpHook(self.conn_id).aclient() as client:
                event["phase"] = await self._follow(client)
        except NotFound as error:
            event["not_found"] = str(error)
        except DcpError as error:
            event["error"] = str(error)
        yield TriggerEvent(event)

    async def on_kill(self) -> None:
        """Called by Airflow when a person stops the deferred task. Cancels the execution."""
        self.log.info("cancelling execution %s", self.execution_id)
        try:
            async with await DcpHook(self.conn_id).aclient(outage_timeout=_KILL_TIMEOUT) as client:
                await client.cancel(self.execution_id)
        except DcpError as error:
            self.log.error("cannot cancel execution %s, which may continue: %s", self.execution_id, error)

    async def _follow(self, client: AsyncClient) -> str:
        reader: asyncio.Task[None] | None = None
        seen, backoff = 0, MIN_BACKOFF
        try:
            while True:
                # `check` retries during an outage. A stream may break off without one.
                execution = await client.check(self.execution_id)
                for transition in execution.history[seen:]:
                    self.log.info("%s", _report.transition_line(transition))
                seen = len(execution.history)
                if self.logs and execution.attempts and reader is None:
                    reader = asyncio.create_task(self._read_log(client))
                if (phase := _wire.phase_name(execution.phase)) in _wire.TERMINAL_PHASES:
                    if reader is not None:
                        await asyncio.wait([reader], timeout=LOG_GRACE_PERIOD)
                    return phase
                try:
                    async for transition in client.watch(self.execution_id, seen):
                        seen, backoff = seen + 1, MIN_BACKOFF
                        self.log.info("%s", _report.transition_line(transition))
                        if self.logs and transition.attempt and reader is None:
                            reader = asyncio.create_task(self._read_log(client))
                        if _wire.phase_name(transition.to) in _wire.TERMINAL_PHASES:
                            break
                    else:
                        await asyncio.sleep(backoff * random.uniform(0.5, 1.0))
                except Unavailable:
                    await asyncio.sleep(backoff * random.uniform(0.5, 1.0))
                # A server whose streams break off at once is polled less and less often.
                backoff = min(backoff * 2, MAX_BACKOFF)
        finally:
            if reader is not None:
                reader.cancel()
                with suppress(asyncio.CancelledError):
                    await reader

    async def _read_log(self, client: AsyncClient) -> None:
        lines = LogLines(self.execution_id)
        while True:
            try:
                async for piece in client.logs(self.execution_id, lines.attempt, lines.cursor, follow=True):
                    for line in lines.feed(piece.attempt, piece.cursor, piece.data):
                        self.log.info("%s", line)
                    if lines.limit_reached:
                        return
                    # A fast log must not starve the other triggers of the event loop.
                    await asyncio.sleep(0)
                for line in lines.flush():
                    self.log.info("%s", line)
                return
            except Unavailable:
                await asyncio.sleep(MIN_BACKOFF * random.uniform(0.5, 1.5))
            except DcpError as error:
                self.log.warning("cannot read the driver's log: %s", error)
                return


class CompletionTrigger(BaseEventTrigger):
    """Yields an event for each completion of an asset that was recorded outside of this Airflow.

    Completions by tasks of this Airflow are left out, as their outlets have events already.

    One call every few seconds (`poll` of the connection) covers all assets of a connection and a scope. From Airflow 3.3
    on, the cursor of each trigger is stored with its asset, after Airflow has stored the events:

    - after a restart of the triggerer, events of the meantime are delivered;
    - if the triggerer dies between the storing of an event and of the cursor (a second or two), the event is delivered
      again: the `number` of its completion identifies duplicates;
    - the first time, a trigger begins with completions that are recorded from then on.

    Before Airflow 3.3 there is no cursor, and completions that are recorded while no triggerer runs are lost.
    """

    def __init__(self, scope: str, asset: str, conn_id: str = DcpHook.default_conn_name) -> None:
        super().__init__()
        self.scope = scope
        self.asset = asset
        self.conn_id = conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Returns the class and the arguments that Airflow stores."""
        kwargs = {"scope": self.scope, "asset": self.asset, "conn_id": self.conn_id}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    def shared_stream_key(self) -> Hashable | None:
        """Returns the key of the triggers that share a poll."""
        return ("dcp", self.conn_id, self.scope)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Called by Airflow once for all triggers with the same key. Creates their poll."""
        import structlog

        from dcp_airflow._completions import CompletionProducer

        return CompletionProducer(kwargs["conn_id"], kwargs["scope"], structlog.get_logger(__name__))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Polls for this trigger alone; Airflow calls it in versions without shared streams."""
        from dcp_airflow._completions import poll_completions

        async for event in self.filter_shared_stream(poll_completions(self.conn_id, self.scope, self.log)):
            yield event

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Yields the events of this asset among the batches of all assets."""
        from dcp_airflow._completions import CURSOR_KEY

        store = self._state_store()
        cursor: int | None = None
        if store is not None:
            stored = await store.aget(CURSOR_KEY)
            cursor = stored if isinstance(stored, int) else None
        async for batch in shared_stream:
            if cursor is not None and cursor > batch.seen:
                self.log.warning(
                    "%s has fewer completions than before; only completions from now on start DAGs",
                    self.scope,
                )
                cursor = None
            if cursor is None:
                cursor = batch.after
            try:
                missed = await self._fetch_missed(cursor, batch.after)
            except DcpError as error:
                # The cursor stays, so the next batch fetches them again.
                self.log.warning("cannot fetch missed completions, still retrying: %s", error)
                continue
            for completion in [*missed, *batch.completions]:
                if (
                    completion.number > cursor
                    and completion.asset == self.asset
                    and completion.origin != batch.own_origin
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
                batch.cursors.append((store, cursor))

    async def _fetch_missed(self, cursor: int, until: int) -> list[Any]:
        """Fetches the completions with numbers above `cursor` up to `until`, which no batch had for this trigger."""
        from dcp_airflow._completions import PAGE_SIZE

        missed: list[Any] = []
        if cursor >= until:
            return missed
        async with await DcpHook(self.conn_id).aclient(outage_timeout=0) as client:
            while cursor < until:
                new, seen = await client.completions(self.scope, after=cursor, asset=self.asset, limit=PAGE_SIZE)
                missed += [it for it in new if it.number <= until]
                if len(new) < PAGE_SIZE:
                    break
                cursor = max(seen, new[-1].number)
        return missed

    def _state_store(self) -> Any:
        """Returns the store of the cursor; None if Airflow has none."""
        stores = getattr(self, "asset_state_store", None)
        if stores is None:
            return None
        from dcp_airflow.assets import completed

        return stores[completed(self.scope, self.asset, self.conn_id)]
