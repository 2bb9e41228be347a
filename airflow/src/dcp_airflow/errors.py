"""What can go wrong with a call to dcp."""

from __future__ import annotations

from collections.abc import Mapping

from dcp_airflow._compat import AirflowException


class DcpError(AirflowException):
    """A call to dcp that came to nothing."""


class Unreachable(DcpError):
    """Nobody answered, or just then could not. To try again is safe."""


class Refused(DcpError):
    """The answer was no, and trying again would not change it."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})


class NotFound(Refused):
    """There is no such execution, job or attempt."""


class TokenReused(Refused):
    """The token belongs to another request; `metadata["execution"]` is what came of that one."""


class Invalid(Refused):
    """What was asked for can't be right."""


class Blocked(Refused):
    """It can't be done as things stand."""


class Denied(Refused):
    """There is no token, or none that may do this."""


class Unsupported(Refused):
    """Whoever answers at this address does not know the call."""


_KINDS: dict[str, type[Refused]] = {
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": TokenReused,
    "INVALID_ARGUMENT": Invalid,
    "FAILED_PRECONDITION": Blocked,
    "UNAUTHENTICATED": Denied,
    "PERMISSION_DENIED": Denied,
    "UNIMPLEMENTED": Unsupported,
}


def refused(code: str, message: str, reason: str = "", metadata: Mapping[str, str] | None = None) -> Refused:
    """The error for a status that is final."""
    return _KINDS.get(code, Refused)(message, code=code, reason=reason, metadata=metadata)
