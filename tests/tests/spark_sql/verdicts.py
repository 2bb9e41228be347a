"""Parses and analyses statements with Spark.

The input is a list of statements in JSON. The output is a list with, for each of them, nothing if Spark accepts it, else
the condition of the error: `PARSE` for a statement that can't be parsed.
"""

import json
import sys
import tempfile

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import SparkSession

COLUMNS = "a INT, b INT, c INT, s STRUCT<f: INT, g: INT>, xs ARRAY<INT>"


def main() -> None:
    statements, analyse = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as warehouse:
        builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
        spark = builder.config("spark.sql.warehouse.dir", warehouse).getOrCreate()
        parser = spark._jsparkSession.sessionState().sqlParser()
        for table in ("t", "u"):
            spark.createDataFrame([], COLUMNS).createTempView(table)

        def verdict(sql: str) -> str | None:
            try:
                if analyse:
                    # Spark analyses a query at once, and runs it only when rows are asked for.
                    spark.sql(sql)
                else:
                    parser.parsePlan(sql)
            except (ParseException, Py4JJavaError):
                # Errors in a script are no `ParseException` in Python.
                return "PARSE"
            except AnalysisException as error:
                return error.getCondition()
            return None

        print(json.dumps([verdict(sql) for sql in statements]))


main()
