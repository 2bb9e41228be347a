"""Files that a session uploads for its Python functions."""

import os
import tempfile
import unittest
import zlib
from pathlib import Path

from pyspark.sql.connect import functions as F
from pyspark.sql.connect.proto import base_pb2
from support import MIB, ConnectTest


class Artifacts(ConnectTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_python_file_is_imported_by_a_function(self):
        path = self.folder / "uploaded_module.py"
        path.write_text("def answer():\n    return 42\n")
        spark = self.session()
        spark.addArtifacts(str(path), pyfile=True)

        def call(_):
            import uploaded_module

            return uploaded_module.answer()

        self.assertEqual(spark.range(1).select(F.udf(call, "long")("id")).collect()[0][0], 42)

    def test_python_file_is_not_imported_by_other_sessions(self):
        path = self.folder / "private_module.py"
        path.write_text("")
        self.session().addArtifacts(str(path), pyfile=True)

        def can_import(_):
            import importlib.util

            return importlib.util.find_spec("private_module") is not None

        found = self.session().range(1).select(F.udf(can_import, "boolean")("id")).collect()[0][0]
        self.assertFalse(found)

    def test_file_of_9_mib_arrives_complete(self):
        content = os.urandom(9 * MIB + 1)
        path = self.folder / "large.bin"
        path.write_bytes(content)
        spark = self.session()
        spark.addArtifacts(str(path), file=True)

        def checksum(_):
            import zlib

            from pyspark.core.files import SparkFiles

            with open(SparkFiles.get("large.bin"), "rb") as file:
                content = file.read()
            return f"{len(content)} {zlib.crc32(content)}"

        found = spark.range(1).select(F.udf(checksum, "string")("id")).collect()[0][0]
        self.assertEqual(found, f"{len(content)} {zlib.crc32(content)}")

    def test_server_reports_the_checksum_of_each_artifact(self):
        raw = self.raw()
        good, bad = b"as it was sent", b"changed on the way"
        request = raw.fill(base_pb2.AddArtifactsRequest())
        for name, data, crc in (("good", good, zlib.crc32(good)), ("bad", bad, zlib.crc32(good))):
            chunk = request.batch.artifacts.add(name=f"cache/{name}").data
            chunk.data, chunk.crc = data, crc
        response = raw.stub.AddArtifacts(iter([request]), metadata=raw.metadata, timeout=60)
        successful = {summary.name: summary.is_crc_successful for summary in response.artifacts}
        self.assertEqual(successful, {"cache/good": True, "cache/bad": False})

    def test_status_tells_cached_artifacts_of_the_session(self):
        name = "cache/" + self.spark.client.cache_artifact(os.urandom(1000))
        for like, exists in ((self.spark, True), (self.session(), False)):
            raw = self.raw(like=like)
            request = raw.fill(base_pb2.ArtifactStatusesRequest())
            request.names.append(name)
            statuses = raw.stub.ArtifactStatus(request, metadata=raw.metadata, timeout=60).statuses
            self.assertEqual(statuses[name].exists, exists)


if __name__ == "__main__":
    unittest.main()
