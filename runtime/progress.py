"""Reports the progress of streaming queries, where Spark's event log can't be read while it is written.

In S3 and Google Cloud Storage, a file appears when it is closed: Spark closes a file of its event log after 10 MiB. The
reports are events as in the event log, in files `progress_1`, `progress_2`, … beside it, which dcp removes once it has
read them.
"""

import json
import sys
import time

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQueryListener

SCHEMES = ("s3a://", "s3://", "s3n://", "gs://")
# Minimum number of seconds between two files, as each costs a request.
INTERVAL = 5
# Maximum number of events that wait for a folder that can't be written.
MAX_EVENTS = 1000
EVENT = "org.apache.spark.sql.streaming.StreamingQueryListener$Query"


def report(spark: SparkSession) -> None:
    """Reports the progress of all queries from now on, if dcp reads the event log in a store that needs it."""
    conf = spark.sparkContext.getConf()
    folder = conf.get("spark.eventLog.dir", "").rstrip("/")
    is_read = spark.sparkContext.master.startswith("k8s") and all(
        conf.get(f"spark.eventLog.{key}") == "true" for key in ("enabled", "rolling.enabled")
    )
    if is_read and folder.startswith(SCHEMES):
        log = f"{folder}/eventlog_v2_{spark.sparkContext.applicationId}"
        spark.streams.addListener(Reporter(spark, log))


class Reporter(StreamingQueryListener):
    def __init__(self, spark: SparkSession, log: str) -> None:
        self.context, self.log = spark.sparkContext, log
        self.events, self.number, self.due = [], 0, 0.0
        # Without events, the file shows that there will be some.
        self.flush()

    def onQueryStarted(self, event) -> None:
        self.add("Started", runId=str(event.runId))

    def onQueryProgress(self, event) -> None:
        progress = json.loads(event.progress.json)
        for source in progress.get("sources", []):
            # Texts in the event log.
            for key in ("startOffset", "endOffset", "latestOffset"):
                if key in source and not isinstance(source[key], str):
                    source[key] = json.dumps(source[key])
        self.add("Progress", progress=progress)

    def onQueryIdle(self, event) -> None:
        self.add("Idle", runId=str(event.runId), timestamp=event.timestamp)

    def onQueryTerminated(self, event) -> None:
        self.due = 0.0
        self.add("Terminated", runId=str(event.runId))

    def add(self, kind: str, **content) -> None:
        event = {"Event": f"{EVENT}{kind}Event", **content}
        self.events = [*self.events[1 - MAX_EVENTS :], json.dumps(event, separators=(",", ":"))]
        if time.monotonic() >= self.due:
            self.flush()

    def flush(self) -> None:
        """Writes the events as a file. A failure must not end the query: they are written with later ones."""
        self.due = time.monotonic() + INTERVAL
        path = f"{self.log}/progress_{self.number + 1}"
        try:
            path = self.context._jvm.org.apache.hadoop.fs.Path(path)
            file = path.getFileSystem(self.context._jsc.hadoopConfiguration()).create(path, True)
            try:
                file.write("".join(f"{event}\n" for event in self.events).encode())
            finally:
                file.close()
        except Py4JError as error:
            print(f"the progress of the stream can't be reported: {error}", file=sys.stderr)
            return
        self.events, self.number = [], self.number + 1
