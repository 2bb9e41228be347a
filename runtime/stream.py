"""Runs a declarative stream. Its one argument is a file that says what to do:

    stream      the manifest's `stream`: sources, query, watermark, deduplicate, sink, outputMode
    checkpoint  where its progress and its state are kept
    trigger     the manifest's `trigger`; null to take what there is, and end
    name        the name that the query has in metrics
"""

import json
import os
import signal
import sys
import threading
import time

from py4j.protocol import Py4JError
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming import DataStreamWriter, StreamingQuery

# Sinks that are written batch by batch.
BATCHED = ("jdbc", "merge")


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        task = json.load(file)
    requested = stop_requests()
    spark = SparkSession.builder.getOrCreate()
    if not requested():
        query = start(spark, task)
        while not query.awaitTermination(0.5):
            if requested():
                drain(query)
                break
    spark.stop()


def stop_requests():
    """Returns a function that tells whether the stream is to stop.

    A backend asks by SIGTERM, or by a file that it names in DCP_STOP_FILE. The file beside it says that this program
    looks for that file, so that no signal is sent: the JVM would abort the running batch on SIGTERM.
    """
    signaled = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: signaled.set())
    stop_file = os.environ.get("DCP_STOP_FILE")
    if stop_file:
        with open(f"{stop_file}.watched", "w", encoding="utf-8"):
            pass
    return lambda: signaled.is_set() or bool(stop_file and os.path.exists(stop_file))


def drain(query: StreamingQuery) -> None:
    """Lets the running batch end and be committed, and begins no other one."""
    execution = end_after_batch(query)
    if execution is not None:
        # By now, the thread has either begun a batch and says so, or will not begin one any more.
        time.sleep(0.5)
        while execution.queryExecutionThread().isAlive() and query.status["isTriggerActive"]:
            time.sleep(0.1)
    # Ends the wait for the next trigger.
    query.stop()
    # Raises the error of a batch that failed meanwhile.
    query.awaitTermination(1)


def end_after_batch(query: StreamingQuery):
    """Has a query end by itself after its batch, as one with `availableNow` does once there is nothing more to read.

    Spark has no public function for that: `stop` aborts the running batch. Returns what executes the query; None where
    this Spark is made differently, or has no batches.
    """
    try:
        execution = query._jsq.streamingQuery()
        state = execution.state()
        name = state.get().getClass().getName()
        if "MicroBatch" not in execution.getClass().getName():
            return None
        jvm = SparkSession.active()._jvm
        terminated = jvm.java.lang.Class.forName(f"{name.rpartition('.')[0]}.TERMINATED$")
        state.set(terminated.getField("MODULE$").get(None))
        return execution
    except (AttributeError, Py4JError) as error:
        print(f"the running batch is aborted, as this Spark can't end a query after a batch: {error}", file=sys.stderr)
        return None


def start(spark: SparkSession, task: dict) -> StreamingQuery:
    stream = task["stream"]
    for name, source in stream["sources"].items():
        read(spark, source, marks(stream, name), repeats(stream, name)).createOrReplaceTempView(name)
    rows = shaped(spark.sql(stream["query"]), stream["sink"])
    writer = rows.writeStream.queryName(task["name"]).outputMode(stream["outputMode"])
    writer = triggered(writer.option("checkpointLocation", task["checkpoint"]), task["trigger"])
    kind, it = only(stream["sink"])
    if kind in BATCHED:
        # It travels only with streams that need it.
        import batch_sinks

        return writer.foreachBatch(batch_sinks.writer(spark, kind, it, rows, task["name"])).start()
    return write(writer, kind, it)


def marks(stream: dict, name: str) -> list:
    found = stream.get("watermark", [])
    return [it for it in (found if isinstance(found, list) else [found]) if it["source"] == name]


def repeats(stream: dict, name: str) -> list:
    return [it for it in stream.get("deduplicate", []) if it["source"] == name]


def only(choice: dict) -> tuple:
    """What has exactly one key, as that key and what it holds."""
    [(kind, settings)] = choice.items()
    return kind, settings


def read(spark: SparkSession, source: dict, watermarks: list, duplicates: list) -> DataFrame:
    kind, settings = only(source)
    rows = {"kafka": kafka, "files": files, "table": table, "rate": rate}[kind](spark, settings)
    for mark in watermarks:
        rows = rows.withWatermark(mark["column"], interval(mark["delay"]))
    for it in duplicates:
        within = it.get("withinWatermark", False)
        rows = (rows.dropDuplicatesWithinWatermark if within else rows.dropDuplicates)(it["columns"])
    return rows


def schema_of(columns: list) -> str:
    return ", ".join(f"`{it['name']}` {it['type']}" for it in columns)


def kafka(spark: SparkSession, it: dict) -> DataFrame:
    reader = (spark.read if it["static"] else spark.readStream).format("kafka")
    reader = reader.option("kafka.bootstrap.servers", it["servers"])
    topics = it.get("topics") or ([it["topic"]] if "topic" in it else None)
    which = ("subscribe", ",".join(topics)) if topics else ("subscribePattern", it["topicPattern"])
    reader = reader.option(*which)
    reader = reader.option("failOnDataLoss", str(it["failOnDataLoss"]).lower())
    if not it["static"]:
        reader = reader.option("startingOffsets", it["startingOffsets"])
    return opened(limited(reader, it, "maxOffsetsPerTrigger", "minOffsetsPerTrigger").load(), it)


def opened(rows: DataFrame, it: dict) -> DataFrame:
    """Messages with their values as columns, where it is said what a value is, and beside them what else there is."""
    if it["format"] == "raw" or (it["format"] == "json" and "schema" not in it):
        return rows
    text = F.col("value").cast("string")
    if it["format"] == "text" and "schema" not in it:
        return rows.withColumn("value", text)
    beside = ["key", "topic", "partition", "offset", "timestamp"]
    rows = rows.select("value", *(F.col(name).alias(f"_{name}") for name in beside))
    if it["format"] == "text":
        [column] = it["schema"]
        row = F.struct(text.cast(column["type"]).alias(column["name"]))
    elif it["format"] == "avro":
        from pyspark.sql.avro.functions import from_avro

        with open(it["avroSchema"].removeprefix("local://"), encoding="utf-8") as file:
            row = from_avro("value", file.read())
    else:
        row = {"json": F.from_json, "csv": F.from_csv}[it["format"]](text, schema_of(it["schema"]))
    return rows.withColumn("value", row).select("value.*", *(f"_{name}" for name in beside))


def files(spark: SparkSession, it: dict) -> DataFrame:
    reader = (spark.read if it["static"] else spark.readStream).format(it["format"])
    if "schema" in it:
        reader = reader.schema(schema_of(it["schema"]))
    if not it["static"]:
        reader = reader.option("latestFirst", str(it["latestFirst"]).lower())
    if "cleanSource" in it:
        kind, where = only(it["cleanSource"])
        reader = reader.option("cleanSource", kind)
        reader = reader.option("sourceArchiveDir", where) if kind == "archive" else reader
    return limited(reader, it, "maxFilesPerTrigger").load(it["path"])


def table(spark: SparkSession, it) -> DataFrame:
    it = {"name": it, "stream": False} if isinstance(it, str) else it
    reader = spark.readStream if it["stream"] else spark.read
    return reader.options(**it.get("options", {})).table(it["name"])


def rate(spark: SparkSession, it: dict) -> DataFrame:
    reader = spark.readStream.format("rate").option("rowsPerSecond", it["rowsPerSecond"])
    reader = reader.option("rampUpTime", interval(it["rampUpTime"])) if "rampUpTime" in it else reader
    reader = reader.option("numPartitions", it["partitions"]) if "partitions" in it else reader
    return reader.load()


def limited(reader, it: dict, *limits: str):
    for limit in limits:
        if limit in it:
            reader = reader.option(limit, it[limit])
    return reader.options(**it.get("options", {}))


def interval(span: str) -> str:
    """`1h30m` as Spark reads it."""
    units = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    parts, number, unit = [], "", ""
    for char in f"{span} ":
        if char.isalpha():
            unit += char
            continue
        if unit:
            parts.append(f"{number} {units[unit]}")
            number, unit = "", ""
        number += char
    return " ".join(parts)


def triggered(writer: DataStreamWriter, trigger) -> DataStreamWriter:
    if trigger is None:
        return writer.trigger(availableNow=True)
    kind, value = only(trigger)
    if kind == "asap":
        return writer
    if kind == "continuous":
        return writer.trigger(continuous=interval(value))
    return writer.trigger(processingTime=interval(value))


def shaped(rows: DataFrame, sink: dict) -> DataFrame:
    """Messages, where the sink takes messages: what the query gives as `value` is one already."""
    kind, it = only(sink)
    if kind != "kafka":
        return rows
    columns = {name.lower(): F.col(f"`{name}`") for name in rows.columns}
    own = {"key": columns[it["key"].lower()].cast("string")} if "key" in it else {}
    if "value" not in columns and it["format"] != "text":
        value = packed(F.struct(*columns.values()), it["format"])
    else:
        own = {name: columns[name] for name in ("key", "headers", "partition") if name in columns} | own
        taken = {*own, it.get("key", "").lower()}
        one = "value" if "value" in columns else next(name for name in columns if name not in taken)
        value = columns[one].cast("string") if it["format"] == "text" else columns[one]
    return rows.select(*(column.alias(name) for name, column in own.items()), value.alias("value"))


def packed(row: Column, form: str) -> Column:
    if form == "avro":
        from pyspark.sql.avro.functions import to_avro

        return to_avro(row)
    return {"json": F.to_json, "csv": F.to_csv}[form](row)


def write(writer: DataStreamWriter, kind: str, it) -> StreamingQuery:
    if kind == "console":
        writer = writer.format("console").option("numRows", it["rows"])
        return writer.option("truncate", str(it["truncate"]).lower()).start()
    if kind == "table":
        it = {"name": it} if isinstance(it, str) else it
        writer = writer.format(it["format"]) if "format" in it else writer
        writer = writer.partitionBy(*it["partitionBy"]) if it.get("partitionBy") else writer
        return writer.options(**it.get("options", {})).toTable(it["name"])
    if kind == "files":
        writer = writer.partitionBy(*it["partitionBy"]) if it.get("partitionBy") else writer
        return writer.format(it["format"]).options(**it.get("options", {})).start(it["path"])
    writer = writer.format("kafka").option("kafka.bootstrap.servers", it["servers"]).option("topic", it["topic"])
    return writer.options(**it.get("options", {})).start()


if __name__ == "__main__":
    main(sys.argv[1])
