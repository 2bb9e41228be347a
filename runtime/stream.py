"""Runs a declarative stream. The argument is the path of a JSON file with these keys:

    stream      the manifest's `stream`: sources, query, watermark, deduplicate, sink, outputMode
    checkpoint  folder of the query's progress and state
    trigger     the manifest's `trigger`; null to process all available data and end
    name        name of the query in metrics
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

# Sinks of `batch_sinks`.
BATCH_SINKS = ("jdbc", "merge")


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        task = json.load(file)
    is_stop_requested = watch_stop_requests()
    spark = SparkSession.builder.getOrCreate()
    if not is_stop_requested():
        if task["trigger"] is not None:
            # A continuous job. The module is shipped with it.
            import progress

            progress.report(spark)
        query = start(spark, task)
        while not query.awaitTermination(0.5):
            if is_stop_requested():
                drain(query)
                break
    spark.stop()


def watch_stop_requests():
    """Returns a function that returns True once a stop was requested.

    A backend requests a stop by SIGTERM, or by the file that DCP_STOP_FILE names. The file `$DCP_STOP_FILE.watched`
    announces that this program polls for that file, so that the backend sends no SIGTERM: on SIGTERM, the JVM aborts the
    running batch.
    """
    signaled = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: signaled.set())
    stop_file = os.environ.get("DCP_STOP_FILE")
    if stop_file:
        with open(f"{stop_file}.watched", "w", encoding="utf-8"):
            pass
    return lambda: signaled.is_set() or bool(stop_file and os.path.exists(stop_file))


def drain(query: StreamingQuery) -> None:
    """Stops the query after the running batch is committed."""
    execution = end_after_batch(query)
    if execution is not None:
        # After this pause, the thread either reports the batch that it has begun, or begins none.
        time.sleep(0.5)
        while execution.queryExecutionThread().isAlive() and query.status["isTriggerActive"]:
            time.sleep(0.1)
    # The query may be waiting for its next trigger.
    query.stop()
    # Raises the error of a batch that has failed.
    query.awaitTermination(1)


def end_after_batch(query: StreamingQuery):
    """Makes a query end by itself after its batch, as a query with `availableNow` does after its last one.

    Spark has no public API for this: `stop` aborts the running batch. Returns Spark's internal execution of the query, or
    None if this version of Spark has other internals or the query has no batches.
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
        message = f"this version of Spark cannot end a query after a batch; the running batch is aborted: {error}"
        print(message, file=sys.stderr)
        return None


def start(spark: SparkSession, task: dict) -> StreamingQuery:
    stream = task["stream"]
    for name, source in stream["sources"].items():
        rows = read_source(spark, source, watermarks_of(stream, name), deduplications_of(stream, name))
        rows.createOrReplaceTempView(name)
    rows = encode_messages(spark.sql(stream["query"]), stream["sink"])
    writer = rows.writeStream.queryName(task["name"]).outputMode(stream["outputMode"])
    writer = with_trigger(writer.option("checkpointLocation", task["checkpoint"]), task["trigger"])
    kind, settings = single_entry(stream["sink"])
    if kind in BATCH_SINKS:
        # The module is shipped only with streams that need it.
        import batch_sinks

        return writer.foreachBatch(batch_sinks.writer(spark, kind, settings, rows, task["name"])).start()
    return start_sink(writer, kind, settings)


def watermarks_of(stream: dict, name: str) -> list:
    found = stream.get("watermark", [])
    return [it for it in (found if isinstance(found, list) else [found]) if it["source"] == name]


def deduplications_of(stream: dict, name: str) -> list:
    return [it for it in stream.get("deduplicate", []) if it["source"] == name]


def single_entry(choice: dict) -> tuple:
    """Returns key and value of a dictionary with one entry."""
    [(kind, settings)] = choice.items()
    return kind, settings


def read_source(spark: SparkSession, source: dict, watermarks: list, duplicates: list) -> DataFrame:
    kind, settings = single_entry(source)
    rows = {"kafka": kafka, "files": files, "table": table, "rate": rate}[kind](spark, settings)
    for mark in watermarks:
        rows = rows.withWatermark(mark["column"], interval(mark["delay"]))
    for it in duplicates:
        within = it.get("withinWatermark", False)
        rows = (rows.dropDuplicatesWithinWatermark if within else rows.dropDuplicates)(it["columns"])
    return rows


def schema_of(columns: list) -> str:
    return ", ".join(f"`{it['name']}` {it['type']}" for it in columns)


def kafka(spark: SparkSession, source: dict) -> DataFrame:
    reader = (spark.read if source["static"] else spark.readStream).format("kafka")
    reader = reader.option("kafka.bootstrap.servers", source["servers"])
    topics = source.get("topics") or ([source["topic"]] if "topic" in source else None)
    subscription = ("subscribe", ",".join(topics)) if topics else ("subscribePattern", source["topicPattern"])
    reader = reader.option(*subscription)
    reader = reader.option("failOnDataLoss", str(source["failOnDataLoss"]).lower())
    if not source["static"]:
        reader = reader.option("startingOffsets", source["startingOffsets"])
    return decode_messages(with_options(reader, source, "maxOffsetsPerTrigger", "minOffsetsPerTrigger").load(), source)


def decode_messages(rows: DataFrame, source: dict) -> DataFrame:
    """Decodes values of messages to columns if a schema is declared; the other columns of a message begin with `_`."""
    if source["format"] == "raw" or (source["format"] == "json" and "schema" not in source):
        return rows
    text = F.col("value").cast("string")
    if source["format"] == "text" and "schema" not in source:
        return rows.withColumn("value", text)
    metadata = ["key", "topic", "partition", "offset", "timestamp"]
    rows = rows.select("value", *(F.col(name).alias(f"_{name}") for name in metadata))
    if source["format"] == "text":
        [column] = source["schema"]
        row = F.struct(text.cast(column["type"]).alias(column["name"]))
    elif source["format"] == "avro":
        from pyspark.sql.avro.functions import from_avro

        with open(source["avroSchema"].removeprefix("local://"), encoding="utf-8") as file:
            row = from_avro("value", file.read())
    else:
        row = {"json": F.from_json, "csv": F.from_csv}[source["format"]](text, schema_of(source["schema"]))
    return rows.withColumn("value", row).select("value.*", *(f"_{name}" for name in metadata))


def files(spark: SparkSession, source: dict) -> DataFrame:
    reader = (spark.read if source["static"] else spark.readStream).format(source["format"])
    if "schema" in source:
        reader = reader.schema(schema_of(source["schema"]))
    if not source["static"]:
        reader = reader.option("latestFirst", str(source["latestFirst"]).lower())
    if "cleanSource" in source:
        kind, folder = single_entry(source["cleanSource"])
        reader = reader.option("cleanSource", kind)
        reader = reader.option("sourceArchiveDir", folder) if kind == "archive" else reader
    return with_options(reader, source, "maxFilesPerTrigger").load(source["path"])


def table(spark: SparkSession, source) -> DataFrame:
    source = {"name": source, "stream": False} if isinstance(source, str) else source
    reader = spark.readStream if source["stream"] else spark.read
    return reader.options(**source.get("options", {})).table(source["name"])


def rate(spark: SparkSession, source: dict) -> DataFrame:
    reader = spark.readStream.format("rate").option("rowsPerSecond", source["rowsPerSecond"])
    reader = reader.option("rampUpTime", interval(source["rampUpTime"])) if "rampUpTime" in source else reader
    reader = reader.option("numPartitions", source["partitions"]) if "partitions" in source else reader
    return reader.load()


def with_options(reader, source: dict, *limits: str):
    for limit in limits:
        if limit in source:
            reader = reader.option(limit, source[limit])
    return reader.options(**source.get("options", {}))


def interval(span: str) -> str:
    """Converts a duration such as `1h30m` to Spark's syntax."""
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


def with_trigger(writer: DataStreamWriter, trigger) -> DataStreamWriter:
    if trigger is None:
        return writer.trigger(availableNow=True)
    kind, value = single_entry(trigger)
    if kind == "asap":
        return writer
    if kind == "continuous":
        return writer.trigger(continuous=interval(value))
    return writer.trigger(processingTime=interval(value))


def encode_messages(rows: DataFrame, sink: dict) -> DataFrame:
    """Encodes rows as messages for a sink that takes messages. A column `value` of the query is a message already."""
    kind, settings = single_entry(sink)
    if kind != "kafka":
        return rows
    columns = {name.lower(): F.col(f"`{name}`") for name in rows.columns}
    message = {"key": columns[settings["key"].lower()].cast("string")} if "key" in settings else {}
    if "value" not in columns and settings["format"] != "text":
        value = encode(F.struct(*columns.values()), settings["format"])
    else:
        message = {name: columns[name] for name in ("key", "headers", "partition") if name in columns} | message
        taken = {*message, settings.get("key", "").lower()}
        payload = "value" if "value" in columns else next(name for name in columns if name not in taken)
        value = columns[payload].cast("string") if settings["format"] == "text" else columns[payload]
    return rows.select(*(column.alias(name) for name, column in message.items()), value.alias("value"))


def encode(row: Column, message_format: str) -> Column:
    if message_format == "avro":
        from pyspark.sql.avro.functions import to_avro

        return to_avro(row)
    return {"json": F.to_json, "csv": F.to_csv}[message_format](row)


def start_sink(writer: DataStreamWriter, kind: str, settings) -> StreamingQuery:
    if kind == "console":
        writer = writer.format("console").option("numRows", settings["rows"])
        return writer.option("truncate", str(settings["truncate"]).lower()).start()
    if kind == "table":
        settings = {"name": settings} if isinstance(settings, str) else settings
        writer = writer.format(settings["format"]) if "format" in settings else writer
        writer = writer.partitionBy(*settings["partitionBy"]) if settings.get("partitionBy") else writer
        return writer.options(**settings.get("options", {})).toTable(settings["name"])
    if kind == "files":
        writer = writer.partitionBy(*settings["partitionBy"]) if settings.get("partitionBy") else writer
        return writer.format(settings["format"]).options(**settings.get("options", {})).start(settings["path"])
    writer = writer.format("kafka").option("kafka.bootstrap.servers", settings["servers"])
    writer = writer.option("topic", settings["topic"])
    return writer.options(**settings.get("options", {})).start()


if __name__ == "__main__":
    main(sys.argv[1])
