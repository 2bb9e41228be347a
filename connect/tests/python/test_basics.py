"""Queries, settings, the catalog and errors."""

import datetime
import threading
import unittest

import grpc
import pandas
from pyspark.errors import AnalysisException, ArithmeticException, ParseException, PySparkException, PythonException
from pyspark.sql import Row
from pyspark.sql.connect import functions as F
from pyspark.sql.streaming.listener import StreamingQueryListener
from support import ConnectTest, wait_until


class Queries(ConnectTest):
    def test_rows_are_collected(self):
        self.assertEqual([row.id for row in self.spark.range(100).collect()], list(range(100)))

    def test_pandas_frame_is_returned(self):
        frame = self.spark.range(3).selectExpr("id", "id * 1.5D AS half", "CAST(id AS STRING) AS text").toPandas()
        expected = pandas.DataFrame({"id": [0, 1, 2], "half": [0.0, 1.5, 3.0], "text": ["0", "1", "2"]})
        pandas.testing.assert_frame_equal(frame, expected, check_dtype=False)

    def test_arrow_table_is_returned(self):
        self.assertEqual(self.spark.range(3).toArrow().to_pydict(), {"id": [0, 1, 2]})

    def test_data_frame_is_created_from_rows_and_from_pandas(self):
        rows = [Row(name="Ada", born=datetime.date(1815, 12, 10)), Row(name="Ünïcode ✓", born=None)]
        self.assertEqual(self.spark.createDataFrame(rows, "name STRING, born DATE").collect(), rows)
        frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
        self.assertEqual(self.spark.createDataFrame(frame).collect(), [Row(a=1, b="x"), Row(a=2, b="y")])

    def test_sql_has_named_and_positional_parameters(self):
        named = self.spark.sql("SELECT :text AS text, :number + 1 AS number", args={"text": "it's", "number": 41})
        self.assertEqual(named.collect(), [Row(text="it's", number=42)])
        positional = self.spark.sql("SELECT ? AS a, ? AS b", args=["x", 2])
        self.assertEqual(positional.collect(), [Row(a="x", b=2)])

    def test_temporary_view_is_queried(self):
        self.spark.range(5).createOrReplaceTempView("five")
        self.assertEqual(self.spark.sql("SELECT sum(id) AS total FROM five").collect(), [Row(total=10)])
        self.assertEqual(self.spark.table("five").count(), 5)

    def test_schema_and_plan_are_analyzed(self):
        frame = self.spark.range(5).withColumn("name", F.lit("x"))
        self.assertEqual(frame.schema.simpleString(), "struct<id:bigint,name:string>")
        self.assertIn("Physical Plan", frame._explain_string())
        self.assertFalse(frame.isStreaming)

    def test_python_function_runs_on_the_server(self):
        shout = F.udf(lambda text: text.upper() + "!", "string")
        frame = self.spark.createDataFrame([("a",), ("b",)], "text STRING")
        self.assertEqual([row[0] for row in frame.select(shout("text")).collect()], ["A!", "B!"])

    def test_registered_python_function_is_called_from_sql(self):
        self.spark.udf.register("plus_one", lambda number: number + 1, "long")
        self.assertEqual(self.spark.sql("SELECT plus_one(41) AS it").collect(), [Row(it=42)])

    def test_metrics_are_observed(self):
        from pyspark.sql import Observation

        observation = Observation("numbers")
        frame = self.spark.range(100).observe(observation, F.count(F.lit(1)).alias("rows"), F.max("id").alias("max"))
        frame.collect()
        self.assertEqual(observation.get, {"rows": 100, "max": 99})

    def test_progress_of_a_query_is_reported(self):
        reported = threading.Event()

        def handler(stages, inflight_tasks, operation_id, done):
            reported.set()

        self.spark.registerProgressHandler(handler)
        self.addCleanup(self.spark.removeProgressHandler, handler)
        self.spark.range(10).collect()
        self.assertTrue(reported.is_set())


class Settings(ConnectTest):
    def test_version_is_the_servers(self):
        self.assertRegex(self.spark.version, r"^4\.\d+\.\d+")

    def test_setting_is_set_read_and_unset(self):
        self.spark.conf.set("dcp.test.color", "green")
        self.assertEqual(self.spark.conf.get("dcp.test.color"), "green")
        self.assertTrue(self.spark.conf.isModifiable("spark.sql.shuffle.partitions"))
        self.spark.conf.unset("dcp.test.color")
        self.assertEqual(self.spark.conf.get("dcp.test.color", "none"), "none")

    def test_setting_changes_queries(self):
        with self.conf(self.spark, "spark.sql.session.timeZone", "Asia/Kolkata"):
            self.assertEqual(self.spark.sql("SELECT current_timezone() AS zone").collect(), [Row(zone="Asia/Kolkata")])

    def test_ansi_mode_is_switched_off_for_a_session(self):
        spark = self.session()
        spark.conf.set("spark.sql.ansi.enabled", "false")
        self.assertEqual(spark.sql("SELECT CAST('x' AS INT) AS it").collect(), [Row(it=None)])

    def test_unknown_setting_is_an_error(self):
        with self.assertRaises(PySparkException) as caught:
            self.spark.conf.get("dcp.test.unknown")
        self.assertEqual(caught.exception.getCondition(), "SQL_CONF_NOT_FOUND")

    def test_catalog_lists_views_and_databases(self):
        self.spark.range(1).createOrReplaceTempView("listed")
        self.assertIn("listed", [table.name for table in self.spark.catalog.listTables()])
        self.assertTrue(self.spark.catalog.tableExists("listed"))
        self.assertEqual(self.spark.catalog.currentDatabase(), "default")
        self.assertTrue(self.spark.catalog.dropTempView("listed"))
        self.assertFalse(self.spark.catalog.tableExists("listed"))


class Errors(ConnectTest):
    def caught(self, kind, sql):
        with self.assertRaises(kind) as caught:
            self.spark.sql(sql).collect()
        return caught.exception

    def test_error_of_analysis_keeps_class_and_state(self):
        error = self.caught(AnalysisException, "SELECT * FROM nowhere.at_all")
        self.assertEqual((error.getCondition(), error.getSqlState()), ("TABLE_OR_VIEW_NOT_FOUND", "42P01"))
        self.assertEqual(error.getMessageParameters()["relationName"], "`nowhere`.`at_all`")

    def test_error_of_parsing_keeps_class_and_state(self):
        error = self.caught(ParseException, "SELECT 1 +")
        self.assertEqual((error.getCondition(), error.getSqlState()), ("PARSE_SYNTAX_ERROR", "42601"))

    def test_error_of_execution_keeps_class_state_and_context(self):
        error = self.caught(ArithmeticException, "SELECT 1 / id FROM range(1)")
        self.assertEqual((error.getCondition(), error.getSqlState()), ("DIVIDE_BY_ZERO", "22012"))
        self.assertEqual(error.getQueryContext()[0].fragment(), "1 / id")

    def test_error_has_the_stack_trace_of_the_server(self):
        with self.conf(self.spark, "spark.sql.pyspark.jvmStacktrace.enabled", "true"):
            error = self.caught(AnalysisException, "SELECT unknown_column")
        self.assertTrue("CheckAnalysis.scala" in error.getStackTrace(), "no frame of the analysis in the stack trace")

    def test_long_message_is_fetched_completely(self):
        """The status of a call has the first 2,048 characters; FetchErrorDetails has the rest."""
        error = self.caught(PySparkException, "SELECT raise_error(repeat('long ', 20000))")
        self.assertGreater(str(error).count("long "), 19_999)

    def test_error_of_a_python_function_has_its_traceback(self):
        def fail(number):
            raise ValueError(f"no number {number}")

        with self.assertRaises(PythonException) as caught:
            self.spark.range(1).select(F.udf(fail, "long")("id")).collect()
        self.assertIn("ValueError: no number 0", str(caught.exception))

    def test_session_continues_after_an_error(self):
        self.caught(ParseException, "SELECT 1 +")
        self.assertEqual(self.spark.range(3).count(), 3)

    def test_unknown_method_is_unimplemented(self):
        from pyspark.sql.connect.proto import base_pb2

        raw = self.raw(like=self.spark)
        request = raw.fill(base_pb2.ReleaseSessionRequest()).SerializeToString()
        with self.rejected(grpc.StatusCode.UNIMPLEMENTED, "NoSuchMethod"):
            raw.call_bytes("NoSuchMethod", request, base_pb2.ConfigResponse)


class Listener(StreamingQueryListener):
    def __init__(self):
        self.started, self.terminated = threading.Event(), threading.Event()

    def onQueryStarted(self, event):
        self.started.set()

    def onQueryProgress(self, event):
        pass

    def onQueryIdle(self, event):
        pass

    def onQueryTerminated(self, event):
        self.terminated.set()


class Streams(ConnectTest):
    def test_streaming_query_fills_a_table_in_memory(self):
        frame = self.spark.readStream.format("rate").option("rowsPerSecond", 50).load()
        query = frame.writeStream.format("memory").queryName("rates").start()
        self.addCleanup(query.stop)
        wait_until("rows have arrived", lambda: self.spark.table("rates").count())
        self.assertTrue(query.isActive)
        self.assertIn(query.id, [active.id for active in self.spark.streams.active])
        query.stop()
        self.assertFalse(query.isActive)

    def test_batches_are_processed_by_a_python_function(self):
        def add(batch, number):
            batch.sparkSession.createDataFrame([(number,)], "number LONG").createOrReplaceGlobalTempView("batches")

        query = self.spark.readStream.format("rate").load().writeStream.foreachBatch(add).start()
        self.addCleanup(query.stop)
        wait_until("a batch was processed", lambda: query.lastProgress is not None or query.exception())
        self.assertIsNone(query.exception())
        wait_until("the view exists", lambda: self.spark.catalog.tableExists("global_temp.batches"))

    def test_listener_gets_events(self):
        listener = Listener()
        self.spark.streams.addListener(listener)
        self.addCleanup(self.spark.streams.removeListener, listener)
        frame = self.spark.readStream.format("rate").load()
        query = frame.writeStream.format("noop").start()
        self.assertTrue(listener.started.wait(60), "no event about the start")
        query.stop()
        self.assertTrue(listener.terminated.wait(60), "no event about the end")


if __name__ == "__main__":
    unittest.main()
