"""A pool whose driver is killed under its clients."""

from __future__ import annotations

import threading
import time
import unittest

from pyspark.sql.connect.session import SparkSession

from proxy import Up
from support import in_thread, wait_until

POOL = {
    "resources": {"driver": {"cores": 1, "memory": "512m"}},
    "share": "private",
    "drivers": {"minIdle": 1, "maxIdle": 1, "max": 4},
}
"""A pool with a driver for each user, and an idle one."""
SLOW = "SELECT reflect('java.lang.Thread', 'sleep', 1000L), id FROM range(0, 60, 1, 60)"
"""A query of a minute, with a row from each second."""
SECONDS = 60
"""Longest time until a client knows that its driver has ended."""


class KilledDriver(unittest.TestCase):
    def test_client_gets_another_driver_and_other_sessions_go_on(self) -> None:
        with Up({"small": POOL}) as up:
            url = up.url("ada")
            of_ada = SparkSession.builder.remote(url).getOrCreate()
            of_grace = SparkSession.builder.remote(up.url("grace")).create()
            of_grace.sql("CREATE TEMP VIEW mine AS SELECT 7 AS n")
            self.assertEqual(of_ada.range(3).count(), 3)
            wait_until("an idle driver is ready", lambda: up.ready("small") == 3, 120)
            drivers = up.drivers()
            self.assertNotEqual(drivers["ada"], drivers["grace"])

            has_rows = threading.Event()

            def read() -> None:
                for _ in of_ada.sql(SLOW).toLocalIterator():
                    has_rows.set()

            running = in_thread(read)
            wait_until("the query has returned a row", has_rows.is_set, SECONDS)
            begun = time.monotonic()
            up.kill_driver(drivers["ada"])
            self.assertRegex(str(running.exception(SECONDS)), "SESSION_CHANGED")
            with self.assertRaisesRegex(Exception, "SESSION_CHANGED|NO_ACTIVE_SESSION"):
                of_ada.range(3).count()
            print(f"the client knew of the end after {time.monotonic() - begun:.1f} s", flush=True)

            again = SparkSession.builder.remote(url).getOrCreate()
            self.assertNotEqual(again.session_id, of_ada.session_id)
            self.assertEqual(again.range(3).count(), 3)
            self.assertNotIn(drivers["ada"], up.drivers().values())
            self.assertEqual(of_grace.sql("SELECT n FROM mine").collect()[0].n, 7)
            self.assertEqual(up.drivers()["grace"], drivers["grace"])
            wait_until("the pool has started a driver again", lambda: up.ready("small") == 3, 120)
