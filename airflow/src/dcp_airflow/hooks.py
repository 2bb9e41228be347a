"""The connection type `dcp`."""

from __future__ import annotations

from typing import Any

from dcp_airflow._client import AsyncClient, Client
from dcp_airflow._compat import BaseHook
from dcp_airflow._settings import Settings
from dcp_airflow.errors import DcpError


class DcpHook(BaseHook):
    """Calls a Runner of dcp, and its control plane.

        with DcpHook().client() as dcp:
            execution, fresh = dcp.submit("mine-1", {"scope": "shop/prod", "domain": "sales", "name": "orders"}, {})
            for step in dcp.watch(execution.id):
                ...

    Answers are dcp's own messages, as in its `runner.proto` and `control.proto`. What goes wrong is raised as one of
    `dcp_airflow.errors`.

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
        """What the connection says."""
        return Settings.of(self.get_connection(self.conn_id))

    async def asettings(self) -> Settings:
        """The same, where an event loop must not be held up."""
        get = getattr(self, "aget_connection", None)
        if get is not None:
            return Settings.of(await get(self.conn_id))
        from asgiref.sync import sync_to_async

        return Settings.of(await sync_to_async(self.get_connection)(self.conn_id))

    def get_conn(self) -> Client:
        """What `client` gives, by the name that Airflow's hooks have for it."""
        return self.client()

    def client(self, patience: float | None = None) -> Client:
        """Calls for a worker. To be closed: `with hook.client() as dcp`.

        :param patience: for how many seconds an outage is waited out, where not as the connection says
        """
        return Client(self.settings(), self.log, patience)

    async def aclient(self, patience: float | None = None) -> AsyncClient:
        """Calls for an event loop: `async with await hook.aclient() as dcp`."""
        return AsyncClient(await self.asettings(), self.log, patience)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the Runner answers, and knows the token."""
        try:
            settings = self.settings()
            with Client(settings, self.log, patience=0) as client:
                client.newest(1)
        except DcpError as why:
            return False, str(why)
        return True, f"the Runner at {settings.runner} answers"

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """How Airflow's form for a connection looks, where it is made from the hook."""
        from dcp_airflow._provider import UI_FIELD_BEHAVIOUR

        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}
