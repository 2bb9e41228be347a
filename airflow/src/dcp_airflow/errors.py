"""Errors of calls to dcp."""

from __future__ import annotations

from collections.abc import Mapping

from dcp_airflow._compat import AirflowException


class DcpError(AirflowException):
    """A call to dcp failed."""


class Unavailable(DcpError):
    """No response arrived, or the server is temporarily unable to respond. A retry is safe."""


class Rejected(DcpError):
    """The server rejected the call. A retry does not help."""

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


class NotFound(Rejected):
    """The execution, job or attempt does not exist."""


class TokenReused(Rejected):
    """The token belongs to another request; `metadata["execution"]` is the execution of that request."""


class Invalid(Rejected):
    """The request is invalid."""


class Blocked(Rejected):
    """The current state does not allow the call."""


class Denied(Rejected):
    """The token is missing, or has no permission for the call."""


class Unsupported(Rejected):
    """The server at this address does not implement the call."""


_CLASS_BY_CODE: dict[str, type[Rejected]] = {
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": TokenReused,
    "INVALID_ARGUMENT": Invalid,
    "FAILED_PRECONDITION": Blocked,
    "UNAUTHENTICATED": Denied,
    "PERMISSION_DENIED": Denied,
    "UNIMPLEMENTED": Unsupported,
}


def rejected(code: str, message: str, reason: str = "", metadata: Mapping[str, str] | None = None) -> Rejected:
    """Returns the error for a gRPC status that a retry does not change."""
    return _CLASS_BY_CODE.get(code, Rejected)(message, code=code, reason=reason, metadata=metadata)
