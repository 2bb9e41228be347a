"""Users of the proxy: their tokens, roles and sessions."""

from __future__ import annotations

import json
import uuid

import grpc

from proxies.base import DRIVER_TOKEN, ProxyTest
from proxy import Failed
from server import Server
from support import Raw, in_thread, wait_until

SLOW = "SELECT reflect('java.lang.Thread', 'sleep', 1000L), id FROM range(0, 60, 1, 2)"
"""A query of half a minute."""


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

    def test_operator_ends_a_session_with_its_query(self) -> None:
        session_id = str(uuid.uuid4())
        spark = self.session(self.one, self.ada, session_id=session_id)
        # The other proxy knows the session, too.
        there = self.session(self.two, self.ada, session_id=session_id)
        self.assertEqual((spark.range(3).count(), there.range(3).count()), (3, 3))
        before = slow_tasks(self.server)
        slow = in_thread(lambda: spark.sql(SLOW).collect())
        wait_until("the query runs", lambda: slow_tasks(self.server) > before)
        server = ("--server", f"http://localhost:{self.one.port}")
        end = ("pools", "--end-session", session_id, *server)
        viewer, operator = self.site.token("vera"), self.site.token("olga")
        for token in (viewer, operator):
            # The proxy reads new tokens at intervals.
            wait_until("the token is accepted", lambda: self.succeeds("pools", *server, token=token))
        with self.assertRaisesRegex(Failed, "operator"):
            self.site.run(*end, token=viewer)
        ended = self.site.run(*end, token=operator)
        self.assertIn(f"ended the session {session_id} of ada on shop/main", ended)
        wait_until("the query ends with an error", lambda: slow.done() and slow.exception(), 60)
        for of in (spark, there):
            with self.assertRaisesRegex(Exception, "SESSION_CLOSED|NO_ACTIVE_SESSION"):
                of.range(3).count()
        with self.assertRaisesRegex(Failed, "there is no session"):
            self.site.run(*end, token=operator)

    def succeeds(self, *command: str, token: str) -> bool:
        try:
            self.site.run(*command, token=token)
            return True
        except Failed:
            return False

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
