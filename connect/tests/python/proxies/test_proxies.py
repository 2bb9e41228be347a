"""Tests of dcp's proxy: its users, several proxies over one database, and proxies and drivers that are killed or paused.

    scripts/test-connect proxies
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
import unittest
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc  # noqa: E402
from pyspark.sql.connect.session import SparkSession  # noqa: E402

from proxy import Proxy, Site, driver  # noqa: E402
from server import Server, free_port  # noqa: E402
from support import Raw, in_thread, wait_until, with_parameters  # noqa: E402

SPARK = "4.1.1"
DRIVER_TOKEN = "a-token-of-the-driver-that-no-client-may-see"
SLOW = "SELECT reflect('java.lang.Thread', 'sleep', 1000L), id FROM range(0, 60, 1, 2)"
"""A query of half a minute."""
CLIENTS = 4
WRITES = 150
"""Statements that write, of all clients together, while proxies are killed."""


class ProxyTest(unittest.TestCase):
    """Has one real server with a token, and one database, for all tests of the class."""

    CONF: tuple[str, ...] = ()
    """Further settings of the server."""
    server: Server
    site: Site

    @classmethod
    def setUpClass(cls) -> None:
        settings = (f"spark.connect.authenticate.token={DRIVER_TOKEN}", *cls.CONF)
        arguments = [argument for setting in settings for argument in ("--conf", setting)]
        cls.server = cls.enterClassContext(Server(SPARK, *arguments))
        cls.site = cls.enterClassContext(Site({"main": driver(cls.server.port, tokenFile="token")}))
        token = cls.site.folder / "token"
        token.touch(0o600)
        token.write_text(DRIVER_TOKEN)
        cls.ada, cls.grace = cls.site.token("ada"), cls.site.token("grace")
        cls.one, cls.two = cls.site.proxy(), cls.site.proxy()

    def session(self, proxy: Proxy, token: str, **parameters: str) -> SparkSession:
        # It ends with its server. `stop` would hold a lock of all sessions while it retries after the end of its proxy.
        return SparkSession.builder.remote(with_parameters(proxy.url(token), **parameters)).create()

    def raw(self, proxy: Proxy, token: str, **parameters: str) -> Raw:
        raw = Raw(with_parameters(proxy.url(token), **parameters))
        self.addCleanup(raw.close)
        return raw

    def assert_status(self, error: BaseException, status: grpc.StatusCode) -> None:
        found = error
        while found is not None and not isinstance(found, grpc.RpcError):
            found = found.__cause__ or found.__context__
        text = f"{type(error).__name__}: {error}"
        self.assertTrue(status.name in text or getattr(found, "code", lambda: None)() == status, text)


def slow_tasks(server: Server) -> int:
    """Returns the number of tasks that a server has started, by its log."""
    return server.log.read_text(errors="replace").count("Running task ")


def is_accepted(raw: Raw) -> bool:
    try:
        raw.conf("spark.app.name")
        return True
    except grpc.RpcError:
        return False


class Users(ProxyTest):
    # The stream of a query does not end by itself, so that only the proxy can end it.
    CONF = ("spark.connect.execute.reattachable.senderMaxStreamDuration=10m",)

    def test_users_with_the_same_session_id_do_not_share_a_session(self) -> None:
        session_id = str(uuid.uuid4())
        of_ada = self.session(self.one, self.ada, session_id=session_id)
        of_ada.sql("CREATE TEMP VIEW secret AS SELECT 1 AS of_ada")
        for lie in ({}, {"user_id": "ada"}, {"user_id": ""}):
            with self.subTest(lie=lie):
                of_grace = self.session(self.one, self.grace, session_id=session_id, **lie)
                with self.assertRaisesRegex(Exception, "TABLE_OR_VIEW_NOT_FOUND"):
                    of_grace.sql("SELECT * FROM secret").collect()
        self.assertEqual(of_ada.sql("SELECT * FROM secret").collect()[0].of_ada, 1)

    def test_unknown_token_is_rejected(self) -> None:
        with self.assertRaises(grpc.RpcError) as caught:
            self.raw(self.one, "dcp_unknown").conf("spark.app.name")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)

    def test_domain_without_a_role_is_rejected(self) -> None:
        with self.assertRaises(grpc.RpcError) as caught:
            self.raw(self.one, self.ada, **{"dcp-domain": "finance"}).conf("spark.app.name")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.PERMISSION_DENIED)

    def test_token_of_the_driver_is_redacted(self) -> None:
        raw = self.raw(self.one, self.ada)
        answer = raw.conf("spark.connect.authenticate.token")
        self.assertNotIn(DRIVER_TOKEN.encode(), answer.SerializeToString())
        spark = self.session(self.one, self.ada)
        self.assertNotIn(DRIVER_TOKEN, json.dumps(spark.conf.getAll))

    def test_session_ends_with_the_token(self) -> None:
        token = self.site.token("ada")
        # The proxy reads new tokens at intervals.
        wait_until("the token is accepted", lambda: is_accepted(self.raw(self.one, token)))
        spark = self.session(self.one, token)
        self.assertEqual(spark.range(3).count(), 3)
        listed = self.site.run("token", "list", "--database", self.site.database, "--output", "json")
        ids = [(each["created"], each["id"]) for each in json.loads(listed)["tokens"] if each["name"] == "ada"]
        before = slow_tasks(self.server)
        slow = in_thread(lambda: spark.sql(SLOW).collect())
        wait_until("the query runs", lambda: slow_tasks(self.server) > before)
        self.site.run("token", "revoke", max(ids)[1], "--database", self.site.database)
        error = wait_until("the query ends with an error", lambda: slow.done() and slow.exception(), 90)
        self.assertRegex(str(error), "UNAUTHENTICATED|PERMISSION_DENIED|token")
        with self.assertRaises(Exception) as caught:
            spark.range(3).count()
        self.assert_status(caught.exception, grpc.StatusCode.UNAUTHENTICATED)


    def test_session_ends_with_the_role(self) -> None:
        spark = self.session(self.one, self.grace)
        self.assertEqual(spark.range(3).count(), 3)
        before = slow_tasks(self.server)
        slow = in_thread(lambda: spark.sql(SLOW).collect())
        wait_until("the query runs", lambda: slow_tasks(self.server) > before)
        allowed = self.site.policy.read_text()
        self.addCleanup(self.site.policy.write_text, allowed)
        self.site.policy.write_text(allowed.replace("grace", "edsger"))
        error = wait_until("the query ends with an error", lambda: slow.done() and slow.exception(), 60)
        self.assertRegex(str(error), "PERMISSION_DENIED|no role|needs the role")
        with self.assertRaises(Exception) as caught:
            spark.range(3).count()
        self.assert_status(caught.exception, grpc.StatusCode.PERMISSION_DENIED)

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


class DriverRestarts(unittest.TestCase):
    def test_client_learns_that_its_session_is_gone(self) -> None:
        port = free_port()
        with Site({"main": driver(port)}) as site:
            with Server(SPARK, "--conf", f"spark.connect.grpc.binding.port={port}"):
                proxy = site.proxy()
                url = proxy.url(site.token("ada"))
                spark = SparkSession.builder.remote(url).create()
                self.assertEqual(spark.range(3).count(), 3)
            with Server(SPARK, "--conf", f"spark.connect.grpc.binding.port={port}"):
                with self.assertRaisesRegex(Exception, "SESSION_CHANGED|SESSION_CLOSED|NO_ACTIVE_SESSION"):
                    spark.range(3).count()
                again = SparkSession.builder.remote(url).create()
                self.assertEqual(again.range(3).count(), 3)


if __name__ == "__main__":
    unittest.main()
