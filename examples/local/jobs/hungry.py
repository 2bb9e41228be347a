"""Holds as many MiB on the driver's heap as its argument says."""

import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
# Spark's own heap, not Python's.
held = spark._jvm.java.util.ArrayList()
for _ in range(int(sys.argv[1]) * 10):
    held.add(bytes(100 * 1024))
print(f"held {held.size() // 10} MiB")
spark.stop()
