"""Runs the Spark jobs of dcp, a data control plane, from Airflow.

Airflow imports DAG files again and again, so this module imports nothing slow: each name is loaded from its module on
first use, and gRPC on the first call.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcp_airflow._provider import get_provider_info
    from dcp_airflow.assets import completed
    from dcp_airflow.deadlines import deadline_missed
    from dcp_airflow.hooks import DcpHook
    from dcp_airflow.operators import SparkOperator
    from dcp_airflow.timetables import EveryTimetable, SuspendedTimetable
    from dcp_airflow.triggers import CompletionTrigger, ExecutionTrigger

__version__ = "0.1.0"
__all__ = [
    "CompletionTrigger",
    "DcpHook",
    "EveryTimetable",
    "ExecutionTrigger",
    "SparkOperator",
    "SuspendedTimetable",
    "completed",
    "deadline_missed",
    "get_provider_info",
]

_MODULES = {
    "CompletionTrigger": "triggers",
    "DcpHook": "hooks",
    "EveryTimetable": "timetables",
    "ExecutionTrigger": "triggers",
    "SparkOperator": "operators",
    "SuspendedTimetable": "timetables",
    "completed": "assets",
    "deadline_missed": "deadlines",
    "get_provider_info": "_provider",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value
