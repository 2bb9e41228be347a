"""Runs a job of dcp as a task of Airflow."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any, NoReturn
from urllib.parse import quote

from dcp_airflow import _life, _report, _wire
from dcp_airflow._client import Client
from dcp_airflow._compat import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    Asset,
    BaseOperator,
    TaskDeferralError,
    TaskDeferralTimeout,
)
from dcp_airflow._life import Life, Memory, Next, State
from dcp_airflow._settings import Settings
from dcp_airflow.errors import (
    Blocked,
    DcpError,
    Invalid,
    NotFound,
    Refused,
    TokenReused,
    Unreachable,
    Unsupported,
)
from dcp_airflow.hooks import DcpHook
from dcp_airflow.links import KEY, ExecutionLink

_KIND = "CoreEtlJob"
# An asset of dcp is named by its kind and what that calls it; `s3://…` is none.
_ASSET = re.compile(r"[a-z][a-zA-Z]*:(?!//).+", re.DOTALL)
# How long a worker that is told to stop may take to cancel what it runs, and how long that is then waited for.
_KILL, _STOP = 8.0, 120.0


class SparkOperator(BaseOperator):
    """Has a Runner of dcp run a job that was applied, once, and waits for it.

    Its execution is found again by a try after a crash of anything, and is never started a second time for that. What
    more memory or another attempt can mend, the Runner mends: a task whose job has failed is not tried again by
    Airflow. Clearing the task has the job run anew.

    :param scope: `project` or `project/target`, as it was applied
    :param job: its address, `CoreEtlJob/domain/name` or `domain/name`
    :param fingerprint: the very revision to run; else the one that is applied when the task runs
    :param parameters: values of the job's parameters, passed on as they are
    :param run_parameters: values that Airflow renders (templated); one that has the name of one above replaces it
    :param partition: which of `run_parameters` say what part of its outputs a run makes, such as `["day"]`
    :param replace_running: whether an earlier run of the DAG that still runs the job is cancelled, and this one starts
        once it has ended; the task of the earlier run is skipped then
    :param conn_id: an Airflow connection of the type `dcp`
    :param deferrable: whether the triggerer waits, and no worker does
    :param logs: whether what the driver writes is in the task's log
    """

    template_fields: Sequence[str] = ("run_parameters",)
    template_fields_renderers = {"run_parameters": "json"}
    ui_color = "#fdeadd"
    operator_extra_links = (ExecutionLink(),)

    def __init__(
        self,
        *,
        scope: str,
        job: str,
        fingerprint: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        run_parameters: Mapping[str, Any] | None = None,
        partition: Sequence[str] = (),
        replace_running: bool = False,
        conn_id: str = DcpHook.default_conn_name,
        deferrable: bool = True,
        logs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scope = scope
        self.job = job
        self.fingerprint = fingerprint
        self.parameters = parameters
        self.run_parameters = run_parameters
        self.partition = partition
        self.replace_running = replace_running
        self.conn_id = conn_id
        self.deferrable = deferrable
        self.logs = logs
        self._domain, self._name = address(job)
        if isinstance(partition, str):
            raise ValueError(f"partition is a list of names of run_parameters, such as [{partition!r}]")
        if isinstance(run_parameters, Mapping):
            for name in partition:
                if name not in run_parameters:
                    raise ValueError(f"partition has {name!r}, which is not one of run_parameters")
        self._execution = ""
        self._killed = False
        self._settings: Settings | None = None
        self._differs: TokenReused | None = None
        # None where it has to be looked up.
        self.execution_link: str | None = ""

    def execute(self, context: Any) -> str:
        """Called by Airflow when a try begins."""
        parameters = self._parameters()
        with self._client() as client:
            try:
                execution = self._submit(client, context, parameters)
                return self._follow(client, context, execution)
            except AirflowTaskTimeout:
                return self._timed_out(client, context)

    def execute_complete(self, context: Any, event: Mapping[str, Any] | None = None) -> str:
        """Called by Airflow when the trigger has seen the end, or can't see anything any more."""
        event = event or {}
        self.execution_link = None
        self._execution = str(event.get("execution") or self._known(context))
        if "gone" in event:
            raise AirflowFailException(
                f"the Runner does not know execution {self._execution} any more: {event['gone']}. "
                "Clear the task to have the job run anew."
            )
        if "lost" in event:
            self._lost(str(event["lost"]))
        with self._client() as client:
            try:
                return self._follow(client, context, self._check(client))
            except AirflowTaskTimeout:
                return self._timed_out(client, context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Called by Airflow instead of either, to say how deferring has ended."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralError, TaskDeferralTimeout) as why:
            self._execution, self.execution_link = self._known(context), None
            if "timeout" in str(getattr(why.args[0], "value", why)).lower():
                with self._client() as client:
                    return self._timed_out(client, context)
            raise AirflowException(
                f"the triggerer could not wait for execution {self._execution}: {why}, see above. "
                "The execution goes on; clear the task to have it found again."
            ) from None

    def on_kill(self) -> None:
        """Called by Airflow when a person has stopped the task while a worker runs it."""
        self._killed = True
        id = self._execution
        if not id:
            return
        self.log.info("cancelling execution %s", id)
        # This comes as a signal, in the middle of whatever a call to the Runner or to Airflow does just now, with its
        # locks held. So Airflow is asked for nothing, and the connection is another one, on a thread of its own.
        settings = self._settings
        if settings is None:
            return

        def cancel() -> None:
            with Client(settings, self.log, patience=_KILL) as client:
                try:
                    client.cancel(id)
                except DcpError as why:
                    self.log.error("execution %s could not be cancelled, and may go on: %s", id, why)

        thread = threading.Thread(target=cancel, daemon=True)
        thread.start()
        thread.join(_KILL)

    def _client(self) -> Client:
        try:
            client = DcpHook(self.conn_id).client()
        except Invalid as why:
            raise AirflowFailException(f"connection `{self.conn_id}`: {why}") from None
        self._settings = client.settings
        return client

    def _parameters(self) -> dict[str, str]:
        """All parameters, as the Runner takes them."""
        given = {**(self.parameters or {}), **(self.run_parameters or {})}
        try:
            return {str(name): text(name, value) for name, value in given.items()}
        except ValueError as why:
            raise AirflowFailException(f"nothing was submitted: {why}") from None

    def _submit(self, client: Client, context: Any, parameters: Mapping[str, str]) -> Any:
        """The execution of this try, be it new or one that was found."""
        memory = Memory(context)
        before = memory.load() if memory.lasting else None
        ti = context["ti"]
        retried = _life.retried(ti.try_number, ti.max_tries, self.retries)
        state, resumed = _life.begin(before, retried)
        while True:
            # Remembered before it is asked for: whatever happens from here on, the next try asks for the same.
            state = memory.save(state)
            execution, fresh = self._ask(client, context, state, parameters)
            life = state.life(created(execution)) if resumed else Life.UNKNOWN
            if not memory.lasting:
                life = Life.RESUMED if retried else Life.STATELESS
            self._found(context, client, execution)
            phase = _wire.phase(execution.phase)
            if _life.decide(phase, fresh, life) is Next.FOLLOW or _report.replaced_by(execution):
                memory.save(replace(state, execution=execution.id, resumed=not fresh))
                self._say(execution, fresh)
                return execution
            self.log.info(
                "execution %s of an earlier try is %s: the job is run anew", execution.id, phase.lower()
            )
            self._ended(client, execution)
            # Nothing is known of the next one either, if it is there: a run by the same name may have had it.
            state, resumed, retried = _life.following(state), False, False

    def _ask(
        self, client: Client, context: Any, state: State, parameters: Mapping[str, str]
    ) -> tuple[Any, bool]:
        ti = context["ti"]
        deployment = client.settings.deployment
        token = _life.token(deployment, ti.dag_id, ti.run_id, ti.task_id, ti.map_index, state.generation)
        self._differs = None
        reference = {"scope": self.scope, "domain": self._domain, "name": self._name}
        if self.fingerprint:
            reference["fingerprint"] = self.fingerprint.removeprefix("sha256:")
        try:
            try:
                return client.submit(token, reference, parameters, **self._order(context))
            except TokenReused as why:
                if "execution" not in why.metadata:
                    raise
                self._differs = why
                return client.check(why.metadata["execution"]), False
        except Unreachable as why:
            raise AirflowFailException(
                f"the Runner could not be asked to run {self.job}: {why}. Whether it has heard of it is not known; "
                "clear the task to ask again: what it has begun is found, and not begun twice."
            ) from None
        except Refused as why:
            raise AirflowFailException(self._refusal(why)) from None

    def _order(self, context: Any) -> dict[str, Any]:
        """The key of runs that replace each other, and the place of this one among them."""
        if not self.replace_running:
            return {}
        due = context["dag_run"].run_after
        key = f"schedule:{self.scope}/{self._domain}/{self._name}"
        return {"exclusive": key, "order": int(due.timestamp() * 1000)}

    def _refusal(self, why: Refused) -> str:
        what = f"{self._domain}/{self._name} of {self.scope}"
        if isinstance(why, NotFound):
            revision = f" in revision {self.fingerprint}" if self.fingerprint else ""
            return f"there is no {what}{revision} to run: {why}. Apply it (dcp apply), then clear the task."
        if isinstance(why, Invalid):
            return f"{what} can't be run like this: {why}. Nothing was submitted; see its parameters in the manifest."
        if isinstance(why, Blocked):
            return f"{what} can't be run now: {why}. Nothing was submitted; clear the task once that has changed."
        return (
            f"the Runner has refused to run {what}: {why} ({why.reason or why.code}). Nothing was submitted."
        )

    def _say(self, execution: Any, fresh: bool) -> None:
        job = f"{execution.domain}/{execution.name}"
        if fresh:
            self.log.info("submitted %s: execution %s", job, execution.id)
            return
        self.log.info("found execution %s of %s, which an earlier try has submitted", execution.id, job)
        if self._differs is not None:
            differences = [
                value for key, value in sorted(self._differs.metadata.items()) if key != "execution"
            ]
            self.log.warning(
                "it was submitted with something else than the DAG has now, and runs that: %s",
                "; ".join(differences) or self._differs,
            )

    def _found(self, context: Any, client: Client, execution: Any) -> None:
        """Notes which execution it is, for whoever stops the task or looks at it."""
        self._execution = execution.id
        self.execution_link = client.settings.url(execution.id)
        # Airflow would only keep it once the try is over.
        context["ti"].xcom_push(key=KEY, value=self.execution_link)
        if self._killed:
            # It was not known yet when the task was stopped.
            client.cancel(execution.id)

    def _follow(self, client: Client, context: Any, execution: Any) -> str:
        """Waits for the end, and tells of it."""
        while _wire.phase(execution.phase) not in _wire.ENDED:
            if self.deferrable:
                self._defer(client, context)
            execution = self._wait(client, execution)
        phase = _wire.phase(execution.phase)
        memory = Memory(context)
        if phase == "SUCCEEDED":
            self._complete(client, context, execution)
            memory.settle()
            return str(execution.id)
        by = _report.replaced_by(execution)
        if phase == "CANCELLED" and by:
            memory.settle()
            why = f"execution {execution.id} was replaced by execution {by}, which is for a later time"
            # The line that Airflow writes for a skipped task does not show the reason.
            self.log.warning(why)
            raise AirflowSkipException(why)
        state = memory.load()
        if (
            phase == "CANCELLED"
            and state is not None
            and state.resumed
            and not state.settled
            and memory.lasting
            and not self._killed
        ):
            # When a person clears a task that runs, this try may begin before the other one's execution is cancelled.
            self.log.info(
                "execution %s, which this try had found, was cancelled: the job is run anew", execution.id
            )
            memory.save(replace(_life.following(state), execution=""))
            return self._follow(client, context, self._submit(client, context, self._parameters()))
        if not self._killed:
            memory.settle()
        raise AirflowFailException(_report.failure(execution))

    def _defer(self, client: Client, context: Any) -> NoReturn:
        from dcp_airflow.triggers import ExecutionTrigger

        timeout = self._left(context)
        if timeout is not None and timeout <= timedelta(0):
            raise AirflowTaskTimeout
        trigger = ExecutionTrigger(self.conn_id, self._execution, self.logs)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)
        raise AssertionError("deferring does not return")

    def _left(self, context: Any) -> timedelta | None:
        """How much of `execution_timeout` there still is: it is for a whole try, however often that is deferred."""
        if self.execution_timeout is None:
            return None
        begun = context["ti"].start_date
        return self.execution_timeout - (datetime.now(timezone.utc) - begun if begun else timedelta(0))

    def _wait(self, client: Client, execution: Any) -> Any:
        from dcp_airflow._follow import follow

        try:
            return follow(client, execution.id, self.log, self.logs)
        except NotFound as why:
            raise AirflowFailException(
                f"the Runner does not know execution {execution.id} any more: {why}"
            ) from None
        except DcpError as why:
            self._lost(str(why))

    def _ended(self, client: Client, execution: Any) -> Any:
        """Waits for the end of an execution that nobody wants any more."""
        from dcp_airflow._follow import follow

        if _wire.phase(execution.phase) in _wire.ENDED:
            return execution
        try:
            return follow(client, execution.id, self.log, logs=False)
        except DcpError as why:
            self._lost(str(why))

    def _check(self, client: Client) -> Any:
        try:
            return client.check(self._execution)
        except NotFound as why:
            raise AirflowFailException(
                f"the Runner does not know execution {self._execution} any more: {why}"
            ) from None
        except DcpError as why:
            self._lost(str(why))

    def _lost(self, why: str) -> NoReturn:
        raise AirflowFailException(
            f"how execution {self._execution} is could not be found out: {why}. It may go on; "
            "clear the task to have it found again: the job does not run twice for that."
        )

    def _timed_out(self, client: Client, context: Any) -> str:
        """Cancels what has run for too long."""
        id = self._execution
        after = f"it ran longer than the task's execution_timeout, {self.execution_timeout}"
        if not id:
            raise AirflowFailException(
                f"{after}, before the Runner had answered; clear the task to ask again"
            )
        self.log.error("cancelling execution %s: %s", id, after)
        try:
            execution = client.cancel(id)
            deadline = time.monotonic() + _STOP
            while _wire.phase(execution.phase) not in _wire.ENDED and time.monotonic() < deadline:
                time.sleep(1)
                execution = client.check(id)
        except DcpError as why:
            raise AirflowFailException(
                f"{after}, and could not be cancelled: {why}. See dcp runs {id}"
            ) from None
        phase = _wire.phase(execution.phase)
        if phase in ("SUCCEEDED", "FAILED"):
            # It was just about to end by itself.
            return self._follow(client, context, execution)
        if phase == "CANCELLED":
            Memory(context).settle()
        raise AirflowFailException(f"{after}: execution {id} was told to stop, and is {phase.lower()}")

    def _known(self, context: Any) -> str:
        state = Memory(context).load()
        return state.execution if state is not None else ""

    def _complete(self, client: Client, context: Any, execution: Any) -> None:
        """Tells the control plane and Airflow what the execution has made complete."""
        outlets = [
            it
            for it in self.outlets
            if isinstance(it, Asset) and _ASSET.fullmatch(getattr(it, "name", "") or "")
        ]
        if not outlets:
            return
        partition = self._partition()
        events = context.get("outlet_events")
        if events is not None:
            for outlet in outlets:
                events[outlet].extra.update({"execution": execution.id, "partition": partition})
        request = {
            "scope": self.scope,
            "assets": [it.name for it in outlets],
            "partition": partition,
            "run": execution.id,
            "job": f"{self._domain}/{self._name}",
            "origin": client.settings.origin,
        }
        try:
            client.complete(request)
        except Unsupported:
            self.log.warning(
                "the outputs are not recorded as complete: at %s, nobody keeps completions",
                client.settings.control,
            )
        except Unreachable as why:
            raise AirflowFailException(
                f"the job has succeeded, but that its outputs are complete could not be told: {why}. "
                "Clear the task to tell it: the job does not run again."
            ) from None
        except Refused as why:
            raise AirflowFailException(
                f"the job has succeeded, but that its outputs are complete was refused: {why} "
                f"({why.reason or why.code}). Clear the task to tell it again: the job does not run again."
            ) from None

    def _partition(self) -> str:
        values = self.run_parameters or {}
        # What parts a partition from the next, and what says so, can't be in a value.
        return "/".join(f"{name}={quote(text(name, values[name]), safe=_PLAIN)}" for name in self.partition)


# All that is visible but `%` and `/`.
_PLAIN = "".join(it for it in map(chr, range(0x21, 0x7F)) if it not in "%/") + " "


def address(job: str) -> tuple[str, str]:
    """The domain and the name of a job."""
    parts = job.split("/")
    if len(parts) == 3 and parts[0] == _KIND:
        parts = parts[1:]
    if len(parts) != 2 or not all(parts):
        raise ValueError(f"job is {job!r}, and has to be `{_KIND}/domain/name` or `domain/name`")
    return parts[0], parts[1]


def text(name: Any, value: Any) -> str:
    """A parameter's value as the Runner takes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and abs(value) < float("inf")):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    raise ValueError(f"parameter `{name}` is {value!r}, and has to be text, a number, true or false")


def created(execution: Any) -> float:
    """When an execution was asked for, in seconds."""
    return float(execution.created.seconds)
