"""Handles missed deadlines of DAG runs."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)


async def deadline_missed(context: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
    """Logs a missed deadline, then calls the function that `[dcp] on_deadline` names, with the same arguments.

    The option is the dotted path of a function or a coroutine function, which runs on the triggerer. In Airflow 3.3, its
    `context` has `dag_run` and `deadline` (`id` and `deadline_time`), and no task.
    """
    context = context or {}
    run: Any = context.get("dag_run") or {}
    deadline: Any = context.get("deadline") or {}
    log.error(
        "DAG %s missed its deadline: run %s was due by %s and is %s",
        run.get("dag_id"),
        run.get("dag_run_id") or run.get("run_id"),
        deadline.get("deadline_time"),
        run.get("state"),
    )
    path = _callback_path()
    if not path:
        return
    try:
        await _call(path, {**kwargs, "context": context})
    except Exception:
        log.exception("%s failed; check the option `on_deadline` of the section [dcp]", path)


def _callback_path() -> str:
    from airflow.configuration import conf

    return (conf.get("dcp", "on_deadline", fallback="") or "").strip()


async def _call(path: str, kwargs: Mapping[str, Any]) -> None:
    module, _, name = path.rpartition(".")
    if not module:
        raise ImportError(f"{path!r} is not a dotted path, such as `company.alerts.page_owner`")
    from importlib import import_module

    function = getattr(import_module(module), name)
    if inspect.iscoroutinefunction(function):
        await function(**kwargs)
        return
    # A blocking function must not block the triggerer's event loop.
    result = await asyncio.to_thread(function, **kwargs)
    if inspect.isawaitable(result):
        await result
