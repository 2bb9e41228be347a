"""Divides customers into segments by their spending."""

import argparse

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.window import Window


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--day", required=True)
    parser.add_argument("--segments", type=int, default=5)
    args = parser.parse_args()

    spark = SparkSession.builder.getOrCreate()
    spent = spark.table("lake.mart.orders").where(F.col("day") == args.day).groupBy("customer").agg(F.sum("amount").alias("spent"))
    segments = spent.withColumn("segment", F.ntile(args.segments).over(Window.orderBy("spent")))
    segments.write.mode("overwrite").saveAsTable("lake.mart.segments")


if __name__ == "__main__":
    main()
