"""Clients of dcp's gRPC services, for workers and for triggerers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from types import TracebackType
from typing import Any

from dcp_airflow import _wire
from dcp_airflow._outage import Outage
from dcp_airflow._settings import Settings
from dcp_airflow.errors import Rejected, Unavailable

# Seconds until a unary call fails and is retried.
_CALL_TIMEOUT = 30.0
_MEGABYTE = 1024 * 1024
_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", 64 * _MEGABYTE),
    # Detects a dead connection, though a stream may be silent for hours.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 15_000),
    # `Outage` schedules the retries of calls: gRPC's own backoff of up to two minutes is too long.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    ("grpc.enable_retries", 0),
]


def _import_grpc() -> None:
    import grpc.aio  # noqa: F401

    _wire.runner_message("CheckRequest")


def _options(settings: Settings) -> list[tuple[str, int]]:
    # Without TLS, a proxy could read the calls.
    return _OPTIONS if settings.tls else [*_OPTIONS, ("grpc.enable_http_proxy", 0)]


def _metadata(settings: Settings) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {settings.token}")] if settings.token else []


class Client:
    """Blocking client. Retries calls during an outage until `outage_timeout` is over."""

    def __init__(self, settings: Settings, log: Any, outage_timeout: float | None = None) -> None:
        self.settings = settings
        self._log = log
        self._outage_timeout = settings.outage_timeout if outage_timeout is None else outage_timeout
        self._channels: dict[str, Any] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()

    def call(self, service: str, name: str, request: Any) -> Any:
        """Returns the response of an idempotent unary call, with retries during an outage."""
        import grpc

        address = self._address(service)
        path, serialize, deserialize = _wire.method(service, name)
        call = self._channel(address).unary_unary(
            path, request_serializer=serialize, response_deserializer=deserialize
        )
        outage = Outage(self._outage_timeout, self._log)
        while True:
            try:
                response = call(request, timeout=_CALL_TIMEOUT, metadata=_metadata(self.settings))
            except grpc.RpcError as rpc_error:
                error = _wire.to_error(rpc_error, address)
                if not isinstance(error, Unavailable):
                    raise error from None
                time.sleep(outage.next_backoff(error))
            else:
                outage.end()
                return response

    def stream(self, service: str, name: str, request: Any) -> Iterator[Any]:
        """Yields the responses of a streaming call until it ends or breaks off, without retries."""
        import grpc

        address = self._address(service)
        path, serialize, deserialize = _wire.method(service, name)
        call = self._channel(address).unary_stream(
            path, request_serializer=serialize, response_deserializer=deserialize
        )(request, metadata=_metadata(self.settings))
        try:
            yield from call
        except grpc.RpcError as rpc_error:
            raise _stream_error(rpc_error, address) from None
        finally:
            call.cancel()

    def submit(
        self, token: str, reference: Mapping[str, str], parameters: Mapping[str, str], **fields: Any
    ) -> tuple[Any, bool]:
        """Submits a job. Returns its execution, and True if this call created it.

        :param fields: further fields of a `SubmitRequest`
        """
        response = self.call(_wire.RUNNER, "Submit", _submit_request(token, reference, parameters, **fields))
        return response.execution, response.fresh

    def check(self, id: str) -> Any:
        """Returns an execution with its history and attempts."""
        return self.call(_wire.RUNNER, "Check", _wire.runner_message("CheckRequest", id=id)).execution

    def cancel(self, id: str) -> Any:
        """Requests that an execution stops, without waiting for its end. Returns the execution."""
        return self.call(_wire.RUNNER, "Cancel", _wire.runner_message("CancelRequest", id=id)).execution

    def list_executions(self, limit: int) -> list[Any]:
        """Returns the newest executions."""
        request = _wire.runner_message("ListRequest", page_size=limit)
        return list(self.call(_wire.RUNNER, "List", request).executions)

    def watch(self, id: str, seen: int = 0) -> Iterator[Any]:
        """Yields the transitions of an execution after the first `seen`, until it or the connection ends."""
        for response in self.stream(_wire.RUNNER, "Watch", _watch_request(id, seen)):
            yield response.transition

    def logs(
        self, id: str, attempt: int | None = None, cursor: str = "", follow: bool = False
    ) -> Iterator[Any]:
        """Yields the driver's output, in pieces with `attempt`, `cursor` and `data`."""
        return self.stream(_wire.RUNNER, "Logs", _logs_request(id, attempt, cursor, follow))

    def complete(self, request: Mapping[str, Any]) -> list[Any]:
        """Records completions of assets. Returns them."""
        message = _wire.control_message("CompleteRequest", **request)
        return list(self.call(_wire.ASSETS, "Complete", message).completions)

    def completions(
        self, scope: str, after: int | None = None, asset: str | None = None, limit: int = 0
    ) -> tuple[list[Any], int]:
        """Returns completions with numbers above `after` (None: the newest), and the greatest number that is final."""
        response = self.call(_wire.ASSETS, "Completions", _completions_request(scope, after, asset, limit))
        return list(response.completions), response.seen

    def _address(self, service: str) -> str:
        return self.settings.control if service == _wire.ASSETS else self.settings.runner

    def _channel(self, address: str) -> Any:
        import grpc

        if address not in self._channels:
            options = _options(self.settings)
            if self.settings.tls:
                credentials = grpc.ssl_channel_credentials(self.settings.root_certificates())
                self._channels[address] = grpc.secure_channel(address, credentials, options)
            else:
                self._channels[address] = grpc.insecure_channel(address, options)
        return self._channels[address]


class AsyncClient:
    """Client for an event loop, with the methods of `Client`."""

    def __init__(self, settings: Settings, log: Any, outage_timeout: float | None = None) -> None:
        self.settings = settings
        self._log = log
        self._outage_timeout = settings.outage_timeout if outage_timeout is None else outage_timeout
        self._channels: dict[str, Any] = {}

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    async def call(self, service: str, name: str, request: Any) -> Any:
        """Returns the response of an idempotent unary call, with retries during an outage."""
        address = self._address(service)
        channel = await self._channel(address)
        import grpc

        path, serialize, deserialize = _wire.method(service, name)
        call = channel.unary_unary(path, request_serializer=serialize, response_deserializer=deserialize)
        outage = Outage(self._outage_timeout, self._log)
        while True:
            try:
                response = await call(request, timeout=_CALL_TIMEOUT, metadata=_metadata(self.settings))
            except grpc.RpcError as rpc_error:
                error = _wire.to_error(rpc_error, address)
                if not isinstance(error, Unavailable):
                    raise error from None
                await asyncio.sleep(outage.next_backoff(error))
            else:
                outage.end()
                return response

    async def stream(self, service: str, name: str, request: Any) -> AsyncIterator[Any]:
        """Yields the responses of a streaming call until it ends or breaks off, without retries."""
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
        except grpc.RpcError as rpc_error:
            raise _stream_error(rpc_error, address) from None
        finally:
            call.cancel()

    async def submit(
        self, token: str, reference: Mapping[str, str], parameters: Mapping[str, str], **fields: Any
    ) -> tuple[Any, bool]:
        """Submits a job. Returns its execution, and True if this call created it.

        :param fields: further fields of a `SubmitRequest`
        """
        request = _submit_request(token, reference, parameters, **fields)
        response = await self.call(_wire.RUNNER, "Submit", request)
        return response.execution, response.fresh

    async def check(self, id: str) -> Any:
        """Returns an execution with its history and attempts."""
        return (await self.call(_wire.RUNNER, "Check", _wire.runner_message("CheckRequest", id=id))).execution

    async def cancel(self, id: str) -> Any:
        """Requests that an execution stops, without waiting for its end. Returns the execution."""
        return (await self.call(_wire.RUNNER, "Cancel", _wire.runner_message("CancelRequest", id=id))).execution

    async def list_executions(self, limit: int) -> list[Any]:
        """Returns the newest executions."""
        request = _wire.runner_message("ListRequest", page_size=limit)
        return list((await self.call(_wire.RUNNER, "List", request)).executions)

    async def watch(self, id: str, seen: int = 0) -> AsyncIterator[Any]:
        """Yields the transitions of an execution after the first `seen`, until it or the connection ends."""
        async for response in self.stream(_wire.RUNNER, "Watch", _watch_request(id, seen)):
            yield response.transition

    def logs(
        self, id: str, attempt: int | None = None, cursor: str = "", follow: bool = False
    ) -> AsyncIterator[Any]:
        """Yields the driver's output, in pieces with `attempt`, `cursor` and `data`."""
        return self.stream(_wire.RUNNER, "Logs", _logs_request(id, attempt, cursor, follow))

    async def complete(self, request: Mapping[str, Any]) -> list[Any]:
        """Records completions of assets. Returns them."""
        message = _wire.control_message("CompleteRequest", **request)
        return list((await self.call(_wire.ASSETS, "Complete", message)).completions)

    async def completions(
        self, scope: str, after: int | None = None, asset: str | None = None, limit: int = 0
    ) -> tuple[list[Any], int]:
        """Returns completions with numbers above `after` (None: the newest), and the greatest number that is final."""
        request = _completions_request(scope, after, asset, limit)
        response = await self.call(_wire.ASSETS, "Completions", request)
        return list(response.completions), response.seen

    def _address(self, service: str) -> str:
        return self.settings.control if service == _wire.ASSETS else self.settings.runner

    async def _channel(self, address: str) -> Any:
        if address not in self._channels:
            # The first import takes too long for an event loop.
            await asyncio.to_thread(_import_grpc)
            from grpc import aio, ssl_channel_credentials

            options = _options(self.settings)
            if self.settings.tls:
                certificates = await asyncio.to_thread(self.settings.root_certificates)
                credentials = ssl_channel_credentials(certificates)
                self._channels[address] = aio.secure_channel(address, credentials, options)
            else:
                self._channels[address] = aio.insecure_channel(address, options)
        return self._channels[address]


def _stream_error(rpc_error: Any, address: str) -> Exception:
    """Converts the error of a stream: to `Unavailable` unless dcp itself rejected the call, so that it can resume."""
    error = _wire.to_error(rpc_error, address)
    if not isinstance(error, Rejected) or error.reason:
        return error
    if error.code in ("UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND"):
        return error
    return Unavailable(f"{address}: {error}")


def _submit_request(
    token: str, reference: Mapping[str, str], parameters: Mapping[str, str], **fields: Any
) -> Any:
    job = _wire.runner_message("Reference", **reference)
    return _wire.runner_message("SubmitRequest", token=token, reference=job, parameters=dict(parameters), **fields)


def _watch_request(id: str, seen: int) -> Any:
    # `from` is a keyword of Python.
    return _wire.runner_message("WatchRequest", id=id, **{"from": seen})


def _logs_request(id: str, attempt: int | None, cursor: str, follow: bool) -> Any:
    return _wire.runner_message("LogsRequest", id=id, attempt=attempt, cursor=cursor, follow=follow)


def _completions_request(scope: str, after: int | None, asset: str | None, limit: int) -> Any:
    return _wire.control_message("CompletionsRequest", scope=scope, after=after, asset=asset, limit=limit)
