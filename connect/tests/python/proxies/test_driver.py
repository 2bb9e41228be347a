"""A driver behind the proxy that ends."""

from __future__ import annotations

import unittest

from pyspark.sql.connect.session import SparkSession

from proxies.base import SPARK
from proxy import Site, driver
from server import Server, free_port


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
