"""Starts real servers of Spark Connect. Needs only Python's own modules."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ENDS_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL", "--"]
"""Begins a command that the system kills when the thread that started it ends, also if its process was killed."""
DEADLINE = 300
"""Seconds for the start of a server, which may first install Spark."""


def free_port() -> int:
    """Returns a free port of this machine that the kernel, whose own are 32768 and above, gives to no other socket."""
    for port in random.sample(range(20_000, 32_768), 1000):
        with contextlib.suppress(OSError), socket.socket() as it:
            it.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class Server:
    """A real server, in a temporary folder of its own. Used with `with`."""

    def __init__(self, version: str, *arguments: str) -> None:
        self.version = version
        self.port = free_port()
        self._arguments = arguments
        self._folder = Path(tempfile.mkdtemp(prefix="dcp-connect-"))
        self.log = self._folder / "server.log"

    @property
    def url(self) -> str:
        return f"sc://127.0.0.1:{self.port}"

    def __enter__(self) -> Server:
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                [*ENDS_WITH_PARENT, ROOT / "scripts" / "connect-server", self.version, str(self.port), *self._arguments],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    def _wait(self) -> None:
        deadline = time.monotonic() + DEADLINE
        while b"Spark Connect server started at" not in self.log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                end = self.log.read_text(errors="replace")[-3000:]
                raise SystemExit(f"Spark {self.version} did not start:\n{end}")
            time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(20)
                break
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                break
        shutil.rmtree(self._folder, ignore_errors=True)


def client(version: str) -> str:
    """Returns the Python that has a version of the client."""
    done = subprocess.run(
        [ROOT / "scripts" / "connect-clients", version], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


if __name__ == "__main__":
    # python3 server.py VERSION [ARGUMENT...]: serves until the end of its standard input.
    with Server(*sys.argv[1:]) as server:
        print(server.url, flush=True)
        sys.stdin.read()
