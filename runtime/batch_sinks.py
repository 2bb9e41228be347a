"""Sinks that are written batch by batch, with Spark's `foreachBatch`: tables of a database, and tables that are merged.

Spark calls a sink again with the same batch if the driver died between the batch's write and its entry in the checkpoint.
Each function here returns what writes a batch, and says what a second call with the same batch does.
"""

import re
import uuid

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

# The table that holds the last batch of each stream, beside the table that the stream writes.
LEDGER = "dcp_batches"
# The column of a staging table that numbers the rows of a batch.
ROW = "dcp_row"
# The view of a batch that is merged.
BATCH = "dcp_batch"

# The drivers of some databases: the JVM finds none by itself among the jars of an application.
DRIVERS = {
    "postgresql": "org.postgresql.Driver",
    "mysql": "com.mysql.cj.jdbc.Driver",
    "mariadb": "org.mariadb.jdbc.Driver",
    "sqlserver": "com.microsoft.sqlserver.jdbc.SQLServerDriver",
    "oracle": "oracle.jdbc.OracleDriver",
}


class SinkError(Exception):
    """A sink can't be written as it is declared."""


def writer(spark: SparkSession, kind: str, it: dict, rows: DataFrame, name: str):
    """Returns the function for `foreachBatch`. Fails if the table lacks columns that the query gives."""
    if ROW in map(str.lower, rows.columns):
        raise SinkError(f"the column `{ROW}` has the name of one of dcp's own: give it another name by `AS`")
    return {"jdbc": jdbc, "merge": merge}[kind](spark, it, rows, name)


def table_parts(table: str) -> list:
    """The parts of a table's name, which the manifest separates by dots and may put into backticks."""
    return [quoted or plain for quoted, plain in re.findall(r"`([^`]*)`|([^`.]+)", table)]


def matched(columns: list, there: list, table: str) -> dict:
    """The table's own name for each column of the query: the same, or the only one that differs by case."""
    found = {}
    for column in columns:
        same = [it for it in there if it == column] or [it for it in there if it.lower() == column.lower()]
        if len(same) != 1:
            raise SinkError(
                f"the table {table} has no column `{column}`: it has {', '.join(there)}; "
                "add the column to the table, or leave it out of the query"
            )
        found[column] = same[0]
    return found


def jdbc(spark: SparkSession, it: dict, rows: DataFrame, name: str):
    jvm = spark._jvm
    dialect = jvm.org.apache.spark.sql.jdbc.JdbcDialects.get(it["url"])
    parts = table_parts(it["table"])
    known = DRIVERS.get(it["url"].split(":")[1])
    options = {**({"driver": known} if known else {}), **it.get("options", {}), "url": it["url"]}
    options |= {key: it[key] for key in ("user", "password") if key in it}
    table = ".".join(dialect.quoteIdentifier(part) for part in parts)
    reader = spark.read.format("jdbc").options(**options, dbtable=table)
    columns = matched(rows.columns, reader.load().columns, it["table"])
    # Spark puts the names of columns between quotes, and does not escape quotes in them.
    odd = [column for column in columns if re.search(r"[\"`\[\]]", column)]
    if odd:
        raise SinkError(f"the column `{odd[0]}` has a quote in its name: give it another name by `AS`")
    if it["mode"] == "append":
        return lambda batch, _: append(batch, options, table)
    return Staged(spark, it, options, parts, columns, name).write


def append(batch: DataFrame, options: dict, table: str) -> None:
    """Adds the rows. A second call with the same batch adds them again."""
    batch.write.format("jdbc").options(**options, dbtable=table).mode("append").save()


class Staged:
    """Writes each batch to PostgreSQL once, whatever dies when.

    Executors write the batch to a staging table of this run. One transaction then moves the rows to the table and notes the
    batch in LEDGER. It changes nothing if a batch with this number or a later one was noted before, so a second call with
    the same batch has no effect, nor has a driver that was replaced and still runs.
    """

    def __init__(self, spark: SparkSession, it: dict, options: dict, parts: list, columns: dict, name: str):
        self.spark, self.it, self.options, self.parts, self.name = spark, it, options, parts, name
        self.columns = columns
        self.keys = [self.column(key) for key in it.get("keys", [])]
        self.order = self.column(it["orderBy"]) if "orderBy" in it else None
        self.stage = None

    def column(self, name: str) -> str:
        """The table's own name for a column that the manifest names."""
        found = [own for column, own in self.columns.items() if column.lower() == name.lower()]
        if not found:
            raise missing(name, list(self.columns))
        return found[0]

    def write(self, batch: DataFrame, number: int) -> None:
        [stream] = [query.id for query in self.spark.streams.active if query.name == self.name]
        with Connection(self.spark, self.options) as database:
            schema = self.parts[0] if len(self.parts) > 1 else database.value("SELECT current_schema()")
            if self.stage is None:
                prepare(database, schema, stream)
                self.stage = f"{staging(stream)}{uuid.uuid4().hex[:8]}"
            stage = f"{quote(schema)}.{quote(self.stage)}"
            ledger = f"{quote(schema)}.{quote(LEDGER)}"
            last = database.value(f"SELECT batch::text FROM {ledger} WHERE stream = ?", stream)
            if last is not None and int(last) >= number:
                return
            database.run(f"DROP TABLE IF EXISTS {stage}")
            names = ", ".join(quote(own) for own in self.columns.values())
            database.run(
                f"CREATE UNLOGGED TABLE {stage} AS SELECT 0::bigint AS {ROW}, {names} FROM {self.table} WITH NO DATA"
            )
            # A task that is tried again after it wrote its rows fails here, and so does the batch: it is written anew.
            database.run(f"ALTER TABLE {stage} ADD PRIMARY KEY ({ROW})")
            numbered = batch.toDF(*self.columns.values()).withColumn(ROW, F.monotonically_increasing_id())
            numbered.write.format("jdbc").options(**self.options, dbtable=stage).mode("append").save()
            if self.keys and self.order is None:
                self.refuse_repeated(database, stage)
            with database.transaction():
                noted = database.run(
                    f"INSERT INTO {ledger} AS l (stream, batch) VALUES (?, ?::bigint) ON CONFLICT (stream) "
                    "DO UPDATE SET batch = excluded.batch, written = now() WHERE l.batch < excluded.batch",
                    stream,
                    str(number),
                )
                if noted:
                    database.run(self.move(stage, names))
            database.run(f"DROP TABLE {stage}")

    @property
    def table(self) -> str:
        return ".".join(map(quote, self.parts))

    def refuse_repeated(self, database: "Connection", stage: str) -> None:
        keys = ", ".join(map(quote, self.keys))
        if database.value(f"SELECT 1::text FROM {stage} GROUP BY {keys} HAVING count(*) > 1 LIMIT 1"):
            raise repeated(self.it)

    def move(self, stage: str, names: str) -> str:
        """The statement that moves the rows from the staging table to the table."""
        if not self.keys:
            return f"INSERT INTO {self.table} ({names}) SELECT {names} FROM {stage}"
        keys = ", ".join(map(quote, self.keys))
        rows = f"SELECT {names} FROM {stage}"
        if self.order is not None:
            rows = f"SELECT DISTINCT ON ({keys}) {names} FROM {stage} ORDER BY {keys}, {quote(self.order)} DESC NULLS LAST"
        others = [own for own in self.columns.values() if own not in self.keys]
        changes = ", ".join(f"{quote(own)} = excluded.{quote(own)}" for own in others)
        action = f"DO UPDATE SET {changes}" if changes else "DO NOTHING"
        return f"INSERT INTO {self.table} ({names}) {rows} ON CONFLICT ({keys}) {action}"


def merge(spark: SparkSession, it: dict, rows: DataFrame, _: str):
    """Merges each batch into a table. A second call with the same batch finds its rows, and writes the same again."""
    deletes = it.get("delete")
    given = [column for column in rows.columns if deletes is None or column.lower() != deletes.lower()]
    table = ".".join(map(quote_spark, table_parts(it["table"])))
    columns = matched(given, spark.table(table).columns, it["table"])
    own = {column.lower(): column for column in rows.columns}
    for name in [*it["keys"], *filter(None, (it.get("orderBy"), deletes))]:
        if name.lower() not in own:
            raise missing(name, rows.columns)
    statement = merge_statement(table, columns, it["keys"], own[deletes.lower()] if deletes else None)

    def write(batch: DataFrame, _: int) -> None:
        batch.persist()
        try:
            newest(batch, it).createOrReplaceTempView(BATCH)
            session = batch.sparkSession
            # Iceberg caches tables for each session, and others may have written this one.
            session.sql(f"REFRESH TABLE {table}")
            session.sql(statement)
        finally:
            batch.unpersist()

    return write


def merge_statement(table: str, columns: dict, keys: list, deletes) -> str:
    keys = [key.lower() for key in keys]
    named = {quote_spark(column): quote_spark(own) for column, own in columns.items()}
    condition = " AND ".join(
        f"t.{quote_spark(own)} <=> s.{quote_spark(column)}" for column, own in columns.items() if column.lower() in keys
    )
    changes = ", ".join(
        f"t.{quote_spark(own)} = s.{quote_spark(column)}" for column, own in columns.items() if column.lower() not in keys
    )
    stays = f" AND NOT coalesce(s.{quote_spark(deletes)}, false)" if deletes else ""
    clauses = [f"MERGE INTO {table} AS t USING {BATCH} AS s ON {condition}"]
    if deletes:
        clauses.append(f"WHEN MATCHED AND s.{quote_spark(deletes)} THEN DELETE")
    if changes:
        clauses.append(f"WHEN MATCHED THEN UPDATE SET {changes}")
    values = ", ".join(f"s.{column}" for column in named)
    clauses.append(f"WHEN NOT MATCHED{stays} THEN INSERT ({', '.join(named.values())}) VALUES ({values})")
    return " ".join(clauses)


def newest(batch: DataFrame, it: dict) -> DataFrame:
    """One row for each of the keys. Fails if it is not known which of several counts."""
    keys = [F.col(quote_spark(key)) for key in it["keys"]]
    if "orderBy" not in it:
        if batch.groupBy(*keys).count().where("count > 1").limit(1).count():
            raise repeated(it)
        return batch
    order = Window.partitionBy(*keys).orderBy(F.col(quote_spark(it["orderBy"])).desc_nulls_last())
    return batch.withColumn(ROW, F.row_number().over(order)).where(F.col(ROW) == 1).drop(ROW)


def quote_spark(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def repeated(it: dict) -> SinkError:
    keys = ", ".join(it["keys"])
    return SinkError(
        f"a batch has several rows with the same keys ({keys}), and which of them counts is not known: "
        "add `orderBy` to the sink, a column whose greatest value is the newest row"
    )


def missing(name: str, columns: list) -> SinkError:
    return SinkError(f"the query gives no column `{name}`: it gives {', '.join(columns)}")


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def staging(stream: str) -> str:
    """What the names of all staging tables of a stream begin with."""
    return f"dcp_stage_{stream.replace('-', '')}_"


def prepare(database: "Connection", schema: str, stream: str) -> None:
    """Makes the ledger, and removes the staging tables that earlier runs of the stream left."""
    ledger = f"{quote(schema)}.{quote(LEDGER)}"
    if database.value("SELECT to_regclass(?)::text", ledger) is None:
        try:
            database.run(
                f"CREATE TABLE {ledger} (stream text PRIMARY KEY, batch bigint NOT NULL, "
                "written timestamptz NOT NULL DEFAULT now())"
            )
        except Py4JJavaError:
            # Another stream may have made it meanwhile.
            if database.value("SELECT to_regclass(?)::text", ledger) is None:
                raise
    left = database.values(
        "SELECT tablename FROM pg_tables WHERE schemaname = ? AND starts_with(tablename, ?)", schema, staging(stream)
    )
    for table in left:
        database.run(f"DROP TABLE IF EXISTS {quote(schema)}.{quote(table)}")


class Connection:
    """A connection of the driver's JVM to a database. Each statement is a transaction, but within `transaction`."""

    def __init__(self, spark: SparkSession, options: dict):
        self.jvm = spark._jvm
        settings = self.jvm.java.util.HashMap()
        for key, value in {**options, "dbtable": LEDGER}.items():
            settings.put(key, str(value))
        settings = self.jvm.org.apache.spark.api.python.PythonUtils.toScalaMap(settings)
        jdbc = self.jvm.org.apache.spark.sql.execution.datasources.jdbc.JDBCOptions(settings)
        dialect = self.jvm.org.apache.spark.sql.jdbc.JdbcDialects.get(options["url"])
        self.connection = dialect.createConnectionFactory(jdbc).apply(-1)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_) -> None:
        self.connection.close()

    def transaction(self) -> "Transaction":
        return Transaction(self.connection)

    def prepared(self, statement: str, values: tuple):
        prepared = self.connection.prepareStatement(statement)
        for at, value in enumerate(values, start=1):
            prepared.setString(at, value)
        return prepared

    def run(self, statement: str, *values: str) -> int:
        """Runs a statement, and returns how many rows it changed."""
        prepared = self.prepared(statement, values)
        try:
            return prepared.executeUpdate()
        finally:
            prepared.close()

    def values(self, query: str, *values: str) -> list:
        """The first column of a query's rows, as text."""
        prepared = self.prepared(query, values)
        try:
            rows = prepared.executeQuery()
            found = []
            while rows.next():
                found.append(rows.getString(1))
            return found
        finally:
            prepared.close()

    def value(self, query: str, *values: str):
        return next(iter(self.values(query, *values)), None)


class Transaction:
    """Commits at its end, and changes nothing if an error leaves it."""

    def __init__(self, connection):
        self.connection = connection

    def __enter__(self) -> None:
        self.connection.setAutoCommit(False)

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self.connection.commit()
        else:
            self.connection.rollback()
        self.connection.setAutoCommit(True)
