"""PostgreSQL server for Airflow's metadata, run from this machine's binaries and stopped with the tests.

With SQLite, a stopped scheduler would hold a lock that blocks all other components of Airflow.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

# Runs a server until standard input ends, then removes the server's folder.
_WRAPPER = """
folder=$1; shift
"$@" >"$folder/log" 2>&1 &
cat >/dev/null
kill -QUIT $!
wait $!
rm -rf "$folder"
"""


class Postgres:
    """Server on a port of 127.0.0.1, with an empty database."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._password = secrets.token_hex(16)
        self._folder = Path(tempfile.mkdtemp(prefix="dcp-postgres-"))
        self._binaries = _binaries()
        # PostgreSQL does not run as root.
        self._user = _unprivileged_user() if os.getuid() == 0 else None
        if self._user is not None:
            os.chown(self._folder, self._user, -1)
        password = self._folder / "password"
        password.write_text(self._password)
        password.chmod(0o644)
        data = str(self._folder / "data")
        options = ["--username=airflow", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        self._run("initdb", *options, f"--pwfile={password}", f"--pgdata={data}")
        settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=200"]
        server = [str(self._binaries / "postgres"), "-D", data]
        for setting in settings:
            server += ["-c", setting]
        # The pipe closes when this process ends, even if it is killed.
        self._wrapper = subprocess.Popen(
            ["sh", "-c", _WRAPPER, "sh", str(self._folder), *server],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            user=self._user,
            start_new_session=True,
        )

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://airflow:{self._password}@127.0.0.1:{self._port}/postgres"

    def is_ready(self) -> bool:
        command = [str(self._binaries / "pg_isready"), "--host=127.0.0.1", f"--port={self._port}"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def close(self) -> None:
        assert self._wrapper.stdin is not None
        self._wrapper.stdin.close()
        self._wrapper.wait(30)

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(self._binaries / name), *arguments]
        ran = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self._folder, user=self._user
        )
        if ran.returncode != 0:
            raise AssertionError(f"{name} failed:\n{ran.stdout}{ran.stderr}")


def _binaries() -> Path:
    """Returns the folder of the newest version; Debian does not put the server's programs on the PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda it: float(it.parts[-3]))
    if versions:
        return versions[-1].parent
    found = shutil.which("initdb")
    if found is None:
        raise AssertionError("these tests need the PostgreSQL server; install it: apt-get install postgresql")
    return Path(found).parent


def _unprivileged_user() -> int:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise AssertionError("PostgreSQL cannot run as root; add a user `postgres` or `nobody`")
