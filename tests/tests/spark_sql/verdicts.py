"""Parses or analyses SQL statements with Spark.

stdin: JSON list of the statements, and a flag: true to analyse, false to parse only
stdout: JSON list with a verdict for each statement: null if Spark accepts it, `PARSE` for a syntax error, else the
condition of the error
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
                    # `sql` analyses a query without running it.
                    spark.sql(sql)
                else:
                    parser.parsePlan(sql)
            except (ParseException, Py4JJavaError):
                # PySpark raises no `ParseException` for errors in a script.
                return "PARSE"
            except AnalysisException as error:
                return error.getCondition()
            return None

        print(json.dumps([verdict(sql) for sql in statements]))


main()
