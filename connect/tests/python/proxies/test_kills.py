"""Proxies that are killed while clients write and read."""

from __future__ import annotations

import random
import sys
import threading
import time
import uuid

from proxies.base import ProxyTest
from support import count_calls, in_thread
from test_large import ROWS, rows_sql

CLIENTS = 4
WRITES = 150
"""Statements that write, of all clients together, while proxies are killed."""
PAUSES = 25
"""Pauses of a second of the client that reads 100 MB slowly."""


class Kills(ProxyTest):
    # Spark's server forgets responses that it has sent beyond this size (10 MB by default), whether the client has read them or not.
    CONF = ("spark.connect.execute.reattachable.observerRetryBufferSize=64m",)

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

        def read_slowly() -> int:
            spark = self.session(self.one, self.grace)
            reattached = count_calls(spark, "ReattachExecute")
            size = 0
            # The next bytes are read after each pause only, so the driver and the proxies have to wait.
            for number, row in enumerate(spark.sql(rows_sql(ROWS, 1000)).toLocalIterator()):
                self.assertEqual(row.id, number)
                size += len(row.text)
                if number % (ROWS // PAUSES) == 0:
                    time.sleep(1)
            self.assertEqual(size, ROWS * 1000)
            return len(reattached)

        def kill() -> None:
            while not stop.wait(random.uniform(0.2, 2.0)):
                proxy = random.choice([self.one, self.two])
                proxy.kill()
                kills[0] += 1
                proxy.start()

        clients = [in_thread(write, client) for client in range(CLIENTS)]
        reader = in_thread(read_slowly)
        killer = in_thread(kill)
        try:
            written = [number for client in clients for number in client.result(600)]
            reattached = reader.result(600)
        finally:
            stop.set()
            killer.result(60)
        self.assertGreater(kills[0], 5, "too few proxies were killed for a result")
        self.assertGreater(reattached, 0, "no proxy was killed while the slow client read")
        tables = " UNION ALL ".join(f"SELECT number FROM {table}_{client}" for client in range(CLIENTS))
        stored = self.session(self.one, self.ada).sql(tables).toArrow()["number"].to_pylist()
        self.assertEqual(sorted(stored), list(range(WRITES)), "rows were lost or doubled")
        self.assertEqual(sorted(written), list(range(WRITES)))
        print(f"{kills[0]} kills, {WRITES} statements: 0 rows lost, 0 doubled", file=sys.stderr)
