"""One real server and proxies in front of it, for tests of proxies."""

from __future__ import annotations

import unittest

import grpc
from pyspark.sql.connect.session import SparkSession

from proxy import Proxy, Site, driver
from server import Server
from support import Raw, with_parameters

SPARK = "4.1.1"
DRIVER_TOKEN = "a-token-of-the-driver-that-no-client-may-see"


SESSIONS: list[SparkSession] = []
"""All sessions. The deletion of one waits for the calls of all, for ever if it happens in the thread of gRPC that sends tokens."""


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
        spark = SparkSession.builder.remote(with_parameters(proxy.url(token), **parameters)).create()
        SESSIONS.append(spark)
        return spark

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
