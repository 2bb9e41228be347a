"""Runs the SQL of a job. Its one argument is a file that says what to do:

    statements  in their order
    parameters  {name: {type, value}}, which Spark binds; they are never pasted into the text
    results     where the rows of the last statement are written as Avro; null where nobody wants them
"""

import datetime
import decimal
import json
import sys

from pyspark.sql import SparkSession

READ = {
    "string": str,
    "integer": int,
    "number": decimal.Decimal,
    "boolean": lambda text: text == "true",
    "date": datetime.date.fromisoformat,
    "timestamp": lambda text: datetime.datetime.fromisoformat(text.replace("Z", "+00:00")),
}


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        task = json.load(file)
    values = {name: READ[it["type"]](it["value"]) for name, it in task["parameters"].items()}
    spark = SparkSession.builder.getOrCreate()
    rows = None
    for statement in task["statements"]:
        rows = spark.sql(statement, args=values) if values else spark.sql(statement)
    if task["results"] is not None:
        # A command gives no columns, and a file without any would pass for a result without rows.
        if rows is None or not rows.columns:
            raise ValueError(
                "the last statement gives no rows, and `returnResult` asks for them: "
                "end with a `SELECT`, or leave out `returnResult`"
            )
        rows.write.mode("overwrite").format("avro").save(task["results"])
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1])
