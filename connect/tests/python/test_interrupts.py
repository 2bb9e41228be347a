"""Interrupts of running queries."""

import threading
import unittest

from pyspark.errors import PySparkException
from pyspark.sql.connect import functions as F
from support import SECOND_URL, ConnectTest, in_thread, wait_until


def endless(spark):
    """Runs a query of one task that ends only by an interrupt, or after two minutes."""

    def sleep(number):
        import time

        time.sleep(120)
        return number

    return spark.range(0, 1, 1, 1).select(F.udf(sleep, "long")("id")).collect()


class Interrupts(ConnectTest):
    def setUp(self):
        self.spark = self.session()
        self.addCleanup(self.spark.interruptAll)

    def assert_cancelled(self, query):
        with self.assertRaises(PySparkException) as caught:
            query.result(60)
        self.assertIn("OPERATION_CANCELED", str(caught.exception))
        self.assertEqual(self.spark.range(3).count(), 3)

    def start(self):
        """Starts the query, and returns it with its operation id, which the server's first progress tells."""
        started, ids = threading.Event(), []

        def handler(stages, inflight_tasks, operation_id, done):
            if inflight_tasks:
                ids.append(operation_id)
                started.set()

        self.spark.registerProgressHandler(handler)
        query = in_thread(endless, self.spark)
        self.assertTrue(started.wait(60), "no progress with a running task was reported")
        return query, ids[0]

    def test_all_operations_are_interrupted(self):
        query, operation_id = self.start()
        self.assertEqual(self.spark.interruptAll(), [operation_id])
        self.assert_cancelled(query)

    def test_interrupt_as_the_first_call_of_a_session_interrupts_nothing(self):
        self.assertEqual(self.session().interruptAll(), [])

    def test_operation_is_interrupted_by_its_id(self):
        query, operation_id = self.start()
        self.assertEqual(self.spark.interruptOperation(operation_id), [operation_id])
        self.assert_cancelled(query)

    def test_operation_is_interrupted_by_its_tag(self):
        def tagged():
            self.spark.addTag("slow")
            return endless(self.spark)

        # The server knows the session after its first call.
        self.assertTrue(self.spark.version)
        query = in_thread(tagged)
        self.assertEqual(self.spark.interruptTag("fast"), [])
        wait_until("an operation has the tag", lambda: self.spark.interruptTag("slow"))
        self.assert_cancelled(query)

    def test_other_sessions_and_users_can_not_interrupt(self):
        query, operation_id = self.start()
        for other in (self.session(), self.session(SECOND_URL)):
            # Not by a query, as the server may have no second core.
            self.assertTrue(other.version)
            self.assertEqual(other.interruptAll(), [])
            self.assertEqual(other.interruptOperation(operation_id), [])
        self.assertFalse(query.done())
        self.assertEqual(self.spark.interruptAll(), [operation_id])
        self.assert_cancelled(query)


if __name__ == "__main__":
    unittest.main()
