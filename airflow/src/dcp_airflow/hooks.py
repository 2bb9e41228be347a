"""Hook for the connection type `dcp`."""

from __future__ import annotations

from typing import Any

from dcp_airflow._client import AsyncClient, Client
from dcp_airflow._compat import BaseHook
from dcp_airflow._settings import Settings
from dcp_airflow.errors import DcpError


class DcpHook(BaseHook):
    """Calls a Runner of dcp and its control plane.

        with DcpHook().client() as dcp:
            execution, is_new = dcp.submit("mine-1", {"scope": "shop/prod", "domain": "sales", "name": "orders"}, {})
            for transition in dcp.watch(execution.id):
                ...

    Responses are the messages of dcp's `runner.proto` and `control.proto`. Errors are classes of `dcp_airflow.errors`.

    :param conn_id: an Airflow connection of the type `dcp`
    """

    conn_name_attr = "conn_id"
    default_conn_name = "dcp_default"
    conn_type = "dcp"
    hook_name = "Data control plane"

    def __init__(self, conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def settings(self) -> Settings:
        """Reads the connection."""
        return Settings.from_connection(self.get_connection(self.conn_id))

    async def asettings(self) -> Settings:
        """Reads the connection without blocking an event loop."""
        get = getattr(self, "aget_connection", None)
        if get is not None:
            return Settings.from_connection(await get(self.conn_id))
        from asgiref.sync import sync_to_async

        return Settings.from_connection(await sync_to_async(self.get_connection)(self.conn_id))

    def get_conn(self) -> Client:
        """Returns the same as `client`, under the name that all hooks of Airflow have for it."""
        return self.client()

    def client(self, outage_timeout: float | None = None) -> Client:
        """Returns a blocking client. Close it: `with hook.client() as dcp`.

        :param outage_timeout: seconds to retry during an outage, instead of those of the connection
        """
        return Client(self.settings(), self.log, outage_timeout)

    async def aclient(self, outage_timeout: float | None = None) -> AsyncClient:
        """Returns a client for an event loop. Close it: `async with await hook.aclient() as dcp`."""
        return AsyncClient(await self.asettings(), self.log, outage_timeout)

    def test_connection(self) -> tuple[bool, str]:
        """Checks that the Runner responds and accepts the token."""
        try:
            settings = self.settings()
            with Client(settings, self.log, outage_timeout=0) as client:
                client.list_executions(1)
        except DcpError as error:
            return False, str(error)
        return True, f"the Runner at {settings.runner} responds"

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Returns the layout of Airflow's connection form."""
        from dcp_airflow._provider import UI_FIELD_BEHAVIOUR

        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}
