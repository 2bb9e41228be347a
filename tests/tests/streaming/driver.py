"""Runs streams in one Spark with the production program `stream.py`, until standard input ends.

Prints the port that it listens on. A connection sends one line of JSON. For the task of a stream and Spark settings, the
response has the progress and the error of the stream. For SQL, the response is the first column of the rows.
"""

import json
import socketserver
import sys
import threading

from pyspark.sql import SparkSession

import stream

# A stream mostly waits, so the limit is greater than the number of cores.
PERMITS = threading.Semaphore(4)


def run(spark: SparkSession, task: dict, conf: dict) -> dict:
    for key, value in conf.items():
        # Other settings take effect only when Spark starts.
        if spark.conf.isModifiable(key):
            spark.conf.set(key, value)
    # Without a trigger, the stream processes all available data and ends.
    task["trigger"] = None
    query = error = None
    try:
        query = stream.start(spark, task)
        query.awaitTermination()
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    progress = [json.loads(it.json) for it in query.recentProgress] if query else []
    return {"progress": progress, "error": error}


def rows(spark: SparkSession, sql: str) -> list:
    return [row[0] for row in spark.sql(sql).collect()]


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with PERMITS:
            request = json.loads(self.rfile.readline())
            response = (rows if "sql" in request else run)(SPARK.newSession(), **request)
        self.wfile.write(json.dumps(response).encode())


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    # Capacity for all connections that wait for a permit.
    request_queue_size = 100


SPARK = SparkSession.builder.master("local[2]").getOrCreate()
with Server(("127.0.0.1", 0), Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
