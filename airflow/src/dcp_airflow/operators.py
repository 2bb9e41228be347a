"""Operator that runs a job of dcp as a task of Airflow."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any, NoReturn
from urllib.parse import quote

from dcp_airflow import _report, _task_state, _wire
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
from dcp_airflow._settings import Settings
from dcp_airflow._task_state import Action, Provenance, TaskState, TaskStateStore
from dcp_airflow.errors import (
    Blocked,
    DcpError,
    Invalid,
    NotFound,
    Rejected,
    TokenReused,
    Unavailable,
    Unsupported,
)
from dcp_airflow.hooks import DcpHook
from dcp_airflow.links import XCOM_KEY, ExecutionLink

_KIND = "CoreEtlJob"
# Name of an asset of dcp, `kind:name`. A URI such as `s3://…` is not one.
_ASSET_NAME = re.compile(r"[a-z][a-zA-Z]*:(?!//).+", re.DOTALL)
# Seconds that a killed worker may take to send a cancel.
_KILL_TIMEOUT = 8.0
# Seconds to wait for the end of an execution that is cancelled after `execution_timeout`.
_CANCEL_TIMEOUT = 120.0


class SparkOperator(BaseOperator):
    """Submits an applied job to a Runner of dcp once, and waits for its execution.

    A try after a crash continues the same execution, so a crash never starts the job a second time. The Runner retries
    failed attempts, with more memory if that helps; Airflow does not retry a task whose job has failed. Clearing the task
    runs the job again.

    :param scope: `project` or `project/target` that the job is applied to
    :param job: address of the job, `CoreEtlJob/domain/name` or `domain/name`
    :param fingerprint: fingerprint of the revision to run; by default the revision that is applied when the task runs
    :param parameters: values of the job's parameters, passed on unchanged
    :param run_parameters: templated values of the job's parameters; they take precedence over `parameters`
    :param partition: names of `run_parameters` that identify the part of the outputs that a run writes, such as `["day"]`
    :param replace_running: if true, cancels an earlier run of the DAG that still executes the job, skips the task of that
        run, and starts the job after its end
    :param conn_id: an Airflow connection of the type `dcp`
    :param deferrable: if true, the triggerer waits instead of a worker
    :param logs: if true, copies the driver's output to the task's log
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
        self._domain, self._name = parse_address(job)
        if isinstance(partition, str):
            raise ValueError(f"partition must be a list of names of run_parameters, such as [{partition!r}]")
        if isinstance(run_parameters, Mapping):
            for name in partition:
                if name not in run_parameters:
                    raise ValueError(f"partition has {name!r}, which is not in run_parameters")
        self._execution_id = ""
        self._killed = False
        self._settings: Settings | None = None
        self._token_reused: TokenReused | None = None
        # None makes the link read the URL from its XCom.
        self.execution_link: str | None = ""

    def execute(self, context: Any) -> str:
        """Called by Airflow at the start of a try. Returns the id of the execution."""
        parameters = self._all_parameters()
        with self._client() as client:
            try:
                execution = self._submit(client, context, parameters)
                return self._finish(client, context, execution)
            except AirflowTaskTimeout:
                return self._cancel_after_timeout(client, context)

    def execute_complete(self, context: Any, event: Mapping[str, Any] | None = None) -> str:
        """Called by Airflow after the trigger's event: the execution has ended, or its status is unknown."""
        event = event or {}
        self.execution_link = None
        self._execution_id = str(event.get("execution") or self._stored_execution_id(context))
        if "not_found" in event:
            raise AirflowFailException(
                f"{self._not_found(event['not_found'])}. Clear the task to run the job again."
            )
        if "error" in event:
            self._fail_unknown_status(str(event["error"]))
        with self._client() as client:
            try:
                return self._finish(client, context, self._check(client))
            except AirflowTaskTimeout:
                return self._cancel_after_timeout(client, context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Called by Airflow when a deferred try resumes. Handles a timeout or failure of the deferral."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralError, TaskDeferralTimeout) as error:
            self._execution_id, self.execution_link = self._stored_execution_id(context), None
            if "timeout" in str(getattr(error.args[0], "value", error)).lower():
                with self._client() as client:
                    return self._cancel_after_timeout(client, context)
            raise AirflowException(
                f"the triggerer stopped waiting for execution {self._execution_id}: {error}, see above. "
                "The execution continues; clear the task to wait for it again."
            ) from None

    def on_kill(self) -> None:
        """Called by Airflow when a person stops the task while a worker runs it. Cancels the execution."""
        self._killed = True
        id, settings = self._execution_id, self._settings
        if not id:
            return
        self.log.info("cancelling execution %s", id)
        if settings is None:
            return

        # A signal handler runs this, possibly in the middle of a call that holds locks of gRPC or Airflow. It therefore
        # calls nothing of Airflow, and uses another connection on another thread.
        def cancel() -> None:
            with Client(settings, self.log, outage_timeout=_KILL_TIMEOUT) as client:
                try:
                    client.cancel(id)
                except DcpError as error:
                    self.log.error("cannot cancel execution %s, which may continue: %s", id, error)

        thread = threading.Thread(target=cancel, daemon=True)
        thread.start()
        thread.join(_KILL_TIMEOUT)

    def _client(self) -> Client:
        try:
            client = DcpHook(self.conn_id).client()
        except Invalid as error:
            raise AirflowFailException(f"connection `{self.conn_id}`: {error}") from None
        self._settings = client.settings
        return client

    def _all_parameters(self) -> dict[str, str]:
        """Returns `parameters` and `run_parameters` as the Runner's text."""
        values = {**(self.parameters or {}), **(self.run_parameters or {})}
        try:
            return {str(name): parameter_text(name, value) for name, value in values.items()}
        except ValueError as error:
            raise AirflowFailException(f"the job was not submitted: {error}") from None

    def _submit(self, client: Client, context: Any, parameters: Mapping[str, str]) -> Any:
        """Returns the execution of this try: a new one, or the one that an earlier try submitted."""
        store = TaskStateStore(context)
        stored = store.load() if store.is_persistent else None
        ti = context["ti"]
        is_retry = _task_state.is_retry(ti.try_number, ti.max_tries, self.retries)
        state, resumed = _task_state.begin_try(stored, is_retry)
        while True:
            # The state is stored before the submit, so that the next try submits with the same token after a crash.
            state = store.save(state)
            execution, is_new = self._submit_or_find(client, context, state, parameters)
            provenance = state.provenance(created_at(execution)) if resumed else Provenance.UNKNOWN
            if not store.is_persistent:
                provenance = Provenance.RESUMED if is_retry else Provenance.STATELESS
            self._publish_execution(context, client, execution)
            phase = _wire.phase_name(execution.phase)
            action = _task_state.decide(phase, is_new, provenance)
            if action is Action.FOLLOW or _report.replaced_by(execution):
                store.save(replace(state, execution=execution.id, resumed=not is_new))
                self._log_submission(execution, is_new)
                return execution
            self.log.info(
                "execution %s of an earlier try is %s; running the job again", execution.id, phase.lower()
            )
            self._wait_for_end(client, execution)
            # An execution of the next generation may also belong to a deleted run with the same name.
            state, resumed, is_retry = _task_state.next_generation(state), False, False

    def _submit_or_find(
        self, client: Client, context: Any, state: TaskState, parameters: Mapping[str, str]
    ) -> tuple[Any, bool]:
        """Submits the job, or returns the execution that has the same token and different parameters."""
        ti = context["ti"]
        deployment = client.settings.deployment
        token = _task_state.submit_token(
            deployment, ti.dag_id, ti.run_id, ti.task_id, ti.map_index, state.generation
        )
        self._token_reused = None
        reference = {"scope": self.scope, "domain": self._domain, "name": self._name}
        if self.fingerprint:
            reference["fingerprint"] = self.fingerprint.removeprefix("sha256:")
        try:
            try:
                fields = self._exclusive_fields(context) | triggering_user(context)
                return client.submit(token, reference, parameters, **fields)
            except TokenReused as error:
                if "execution" not in error.metadata:
                    raise
                self._token_reused = error
                return client.check(error.metadata["execution"]), False
        except Unavailable as error:
            raise AirflowFailException(
                f"the Runner did not respond to the submit of {self.job}: {error}. The job may run. Clear the task to "
                "submit again: an execution that exists is continued, and no second one starts."
            ) from None
        except Rejected as error:
            raise AirflowFailException(self._rejection_message(error)) from None

    def _exclusive_fields(self, context: Any) -> dict[str, Any]:
        """Returns the key of runs that replace each other, and the position of this run among them."""
        if not self.replace_running:
            return {}
        due = context["dag_run"].run_after
        key = f"schedule:{self.scope}/{self._domain}/{self._name}"
        return {"exclusive": key, "order": int(due.timestamp() * 1000)}

    def _rejection_message(self, error: Rejected) -> str:
        job = f"{self._domain}/{self._name} of {self.scope}"
        if isinstance(error, NotFound):
            revision = f" in revision {self.fingerprint}" if self.fingerprint else ""
            return f"there is no {job}{revision}: {error}. Apply it (dcp apply), then clear the task."
        if isinstance(error, Invalid):
            return (
                f"the submit of {job} is invalid: {error}. The job was not submitted; compare the task with the "
                "parameters in the job's manifest."
            )
        if isinstance(error, Blocked):
            return f"{job} cannot run now: {error}. The job was not submitted; remove the cause, then clear the task."
        return (
            f"the Runner rejected the submit of {job}: {error} ({error.reason or error.code}). "
            "The job was not submitted."
        )

    def _log_submission(self, execution: Any, is_new: bool) -> None:
        job = f"{execution.domain}/{execution.name}"
        if is_new:
            self.log.info("submitted %s: execution %s", job, execution.id)
            return
        self.log.info("continuing execution %s of %s, which an earlier try submitted", execution.id, job)
        if self._token_reused is not None:
            differences = [
                value for key, value in sorted(self._token_reused.metadata.items()) if key != "execution"
            ]
            self.log.warning(
                "the DAG has changed since that submit, and the execution runs what was submitted: %s",
                "; ".join(differences) or self._token_reused,
            )

    def _publish_execution(self, context: Any, client: Client, execution: Any) -> None:
        """Stores the execution for `on_kill`, and its URL for the task's link."""
        self._execution_id = execution.id
        self.execution_link = client.settings.execution_url(execution.id)
        # Airflow itself stores the URL only after the try has ended.
        context["ti"].xcom_push(key=XCOM_KEY, value=self.execution_link)
        if self._killed:
            # `on_kill` ran before the execution was known.
            client.cancel(execution.id)

    def _finish(self, client: Client, context: Any, execution: Any) -> str:
        """Waits for the end of the execution, reports its outcome and returns its id."""
        while _wire.phase_name(execution.phase) not in _wire.TERMINAL_PHASES:
            if self.deferrable:
                self._defer(client, context)
            execution = self._follow_in_worker(client, execution)
        phase = _wire.phase_name(execution.phase)
        store = TaskStateStore(context)
        if phase == "SUCCEEDED":
            self._report_completion(client, context, execution)
            store.settle()
            return str(execution.id)
        by = _report.replaced_by(execution)
        if phase == "CANCELLED" and by:
            store.settle()
            message = f"execution {execution.id} was replaced by execution {by}, which is for a later time"
            # Airflow does not log the message of a skipped task.
            self.log.warning(message)
            raise AirflowSkipException(message)
        state = store.load()
        if (
            phase == "CANCELLED"
            and state is not None
            and state.resumed
            and not state.settled
            and store.is_persistent
            and not self._killed
        ):
            # After a person clears a running task, the new try may begin before Airflow cancels the old execution.
            self.log.info("execution %s of an earlier try was cancelled; running the job again", execution.id)
            store.save(replace(_task_state.next_generation(state), execution=""))
            return self._finish(client, context, self._submit(client, context, self._all_parameters()))
        if not self._killed:
            store.settle()
        raise AirflowFailException(_report.failure_message(execution))

    def _defer(self, client: Client, context: Any) -> NoReturn:
        from dcp_airflow.triggers import ExecutionTrigger

        timeout = self._remaining_timeout(context)
        if timeout is not None and timeout <= timedelta(0):
            raise AirflowTaskTimeout
        trigger = ExecutionTrigger(self.conn_id, self._execution_id, self.logs)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)
        raise AssertionError("`defer` returned")

    def _remaining_timeout(self, context: Any) -> timedelta | None:
        """Returns the rest of `execution_timeout`, which counts from the start of the try across deferrals."""
        if self.execution_timeout is None:
            return None
        start = context["ti"].start_date
        return self.execution_timeout - (datetime.now(timezone.utc) - start if start else timedelta(0))

    def _follow_in_worker(self, client: Client, execution: Any) -> Any:
        from dcp_airflow._follow import follow

        try:
            return follow(client, execution.id, self.log, self.logs)
        except NotFound as error:
            raise AirflowFailException(self._not_found(error)) from None
        except DcpError as error:
            self._fail_unknown_status(str(error))

    def _wait_for_end(self, client: Client, execution: Any) -> None:
        """Waits for the end of an execution whose outcome is not reported."""
        from dcp_airflow._follow import follow

        if _wire.phase_name(execution.phase) in _wire.TERMINAL_PHASES:
            return
        try:
            follow(client, execution.id, self.log, logs=False)
        except DcpError as error:
            self._fail_unknown_status(str(error))

    def _check(self, client: Client) -> Any:
        try:
            return client.check(self._execution_id)
        except NotFound as error:
            raise AirflowFailException(self._not_found(error)) from None
        except DcpError as error:
            self._fail_unknown_status(str(error))

    def _not_found(self, error: Any) -> str:
        return f"the Runner has no execution {self._execution_id} any more: {error}"

    def _fail_unknown_status(self, cause: str) -> NoReturn:
        raise AirflowFailException(
            f"the status of execution {self._execution_id} is unknown: {cause}. It may continue; "
            "clear the task to wait for it again, which does not run the job twice."
        )

    def _cancel_after_timeout(self, client: Client, context: Any) -> str:
        """Cancels the execution after `execution_timeout`, waits for its end and fails the task."""
        id = self._execution_id
        cause = f"the task exceeded its execution_timeout of {self.execution_timeout}"
        if not id:
            raise AirflowFailException(f"{cause} before the Runner responded; clear the task to submit again")
        self.log.error("cancelling execution %s: %s", id, cause)
        try:
            execution = client.cancel(id)
            deadline = time.monotonic() + _CANCEL_TIMEOUT
            while _wire.phase_name(execution.phase) not in _wire.TERMINAL_PHASES and time.monotonic() < deadline:
                time.sleep(1)
                execution = client.check(id)
        except DcpError as error:
            raise AirflowFailException(
                f"{cause}, and cancelling execution {id} failed: {error}. For its status: dcp runs {id}"
            ) from None
        phase = _wire.phase_name(execution.phase)
        if phase in ("SUCCEEDED", "FAILED"):
            # The execution ended before the cancel took effect.
            return self._finish(client, context, execution)
        if phase == "CANCELLED":
            TaskStateStore(context).settle()
        raise AirflowFailException(f"{cause}: execution {id} was cancelled, and is {phase.lower()}")

    def _stored_execution_id(self, context: Any) -> str:
        state = TaskStateStore(context).load()
        return state.execution if state is not None else ""

    def _report_completion(self, client: Client, context: Any, execution: Any) -> None:
        """Reports the outlets as complete, to the control plane and to Airflow."""
        outlets = [
            it
            for it in self.outlets
            if isinstance(it, Asset) and _ASSET_NAME.fullmatch(getattr(it, "name", "") or "")
        ]
        if not outlets:
            return
        partition = self._partition_path()
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
                "completion of the outputs is not recorded: the server at %s is no control plane; "
                "set `control` in the connection's extra",
                client.settings.control,
            )
        except Unavailable as error:
            raise AirflowFailException(
                f"the job succeeded, but the control plane did not record its outputs as complete: {error}. "
                "Clear the task to report them again; the job does not run again."
            ) from None
        except Rejected as error:
            raise AirflowFailException(
                f"the job succeeded, but the control plane rejected the completion of its outputs: {error} "
                f"({error.reason or error.code}). Clear the task to report it again; the job does not run again."
            ) from None

    def _partition_path(self) -> str:
        """Returns the partition of this run, such as `day=2026-11-20/region=eu`."""
        values = self.run_parameters or {}
        return "/".join(
            f"{name}={quote(parameter_text(name, values[name]), safe=_SAFE_CHARACTERS)}" for name in self.partition
        )


# Visible ASCII characters and the blank, except the separator of a partition path and the escape.
_SAFE_CHARACTERS = "".join(it for it in map(chr, range(0x21, 0x7F)) if it not in "%/") + " "


def parse_address(job: str) -> tuple[str, str]:
    """Returns domain and name of a job's address."""
    parts = job.split("/")
    if len(parts) == 3 and parts[0] == _KIND:
        parts = parts[1:]
    if len(parts) != 2 or not all(parts):
        raise ValueError(f"job is {job!r}; it must be `{_KIND}/domain/name` or `domain/name`")
    return parts[0], parts[1]


def parameter_text(name: Any, value: Any) -> str:
    """Returns the text of a parameter's value that the Runner expects."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and abs(value) < float("inf")):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    raise ValueError(f"parameter `{name}` is {value!r}; it must be text, a number, true or false")


def created_at(execution: Any) -> float:
    """Returns the time of the submit, in seconds since the epoch."""
    return float(execution.created.seconds)


def triggering_user(context: Any) -> dict[str, str]:
    """Returns the field of a submit with the user who triggered the DAG run, if a user did."""
    name = getattr(context.get("dag_run"), "triggering_user_name", None)
    is_name = isinstance(name, str) and name.isprintable() and 0 < len(name.encode()) <= 256
    return {"on_behalf_of": name} if is_name else {}
