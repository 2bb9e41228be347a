"""Holds as many MiB on the driver's heap as its argument says."""

import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
# Spark's own heap, not Python's.
held = spark._jvm.java.util.ArrayList()
for _ in range(int(sys.argv[1])):
    held.add(bytes(1024 * 1024))
print(f"held {held.size()} MiB")
spark.stop()
