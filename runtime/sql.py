"""Runs the SQL of a job. Its one argument is a file that says what to do:

    statements  in their order
    parameters  {name: {type, value}}, which Spark binds; they are never pasted into the text
    results     where the rows of the last statement are written as Avro; null where nobody wants them
"""

import datetime
import decimal
import itertools
import json
import re
import sys

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

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
        save(rows, task["results"])
    spark.stop()


# Bytes of a row. The Runner reads blocks of 64 MiB, and some characters take more space in JSON.
LARGEST = 32 << 20


def save(rows: DataFrame, location: str) -> None:
    """Writes rows as Avro. Its names are ASCII words, so a column with another name has that in `dcp.name`; a type that
    Avro does not have is written as another one, and named in `dcp.type`.
    """
    schema, forms = rows.schema, []
    for field in schema.fields:
        forms.append(form(field.dataType, f"column `{field.name}`"))
    outer = record(schema, forms, "topLevelRecord")
    names = [field["name"] for field in outer["fields"]]
    # By position, as names may be there twice.
    plain = rows.toDF(*names)
    columns = [made(F.col(name), it.dataType).alias(name) for name, it in zip(names, schema.fields)]
    written = limited(plain.select(*columns))
    writer = written.write.mode("overwrite").format("avro")
    writer.option("avroSchema", json.dumps(outer)).save(location)


def limited(rows: DataFrame) -> DataFrame:
    """The rows, of which one that is too large ends the job with an error."""
    fields = [it for it in rows.schema.fields if varies(it.dataType)]
    if not fields:
        return rows
    size = sum((size_of(F.col(it.name), it.dataType) for it in fields), F.lit(0))
    message = F.concat(
        F.lit("a row of the result has "), size.cast("string"),
        F.lit(f" bytes, and the limit is {LARGEST}: select less of it, or write the rows to a table"),
    )
    checked = fields[0].name
    return rows.withColumn(checked, F.when(size > LARGEST, F.raise_error(message)).otherwise(F.col(checked)))


def varies(it: T.DataType) -> bool:
    """Whether values of a type have different sizes."""
    if isinstance(it, T.StructType):
        return any(varies(field.dataType) for field in it.fields)
    return isinstance(it, (T.ArrayType, T.MapType, T.StringType, T.BinaryType, T.CharType, T.VarcharType))


def size_of(column: Column, it: T.DataType) -> Column:
    """About as many bytes as a value takes, never less."""
    if isinstance(it, T.ArrayType):
        size = sizes_of(column, it.elementType)
    elif isinstance(it, T.MapType):
        size = sizes_of(F.map_keys(column), it.keyType) + sizes_of(F.map_values(column), it.valueType)
    elif isinstance(it, T.StructType):
        size = sum((size_of(column.getField(field.name), field.dataType) for field in it.fields), F.lit(2))
    elif varies(it):
        size = F.octet_length(column).cast("long") + 8
    else:
        # A decimal of 38 digits.
        return F.lit(24)
    return F.coalesce(size, F.lit(1))


def sizes_of(column: Column, it: T.DataType) -> Column:
    if not varies(it):
        return F.size(column).cast("long") * size_of(column, it) + 8
    return F.aggregate(column, F.lit(8).cast("long"), lambda total, item: total + size_of(item, it))


# Types that Avro has, as it writes them.
PLAIN = {
    "BooleanType": "boolean",
    "ByteType": "int",
    "ShortType": "int",
    "IntegerType": "int",
    "LongType": "long",
    "FloatType": "float",
    "DoubleType": "double",
    "StringType": "string",
    "CharType": "string",
    "VarcharType": "string",
    "BinaryType": "bytes",
    "DateType": {"type": "int", "logicalType": "date"},
    "TimestampType": {"type": "long", "logicalType": "timestamp-micros"},
    "TimestampNTZType": {"type": "long", "logicalType": "local-timestamp-micros"},
    # Spark reads them back by this property.
    "YearMonthIntervalType": {"type": "int", "spark.sql.catalyst.type": "interval year to month"},
    "DayTimeIntervalType": {"type": "long", "spark.sql.catalyst.type": "interval day to second"},
}
# Types that are written as text.
TEXT = {"VariantType": "json", "EmptyType": "json", "TimeType": "time", "CalendarIntervalType": "interval"}
# Each record has a name of its own.
RECORDS = itertools.count(1)


def kind(it: T.DataType) -> str:
    """The name of a type. Some are not known to every version of PySpark; Avro has no record without fields."""
    return "EmptyType" if isinstance(it, T.StructType) and not it.fields else type(it).__name__


def is_text_keyed(it: T.MapType) -> bool:
    return PLAIN.get(kind(it.keyType)) == "string"


def entries(it: T.MapType) -> T.DataType:
    """A map whose keys are no text, as a list of its entries."""
    pair = [T.StructField("key", it.keyType, False), T.StructField("value", it.valueType, it.valueContainsNull)]
    return T.ArrayType(T.StructType(pair), False)


def form(it: T.DataType, where: str):
    """A type in a schema of Avro."""
    if kind(it) == "NullType":
        return "null"
    return ["null", whole(it, where)]


def whole(it: T.DataType, where: str):
    if kind(it) in PLAIN:
        return PLAIN[kind(it)]
    if kind(it) in TEXT:
        return {"type": "string", "dcp.type": TEXT[kind(it)]}
    if isinstance(it, T.DecimalType):
        return {"type": "bytes", "logicalType": "decimal", "precision": it.precision, "scale": it.scale}
    if isinstance(it, T.ArrayType):
        return {"type": "array", "items": form(it.elementType, where)}
    if isinstance(it, T.MapType) and is_text_keyed(it):
        return {"type": "map", "values": form(it.valueType, where)}
    if isinstance(it, T.MapType):
        return {"type": "array", "items": form(entries(it).elementType, where), "dcp.type": "map"}
    if isinstance(it, T.StructType):
        forms = [form(field.dataType, f"field `{field.name}` of {where}") for field in it.fields]
        return record(it, forms, f"record{next(RECORDS)}")
    raise ValueError(f"{where} has the type `{it.simpleString()}`, which no result can have: cast it, or leave it out")


def record(it: T.StructType, forms: list, name: str) -> dict:
    fields, words, shown = [], set(), set()
    for field, its in zip(it.fields, forms):
        own = unlike(field.name, shown, str)
        word = re.sub(r"[^A-Za-z0-9_]", "_", own)
        word = unlike(word if re.match(r"[A-Za-z_]", word) else f"_{word}", words, str.lower)
        fields.append({"name": word, "type": its, **({} if word == own else {"dcp.name": own})})
    return {"type": "record", "name": name, "fields": fields}


def unlike(name: str, others: set, by) -> str:
    """A name that none of the others is."""
    number, found = 1, name
    while by(found) in others:
        number += 1
        found = f"{name}_{number}"
    others.add(by(found))
    return found


def safe(it: T.DataType) -> T.DataType:
    """The type with names of fields that are words of Avro's, and text without a collation. It has nulls everywhere, as
    Spark casts some types to no other.
    """
    if kind(it) == "StringType":
        return T.StringType()
    if isinstance(it, T.ArrayType):
        return T.ArrayType(safe(it.elementType), True)
    if isinstance(it, T.MapType):
        return T.MapType(safe(it.keyType), safe(it.valueType), True)
    if isinstance(it, T.StructType):
        names = [field["name"] for field in record(it, [None] * len(it.fields), "")["fields"]]
        return T.StructType([T.StructField(name, safe(its.dataType)) for name, its in zip(names, it.fields)])
    return it


def made(column: Column, it: T.DataType) -> Column:
    """A column as it is written."""
    named = safe(it)
    if named.simpleString() == it.simpleString():
        return converted(column, it)
    return converted(column.cast(named), named)


def is_converted(it: T.DataType) -> bool:
    if isinstance(it, T.ArrayType):
        return is_converted(it.elementType)
    if isinstance(it, T.MapType):
        return not is_text_keyed(it) or is_converted(it.valueType)
    if isinstance(it, T.StructType) and it.fields:
        return any(is_converted(field.dataType) for field in it.fields)
    return kind(it) in TEXT


def converted(column: Column, it: T.DataType) -> Column:
    if not is_converted(it):
        return column
    if kind(it) == "VariantType":
        return F.to_json(column)
    if kind(it) == "EmptyType":
        return F.when(column.isNotNull(), F.lit("{}"))
    if kind(it) in TEXT:
        return column.cast("string")
    if isinstance(it, T.ArrayType):
        return F.transform(column, lambda item: converted(item, it.elementType))
    if isinstance(it, T.MapType) and is_text_keyed(it):
        return F.transform_values(column, lambda _, value: converted(value, it.valueType))
    if isinstance(it, T.MapType):
        return converted(F.map_entries(column), entries(it))
    fields = [converted(column.getField(field.name), field.dataType).alias(field.name) for field in it.fields]
    return F.when(column.isNotNull(), F.struct(*fields))


if __name__ == "__main__":
    main(sys.argv[1])
