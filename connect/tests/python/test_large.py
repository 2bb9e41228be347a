"""Large results, large requests, and clients that read slowly."""

import hashlib
import os
import time
import unittest
import zlib

import pandas
from pyspark.sql.connect.proto import base_pb2
from support import MIB, ConnectTest, count_calls

ROWS = 100_000
PAUSE = 4.0
"""Seconds for which a slow client stops reading. Longer than the maximum duration of a stream of the server."""


def rows_sql(rows, size):
    """Returns a query whose rows have an own number and text of a size that compression does not shorten much."""
    return (
        f"SELECT id, substr(repeat(sha2(CAST(id AS STRING), 512), {size // 128 + 1}), 1, {size}) AS text "
        f"FROM range(0, {rows}, 1, 4)"
    )


def text_of(number, size):
    digest = hashlib.sha512(str(number).encode()).hexdigest()
    return (digest * (size // 128 + 1))[:size]


class Results(ConnectTest):
    def assert_rows(self, tables, rows, size):
        seen, crc, expected = 0, 0, 0
        for table in tables:
            for number, text in zip(table.column(0).to_pylist(), table.column(1).to_pylist()):
                self.assertEqual(number, seen)
                crc = zlib.crc32(text.encode(), crc)
                expected = zlib.crc32(text_of(number, size).encode(), expected)
                seen += 1
        self.assertEqual((seen, crc), (rows, expected))

    def test_result_of_100_mb_is_complete_and_in_order(self):
        table = self.spark.sql(rows_sql(ROWS, 1000)).toArrow()
        self.assertGreater(table.nbytes, 100_000_000)
        self.assert_rows([table], ROWS, 1000)

    def test_message_of_50_mb_arrives(self):
        text = self.spark.sql("SELECT repeat('0123456789', 5000000) AS text").collect()[0].text
        self.assertEqual((len(text), zlib.crc32(text.encode())), (50_000_000, zlib.crc32(b"0123456789" * 5_000_000)))

    def test_client_that_stops_reading_gets_all_rows_once(self):
        reattached = count_calls(self.spark, "ReattachExecute")
        tables = []
        for number, batch in enumerate(self.spark.sql(rows_sql(ROWS, 1000)).toLocalIterator(), 1):
            tables.append(batch)
            if number == 1:
                time.sleep(PAUSE)
        self.assertEqual([row.id for row in tables], list(range(ROWS)))
        self.assertEqual(sum(len(row.text) for row in tables), ROWS * 1000)
        self.assertGreater(len(reattached), 0, "the server did not end the stream")

    def test_stream_without_reattach_that_is_read_slowly_is_complete(self):
        raw = self.raw()
        rows = size = 0
        for number, response in enumerate(raw.execute(raw.plan(rows_sql(ROWS, 1000)))):
            if response.HasField("arrow_batch"):
                rows += response.arrow_batch.row_count
                size += len(response.arrow_batch.data)
            if number == 1:
                time.sleep(PAUSE)
        self.assertEqual(rows, ROWS)
        self.assertGreater(size, 100_000_000)

    def test_cancelled_stream_leaves_the_session_usable(self):
        raw = self.raw()
        call = raw.execute(raw.plan(rows_sql(ROWS, 1000)))
        for _, response in zip(range(3), call):
            self.assertEqual(response.session_id, raw.session_id)
        call.cancel()
        values = list(raw.execute(raw.plan("SELECT 1")))
        self.assertTrue(any(response.HasField("arrow_batch") for response in values))


class Uploads(ConnectTest):
    def assert_uploaded(self, rows, size):
        """Sends rows of random text, and compares their checksums with those that the server computes."""
        texts = [os.urandom(size // 2).hex() for _ in range(rows)]
        frame = self.spark.createDataFrame(pandas.DataFrame({"text": texts}))
        found = frame.selectExpr("count(*)", "sum(crc32(encode(text, 'UTF-8')))").collect()[0]
        self.assertEqual(tuple(found), (rows, sum(zlib.crc32(text.encode()) for text in texts)))

    def test_request_of_50_mib_arrives(self):
        with self.conf(self.spark, "spark.sql.session.localRelationCacheThreshold", str(2**31 - 1)):
            plans = count_calls(self.spark, "ExecutePlan")
            self.assert_uploaded(50, MIB)
        # Newer clients compress large plans, and hexadecimal text to half of its size.
        self.assertGreater(max(plan.ByteSize() for plan in plans), 20 * MIB)

    def test_request_of_120_mib_arrives(self):
        """The servers' limit is 128 MiB."""
        raw = self.raw()
        request = raw.plan("SELECT length(:text) AS length")
        request.plan.root.sql.named_arguments["text"].literal.string = "x" * (120 * MIB)
        rows = [response for response in raw.execute(request) if response.HasField("arrow_batch")]
        self.assertEqual(sum(response.arrow_batch.row_count for response in rows), 1)

    def test_data_frame_that_is_cached_on_the_server_arrives(self):
        plans = count_calls(self.spark, "ExecutePlan")
        with self.conf(self.spark, "spark.sql.session.localRelationCacheThreshold", str(MIB)):
            self.assert_uploaded(20, MIB)
        self.assertLess(max(plan.ByteSize() for plan in plans), MIB, "the data was not sent as an artifact")


class Limits(ConnectTest):
    def test_request_beyond_the_servers_limit_is_rejected(self):
        """No proxy may make a request of this size anything but an error of this call."""
        import grpc

        raw = self.raw()
        request = raw.plan("SELECT length(:text) AS length")
        request.plan.root.sql.named_arguments["text"].literal.string = "x" * (130 * MIB)
        with self.assertRaises(grpc.RpcError) as caught:
            list(raw.execute(request))
        self.assertIn(caught.exception.code(), (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OUT_OF_RANGE))
        self.assertIsInstance(raw.conf("spark.sql.ansi.enabled"), base_pb2.ConfigResponse)


if __name__ == "__main__":
    unittest.main()
