"""Spark's Scala client: connect/tests/scala/Client.scala, through proxies without and with TLS, and directly at the server."""

from __future__ import annotations

import subprocess
import tempfile
import unittest
from pathlib import Path

from proxy import Site, driver
from server import ENDS_WITH_PARENT, ROOT, Server

SCALA = ROOT / "connect" / "tests" / "scala"
DEADLINE = 120
"""Seconds for the checks of a client. The client itself repeats a failed call for ten minutes."""
DOWNLOAD = 300
"""Seconds for the jars of a client, about 80 MB."""
PASSWORD = "changeit"
"""Password of the trust store, which has no secret."""

JAVA = ["java", "-XX:TieredStopAtLevel=1", "-Xmx1g"]
"""Short programs run faster with Java's first compiler only."""

FUNCTIONS = {"Scala function runs on the server", "function of an uploaded jar runs on the server"}
"""Fail unless client and server have the same Scala library, as Java's serialization of its classes changes."""


def run(*command: str | Path, folder: Path | None = None, seconds: int = DEADLINE) -> str:
    """Runs a command, and returns what it prints."""
    try:
        done = subprocess.run(
            [*ENDS_WITH_PARENT, *command], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        printed = (error.stdout or b"").decode(errors="replace")
        raise AssertionError(f"{command[0]} took longer than {seconds} s:\n{printed}") from None
    if done.returncode:
        raise AssertionError(f"{command[0]} exited with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


class ScalaTest(unittest.TestCase):
    """Has one server, and a proxy without and one with TLS, for all tests of the class."""

    DEADLINE = DOWNLOAD + 2 * DEADLINE
    SPARK: str
    site: Site
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = cls.enterClassContext(Server(cls.SPARK))
        cls.site = cls.enterClassContext(Site({"main": driver(cls.server.port, engine=cls.SPARK[:3])}))
        cls.token = cls.site.token("ada")
        folder = cls.site.folder
        certificate, key, cls.trust = folder / "tls.crt", folder / "tls.key", folder / "trust.p12"
        run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate,
        )
        run("keytool", "-importcert", "-noprompt", "-file", certificate, "-keystore", cls.trust, "-storepass", PASSWORD)
        cls.plain = cls.site.proxy()
        cls.tls = cls.site.proxy(None, "--certificate", certificate, "--key", key)

    def results(self, client: str, addresses: dict[str, str]) -> dict[str, dict[str, str]]:
        """Compiles and runs the program with a client, and returns the result of each check by the name of its address."""
        jars = run(ROOT / "scripts" / "jars", SCALA / f"client-{client}", seconds=DOWNLOAD).strip()
        with tempfile.TemporaryDirectory() as classes:
            # The client depends on the compiler.
            compiler = [*JAVA, "-cp", f"{jars}/*", "scala.tools.nsc.Main", "-usejavacp"]
            run(*compiler, "-deprecation", "-Werror", "-d", classes, SCALA / "Client.scala")
            options = ["--add-opens=java.base/java.nio=ALL-UNNAMED", f"-Djavax.net.ssl.trustStore={self.trust}"]
            arguments = [word for pair in addresses.items() for word in pair]
            printed = run(
                *JAVA, *options, f"-Djavax.net.ssl.trustStorePassword={PASSWORD}", "-cp", f"{classes}:{jars}/*",
                "Client", classes, *arguments, folder=self.site.folder,
            )
        found: dict[str, dict[str, str]] = {name: {} for name in addresses}
        for line in printed.splitlines():
            name, check, result = line.split("\t")
            found[name][check] = result
        return found

    def check(self, client: str, *, failing: set[str] = frozenset()) -> None:
        addresses = {
            "plain": f"{self.plain.url(self.token)};dcp-domain=shop",
            "TLS": f"sc://localhost:{self.tls.port}/;use_ssl=true;dcp-domain=shop;token={self.token}",
            "direct": self.server.url,
        }
        for name, results in self.results(client, addresses).items():
            with self.subTest(name):
                failures = {check: result for check, result in results.items() if result != "ok"}
                self.assertEqual(failures.keys(), failing & results.keys(), failures)
                self.assertGreater(len(results), len(failing), "no check passed")


class Scala41(ScalaTest):
    SPARK = "4.1.1"

    def test_client_of_4_0(self) -> None:
        self.check("4.0.4", failing=FUNCTIONS)

    def test_client_of_4_1(self) -> None:
        # Over TLS, this client sends the token in the header `authentication`: SPARK-57336, fixed in 4.1.3.
        self.check("4.1.1")


class Scala42(ScalaTest):
    SPARK = "4.2.0"

    def test_client_of_4_2(self) -> None:
        self.check("4.2.0")


if __name__ == "__main__":
    unittest.main()
