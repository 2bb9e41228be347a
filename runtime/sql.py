"""Runs the SQL of a job. The argument is the path of a JSON file with these keys:

    statements  list of SQL statements, in their order
    parameters  {name: {type, value}}, which Spark binds as named parameters
    results     folder for the rows of the last statement as Avro files, or null
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

PARSERS = {
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
    values = {name: PARSERS[it["type"]](it["value"]) for name, it in task["parameters"].items()}
    spark = SparkSession.builder.getOrCreate()
    rows = None
    for statement in task["statements"]:
        rows = spark.sql(statement, args=values) if values else spark.sql(statement)
    if task["results"] is not None:
        # A command has no columns. A file without columns looks like a result without rows.
        if rows is None or not rows.columns:
            raise ValueError(
                "the last statement gives no rows, but `returnResult` is set: "
                "end with a `SELECT`, or remove `returnResult`"
            )
        write_results(rows, task["results"])
    spark.stop()


# The Runner reads blocks of 64 MiB, and some characters take more space in JSON.
MAX_ROW_BYTES = 32 << 20


def write_results(rows: DataFrame, location: str) -> None:
    """Writes rows as Avro files.

    Names in Avro are ASCII words: a column with another name has it in the property `dcp.name`. A type that Avro lacks is
    converted, and named in the property `dcp.type`.
    """
    schema, schemas = rows.schema, []
    for field in schema.fields:
        schemas.append(avro_schema(field.dataType, f"column `{field.name}`"))
    outer = avro_record(schema, schemas, "topLevelRecord")
    names = [field["name"] for field in outer["fields"]]
    # Columns are renamed by position, because names may repeat.
    renamed = rows.toDF(*names)
    columns = [output_column(F.col(name), it.dataType).alias(name) for name, it in zip(names, schema.fields)]
    written = reject_large_rows(renamed.select(*columns))
    writer = written.write.mode("overwrite").format("avro")
    writer.option("avroSchema", json.dumps(outer)).save(location)


def reject_large_rows(rows: DataFrame) -> DataFrame:
    """Returns the rows with a check that fails the job if a row is too large."""
    fields = [it for it in rows.schema.fields if has_variable_size(it.dataType)]
    if not fields:
        return rows
    size = sum((estimated_size(F.col(it.name), it.dataType) for it in fields), F.lit(0))
    message = F.concat(
        F.lit("a row of the result has "), size.cast("string"),
        F.lit(f" bytes, and the limit is {MAX_ROW_BYTES}: select less of it, or write the rows to a table"),
    )
    checked = fields[0].name
    return rows.withColumn(checked, F.when(size > MAX_ROW_BYTES, F.raise_error(message)).otherwise(F.col(checked)))


def has_variable_size(data_type: T.DataType) -> bool:
    """Returns True if the size of a value depends on the value."""
    if isinstance(data_type, T.StructType):
        return any(has_variable_size(field.dataType) for field in data_type.fields)
    return isinstance(data_type, (T.ArrayType, T.MapType, T.StringType, T.BinaryType, T.CharType, T.VarcharType))


def estimated_size(column: Column, data_type: T.DataType) -> Column:
    """Returns an upper bound of the bytes of a value."""
    if isinstance(data_type, T.ArrayType):
        size = estimated_total_size(column, data_type.elementType)
    elif isinstance(data_type, T.MapType):
        size = estimated_total_size(F.map_keys(column), data_type.keyType)
        size += estimated_total_size(F.map_values(column), data_type.valueType)
    elif isinstance(data_type, T.StructType):
        sizes = (estimated_size(column.getField(field.name), field.dataType) for field in data_type.fields)
        size = sum(sizes, F.lit(2))
    elif has_variable_size(data_type):
        size = F.octet_length(column).cast("long") + 8
    else:
        # The largest such value is a decimal of 38 digits.
        return F.lit(24)
    return F.coalesce(size, F.lit(1))


def estimated_total_size(column: Column, data_type: T.DataType) -> Column:
    if not has_variable_size(data_type):
        return F.size(column).cast("long") * estimated_size(column, data_type) + 8
    return F.aggregate(column, F.lit(8).cast("long"), lambda total, item: total + estimated_size(item, data_type))


# Types of Spark that Avro has.
AVRO_TYPES = {
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
    # Spark restores the type from this property.
    "YearMonthIntervalType": {"type": "int", "spark.sql.catalyst.type": "interval year to month"},
    "DayTimeIntervalType": {"type": "long", "spark.sql.catalyst.type": "interval day to second"},
}
# Types of Spark that are written as text, with their `dcp.type`.
TEXT_TYPES = {"VariantType": "json", "EmptyType": "json", "TimeType": "time", "CalendarIntervalType": "interval"}
# Numbers for unique names of nested records.
RECORD_NUMBERS = itertools.count(1)


def type_name(data_type: T.DataType) -> str:
    """Returns the name of a type: some PySpark versions lack some classes. A struct without fields is an `EmptyType`."""
    return "EmptyType" if isinstance(data_type, T.StructType) and not data_type.fields else type(data_type).__name__


def has_text_keys(data_type: T.MapType) -> bool:
    return AVRO_TYPES.get(type_name(data_type.keyType)) == "string"


def entries_type(data_type: T.MapType) -> T.DataType:
    """Returns the type of the list of entries that replaces a map without text keys."""
    key = T.StructField("key", data_type.keyType, False)
    value = T.StructField("value", data_type.valueType, data_type.valueContainsNull)
    return T.ArrayType(T.StructType([key, value]), False)


def avro_schema(data_type: T.DataType, where: str):
    """Returns the nullable Avro schema of a type."""
    if type_name(data_type) == "NullType":
        return "null"
    return ["null", avro_type(data_type, where)]


def avro_type(data_type: T.DataType, where: str):
    if type_name(data_type) in AVRO_TYPES:
        return AVRO_TYPES[type_name(data_type)]
    if type_name(data_type) in TEXT_TYPES:
        return {"type": "string", "dcp.type": TEXT_TYPES[type_name(data_type)]}
    if isinstance(data_type, T.DecimalType):
        return {"type": "bytes", "logicalType": "decimal", "precision": data_type.precision, "scale": data_type.scale}
    if isinstance(data_type, T.ArrayType):
        return {"type": "array", "items": avro_schema(data_type.elementType, where)}
    if isinstance(data_type, T.MapType) and has_text_keys(data_type):
        return {"type": "map", "values": avro_schema(data_type.valueType, where)}
    if isinstance(data_type, T.MapType):
        return {"type": "array", "items": avro_schema(entries_type(data_type).elementType, where), "dcp.type": "map"}
    if isinstance(data_type, T.StructType):
        schemas = [avro_schema(field.dataType, f"field `{field.name}` of {where}") for field in data_type.fields]
        return avro_record(data_type, schemas, f"record{next(RECORD_NUMBERS)}")
    raise ValueError(
        f"{where} has the type `{data_type.simpleString()}`, which results do not support: cast it, or remove it"
    )


def avro_record(data_type: T.StructType, schemas: list, record_name: str) -> dict:
    fields, words, names = [], set(), set()
    for field, schema in zip(data_type.fields, schemas):
        name = unique_name(field.name, names, str)
        word = re.sub(r"[^A-Za-z0-9_]", "_", name)
        word = unique_name(word if re.match(r"[A-Za-z_]", word) else f"_{word}", words, str.lower)
        fields.append({"name": word, "type": schema, **({} if word == name else {"dcp.name": name})})
    return {"type": "record", "name": record_name, "fields": fields}


def unique_name(name: str, others: set, key) -> str:
    """Returns the name, with a number appended if `others` has it, and adds it to `others`. Names compare by `key`."""
    number, found = 1, name
    while key(found) in others:
        number += 1
        found = f"{name}_{number}"
    others.add(key(found))
    return found


def avro_compatible(data_type: T.DataType) -> T.DataType:
    """Returns the type with Avro's field names and without collations.

    All parts are nullable, because Spark does not cast nullable values to types that are not.
    """
    if type_name(data_type) == "StringType":
        return T.StringType()
    if isinstance(data_type, T.ArrayType):
        return T.ArrayType(avro_compatible(data_type.elementType), True)
    if isinstance(data_type, T.MapType):
        return T.MapType(avro_compatible(data_type.keyType), avro_compatible(data_type.valueType), True)
    if isinstance(data_type, T.StructType):
        names = [field["name"] for field in avro_record(data_type, [None] * len(data_type.fields), "")["fields"]]
        types = [avro_compatible(field.dataType) for field in data_type.fields]
        return T.StructType([T.StructField(name, it) for name, it in zip(names, types)])
    return data_type


def output_column(column: Column, data_type: T.DataType) -> Column:
    """Returns a column with the type and values that Avro can represent."""
    target = avro_compatible(data_type)
    if target.simpleString() == data_type.simpleString():
        return convert(column, data_type)
    return convert(column.cast(target), target)


def needs_conversion(data_type: T.DataType) -> bool:
    if isinstance(data_type, T.ArrayType):
        return needs_conversion(data_type.elementType)
    if isinstance(data_type, T.MapType):
        return not has_text_keys(data_type) or needs_conversion(data_type.valueType)
    if isinstance(data_type, T.StructType) and data_type.fields:
        return any(needs_conversion(field.dataType) for field in data_type.fields)
    return type_name(data_type) in TEXT_TYPES


def convert(column: Column, data_type: T.DataType) -> Column:
    if not needs_conversion(data_type):
        return column
    if type_name(data_type) == "VariantType":
        return F.to_json(column)
    if type_name(data_type) == "EmptyType":
        return F.when(column.isNotNull(), F.lit("{}"))
    if type_name(data_type) in TEXT_TYPES:
        return column.cast("string")
    if isinstance(data_type, T.ArrayType):
        return F.transform(column, lambda item: convert(item, data_type.elementType))
    if isinstance(data_type, T.MapType) and has_text_keys(data_type):
        return F.transform_values(column, lambda _, value: convert(value, data_type.valueType))
    if isinstance(data_type, T.MapType):
        return convert(F.map_entries(column), entries_type(data_type))
    fields = [convert(column.getField(field.name), field.dataType).alias(field.name) for field in data_type.fields]
    return F.when(column.isNotNull(), F.struct(*fields))


if __name__ == "__main__":
    main(sys.argv[1])
