"""Parses the statements of its input, a list in JSON, with Spark, and prints a list of whether each can be parsed."""

import json
import sys

from pyspark.errors import ParseException
from pyspark.sql import SparkSession


def main() -> None:
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    parser = spark._jsparkSession.sessionState().sqlParser()

    def parses(sql: str) -> bool:
        try:
            parser.parsePlan(sql)
        except ParseException:
            return False
        return True

    print(json.dumps([parses(sql) for sql in json.load(sys.stdin)]))


main()
