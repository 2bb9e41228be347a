"""Sessions for tests of an address of Spark Connect, which may be a real server or a proxy in front of servers."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
import unittest
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
from pyspark.sql.connect.client import DefaultChannelBuilder
from pyspark.sql.connect.session import SparkSession
from pyspark.sql.connect.proto import base_pb2, base_pb2_grpc
from pyspark.version import __version__ as CLIENT_VERSION

# PySpark logs each error of a query with its stack trace, also expected ones.
logging.disable(logging.CRITICAL)

T = TypeVar("T")
MIB = 1024 * 1024


def with_parameters(url: str, **parameters: str) -> str:
    """Adds parameters to an address, and replaces those of the same name."""
    base, _, text = url.partition("/;")
    present = dict(pair.split("=", 1) for pair in text.split(";") if pair)
    merged = present | parameters
    return f"{base.rstrip('/')}/;" + ";".join(f"{name}={value}" for name, value in merged.items())


URL = os.environ.get("DCP_CONNECT_URL", "")
USER = os.environ.get("DCP_CONNECT_USER", "")
"""Name of the user whom the proxy at the address authenticates. Empty for a real server, which believes each client."""
SECOND_URL = os.environ.get("DCP_CONNECT_URL_2") or (URL and with_parameters(URL, user_id="second"))
"""Address for a second user."""


def wait_until(condition: str, poll: Callable[[], T], seconds: float = 60.0) -> T:
    """Calls `poll` until its result is true, and returns that. Fails after a timeout."""
    deadline = time.monotonic() + seconds
    while True:
        found = poll()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {condition}")
        time.sleep(0.1)


def in_thread(function: Callable[..., T], *arguments: Any) -> Future[T]:
    """Runs a function in a thread of its own, which does not keep the process alive."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


STOPPED: list[SparkSession] = []


def stop(spark: SparkSession) -> None:
    """Stops a session. PySpark alone would try for ten minutes."""
    # The deletion of a session by the 4.0 client breaks queries of other sessions that are about to end.
    STOPPED.append(spark)
    in_thread(spark.stop).result(30)


class Raw:
    """Calls of the protocol without PySpark: without its retries, and with requests that PySpark would not send."""

    def __init__(self, url: str) -> None:
        builder = DefaultChannelBuilder(url)
        self.channel = builder.toChannel()
        self.stub = base_pb2_grpc.SparkConnectServiceStub(self.channel)
        self.metadata = list(builder.metadata())
        self.session_id = builder.session_id or str(uuid.uuid4())
        self.user_id = builder.userId or ""

    def fill(self, request: T, **fields: Any) -> T:
        """Sets the session and the user of a request."""
        request.session_id = self.session_id  # type: ignore[attr-defined]
        request.user_context.user_id = self.user_id  # type: ignore[attr-defined]
        for name, value in fields.items():
            setattr(request, name, value)
        return request

    def plan(self, sql: str) -> base_pb2.ExecutePlanRequest:
        request = self.fill(base_pb2.ExecutePlanRequest())
        request.plan.root.sql.query = sql
        return request

    def execute(self, request: base_pb2.ExecutePlanRequest) -> Iterator[base_pb2.ExecutePlanResponse]:
        return self.stub.ExecutePlan(request, metadata=self.metadata, timeout=120)

    def conf(self, name: str) -> base_pb2.ConfigResponse:
        request = self.fill(base_pb2.ConfigRequest())
        request.operation.get_option.keys.append(name)
        return self.stub.Config(request, metadata=self.metadata, timeout=60)

    def call_bytes(self, method: str, request: bytes, response: Any) -> Any:
        """Sends the bytes of a request as they are."""
        call = self.channel.unary_unary(
            f"/spark.connect.SparkConnectService/{method}", response_deserializer=response.FromString
        )
        return call(request, metadata=self.metadata, timeout=60)

    def close(self) -> None:
        self.channel.close()


@functools.cache
def error_of_address() -> str:
    """Waits once until the address answers. Without it, each test would wait for an address that does not."""
    if not URL:
        return "DCP_CONNECT_URL has no address: set it, such as to sc://127.0.0.1:15002"
    raw = Raw(URL)
    deadline = time.monotonic() + 120
    try:
        while True:
            try:
                raw.conf("spark.sql.ansi.enabled")
                return ""
            except grpc.RpcError as error:
                # The address of a pool may have no driver yet.
                waits = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
                if not waits or time.monotonic() > deadline:
                    return f"DCP_CONNECT_URL does not answer: {error.code()}: {error.details()}"
            time.sleep(0.2)
    finally:
        raw.close()


class ConnectTest(unittest.TestCase):
    """Has one session for all tests of the class."""

    DEADLINE = 120
    """Seconds for a test, which run.py keeps. PySpark itself repeats a failed call for ten minutes."""
    spark: SparkSession

    @classmethod
    def setUpClass(cls) -> None:
        if error := error_of_address():
            raise AssertionError(error)
        cls.spark = SparkSession.builder.remote(URL).create()
        cls.addClassCleanup(stop, cls.spark)

    def __str__(self) -> str:
        # The tests run with several clients and servers, and the list of failures needs both.
        label = os.environ.get("DCP_CONNECT_LABEL", f"client {CLIENT_VERSION}")
        return f"{super().__str__()} [{label}]"

    def session(self, url: str = URL, **parameters: str) -> SparkSession:
        """Creates another session, which ends with the test."""
        spark = SparkSession.builder.remote(with_parameters(url, **parameters)).create()
        self.addCleanup(stop, spark)
        return spark

    def raw(self, url: str = URL, like: SparkSession | None = None, **parameters: str) -> Raw:
        """Creates a raw client, for a session of its own or for that of PySpark."""
        raw = Raw(with_parameters(url, **parameters))
        if like is not None:
            raw.session_id, raw.user_id = like.session_id, like.client._user_id or ""
        self.addCleanup(raw.close)
        return raw

    @contextmanager
    def conf(self, spark: SparkSession, name: str, value: str) -> Iterator[None]:
        """Sets an option of a session for a while."""
        spark.conf.set(name, value)
        try:
            yield
        finally:
            spark.conf.unset(name)

    @contextmanager
    def rejected(self, status: grpc.StatusCode, words: str) -> Iterator[None]:
        with self.assertRaises(grpc.RpcError) as caught:
            yield
        self.assertEqual(caught.exception.code(), status, caught.exception)
        self.assertIn(words, str(caught.exception))


def count_calls(spark: SparkSession, method: str) -> list[Any]:
    """Returns a list to which each call of a method of the protocol adds its request."""
    stub = spark.client._stub
    original, requests = getattr(stub, method), []

    def counted(request: Any, *arguments: Any, **options: Any) -> Any:
        requests.append(request)
        return original(request, *arguments, **options)

    setattr(stub, method, counted)
    return requests
