"""Runs streams in one Spark, by the program that runs them in production, until its input ends. Its output is the port
where it is asked: a line is a stream's task and the settings of its Spark, and the answer says what became of it; or it
is SQL, and the answer is the first column of its rows."""

import json
import socketserver
import sys
import threading

from pyspark.sql import SparkSession

import stream

# So many at once: a stream waits more than it works.
TURNS = threading.Semaphore(4)


def run(spark: SparkSession, task: dict, conf: dict) -> dict:
    for key, value in conf.items():
        # The others are for a Spark that is to be started.
        if spark.conf.isModifiable(key):
            spark.conf.set(key, value)
    # It takes what there is, and ends.
    task["trigger"] = None
    query = error = None
    try:
        query = stream.start(spark, task)
        query.awaitTermination()
    except Exception as found:
        error = f"{type(found).__name__}: {found}"
    progress = [json.loads(it.json) for it in query.recentProgress] if query else []
    return {"progress": progress, "error": error}


def rows(spark: SparkSession, sql: str) -> list:
    return [row[0] for row in spark.sql(sql).collect()]


class Asked(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with TURNS:
            asked = json.loads(self.rfile.readline())
            answer = (rows if "sql" in asked else run)(SPARK.newSession(), **asked)
        self.wfile.write(json.dumps(answer).encode())


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    # All that are to wait for their turn.
    request_queue_size = 100


SPARK = SparkSession.builder.master("local[2]").getOrCreate()
with Server(("127.0.0.1", 0), Asked) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
