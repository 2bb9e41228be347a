"""Several proxies over one database."""

from __future__ import annotations

import random
import signal
import time
import uuid

from proxies.base import ProxyTest
from support import in_thread


class SeveralProxies(ProxyTest):
    def test_session_goes_on_at_another_proxy(self) -> None:
        session_id = str(uuid.uuid4())
        self.session(self.one, self.ada, session_id=session_id).sql("CREATE TEMP VIEW mine AS SELECT 7 AS n")
        there = self.session(self.two, self.ada, session_id=session_id)
        self.assertEqual(there.sql("SELECT n FROM mine").collect()[0].n, 7)

    def test_query_goes_on_after_a_pause_of_its_proxy(self) -> None:
        spark = self.session(self.one, self.ada)
        rows = in_thread(lambda: spark.range(200_000).selectExpr("id", "uuid() AS u").toPandas())
        time.sleep(random.uniform(0, 0.5))
        self.one.signal(signal.SIGSTOP)
        time.sleep(3)
        self.one.signal(signal.SIGCONT)
        self.assertEqual(len(set(rows.result(120)["id"])), 200_000)

    def test_many_sessions_at_once_are_isolated(self) -> None:
        def use(number: int) -> int:
            proxy, token = (self.one, self.two)[number % 2], (self.ada, self.grace)[number % 3 == 0]
            spark = self.session(proxy, token)
            spark.conf.set("spark.sql.shuffle.partitions", str(number + 1))
            spark.sql(f"CREATE TEMP VIEW own AS SELECT {number} AS n")
            self.assertEqual(spark.conf.get("spark.sql.shuffle.partitions"), str(number + 1))
            return int(spark.sql("SELECT n FROM own").collect()[0].n)

        used = [in_thread(use, number) for number in range(40)]
        self.assertEqual([future.result(300) for future in used], list(range(40)))
