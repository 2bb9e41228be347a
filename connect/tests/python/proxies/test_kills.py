"""Proxies that are killed while clients write and read."""

from __future__ import annotations

import random
import sys
import threading
import uuid

from proxies.base import ProxyTest
from support import in_thread

CLIENTS = 4
WRITES = 150
"""Statements that write, of all clients together, while proxies are killed."""


class Kills(ProxyTest):
    def test_no_row_is_lost_or_doubled_while_proxies_are_killed(self) -> None:
        table = f"written_{uuid.uuid4().hex}"
        # Spark's files of one table can't be written by two statements at once.
        for client in range(CLIENTS):
            self.session(self.one, self.ada).sql(f"CREATE TABLE {table}_{client} (number INT) USING parquet")
        numbers = iter(range(WRITES))
        lock, stop = threading.Lock(), threading.Event()
        kills = [0]

        def write(client: int) -> list[int]:
            spark = self.session((self.one, self.two)[client % 2], self.ada)
            written = []
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return written
                size = random.choice([10, 100_000])
                rows = spark.sql(f"SELECT id FROM range({size})").toArrow()["id"].to_pylist()
                self.assertEqual(sorted(rows), list(range(size)))
                spark.sql(f"INSERT INTO {table}_{client} VALUES ({number})")
                written.append(number)

        def kill() -> None:
            while not stop.wait(random.uniform(0.2, 2.0)):
                proxy = random.choice([self.one, self.two])
                proxy.kill()
                kills[0] += 1
                proxy.start()

        clients = [in_thread(write, client) for client in range(CLIENTS)]
        killer = in_thread(kill)
        try:
            written = [number for client in clients for number in client.result(600)]
        finally:
            stop.set()
            killer.result(60)
        self.assertGreater(kills[0], 5, "too few proxies were killed for a result")
        tables = " UNION ALL ".join(f"SELECT number FROM {table}_{client}" for client in range(CLIENTS))
        stored = self.session(self.one, self.ada).sql(tables).toArrow()["number"].to_pylist()
        self.assertEqual(sorted(stored), list(range(WRITES)), "rows were lost or doubled")
        self.assertEqual(sorted(written), list(range(WRITES)))
        print(f"{kills[0]} kills, {WRITES} statements: 0 rows lost, 0 doubled", file=sys.stderr)
