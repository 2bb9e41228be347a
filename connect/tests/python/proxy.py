"""Starts dcp's proxy in front of real servers. Needs only Python's own modules."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from server import ROOT, free_port

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
DCP = Path(os.environ.get("DCP", TARGET / "debug" / "dcp"))
DEADLINE = 60
"""Seconds for the start of a proxy."""


class Site:
    """A control plane's database with a policy and two users, for any number of proxies. Used with `with`."""

    def __init__(
        self, drivers: dict[str, dict[str, object]], database: str | None = None, program: Path = DCP
    ) -> None:
        self.program = program
        self.folder = Path(tempfile.mkdtemp(prefix="dcp-proxy-"))
        self.database = database or str(self.folder / "connect.db")
        binding = {"role": "developer", "users": ["ada", "grace"], "scopes": ["*"], "domains": ["shop"]}
        self.policy = self.folder / "policy.yaml"
        self.policy.write_text(json.dumps({"bindings": [binding]}))
        self.drivers = self.folder / "drivers.yaml"
        self.drivers.write_text(json.dumps({"drivers": drivers}))
        self.proxies: list[Proxy] = []

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self.proxies:
            proxy.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *arguments: str) -> str:
        """Runs a command of dcp, and returns what it prints."""
        done = subprocess.run(
            [self.program, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True,
        )
        return done.stdout.strip()

    def token(self, user: str) -> str:
        return self.run("token", "create", user, "--database", self.database).splitlines()[-1].split()[-1]

    def proxy(self, port: int | None = None) -> Proxy:
        proxy = Proxy(self, port or free_port())
        self.proxies.append(proxy)
        return proxy.start()


class Proxy:
    """A process of `dcp serve connect`, which can be killed and started again at the same port."""

    def __init__(self, site: Site, port: int) -> None:
        self.site, self.port = site, port
        self.log = site.folder / f"proxy-{port}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, token: str) -> str:
        # Clients send a token without TLS to a server of this name only.
        return f"sc://localhost:{self.port}/;token={token}"

    def start(self) -> Proxy:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [
                    self.site.program, "serve", "connect", "--quiet", "--listen", f"127.0.0.1:{self.port}",
                    "--database", self.site.database, "--policy", self.site.policy, "--drivers", self.site.drivers,
                ],
                cwd=self.site.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the proxy did not start:\n{self.log.read_text()[-3000:]}") from None
                time.sleep(0.05)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def driver(port: int, **fields: object) -> dict[str, object]:
    """Returns an entry of the file of drivers."""
    return {"address": f"127.0.0.1:{port}", "domain": "shop", "engine": "4.1", "maxSessions": 10_000, **fields}
