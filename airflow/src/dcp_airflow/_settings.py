"""Reads and validates an Airflow connection."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from dcp_airflow.errors import Invalid

PORT = 7420
EXTRA_FIELDS = frozenset({"tls", "ca", "control", "outage_timeout", "poll", "link", "deployment"})
# Prefix of a host that is the Unix socket of a `dcp up` on this machine.
UNIX_PREFIX = "unix:///"


@dataclass(frozen=True)
class Settings:
    """Addresses of dcp, and the options of calls to it."""

    runner: str
    control: str
    token: str = field(default="", repr=False)
    tls: bool = False
    ca: str = ""
    outage_timeout: float = 600.0
    poll: float = 5.0
    link: str = ""
    deployment: str = ""

    @classmethod
    def from_connection(cls, connection: Any) -> Settings:
        """Reads an Airflow connection. Raises `Invalid` if a field is invalid."""
        extra = _extra(connection)
        host, tls = (connection.host or "").strip(), _flag(extra, "tls")
        is_socket = host.startswith(UNIX_PREFIX)
        if is_socket and tls:
            raise _invalid("its host is a Unix socket, which has no TLS: remove `tls` from its extra")
        if "://" in host and not is_socket:
            scheme, _, host = host.partition("://")
            tls = tls or scheme in ("https", "dcps", "grpcs")
            host = host.rstrip("/")
        if not host:
            raise _invalid("it has no host: set the host of the Runner")
        runner = host if is_socket else _address(host, connection.port or PORT)
        settings = cls(
            runner=runner,
            control=_control(extra, runner),
            token=connection.password or "",
            tls=tls,
            ca=_text(extra, "ca"),
            outage_timeout=_seconds(extra, "outage_timeout", cls.outage_timeout, least=0.0),
            poll=_seconds(extra, "poll", cls.poll, least=0.1),
            link=_text(extra, "link"),
            deployment=_text(extra, "deployment"),
        )
        settings.validate()
        return settings

    def validate(self) -> None:
        """Rejects a malformed token or link, and a token that would travel unencrypted to another machine."""
        if self.token and not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise _invalid("its password, the token, has characters that no token has: copy the token again")
        for address in (self.runner, self.control):
            if self.token and not self.tls and not _is_loopback(address):
                raise _invalid(
                    f"its token goes unencrypted to {address}: set `tls` in its extra, "
                    "or use an address of this machine"
                )
        if "{" in self.link.replace("{id}", ""):
            raise _invalid("`link` in its extra has braces other than `{id}`, which stands for the execution")

    @property
    def origin(self) -> str:
        """Name under which this Airflow reports completions."""
        return f"airflow:{self.deployment}" if self.deployment else "airflow"

    def execution_url(self, id: str) -> str:
        """Returns the URL of an execution's page; empty for a Unix socket without a `link`."""
        if not self.link and self.runner.startswith(UNIX_PREFIX):
            return ""
        link = self.link or f"{'https' if self.tls else 'http'}://{self.runner}/api/v1/job/{{id}}"
        return link.replace("{id}", quote(id, safe=""))

    def root_certificates(self) -> bytes | None:
        """Returns the certificate authorities to trust; None for those of the machine."""
        if not self.ca:
            return None
        try:
            return Path(self.ca).read_bytes()
        except OSError as error:
            raise _invalid(f"the file `ca` in its extra is not readable: {error}") from None


def _invalid(cause: str) -> Invalid:
    return Invalid(f"the connection is invalid: {cause}", reason="CONNECTION")


def _extra(connection: Any) -> dict[str, Any]:
    # `extra_dejson` calls Airflow's supervisor, which blocks an event loop.
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError as error:
        raise _invalid(f"its extra is not JSON ({error})") from None
    if not isinstance(extra, dict):
        raise _invalid("its extra is not a JSON object")
    unknown = sorted(set(extra) - EXTRA_FIELDS)
    if unknown:
        known = ", ".join(f"`{name}`" for name in sorted(EXTRA_FIELDS))
        raise _invalid(f"its extra has the unknown field `{unknown[0]}`: known are {known}")
    return extra


def _text(extra: dict[str, Any], name: str) -> str:
    value = extra.get(name) or ""
    if not isinstance(value, str):
        raise _invalid(f"`{name}` in its extra must be text")
    return value.strip()


def _flag(extra: dict[str, Any], name: str) -> bool:
    # Airflow's form and connection URIs write text.
    value = extra.get(name, False)
    text = str(value).strip().lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off", "none", ""):
        return False
    raise _invalid(f"`{name}` in its extra must be true or false")


def _seconds(extra: dict[str, Any], name: str, default: float, least: float) -> float:
    value = extra.get(name)
    if value is None or value == "":
        return default
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not least <= seconds < float("inf"):
        raise _invalid(f"`{name}` in its extra must be a number of seconds, {least:g} or more")
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
        raise _invalid("`control` in its extra must be `host:port`")
    return _address(parts.hostname, port)


def _address(host: str, port: int) -> str:
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def _is_loopback(address: str) -> bool:
    if address.startswith(UNIX_PREFIX):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_loopback)
