"""Continues the session of an address, as a second process of its user does, and prints what it finds there."""

import sys

from pyspark.sql.connect.session import SparkSession

spark = SparkSession.builder.remote(sys.argv[1]).create()
print([row.id for row in spark.table("numbers").collect()], spark.conf.get("dcp.test.color"))
spark.release_session_on_close = False
spark.stop()
