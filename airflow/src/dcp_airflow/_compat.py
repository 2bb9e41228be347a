"""Names that Airflow 2 and Airflow 3 define in different modules."""

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
        """Never raised: Airflow 2 reports a timeout as a `TaskDeferralError`."""


def xcom() -> Any:
    """Returns the class `XCom`, imported on use because the import is too slow for a DAG file."""
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
