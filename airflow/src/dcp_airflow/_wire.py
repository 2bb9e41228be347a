"""The messages of dcp's services, made from their descriptors when they are first needed.

There is no generated code, which would tie this package to one version of protobuf.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from dcp_airflow.errors import DcpError, Unreachable, refused

if TYPE_CHECKING:
    from google.protobuf.descriptor_pool import DescriptorPool

RUNNER = "dcp.runner.v1.Runner"
ASSETS = "dcp.control.v1.Assets"

ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})

# google.rpc.Status and ErrorInfo, with fields (name, number, type) as they are on the wire. The packages that bring
# them along are not needed for two messages.
_TYPE_INT32, _TYPE_STRING, _TYPE_BYTES, _TYPE_MESSAGE = 5, 9, 12, 11
_STATUS: dict[str, list[tuple[str, int, int, str]]] = {
    "Status": [
        ("code", 1, _TYPE_INT32, ""),
        ("message", 2, _TYPE_STRING, ""),
        ("details", 3, _TYPE_MESSAGE, "Detail"),
    ],
    "Detail": [("type_url", 1, _TYPE_STRING, ""), ("value", 2, _TYPE_BYTES, "")],
    "ErrorInfo": [
        ("reason", 1, _TYPE_STRING, ""),
        ("domain", 2, _TYPE_STRING, ""),
        ("metadata", 3, _TYPE_MESSAGE, "Pair"),
    ],
    "Pair": [("key", 1, _TYPE_STRING, ""), ("value", 2, _TYPE_STRING, "")],
}
_STATUS_PACKAGE = "dcp.airflow"


@cache
def _pool() -> DescriptorPool:
    from google.protobuf import descriptor_pb2, descriptor_pool

    pool = descriptor_pool.DescriptorPool()
    raw = resources.files(__package__).joinpath("descriptors.bin").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(raw).file:
        pool.AddSerializedFile(file.SerializeToString())
    status = descriptor_pb2.FileDescriptorProto(
        name="dcp/airflow/status.proto", package=_STATUS_PACKAGE, syntax="proto3"
    )
    for name, fields in _STATUS.items():
        message = status.message_type.add(name=name)
        for field, number, kind, of in fields:
            # A map is a repeated pair on the wire.
            label = 3 if of else 1
            type_name = f".{_STATUS_PACKAGE}.{of}" if of else None
            message.field.add(name=field, number=number, type=kind, label=label, type_name=type_name)
    pool.AddSerializedFile(status.SerializeToString())
    return pool


@cache
def message(name: str) -> Any:
    """The class of a message, by its full name."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))


def runner(name: str, /, **fields: Any) -> Any:
    """A message of the Runner."""
    return message(f"dcp.runner.v1.{name}")(**fields)


def control(name: str, /, **fields: Any) -> Any:
    """A message of the control plane."""
    return message(f"dcp.control.v1.{name}")(**fields)


@cache
def method(service: str, name: str) -> tuple[str, Any, Any]:
    """The path of a method, and what takes its messages to bytes and back."""
    found = _pool().FindServiceByName(service).FindMethodByName(name)
    request, response = message(found.input_type.full_name), message(found.output_type.full_name)
    return f"/{service}/{name}", request.SerializeToString, response.FromString


def phase(number: int) -> str:
    """The name of a phase, such as `RUNNING`."""
    values = _pool().FindEnumTypeByName("dcp.runner.v1.Phase").values_by_number
    name = values[number].name if number in values else f"PHASE_{number}"
    return str(name).removeprefix("PHASE_")


def error(failed: Any, address: str) -> DcpError:
    """What a failed call of gRPC means: `Unreachable` where to try again can help."""
    code = failed.code().name
    text = failed.details() or ""
    reason, metadata = "", {}
    for key, value in failed.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            told = _told(value)
            if told is not None:
                text, reason, metadata = told[0] or text, told[1], told[2]
    # A queue that is full empties by itself; other limits do not change.
    if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED") or reason == "EXHAUSTED":
        return Unreachable(f"{address}: {text or 'no answer'}")
    return refused(code, text or code, reason, metadata)


def _told(raw: bytes) -> tuple[str, str, dict[str, str]] | None:
    from google.protobuf.message import DecodeError

    try:
        status = message(f"{_STATUS_PACKAGE}.Status").FromString(raw)
        for detail in status.details:
            if detail.type_url.endswith("/google.rpc.ErrorInfo"):
                info = message(f"{_STATUS_PACKAGE}.ErrorInfo").FromString(detail.value)
                return status.message, info.reason, {pair.key: pair.value for pair in info.metadata}
    except DecodeError:
        # Something between us and dcp has written it; the status itself is there.
        return None
    return status.message, "", {}
