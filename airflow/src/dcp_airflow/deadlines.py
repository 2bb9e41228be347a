"""What is done where a run misses its deadline."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)


async def deadline_missed(context: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
    """Logs it, and calls what the option `on_deadline` of the section `[dcp]` names, with the same arguments.

    That is a function or a coroutine function, by its dotted path, and runs on the triggerer. Its `context` has, in
    Airflow 3.3, `dag_run` and `deadline` (`id` and `deadline_time`), and nothing of a task.
    """
    context = context or {}
    run: Any = context.get("dag_run") or {}
    deadline: Any = context.get("deadline") or {}
    log.error(
        "DAG %s has missed its deadline: run %s had to be done by %s, and is %s",
        run.get("dag_id"),
        run.get("dag_run_id") or run.get("run_id"),
        deadline.get("deadline_time"),
        run.get("state"),
    )
    path = _called()
    if not path:
        return
    try:
        await _call(path, {**kwargs, "context": context})
    except Exception:
        log.exception("%s, which the option on_deadline of [dcp] names, has failed", path)


def _called() -> str:
    from airflow.configuration import conf

    return (conf.get("dcp", "on_deadline", fallback="") or "").strip()


async def _call(path: str, kwargs: Mapping[str, Any]) -> None:
    module, _, name = path.rpartition(".")
    if not module:
        raise ImportError(f"{path!r} is not a dotted path, such as `company.alerts.page_owner`")
    from importlib import import_module

    call = getattr(import_module(module), name)
    if inspect.iscoroutinefunction(call):
        await call(**kwargs)
        return
    # What blocks must not hold up all that the triggerer waits for.
    result = await asyncio.to_thread(call, **kwargs)
    if inspect.isawaitable(result):
        await result
