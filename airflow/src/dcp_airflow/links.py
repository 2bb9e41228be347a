"""Link from a task to its execution."""

from __future__ import annotations

from typing import Any

from dcp_airflow._compat import BaseOperatorLink, xcom

XCOM_KEY = "_link_ExecutionLink"


class ExecutionLink(BaseOperatorLink):
    """Button of a task that opens its execution. The operator stores the URL as soon as it knows the execution."""

    name = "Execution"

    @property
    def xcom_key(self) -> str:
        """Key of the XCom that Airflow 3 reads the URL from."""
        return XCOM_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Returns the URL; empty if the task has no execution."""
        # The operator has no URL if it was created again: after a deferral, or in the web server of Airflow 2.
        link = getattr(operator, "execution_link", None)
        if link is not None:
            return str(link)
        return xcom().get_value(ti_key=ti_key, key=XCOM_KEY) or ""
