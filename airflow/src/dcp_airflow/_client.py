"""Calls to dcp, from a worker and from a triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from types import TracebackType
from typing import Any

from dcp_airflow import _wire
from dcp_airflow._outage import Outage
from dcp_airflow._settings import Settings
from dcp_airflow.errors import Refused, Unreachable

# A call that asks is answered within this, or asked again.
_DEADLINE = 30.0
_MEGABYTE = 1024 * 1024
_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", 64 * _MEGABYTE),
    # Whoever is gone without a word is noticed, though a stream may have nothing to tell for hours.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 15_000),
    # Patience is ours: gRPC by itself would wait for two minutes between its tries.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    ("grpc.enable_retries", 0),
]


def _load() -> None:
    import grpc.aio  # noqa: F401

    _wire.runner("CheckRequest")


def _options(settings: Settings) -> list[tuple[str, int]]:
    # What goes to this machine in the clear is not for a proxy to see.
    return _OPTIONS if settings.tls else [*_OPTIONS, ("grpc.enable_http_proxy", 0)]


def _metadata(settings: Settings) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {settings.token}")] if settings.token else []


class Client:
    """Calls that wait. An outage is waited out for as long as the connection says."""

    def __init__(self, settings: Settings, log: Any, patience: float | None = None) -> None:
        self.settings = settings
        self._log = log
        self._patience = settings.patience if patience is None else patience
        self._channels: dict[str, Any] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, it: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()

    def call(self, service: str, name: str, request: Any, patience: float | None = None) -> Any:
        """The answer to a call that is safe to repeat."""
        import grpc

        address = self._address(service)
        path, serialize, deserialize = _wire.method(service, name)
        call = self._channel(address).unary_unary(
            path, request_serializer=serialize, response_deserializer=deserialize
        )
        outage = Outage(self._patience if patience is None else patience, self._log)
        while True:
            try:
                response = call(request, timeout=_DEADLINE, metadata=_metadata(self.settings))
            except grpc.RpcError as failed:
                error = _wire.error(failed, address)
                if not isinstance(error, Unreachable):
                    raise error from None
                time.sleep(outage.failed(error))
            else:
                outage.over()
                return response

    def stream(self, service: str, name: str, request: Any) -> Iterator[Any]:
        """The answers of one stream, until it breaks off or ends."""
        import grpc

        address = self._address(service)
        path, serialize, deserialize = _wire.method(service, name)
        call = self._channel(address).unary_stream(
            path, request_serializer=serialize, response_deserializer=deserialize
        )(request, metadata=_metadata(self.settings))
        try:
            yield from call
        except grpc.RpcError as failed:
            raise _broken(failed, address) from None
        finally:
            call.cancel()

    def submit(
        self, token: str, reference: Mapping[str, str], parameters: Mapping[str, str], **more: Any
    ) -> tuple[Any, bool]:
        """Has a job run; the execution, and whether it is new. `more` are further fields of a `SubmitRequest`."""
        response = self.call(_wire.RUNNER, "Submit", _submit(token, reference, parameters, **more))
        return response.execution, response.fresh

    def check(self, id: str) -> Any:
        """All that is known of an execution."""
        return self.call(_wire.RUNNER, "Check", _wire.runner("CheckRequest", id=id)).execution

    def cancel(self, id: str) -> Any:
        """Has an execution stop, and does not wait for that."""
        return self.call(_wire.RUNNER, "Cancel", _wire.runner("CancelRequest", id=id)).execution

    def newest(self, limit: int) -> list[Any]:
        """The newest executions."""
        return list(self.call(_wire.RUNNER, "List", _wire.runner("ListRequest", page_size=limit)).executions)

    def watch(self, id: str, known: int = 0) -> Iterator[Any]:
        """Its steps after those that are known, until it has ended or the connection has."""
        for response in self.stream(_wire.RUNNER, "Watch", _watch(id, known)):
            yield response.transition

    def logs(
        self, id: str, attempt: int | None = None, offset: int = 0, follow: bool = False
    ) -> Iterator[Any]:
        """What its driver writes, in pieces with `attempt`, `offset` and `data`."""
        return self.stream(_wire.RUNNER, "Logs", _logs(id, attempt, offset, follow))

    def complete(self, request: Mapping[str, Any]) -> list[Any]:
        """Records that assets are complete."""
        return list(
            self.call(_wire.ASSETS, "Complete", _wire.control("CompleteRequest", **request)).completions
        )

    def completions(
        self, scope: str, after: int | None = None, asset: str | None = None, limit: int = 0
    ) -> tuple[list[Any], int]:
        """What was completed, and the number up to which that is all."""
        response = self.call(_wire.ASSETS, "Completions", _completions(scope, after, asset, limit))
        return list(response.completions), response.seen

    def _address(self, service: str) -> str:
        return self.settings.control if service == _wire.ASSETS else self.settings.runner

    def _channel(self, address: str) -> Any:
        import grpc

        if address not in self._channels:
            options = _options(self.settings)
            if self.settings.tls:
                credentials = grpc.ssl_channel_credentials(self.settings.certificate())
                self._channels[address] = grpc.secure_channel(address, credentials, options)
            else:
                self._channels[address] = grpc.insecure_channel(address, options)
        return self._channels[address]


class AsyncClient:
    """The same for an event loop."""

    def __init__(self, settings: Settings, log: Any, patience: float | None = None) -> None:
        self.settings = settings
        self._log = log
        self._patience = settings.patience if patience is None else patience
        self._channels: dict[str, Any] = {}

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, it: BaseException | None, at: TracebackType | None
    ) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    async def call(self, service: str, name: str, request: Any, patience: float | None = None) -> Any:
        """The answer to a call that is safe to repeat."""
        address = self._address(service)
        channel = await self._channel(address)
        import grpc

        path, serialize, deserialize = _wire.method(service, name)
        call = channel.unary_unary(path, request_serializer=serialize, response_deserializer=deserialize)
        outage = Outage(self._patience if patience is None else patience, self._log)
        while True:
            try:
                response = await call(request, timeout=_DEADLINE, metadata=_metadata(self.settings))
            except grpc.RpcError as failed:
                error = _wire.error(failed, address)
                if not isinstance(error, Unreachable):
                    raise error from None
                await asyncio.sleep(outage.failed(error))
            else:
                outage.over()
                return response

    async def stream(self, service: str, name: str, request: Any) -> AsyncIterator[Any]:
        """The answers of one stream, until it breaks off or ends."""
        address = self._address(service)
        channel = await self._channel(address)
        import grpc

        path, serialize, deserialize = _wire.method(service, name)
        call = channel.unary_stream(path, request_serializer=serialize, response_deserializer=deserialize)(
            request, metadata=_metadata(self.settings)
        )
        try:
            async for response in call:
                yield response
        except grpc.RpcError as failed:
            raise _broken(failed, address) from None
        finally:
            call.cancel()

    async def submit(
        self, token: str, reference: Mapping[str, str], parameters: Mapping[str, str], **more: Any
    ) -> tuple[Any, bool]:
        """Has a job run; the execution, and whether it is new. `more` are further fields of a `SubmitRequest`."""
        response = await self.call(_wire.RUNNER, "Submit", _submit(token, reference, parameters, **more))
        return response.execution, response.fresh

    async def check(self, id: str) -> Any:
        """All that is known of an execution."""
        return (await self.call(_wire.RUNNER, "Check", _wire.runner("CheckRequest", id=id))).execution

    async def cancel(self, id: str) -> Any:
        """Has an execution stop, and does not wait for that."""
        return (await self.call(_wire.RUNNER, "Cancel", _wire.runner("CancelRequest", id=id))).execution

    async def newest(self, limit: int) -> list[Any]:
        """The newest executions."""
        response = await self.call(_wire.RUNNER, "List", _wire.runner("ListRequest", page_size=limit))
        return list(response.executions)

    async def watch(self, id: str, known: int = 0) -> AsyncIterator[Any]:
        """Its steps after those that are known, until it has ended or the connection has."""
        async for response in self.stream(_wire.RUNNER, "Watch", _watch(id, known)):
            yield response.transition

    def logs(
        self, id: str, attempt: int | None = None, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[Any]:
        """What its driver writes, in pieces with `attempt`, `offset` and `data`."""
        return self.stream(_wire.RUNNER, "Logs", _logs(id, attempt, offset, follow))

    async def complete(self, request: Mapping[str, Any]) -> list[Any]:
        """Records that assets are complete."""
        response = await self.call(_wire.ASSETS, "Complete", _wire.control("CompleteRequest", **request))
        return list(response.completions)

    async def completions(
        self, scope: str, after: int | None = None, asset: str | None = None, limit: int = 0
    ) -> tuple[list[Any], int]:
        """What was completed, and the number up to which that is all."""
        response = await self.call(_wire.ASSETS, "Completions", _completions(scope, after, asset, limit))
        return list(response.completions), response.seen

    def _address(self, service: str) -> str:
        return self.settings.control if service == _wire.ASSETS else self.settings.runner

    async def _channel(self, address: str) -> Any:
        if address not in self._channels:
            # The first time, this takes a while, which an event loop does not have.
            await asyncio.to_thread(_load)
            from grpc import aio, ssl_channel_credentials

            options = _options(self.settings)
            if self.settings.tls:
                certificate = await asyncio.to_thread(self.settings.certificate)
                credentials = ssl_channel_credentials(certificate)
                self._channels[address] = aio.secure_channel(address, credentials, options)
            else:
                self._channels[address] = aio.insecure_channel(address, options)
        return self._channels[address]


def _broken(failed: Any, address: str) -> Exception:
    """Why a stream broke off. What dcp itself has not refused, the network has: a stream can be taken up again."""
    error = _wire.error(failed, address)
    if not isinstance(error, Refused) or error.reason:
        return error
    if error.code in ("UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND"):
        return error
    return Unreachable(f"{address}: {error}")


def _submit(
    token: str, reference: Mapping[str, str], parameters: Mapping[str, str], **more: Any
) -> Any:
    job = _wire.runner("Reference", **reference)
    return _wire.runner("SubmitRequest", token=token, reference=job, parameters=dict(parameters), **more)


def _watch(id: str, known: int) -> Any:
    # `from` is a word of Python's.
    return _wire.runner("WatchRequest", id=id, **{"from": known})


def _logs(id: str, attempt: int | None, offset: int, follow: bool) -> Any:
    return _wire.runner("LogsRequest", id=id, attempt=attempt, offset=offset, follow=follow)


def _completions(scope: str, after: int | None, asset: str | None, limit: int) -> Any:
    return _wire.control("CompletionsRequest", scope=scope, after=after, asset=asset, limit=limit)
