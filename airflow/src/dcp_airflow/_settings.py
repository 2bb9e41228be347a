"""A connection of Airflow, read and checked."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from dcp_airflow.errors import Invalid

PORT = 7420
# What the host begins with if it is the socket of a `dcp up` on this machine.
UNIX = "unix:///"


@dataclass(frozen=True)
class Settings:
    """Where dcp is, and how it is spoken to."""

    runner: str
    control: str
    token: str = field(default="", repr=False)
    tls: bool = False
    ca: str = ""
    patience: float = 600.0
    poll: float = 5.0
    link: str = ""
    deployment: str = ""

    @classmethod
    def of(cls, connection: Any) -> Settings:
        """What an Airflow connection says; `Invalid` where that can't be right."""
        extra = _extra(connection)
        host, tls = (connection.host or "").strip(), _flag(extra, "tls")
        is_socket = host.startswith(UNIX)
        if is_socket and tls:
            raise _wrong("its host is a Unix socket, which has no TLS: take `tls` out of its extra")
        if "://" in host and not is_socket:
            scheme, _, host = host.partition("://")
            tls = tls or scheme in ("https", "dcps", "grpcs")
            host = host.rstrip("/")
        if not host:
            raise _wrong("it has no host: the one where the Runner is")
        runner = host if is_socket else _address(host, connection.port or PORT)
        settings = cls(
            runner=runner,
            control=_control(extra, runner),
            token=connection.password or "",
            tls=tls,
            ca=_text(extra, "ca"),
            patience=_seconds(extra, "patience", cls.patience, least=0.0),
            poll=_seconds(extra, "poll", cls.poll, least=0.1),
            link=_text(extra, "link"),
            deployment=_text(extra, "deployment"),
        )
        settings.check()
        return settings

    def check(self) -> None:
        """That no token goes where anyone could read it."""
        if self.token and not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise _wrong("its password, the token, has characters that a token can't have")
        for address in (self.runner, self.control):
            if self.token and not self.tls and not _loopback(address):
                raise _wrong(
                    f"its token would go to {address} in the clear: set `tls` in its extra, "
                    "which only an address of this machine can do without"
                )
        if "{" in self.link.replace("{id}", ""):
            raise _wrong(
                "`link` in its extra is an address with `{id}` for the execution, and has other braces"
            )

    @property
    def origin(self) -> str:
        """Who tells of completions."""
        return f"airflow:{self.deployment}" if self.deployment else "airflow"

    def url(self, execution: str) -> str:
        """Where a person can look at an execution; empty for a Unix socket without a `link`."""
        if not self.link and self.runner.startswith(UNIX):
            return ""
        link = self.link or f"{'https' if self.tls else 'http'}://{self.runner}/api/v1/job/{{id}}"
        return link.replace("{id}", quote(execution, safe=""))

    def certificate(self) -> bytes | None:
        """The authorities to trust, where not those of the machine."""
        if not self.ca:
            return None
        try:
            return Path(self.ca).read_bytes()
        except OSError as why:
            raise _wrong(f"`ca` in its extra can't be read: {why}") from None


def _wrong(why: str) -> Invalid:
    return Invalid(f"the connection can't be used: {why}", reason="CONNECTION")


def _extra(connection: Any) -> dict[str, Any]:
    # Not `extra_dejson`, which asks Airflow's supervisor and so must not be called in an event loop.
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError as why:
        raise _wrong(f"its extra is not JSON ({why})") from None
    if not isinstance(extra, dict):
        raise _wrong("its extra is not an object of JSON")
    return extra


def _text(extra: dict[str, Any], name: str) -> str:
    value = extra.get(name) or ""
    if not isinstance(value, str):
        raise _wrong(f"`{name}` in its extra has to be text")
    return value.strip()


def _flag(extra: dict[str, Any], name: str) -> bool:
    # Airflow's form and URIs of connections write text.
    value = extra.get(name, False)
    text = str(value).strip().lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off", "none", ""):
        return False
    raise _wrong(f"`{name}` in its extra has to be true or false")


def _seconds(extra: dict[str, Any], name: str, default: float, least: float) -> float:
    value = extra.get(name)
    if value is None or value == "":
        return default
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not least <= seconds < float("inf"):
        raise _wrong(f"`{name}` in its extra has to be a number of seconds, {least:g} or more")
    return seconds


def _control(extra: dict[str, Any], runner: str) -> str:
    control = _text(extra, "control")
    if not control:
        return runner
    parts = urlsplit(f"//{control}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or not port or parts.path:
        raise _wrong("`control` in its extra has to be `host:port`")
    return _address(parts.hostname, port)


def _address(host: str, port: int) -> str:
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def _loopback(address: str) -> bool:
    if address.startswith(UNIX):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_loopback)
