"""The button from a task to what it runs."""

from __future__ import annotations

from typing import Any

from dcp_airflow._compat import BaseOperatorLink, xcom

KEY = "_link_ExecutionLink"


class ExecutionLink(BaseOperatorLink):
    """Leads to the execution; the operator has kept where that is as soon as it knew."""

    name = "Execution"

    @property
    def xcom_key(self) -> str:
        """Where Airflow 3 reads the link from."""
        return KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address, or nothing where the task has come to no execution."""
        # On the worker, the operator knows; where it was made anew, as by a task that was deferred, or by Airflow 2's
        # web server, what it has kept does.
        link = getattr(operator, "execution_link", None)
        if link is not None:
            return str(link)
        return xcom().get_value(ti_key=ti_key, key=KEY) or ""
