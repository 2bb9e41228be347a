"""Sessions: who shares one, how they end, and calls that continue after their stream ended."""

import subprocess
import sys
import unittest
import uuid
from pathlib import Path

import grpc
from pyspark.errors import PySparkException
from pyspark.sql import Row
from pyspark.sql.connect import functions as F
from pyspark.sql.connect.proto import base_pb2
from support import SECOND_URL, URL, USER, ConnectTest, count_calls, in_thread, wait_until, with_parameters


class Isolation(ConnectTest):
    def test_sessions_of_one_user_share_no_views_and_settings(self):
        one, other = self.session(), self.session()
        one.range(3).createOrReplaceTempView("private")
        one.conf.set("dcp.test.color", "green")
        self.assertFalse(other.catalog.tableExists("private"))
        self.assertEqual(other.conf.get("dcp.test.color", "none"), "none")

    def test_sessions_work_at_the_same_time(self):
        sessions = [self.session() for _ in range(6)]
        for number, spark in enumerate(sessions):
            spark.range(number + 1).createOrReplaceTempView("mine")
        counts = [in_thread(spark.table("mine").count) for spark in sessions]
        self.assertEqual([count.result(120) for count in counts], [1, 2, 3, 4, 5, 6])

    def test_two_users_with_one_session_id_have_two_sessions(self):
        session_id = str(uuid.uuid4())
        one, other = self.session(session_id=session_id), self.session(SECOND_URL, session_id=session_id)
        one.range(3).createOrReplaceTempView("private")
        self.assertFalse(other.catalog.tableExists("private"))
        self.assertTrue(one.catalog.tableExists("private"))

    def test_session_id_in_the_address_continues_the_session_in_another_process(self):
        address = with_parameters(URL, session_id=str(uuid.uuid4()))
        spark = self.session(address)
        spark.range(3).createOrReplaceTempView("numbers")
        spark.conf.set("dcp.test.color", "green")
        program = Path(__file__).with_name("continue_session.py")
        done = subprocess.run([sys.executable, program, address], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.stdout, "[0, 1, 2] green\n", done.stderr)


class LyingUsers(ConnectTest):
    """A real server believes the user in a request. A proxy replaces it with the user that it authenticated."""

    def test_user_in_the_address_is_believed_only_by_a_server(self):
        session_id = str(uuid.uuid4())
        claimed = USER or "honest"
        honest = self.session(session_id=session_id, user_id=claimed)
        honest.range(3).createOrReplaceTempView("private")
        liar = self.session(SECOND_URL, session_id=session_id, user_id=claimed)
        self.assertEqual(liar.catalog.tableExists("private"), not USER)

    def test_user_that_is_repeated_in_a_request_is_believed_only_by_a_server(self):
        """Protobuf takes the last of repeated fields, and merges repeated messages."""
        claimed = USER or "honest"
        honest = self.session(user_id=claimed)
        honest.conf.set("dcp.test.color", "green")
        liar = self.raw(SECOND_URL)
        liar.session_id = honest.session_id
        request = liar.fill(base_pb2.ConfigRequest())
        request.operation.get_option.keys.append("dcp.test.color")
        repeated = base_pb2.ConfigRequest()
        repeated.user_context.user_id = claimed
        sent = request.SerializeToString() + repeated.SerializeToString()
        pairs = liar.call_bytes("Config", sent, base_pb2.ConfigResponse).pairs
        self.assertEqual(pairs[0].value, "" if USER else "green")

    def test_session_that_is_repeated_in_a_request_is_the_last_one(self):
        spark = self.session()
        spark.conf.set("dcp.test.color", "green")
        raw = self.raw(like=spark)
        first = base_pb2.ConfigRequest(session_id=str(uuid.uuid4()))
        request = raw.fill(base_pb2.ConfigRequest())
        request.operation.get_option.keys.append("dcp.test.color")
        sent = first.SerializeToString() + request.SerializeToString()
        response = raw.call_bytes("Config", sent, base_pb2.ConfigResponse)
        self.assertEqual((response.session_id, response.pairs[0].value), (spark.session_id, "green"))

    def test_session_id_that_is_no_uuid_is_rejected(self):
        raw = self.raw()
        raw.session_id = "../../etc"
        with self.assertRaises(grpc.RpcError):
            raw.conf("spark.sql.ansi.enabled")


class Ends(ConnectTest):
    def test_stopped_session_is_an_error_in_its_client(self):
        spark = self.session()
        spark.range(1).collect()
        spark.stop()
        with self.assertRaises(PySparkException):
            spark.range(1).collect()

    def test_released_session_is_closed_for_all_its_clients(self):
        spark = self.session()
        spark.range(1).collect()
        raw = self.raw(like=spark)
        raw.stub.ReleaseSession(raw.fill(base_pb2.ReleaseSessionRequest()), metadata=raw.metadata, timeout=60)
        with self.rejected(grpc.StatusCode.INTERNAL, "INVALID_HANDLE.SESSION_CLOSED"):
            raw.conf("spark.sql.ansi.enabled")
        with self.assertRaises(PySparkException) as caught:
            spark.range(1).collect()
        self.assertIn("SESSION_CLOSED", str(caught.exception))

    def test_release_of_an_unknown_session_succeeds(self):
        raw = self.raw()
        request = raw.fill(base_pb2.ReleaseSessionRequest())
        response = raw.stub.ReleaseSession(request, metadata=raw.metadata, timeout=60)
        self.assertEqual(response.session_id, raw.session_id)

    def test_reattach_in_an_unknown_session_is_an_error(self):
        raw = self.raw()
        request = raw.fill(base_pb2.ReattachExecuteRequest(), operation_id=str(uuid.uuid4()))
        with self.rejected(grpc.StatusCode.INTERNAL, "INVALID_HANDLE.SESSION_NOT_FOUND"):
            list(raw.stub.ReattachExecute(request, metadata=raw.metadata, timeout=60))

    def test_session_of_another_server_is_an_error(self):
        """A client that has seen one server must notice that its session is on another one."""
        raw = self.raw()
        first = raw.conf("spark.sql.ansi.enabled")
        request = raw.fill(base_pb2.ConfigRequest(), client_observed_server_side_session_id=str(uuid.uuid4()))
        request.operation.get_option.keys.append("spark.sql.ansi.enabled")
        with self.rejected(grpc.StatusCode.INTERNAL, "INVALID_HANDLE.SESSION_CHANGED"):
            raw.stub.Config(request, metadata=raw.metadata, timeout=60)
        self.assertEqual(raw.conf("spark.sql.ansi.enabled").server_side_session_id, first.server_side_session_id)


class Continuation(ConnectTest):
    def slow(self, seconds):
        """Returns a query of one row that takes some seconds."""

        def sleep(number):
            import time

            time.sleep(seconds)
            return number

        return self.spark.range(1, 2, 1, 1).select(F.udf(sleep, "long")("id").alias("it"))

    def test_query_longer_than_a_stream_is_reattached(self):
        reattached = count_calls(self.spark, "ReattachExecute")
        self.assertEqual(self.slow(4).collect(), [Row(it=1)])
        self.assertGreater(
            len(reattached), 0, "start the server with spark.connect.execute.reattachable.senderMaxStreamDuration=1s"
        )

    def test_finished_query_is_released(self):
        released = count_calls(self.spark, "ReleaseExecute")
        self.spark.range(3).collect()
        wait_until("the operation is released", lambda: any(it.HasField("release_all") for it in released))

    def test_query_continues_on_another_connection(self):
        """As a client does whose connection broke."""
        first = self.raw()
        request = first.plan("SELECT id FROM range(0, 1000, 1, 1)")
        request.operation_id = str(uuid.uuid4())
        request.request_options.add().reattach_options.reattachable = True
        call = first.execute(request)
        response = next(call)
        first.channel.close()
        second = self.raw()
        second.session_id, second.user_id = first.session_id, first.user_id
        again = second.fill(
            base_pb2.ReattachExecuteRequest(), operation_id=request.operation_id, last_response_id=response.response_id
        )
        responses = list(second.stub.ReattachExecute(again, metadata=second.metadata, timeout=60))
        rows = sum(it.arrow_batch.row_count for it in [response, *responses] if it.HasField("arrow_batch"))
        self.assertEqual(rows, 1000)
        self.assertTrue(any(it.HasField("result_complete") for it in responses))

    def test_operation_id_of_a_finished_query_is_not_run_again(self):
        raw = self.raw()
        request = raw.plan("SELECT 1")
        request.operation_id = str(uuid.uuid4())
        list(raw.execute(request))
        # INVALID_CURSOR.NOT_REATTACHABLE until the server has removed the operation, then INVALID_HANDLE.
        with self.rejected(grpc.StatusCode.INTERNAL, "INVALID_"):
            list(raw.execute(request))


class Newer(ConnectTest):
    """Calls that not every client has."""

    if hasattr(base_pb2, "CloneSessionRequest"):

        def test_clone_has_views_and_settings_and_is_independent(self):
            spark = self.session()
            spark.range(3).createOrReplaceTempView("numbers")
            spark.conf.set("dcp.test.color", "green")
            clone = spark.cloneSession()
            # The method `stop` of a clone fails in some versions.
            self.addCleanup(lambda: clone.client.release_session())
            self.assertNotEqual(clone.session_id, spark.session_id)
            self.assertEqual(clone.table("numbers").count(), 3)
            clone.conf.set("dcp.test.color", "red")
            self.assertEqual(spark.conf.get("dcp.test.color"), "green")

    if hasattr(base_pb2, "GetStatusRequest"):

        def test_status_of_operations_is_reported(self):
            self.spark.range(3).collect()
            raw = self.raw(like=self.spark)
            request = raw.fill(base_pb2.GetStatusRequest())
            request.operation_status.SetInParent()
            if self.spark.version.startswith(("4.0.", "4.1.")):
                with self.rejected(grpc.StatusCode.UNIMPLEMENTED, "GetStatus"):
                    raw.stub.GetStatus(request, metadata=raw.metadata, timeout=60)
            else:
                response = raw.stub.GetStatus(request, metadata=raw.metadata, timeout=60)
                self.assertEqual(response.session_id, raw.session_id)
                self.assertGreater(len(response.operation_statuses), 0)


if __name__ == "__main__":
    unittest.main()
