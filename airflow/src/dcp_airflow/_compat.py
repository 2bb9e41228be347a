"""What has another place in Airflow 2 than in Airflow 3."""

from __future__ import annotations

from typing import Any

try:
    from airflow.sdk import Asset, BaseHook, BaseOperator, BaseOperatorLink
except ImportError:  # Airflow 2
    from airflow.datasets import Dataset as Asset  # type: ignore[no-redef]
    from airflow.hooks.base import BaseHook  # type: ignore[no-redef, attr-defined]
    from airflow.models import BaseOperator
    from airflow.models.baseoperatorlink import BaseOperatorLink  # type: ignore[no-redef]

try:
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferralError,
        TaskDeferralTimeout,
    )
except ImportError:
    from airflow.exceptions import (  # type: ignore[no-redef, attr-defined]
        AirflowException,
        AirflowFailException,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferralError,
    )

    class TaskDeferralTimeout(AirflowException):  # type: ignore[no-redef]
        """Never raised: Airflow 2 only says it in a `TaskDeferralError`."""


def xcom() -> Any:
    """Where tasks keep values; heavier than a DAG file may be, and needed by none."""
    try:
        from airflow.sdk.execution_time.xcom import XCom
    except ImportError:
        from airflow.models import XCom
    return XCom


__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "Asset",
    "BaseHook",
    "BaseOperator",
    "BaseOperatorLink",
    "TaskDeferralError",
    "TaskDeferralTimeout",
    "xcom",
]
