"""Allocates memory on the driver's heap. The argument is the number of MiB."""

import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
# The list is in the JVM, because the limit applies to its heap.
held = spark._jvm.java.util.ArrayList()
for _ in range(int(sys.argv[1])):
    held.add(spark._jvm.java.nio.ByteBuffer.allocate(1024 * 1024))
print(f"held {held.size()} MiB")
spark.stop()
