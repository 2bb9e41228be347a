"""Runs a declarative stream. Its one argument is a file that says what to do:

    stream      the manifest's `stream`: sources, query, watermark, deduplicate, sink, outputMode
    checkpoint  where its progress and its state are kept
    trigger     the manifest's `trigger`; null to take what there is, and end
    name        the name that the query has in metrics
"""

import json
import signal
import sys
import threading

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming import DataStreamWriter, StreamingQuery


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        task = json.load(file)
    spark = SparkSession.builder.getOrCreate()
    query = start(spark, task)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    while not query.awaitTermination(1):
        if stop.is_set():
            drain(query)
            break
    spark.stop()


def drain(query: StreamingQuery) -> None:
    """Lets the running batch end: what has begun is committed, and nothing has to be done again."""
    while query.isActive and query.status["isTriggerActive"]:
        if query.awaitTermination(0.1):
            return
    query.stop()


def start(spark: SparkSession, task: dict) -> StreamingQuery:
    stream = task["stream"]
    for name, source in stream["sources"].items():
        read(spark, source, marks(stream, name), repeats(stream, name)).createOrReplaceTempView(name)
    rows = shaped(spark.sql(stream["query"]), stream["sink"])
    writer = rows.writeStream.queryName(task["name"]).outputMode(stream["outputMode"])
    writer = triggered(writer.option("checkpointLocation", task["checkpoint"]), task["trigger"])
    return write(writer, stream["sink"])


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


def write(writer: DataStreamWriter, sink: dict) -> StreamingQuery:
    kind, it = only(sink)
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
