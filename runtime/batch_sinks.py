"""Sinks that Spark's `foreachBatch` writes batch by batch: database tables, and tables with `MERGE`.

Spark passes a batch to its sink a second time if the driver dies between the write and the commit of the checkpoint. The
docstring of each writer describes the effect of the second call.
"""

import re
import uuid

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

# Table with the number of the last batch of each stream, in the schema of the table that the stream writes.
LEDGER = "dcp_batches"
# Column of a staging table that numbers the rows of a batch.
ROW_COLUMN = "dcp_row"
# View of the batch in a `MERGE` statement.
BATCH_VIEW = "dcp_batch"

# JDBC drivers by database. The JVM does not find a driver in the jars of an application by itself.
DRIVERS = {
    "postgresql": "org.postgresql.Driver",
    "mysql": "com.mysql.cj.jdbc.Driver",
    "mariadb": "org.mariadb.jdbc.Driver",
    "sqlserver": "com.microsoft.sqlserver.jdbc.SQLServerDriver",
    "oracle": "oracle.jdbc.OracleDriver",
}


class SinkError(Exception):
    """The sink does not fit the query or the table."""


def writer(spark: SparkSession, kind: str, sink: dict, rows: DataFrame, name: str):
    """Returns the function for `foreachBatch`. Fails if the table lacks a column of the query."""
    if ROW_COLUMN in map(str.lower, rows.columns):
        raise SinkError(f"the column `{ROW_COLUMN}` has a name that dcp uses itself: rename the column with `AS`")
    return {"jdbc": jdbc_writer, "merge": merge_writer}[kind](spark, sink, rows, name)


def table_parts(table: str) -> list:
    """Splits the name of a table at its dots, and removes backticks."""
    return [quoted or plain for quoted, plain in re.findall(r"`([^`]*)`|([^`.]+)", table)]


def match_columns(columns: list, table_columns: list, table: str) -> dict:
    """Maps each column of the query to the column of the table: the same name, or the only one that differs by case."""
    found = {}
    for column in columns:
        matches = [it for it in table_columns if it == column]
        matches = matches or [it for it in table_columns if it.lower() == column.lower()]
        if len(matches) != 1:
            raise SinkError(
                f"the table {table} has no column `{column}`: it has {', '.join(table_columns)}; "
                "add the column to the table, or remove it from the query"
            )
        found[column] = matches[0]
    return found


def jdbc_writer(spark: SparkSession, sink: dict, rows: DataFrame, name: str):
    jvm = spark._jvm
    dialect = jvm.org.apache.spark.sql.jdbc.JdbcDialects.get(sink["url"])
    parts = table_parts(sink["table"])
    driver = DRIVERS.get(sink["url"].split(":")[1])
    options = {**({"driver": driver} if driver else {}), **sink.get("options", {}), "url": sink["url"]}
    options |= {key: sink[key] for key in ("user", "password") if key in sink}
    table = ".".join(dialect.quoteIdentifier(part) for part in parts)
    reader = spark.read.format("jdbc").options(**options, dbtable=table)
    columns = match_columns(rows.columns, reader.load().columns, sink["table"])
    # Spark quotes column names without escaping quotes in them.
    unquotable = [column for column in columns if re.search(r"[\"`\[\]]", column)]
    if unquotable:
        raise SinkError(f"the name of the column `{unquotable[0]}` has a quote: rename the column with `AS`")
    if sink["mode"] == "append":
        return lambda batch, _: append_rows(batch, options, table)
    return StagedWriter(spark, sink, options, parts, columns, name).write


def append_rows(batch: DataFrame, options: dict, table: str) -> None:
    """Adds the rows. A second call with the same batch adds them again."""
    batch.write.format("jdbc").options(**options, dbtable=table).mode("append").save()


class StagedWriter:
    """Writes each batch to PostgreSQL exactly once, despite crashes.

    Executors write the batch to a staging table of this run. One transaction then moves the rows to the table and stores
    the number of the batch in LEDGER. The transaction changes nothing if LEDGER has this number or a greater one. A second
    call with the same batch therefore has no effect, and neither has a replaced driver that still runs.
    """

    def __init__(self, spark: SparkSession, sink: dict, options: dict, parts: list, columns: dict, name: str):
        self.spark, self.sink, self.options, self.parts, self.name = spark, sink, options, parts, name
        self.columns = columns
        self.keys = [self.column(key) for key in sink.get("keys", [])]
        self.order = self.column(sink["orderBy"]) if "orderBy" in sink else None
        self.stage = None

    def column(self, name: str) -> str:
        """Returns the table's spelling of a column that the manifest names."""
        found = [own for column, own in self.columns.items() if column.lower() == name.lower()]
        if not found:
            raise missing_column_error(name, list(self.columns))
        return found[0]

    def write(self, batch: DataFrame, number: int) -> None:
        [stream] = [query.id for query in self.spark.streams.active if query.name == self.name]
        with Connection(self.spark, self.options) as database:
            schema = self.parts[0] if len(self.parts) > 1 else database.value("SELECT current_schema()")
            if self.stage is None:
                prepare_schema(database, schema, stream)
                self.stage = f"{staging_prefix(stream)}{uuid.uuid4().hex[:8]}"
            stage = f"{quote_postgres(schema)}.{quote_postgres(self.stage)}"
            ledger = f"{quote_postgres(schema)}.{quote_postgres(LEDGER)}"
            last = database.value(f"SELECT batch::text FROM {ledger} WHERE stream = ?", stream)
            if last is not None and int(last) >= number:
                return
            database.run(f"DROP TABLE IF EXISTS {stage}")
            names = ", ".join(quote_postgres(own) for own in self.columns.values())
            database.run(
                f"CREATE UNLOGGED TABLE {stage} AS SELECT 0::bigint AS {ROW_COLUMN}, {names} FROM {self.quoted_table} WITH NO DATA"
            )
            # The key fails a task that Spark retries after it wrote its rows. The batch fails too, and is written again.
            database.run(f"ALTER TABLE {stage} ADD PRIMARY KEY ({ROW_COLUMN})")
            numbered = batch.toDF(*self.columns.values()).withColumn(ROW_COLUMN, F.monotonically_increasing_id())
            numbered.write.format("jdbc").options(**self.options, dbtable=stage).mode("append").save()
            if self.keys and self.order is None:
                self.reject_duplicate_keys(database, stage)
            with database.transaction():
                is_first_write = database.run(
                    f"INSERT INTO {ledger} AS l (stream, batch) VALUES (?, ?::bigint) ON CONFLICT (stream) "
                    "DO UPDATE SET batch = excluded.batch, written = now() WHERE l.batch < excluded.batch",
                    stream,
                    str(number),
                )
                if is_first_write:
                    database.run(self.move_statement(stage, names))
            database.run(f"DROP TABLE {stage}")

    @property
    def quoted_table(self) -> str:
        return ".".join(map(quote_postgres, self.parts))

    def reject_duplicate_keys(self, database: "Connection", stage: str) -> None:
        keys = ", ".join(map(quote_postgres, self.keys))
        if database.value(f"SELECT 1::text FROM {stage} GROUP BY {keys} HAVING count(*) > 1 LIMIT 1"):
            raise duplicate_keys_error(self.sink)

    def move_statement(self, stage: str, names: str) -> str:
        """Returns the statement that moves the rows from the staging table to the table."""
        if not self.keys:
            return f"INSERT INTO {self.quoted_table} ({names}) SELECT {names} FROM {stage}"
        keys = ", ".join(map(quote_postgres, self.keys))
        rows = f"SELECT {names} FROM {stage}"
        if self.order is not None:
            order = f"{quote_postgres(self.order)} DESC NULLS LAST"
            rows = f"SELECT DISTINCT ON ({keys}) {names} FROM {stage} ORDER BY {keys}, {order}"
        others = [own for own in self.columns.values() if own not in self.keys]
        changes = ", ".join(f"{quote_postgres(own)} = excluded.{quote_postgres(own)}" for own in others)
        action = f"DO UPDATE SET {changes}" if changes else "DO NOTHING"
        return f"INSERT INTO {self.quoted_table} ({names}) {rows} ON CONFLICT ({keys}) {action}"


def merge_writer(spark: SparkSession, sink: dict, rows: DataFrame, _: str):
    """Merges each batch into a table. A second call with the same batch writes the same rows again."""
    deletes = sink.get("delete")
    given = [column for column in rows.columns if deletes is None or column.lower() != deletes.lower()]
    table = ".".join(map(quote_spark, table_parts(sink["table"])))
    columns = match_columns(given, spark.table(table).columns, sink["table"])
    own = {column.lower(): column for column in rows.columns}
    for name in [*sink["keys"], *filter(None, (sink.get("orderBy"), deletes))]:
        if name.lower() not in own:
            raise missing_column_error(name, rows.columns)
    statement = merge_statement(table, columns, sink["keys"], own[deletes.lower()] if deletes else None)

    def write(batch: DataFrame, _: int) -> None:
        batch.persist()
        try:
            newest_rows(batch, sink).createOrReplaceTempView(BATCH_VIEW)
            session = batch.sparkSession
            # Iceberg caches tables per session, and other writers may have changed this one.
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
    clauses = [f"MERGE INTO {table} AS t USING {BATCH_VIEW} AS s ON {condition}"]
    if deletes:
        clauses.append(f"WHEN MATCHED AND s.{quote_spark(deletes)} THEN DELETE")
    if changes:
        clauses.append(f"WHEN MATCHED THEN UPDATE SET {changes}")
    values = ", ".join(f"s.{column}" for column in named)
    clauses.append(f"WHEN NOT MATCHED{stays} THEN INSERT ({', '.join(named.values())}) VALUES ({values})")
    return " ".join(clauses)


def newest_rows(batch: DataFrame, sink: dict) -> DataFrame:
    """Returns the newest row of each key. Without `orderBy`, fails if a key has several rows."""
    keys = [F.col(quote_spark(key)) for key in sink["keys"]]
    if "orderBy" not in sink:
        if batch.groupBy(*keys).count().where("count > 1").limit(1).count():
            raise duplicate_keys_error(sink)
        return batch
    order = Window.partitionBy(*keys).orderBy(F.col(quote_spark(sink["orderBy"])).desc_nulls_last())
    return batch.withColumn(ROW_COLUMN, F.row_number().over(order)).where(F.col(ROW_COLUMN) == 1).drop(ROW_COLUMN)


def quote_spark(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def duplicate_keys_error(sink: dict) -> SinkError:
    keys = ", ".join(sink["keys"])
    return SinkError(
        f"a batch has several rows with the same keys ({keys}), and no order of them is declared: "
        "add `orderBy` to the sink, a column with the greatest value in the newest row"
    )


def missing_column_error(name: str, columns: list) -> SinkError:
    return SinkError(f"the query has no column `{name}`: it has {', '.join(columns)}")


def quote_postgres(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def staging_prefix(stream: str) -> str:
    """Returns the prefix of the names of a stream's staging tables."""
    return f"dcp_stage_{stream.replace('-', '')}_"


def prepare_schema(database: "Connection", schema: str, stream: str) -> None:
    """Creates LEDGER, and removes staging tables of earlier runs of the stream."""
    ledger = f"{quote_postgres(schema)}.{quote_postgres(LEDGER)}"
    if database.value("SELECT to_regclass(?)::text", ledger) is None:
        try:
            database.run(
                f"CREATE TABLE {ledger} (stream text PRIMARY KEY, batch bigint NOT NULL, "
                "written timestamptz NOT NULL DEFAULT now())"
            )
        except Py4JJavaError:
            # Another stream may have created it at the same time.
            if database.value("SELECT to_regclass(?)::text", ledger) is None:
                raise
    leftovers = database.values(
        "SELECT tablename FROM pg_tables WHERE schemaname = ? AND starts_with(tablename, ?)", schema, staging_prefix(stream)
    )
    for table in leftovers:
        database.run(f"DROP TABLE IF EXISTS {quote_postgres(schema)}.{quote_postgres(table)}")


class Connection:
    """JDBC connection in the driver's JVM. Each statement commits by itself, except within `transaction`."""

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
        """Runs a statement, and returns the number of changed rows."""
        prepared = self.prepared(statement, values)
        try:
            return prepared.executeUpdate()
        finally:
            prepared.close()

    def values(self, query: str, *values: str) -> list:
        """Returns the first column of a query's rows, as text."""
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
    """Commits at the end of its block, or rolls back on an error."""

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
