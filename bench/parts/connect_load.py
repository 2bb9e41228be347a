"""Puts load on addresses of Spark Connect. Runs with the Python of a client; prints one line of JSON.

    python connect_load.py latency SECONDS NAME=URL...      small calls, one after the other, at the addresses in turn
    python connect_load.py throughput MIB NAME=URL...       a large result from each address in turn
    python connect_load.py sessions COUNT URL               sessions with a connection each, open until standard input ends
    python connect_load.py start COUNT URL                  new sessions, one after the other, each with its first query

The calls are those of the protocol, with requests that are encoded before: PySpark's own work for a query takes longer than
a proxy's, and would hide it. `latency` also measures PySpark, and calls of Config, which take a server the least time.
"""

import json
import sys
import time
import uuid

from pyspark.sql.connect.client import DefaultChannelBuilder
from pyspark.sql.connect.proto import base_pb2
from pyspark.sql.connect.session import SparkSession

SERVICE = "/spark.connect.SparkConnectService/"
WARM_UP = 100
MAX_CALLS = 5000
REPETITIONS = 5
COLUMN = 4000
"""Bytes of each row of a large result."""


class Target:
    """An address, with a session of its own."""

    def __init__(self, url: str) -> None:
        builder = DefaultChannelBuilder(url, [("grpc.use_local_subchannel_pool", 1)])
        self.channel = builder.toChannel()
        self.metadata = list(builder.metadata())
        self.session_id = str(uuid.uuid4())
        # Responses stay bytes: decoding them is the client's work.
        self._execute = self.channel.unary_stream(SERVICE + "ExecutePlan")
        self._config = self.channel.unary_unary(SERVICE + "Config")

    def request(self, sql: str) -> bytes:
        request = base_pb2.ExecutePlanRequest(session_id=self.session_id)
        request.user_context.user_id = "bench"
        request.plan.root.sql.query = sql
        return request.SerializeToString()

    def execute(self, request: bytes) -> int:
        """Executes a query to its end, and returns the size of its responses."""
        return sum(len(response) for response in self._execute(request, metadata=self.metadata))

    def config_request(self) -> bytes:
        request = base_pb2.ConfigRequest(session_id=self.session_id)
        request.user_context.user_id = "bench"
        request.operation.get_option.keys.append("spark.sql.ansi.enabled")
        return request.SerializeToString()

    def config(self, request: bytes) -> None:
        self._config(request, metadata=self.metadata)


def in_turn(calls: dict, seconds: float, count: int) -> dict:
    """Makes calls in turn, so that a change of the machine's speed is the same for all, and returns their times."""
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    times = {name: [] for name in calls}
    names, end = list(calls), time.monotonic() + seconds
    while time.monotonic() < end and len(times[names[0]]) < count:
        for name in names:
            begun = time.perf_counter()
            calls[name]()
            times[name].append(time.perf_counter() - begun)
        names.append(names.pop(0))
    return times


def latency(seconds: str, *targets: str) -> dict:
    def select(url: str):
        target = Target(url)
        request = target.request("SELECT 1")
        return lambda: target.execute(request)

    def config(url: str):
        target = Target(url)
        request = target.config_request()
        return lambda: target.config(request)

    def pyspark(url: str):
        spark = SparkSession.builder.remote(url).create()
        return lambda: spark.sql("SELECT 1").collect()

    urls = dict(target.split("=", 1) for target in targets)
    kinds = {"select": select, "config": config, "pyspark": pyspark}
    return {
        kind: in_turn({name: make(url) for name, url in urls.items()}, float(seconds), MAX_CALLS)
        for kind, make in kinds.items()
    }


def throughput(mib: str, *targets: str) -> dict:
    rows = int(mib) * 1024 * 1024 // COLUMN
    # The text differs from row to row, and is cheap for the server.
    sql = f"SELECT concat(repeat('x', {COLUMN - 20}), id) AS text FROM range(0, {rows}, 1, 8)"
    clients = {name: Target(url) for name, url in (target.split("=", 1) for target in targets)}
    rates = {name: [] for name in clients}
    names = list(clients)
    for repetition in range(REPETITIONS + 1):
        for name in names:
            begun = time.perf_counter()
            size = clients[name].execute(clients[name].request(sql))
            # The first repetition warms up the server.
            if repetition:
                rates[name].append(size / (time.perf_counter() - begun))
        names.append(names.pop(0))
    return {"size": size, "rates": rates}


def sessions(count: str, url: str) -> dict | None:
    targets = [Target(url) for _ in range(int(count))]
    begun = time.perf_counter()
    for target in targets:
        target.config(target.config_request())
    print(json.dumps({"sessions": len(targets), "seconds": time.perf_counter() - begun}), flush=True)
    sys.stdin.read()
    return None


def start(count: str, url: str) -> list[float]:
    """Returns the seconds from the first call of each session to the result of its first query."""
    times = []
    for _ in range(int(count)):
        begun = time.perf_counter()
        spark = SparkSession.builder.remote(url).create()
        spark.sql("SELECT 1").collect()
        times.append(time.perf_counter() - begun)
        spark.stop()
    return times


if __name__ == "__main__":
    found = {"latency": latency, "throughput": throughput, "sessions": sessions, "start": start}[sys.argv[1]](*sys.argv[2:])
    if found:
        print(json.dumps(found))
