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
from typing import Any

from server import ROOT, free_port

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
DCP = Path(os.environ.get("DCP", TARGET / "debug" / "dcp"))
DEADLINE = 60
"""Seconds for the start of a proxy."""


class Failed(Exception):
    """A command of dcp failed."""


class Site:
    """A control plane's database with a policy and two users, for any number of proxies. Used with `with`."""

    def __init__(
        self, drivers: dict[str, dict[str, object]], database: str | None = None, program: Path = DCP
    ) -> None:
        self.program = program
        self.folder = Path(tempfile.mkdtemp(prefix="dcp-proxy-"))
        self.database = database or str(self.folder / "connect.db")
        roles = {"developer": ["ada", "grace"], "operator": ["olga"], "viewer": ["vera"]}
        bindings = [
            {"role": role, "users": users, "scopes": ["*"], "domains": ["shop"]} for role, users in roles.items()
        ]
        self.policy = self.folder / "policy.yaml"
        self.policy.write_text(json.dumps({"bindings": bindings}))
        self.drivers = self.folder / "drivers.yaml"
        self.drivers.write_text(json.dumps({"drivers": drivers}))
        self.proxies: list[Proxy] = []

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self.proxies:
            proxy.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *arguments: str, token: str = "") -> str:
        """Runs a command of dcp, and returns what it prints."""
        done = subprocess.run(
            [self.program, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, env={**os.environ, "DCP_TOKEN": token},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        if done.returncode:
            raise Failed(f"dcp {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def token(self, user: str) -> str:
        return self.run("token", "create", user, "--database", self.database).splitlines()[-1].split()[-1]

    def proxy(self, port: int | None = None, *options: str | Path) -> Proxy:
        """Starts a proxy, with further options of its command."""
        proxy = Proxy(self, port or free_port(), *options)
        self.proxies.append(proxy)
        return proxy.start()


class Up:
    """A process of `dcp up` with pools, in a project of its own. Its drivers end with it. Used with `with`."""

    def __init__(self, pools: dict[str, dict[str, object]], program: Path = DCP) -> None:
        """Takes the fields of each pool by its name."""
        self.program, self.pools = program, list(pools)
        self.folder = Path(tempfile.mkdtemp(prefix="dcp-up-"))
        self.log = self.folder / "up.log"
        self.port = free_port()
        home = subprocess.run(
            [ROOT / "scripts" / "spark"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()
        self.environment = {**os.environ, "SPARK_HOME": home}
        for name, fields in pools.items():
            metadata = {"name": name, "domain": "shop", "owner": "data@example.com"}
            spec = {"engine": {"version": "4.1"}, **fields}
            pool = {"apiVersion": "dcp/v1", "kind": "Pool", "metadata": metadata, "spec": spec}
            (self.folder / f"{name}.yaml").write_text(json.dumps(pool))
        manifests = [f"{name}.yaml" for name in pools]
        (self.folder / "dcp.yaml").write_text(json.dumps({"project": "tests", "manifests": manifests}))
        binding = {"role": "developer", "users": ["ada", "grace"], "scopes": ["*"], "domains": ["shop"]}
        (self.folder / "policy.yaml").write_text(json.dumps({"bindings": [binding]}))

    def __enter__(self) -> Up:
        self.run("apply", "--auto-approve", "--quiet")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [self.program, "up", "--quiet", "--listen", f"127.0.0.1:{self.port}", "--policy", "policy.yaml"],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
            )
        wait_for_port(self.process, self.port, self.log)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            deleted = [argument for name in self.pools for argument in ("--allow-delete", f"shop/{name}")]
            self.run("destroy", "--auto-approve", *deleted)
            deadline = time.monotonic() + DEADLINE
            while self.run("runs", "--live", "--output", "json") != "[]" and time.monotonic() < deadline:
                time.sleep(0.2)
        finally:
            self.process.terminate()
            self.process.wait(DEADLINE)
            shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *arguments: str) -> str:
        """Runs a command of dcp, and returns what it prints."""
        done = subprocess.run(
            [self.program, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        if done.returncode:
            raise Failed(f"dcp {' '.join(arguments)}: {done.stdout}{done.stderr}\n{self.log_text()}")
        return done.stdout.strip()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def url(self, user: str) -> str:
        """Returns the address for a user, with a new token."""
        token = self.run("token", "create", user).splitlines()[-1].split()[-1]
        return f"sc://localhost:{self.port}/;token={token}"

    def ready(self, pool: str) -> int:
        """Returns the number of a pool's drivers that are ready."""
        listed = json.loads(self.run("pools", "--output", "json"))["pools"]
        return sum(each["drivers"]["ready"] for each in listed if each["name"] == pool)

    def drivers(self) -> dict[str, str]:
        """Returns the driver of each user's newest session."""
        listed = json.loads(self.run("pools", "--sessions", "--all", "--output", "json"))["sessions"]
        return {session["user"]: session["driver"] for session in listed}

    def kill_driver(self, driver: str) -> None:
        """Kills the JVM of a driver."""
        jvms = [
            int(folder.name) for folder in Path("/proc").iterdir()
            if folder.name.isdigit() and is_jvm_of(folder, driver.encode())
        ]
        if not jvms:
            raise AssertionError(f"no JVM runs the driver {driver}")
        for pid in jvms:
            os.kill(pid, signal.SIGKILL)


def is_jvm_of(folder: Path, driver: bytes) -> bool:
    try:
        command = (folder / "cmdline").read_bytes()
    except OSError:
        return False
    return command.split(b"\0", 1)[0].endswith(b"java") and driver in command


def wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Waits until a process of dcp listens at a port."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"dcp did not start:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.05)


class Proxy:
    """A process of `dcp serve connect`, which can be killed and started again at the same port."""

    def __init__(self, site: Site, port: int, *options: str | Path) -> None:
        self.site, self.port, self.options = site, port, options
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
                    *self.options,
                ],
                cwd=self.site.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        wait_for_port(self.process, self.port, self.log)
        return self

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
