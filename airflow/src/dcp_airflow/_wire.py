"""Messages of dcp's gRPC services, built from their descriptors on first use.

Generated code would tie this package to one version of protobuf.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from dcp_airflow.errors import DcpError, Unavailable, rejected

if TYPE_CHECKING:
    from google.protobuf.descriptor_pool import DescriptorPool

RUNNER = "dcp.runner.v1.Runner"
ASSETS = "dcp.control.v1.Assets"

TERMINAL_PHASES = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})

# google.rpc.Status and ErrorInfo as (name, number, type, message type) of their fields. Two messages are not worth a
# dependency on the packages that define them.
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
        for field, number, kind, message_type in fields:
            # A map is a repeated pair on the wire.
            label = 3 if message_type else 1
            type_name = f".{_STATUS_PACKAGE}.{message_type}" if message_type else None
            message.field.add(name=field, number=number, type=kind, label=label, type_name=type_name)
    pool.AddSerializedFile(status.SerializeToString())
    return pool


@cache
def message_class(full_name: str) -> Any:
    """Returns the class of a message."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(full_name))


def runner_message(name: str, /, **fields: Any) -> Any:
    """Creates a message of the Runner's protocol."""
    return message_class(f"dcp.runner.v1.{name}")(**fields)


def control_message(name: str, /, **fields: Any) -> Any:
    """Creates a message of the control plane's protocol."""
    return message_class(f"dcp.control.v1.{name}")(**fields)


@cache
def method(service: str, name: str) -> tuple[str, Any, Any]:
    """Returns the path of a method, the serializer of its request and the deserializer of its response."""
    found = _pool().FindServiceByName(service).FindMethodByName(name)
    request, response = message_class(found.input_type.full_name), message_class(found.output_type.full_name)
    return f"/{service}/{name}", request.SerializeToString, response.FromString


def phase_name(number: int) -> str:
    """Returns the name of a phase, such as `RUNNING`."""
    values = _pool().FindEnumTypeByName("dcp.runner.v1.Phase").values_by_number
    name = values[number].name if number in values else f"PHASE_{number}"
    return str(name).removeprefix("PHASE_")


def to_error(rpc_error: Any, address: str) -> DcpError:
    """Converts an error of gRPC: to `Unavailable` if a retry can help, else to a `Rejected`."""
    code = rpc_error.code().name
    text = rpc_error.details() or ""
    reason, metadata = "", {}
    for key, value in rpc_error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            details = _status_details(value)
            if details is not None:
                text, reason, metadata = details[0] or text, details[1], details[2]
    # A full queue drains; the other limits are constant.
    if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED") or reason == "EXHAUSTED":
        return Unavailable(f"{address}: {text or 'no response'}")
    return rejected(code, text or code, reason, metadata)


def _status_details(raw: bytes) -> tuple[str, str, dict[str, str]] | None:
    """Returns message, reason and metadata of an encoded `google.rpc.Status`; None if it can't be decoded."""
    from google.protobuf.message import DecodeError

    try:
        status = message_class(f"{_STATUS_PACKAGE}.Status").FromString(raw)
        for detail in status.details:
            if detail.type_url.endswith("/google.rpc.ErrorInfo"):
                info = message_class(f"{_STATUS_PACKAGE}.ErrorInfo").FromString(detail.value)
                return status.message, info.reason, {pair.key: pair.value for pair in info.metadata}
    except DecodeError:
        # A proxy may have written the details; code and text of the status are still valid.
        return None
    return status.message, "", {}
