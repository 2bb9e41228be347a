"""Tests that need neither dcp nor a scheduler."""

from __future__ import annotations

import asyncio
import logging
import os
import unittest
from types import SimpleNamespace
from typing import Any
from unittest import TestCase

import support  # noqa: F401, I001  sets the environment that Airflow reads on import
from dcp_airflow import _wire
from dcp_airflow._task_state import (
    Action,
    Provenance,
    TaskState,
    begin_try,
    decide,
    is_retry,
    next_generation,
    submit_token,
)
from dcp_airflow._lines import LogLines
from dcp_airflow._outage import Outage
from dcp_airflow._report import replaced_by
from dcp_airflow._settings import Settings
from dcp_airflow.assets import completed
from dcp_airflow.deadlines import deadline_missed
from dcp_airflow.errors import Invalid, NotFound, Rejected, TokenReused, Unavailable
from dcp_airflow.operators import SparkOperator, parameter_text, parse_address, triggering_user


LIVE = ("QUEUED", "SUBMITTING", "PENDING", "RUNNING", "RETRYING")


class SubmitToken(TestCase):
    def test_token_differs_for_each_generation_of_a_task_run(self) -> None:
        names = [
            ("", "dag", "run", "task", -1, 1),
            ("", "dag", "run", "task", -1, 2),
            ("", "dag", "run", "task", 0, 1),
            ("", "dag", "run", "task2", -1, 1),
            ("", "dag", "run2", "task", -1, 1),
            ("", "dag2", "run", "task", -1, 1),
            ("eu", "dag", "run", "task", -1, 1),
            # Plain concatenation gives the same text for these as for the first.
            ("", "d", "agrun", "task", -1, 1),
            ("", 'dag","run', "", "task", -1, 1),
            ("", "größe" * 200, "manual__2026-11-20T00:00:00+00:00", "täsk", 10**9, 10**6),
        ]
        tokens = [submit_token(*it) for it in names]
        self.assertEqual(len(set(tokens)), len(names))
        for it in tokens:
            self.assertRegex(it, r"\A[!-~]{1,128}\Z")

    def test_token_is_stable_across_versions(self) -> None:
        # After an upgrade, another token would start running jobs a second time.
        self.assertEqual(
            submit_token("eu", "sales__orders", "scheduled__2026-11-20T00:00:00+00:00", "orders", -1, 3),
            "airflow:25502e641da1039cf605223ef0d53dbca0c7fa96c2c505acadaac2546f59589a:3",
        )


class TaskStates(TestCase):
    def test_action_depends_on_phase_and_provenance(self) -> None:
        for provenance in Provenance:
            for phase in (*LIVE, "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED"):
                with self.subTest(provenance=provenance, phase=phase):
                    self.assertIs(decide(phase, True, provenance), Action.FOLLOW)
                    if phase in LIVE:
                        self.assertIs(decide(phase, False, provenance), Action.FOLLOW)
                    if phase in ("CANCELLING", "CANCELLED") and provenance is not Provenance.REPORTED:
                        self.assertIs(decide(phase, False, provenance), Action.RERUN)
        for provenance, phase, expected in (
            (Provenance.RESUMED, "SUCCEEDED", Action.FOLLOW),
            (Provenance.RESUMED, "FAILED", Action.FOLLOW),
            (Provenance.REPORTED, "SUCCEEDED", Action.FOLLOW),
            (Provenance.REPORTED, "FAILED", Action.FOLLOW),
            (Provenance.REPORTED, "CANCELLED", Action.FOLLOW),
            (Provenance.UNKNOWN, "SUCCEEDED", Action.RERUN),
            (Provenance.UNKNOWN, "FAILED", Action.RERUN),
            (Provenance.STATELESS, "SUCCEEDED", Action.FOLLOW),
            (Provenance.STATELESS, "FAILED", Action.RERUN),
        ):
            with self.subTest(provenance=provenance, phase=phase):
                self.assertIs(decide(phase, False, provenance), expected)

    def test_generation_grows_only_when_a_settled_task_is_cleared(self) -> None:
        first, resumed = begin_try(None, is_retry=False)
        self.assertEqual((first.generation, resumed), (1, False))
        # The first try crashed.
        self.assertEqual(begin_try(first, is_retry=False), (first, True))
        self.assertEqual(begin_try(first, is_retry=True), (first, True))
        # The first try reported its outcome, then a person cleared the task.
        settled = TaskState(1, settled=True, execution="a")
        second, resumed = begin_try(settled, is_retry=False)
        self.assertEqual(
            (second.generation, second.execution, second.settled, resumed), (2, "", False, False)
        )
        self.assertEqual(next_generation(second).generation, 3)
        # Airflow lost the try that reported the outcome.
        self.assertEqual(begin_try(settled, is_retry=True), (settled, True))
        self.assertIs(settled.provenance(created_at=0.0), Provenance.REPORTED)

    def test_retry_is_distinguished_from_cleared_task(self) -> None:
        for retries in (0, 2):
            max_tries, number = retries, 0
            for _ in range(3):
                number += 1
                self.assertFalse(is_retry(number, max_tries, retries))
                for _ in range(retries):
                    number += 1
                    self.assertTrue(is_retry(number, max_tries, retries))
                # Airflow sets this when a person clears the task.
                max_tries = number + retries

    def test_execution_of_deleted_run_has_unknown_provenance(self) -> None:
        requested = TaskState(1, requested_at=10_000.0)
        self.assertIs(requested.provenance(created_at=10_001.0), Provenance.RESUMED)
        # Within the clock skew.
        self.assertIs(requested.provenance(created_at=9_950.0), Provenance.RESUMED)
        self.assertIs(requested.provenance(created_at=5_000.0), Provenance.UNKNOWN)
        with_id = TaskState(1, requested_at=10_000.0, execution="a")
        self.assertIs(with_id.provenance(created_at=5_000.0), Provenance.RESUMED)


class Replaced(TestCase):
    def test_replacing_execution_is_read_from_stopping(self) -> None:
        for stopping, by in (({"replaced_by": "01a"}, "01a"), ({"cancelled_by": "replaced"}, ""), ({}, "")):
            with self.subTest(stopping):
                execution = _wire.runner_message("Execution", stopping=stopping)
                self.assertEqual(replaced_by(execution), by)


class Lines(TestCase):
    def lines(self, *pieces: tuple[int, str, bytes], **bounds: int) -> list[str]:
        it = LogLines("id", **bounds)
        return [line for piece in pieces for line in it.feed(*piece)] + list(it.flush())

    def test_pieces_are_joined_to_whole_lines(self) -> None:
        lines = self.lines((1, "6", b"one\ntw"), (1, "11", b"o\n\nth"), (1, "14", b"ree"))
        self.assertEqual(lines, ["log of attempt 1:", "| one", "| two", "| ", "| three"])

    def test_reading_continues_after_the_last_piece(self) -> None:
        it = LogLines("id")
        self.assertEqual((it.attempt, it.cursor), (None, ""))
        lines = list(it.feed(1, "after-6", b"one\ntw"))
        self.assertEqual((it.attempt, it.cursor), (1, "after-6"))
        lines += [*it.feed(1, "after-8", b"o\n"), *it.flush()]
        self.assertEqual(lines[1:], ["| one", "| two"])
        self.assertEqual(it.cursor, "after-8")

    def test_next_attempt_flushes_the_log_of_the_previous_one(self) -> None:
        lines = self.lines((1, "3", b"one"), (2, "4", b"two\n"))
        self.assertEqual(lines[1:], ["| one", "log of attempt 2:", "| two"])

    def test_escapes_are_removed_and_hidden_characters_replaced(self) -> None:
        raw = "\x1b[31mred\x1b[0m ::group:: a\x00b\tc\r\n::endgroup::\n\u202eevil\u2028x\x1b]0;title\x07y\n".encode()
        lines = self.lines((1, "99", raw + b"\xff\xfe\n"))
        self.assertEqual(lines[1], "| red ::group:: a\ufffdb\tc")
        self.assertEqual(lines[2], "| ::endgroup::")
        self.assertEqual(lines[3], "| \ufffdevil\ufffdxy")
        self.assertEqual(lines[4], "| \ufffd\ufffd")

    def test_overlong_line_is_truncated(self) -> None:
        lines = self.lines((1, "10", b"a" * 10), (1, "20", b"a" * 10), (1, "27", b"a\nnext\n"), max_line=8)
        self.assertEqual(lines[1:], ["| aaaaaaaa … (truncated)", "| next"])

    def test_overlong_log_ends_with_the_command_for_all_of_it(self) -> None:
        it = LogLines("some-id", max_total=2048)
        lines = [line for number in range(100) for line in it.feed(1, str(number), b"x" * 99 + b"\n")]
        self.assertTrue(it.limit_reached)
        self.assertEqual(lines[-1], "this log ends at 2 KiB; for all of it: dcp logs some-id")
        self.assertLess(sum(map(len, lines)), 2500)


def connection(**fields: Any) -> Any:
    return SimpleNamespace(**{"host": "127.0.0.1", "port": None, "password": None, "extra": None, **fields})


class Connections(TestCase):
    def test_connection_has_defaults(self) -> None:
        it = Settings.from_connection(connection())
        self.assertEqual(
            (it.runner, it.control, it.tls, it.outage_timeout), ("127.0.0.1:7420", "127.0.0.1:7420", False, 600)
        )
        self.assertEqual(it.execution_url("a/b"), "http://127.0.0.1:7420/api/v1/job/a%2Fb")
        self.assertEqual(it.origin, "airflow")

    def test_all_fields_are_read(self) -> None:
        extra = (
            '{"tls": "true", "control": "control.example.com:1", "outage_timeout": "5", "deployment": "eu", '
            '"link": "https://ui.example.com/{id}?x"}'
        )
        it = Settings.from_connection(connection(host="runner.example.com", port=7421, password="s3cret", extra=extra))
        self.assertEqual((it.runner, it.control), ("runner.example.com:7421", "control.example.com:1"))
        self.assertEqual((it.tls, it.outage_timeout, it.origin), (True, 5.0, "airflow:eu"))
        self.assertEqual(it.execution_url("x"), "https://ui.example.com/x?x")
        self.assertNotIn("s3cret", repr(it))

    def test_unix_socket_has_no_tls_and_no_default_link(self) -> None:
        it = Settings.from_connection(connection(host="unix:///shop/.dcp/up.sock", password="t"))
        self.assertEqual((it.runner, it.control), ("unix:///shop/.dcp/up.sock",) * 2)
        self.assertEqual(it.execution_url("x"), "")
        with_link = connection(host="unix:///up.sock", extra='{"link": "https://ui.example.com/{id}"}')
        self.assertEqual(Settings.from_connection(with_link).execution_url("x"), "https://ui.example.com/x")
        with self.assertRaisesRegex(Invalid, "has no TLS"):
            Settings.from_connection(connection(host="unix:///up.sock", extra='{"tls": true}'))

    def test_token_without_tls_is_rejected_except_to_this_machine(self) -> None:
        for host in ("127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", "::1", "[::1]", "::ffff:127.0.0.1"):
            Settings.from_connection(connection(host=host, password="t"))
        for host in (
            "runner.example.com",
            "10.0.0.1",
            "127.0.0.1.example.com",
            "localhost.example.com",
            "2001:db8::1",
        ):
            with self.subTest(host), self.assertRaisesRegex(Invalid, "goes unencrypted"):
                Settings.from_connection(connection(host=host, password="t"))
            Settings.from_connection(connection(host=host, password="t", extra='{"tls": true}'))
            Settings.from_connection(connection(host=host))
        with self.assertRaisesRegex(Invalid, "goes unencrypted"):
            Settings.from_connection(connection(password="t", extra='{"control": "control.example.com:7420"}'))

    def test_invalid_field_is_rejected(self) -> None:
        for fields, message in (
            ({"host": ""}, "no host"),
            ({"extra": "{"}, "not JSON"),
            ({"extra": "[]"}, "not a JSON object"),
            ({"extra": '{"patience": 5}'}, "unknown field `patience`"),
            ({"extra": '{"tls": "maybe"}'}, "true or false"),
            ({"extra": '{"outage_timeout": -1}'}, "number of seconds"),
            ({"extra": '{"outage_timeout": "NaN"}'}, "number of seconds"),
            ({"extra": '{"control": "nowhere"}'}, "host:port"),
            ({"extra": '{"link": "http://x/{job}"}'}, "braces other than"),
            ({"password": "a\nb"}, "characters that no token has"),
        ):
            with self.subTest(fields), self.assertRaisesRegex(Invalid, message):
                Settings.from_connection(connection(**fields))


class Outages(TestCase):
    def test_retries_end_at_the_timeout_and_are_logged_once(self) -> None:
        now = [0.0]
        with self.assertLogs("outage", logging.INFO) as logged:
            log = logging.getLogger("outage")
            it = Outage(10, log, clock=lambda: now[0])
            waited = 0.0
            with self.assertRaisesRegex(Unavailable, "no response for 10 s: gone"):
                while True:
                    backoff = it.next_backoff(Unavailable("gone"))
                    self.assertGreater(backoff, 0)
                    now[0] += backoff
                    waited += backoff
            self.assertAlmostEqual(waited, 10)
            it.end()
        self.assertEqual(len(logged.output), 2)
        it.end()


class Wire(TestCase):
    def error(self, code: str, details: bytes | None) -> Any:
        trailers = (("x", "y"),) + ((("grpc-status-details-bin", details),) if details is not None else ())
        return _wire.to_error(
            SimpleNamespace(
                code=lambda: SimpleNamespace(name=code),
                details=lambda: "short",
                trailing_metadata=lambda: trailers,
            ),
            "here",
        )

    def test_details_of_a_rejection_are_decoded(self) -> None:
        info = _wire.message_class("dcp.airflow.ErrorInfo")(reason="TOKEN_REUSED", domain="dcp.runner.v1")
        info.metadata.add(key="execution", value="abc")
        status = _wire.message_class("dcp.airflow.Status")(code=6, message="the whole of it")
        status.details.add(type_url="type.googleapis.com/google.rpc.Help", value=b"\xff\xff")
        status.details.add(
            type_url="type.googleapis.com/google.rpc.ErrorInfo", value=info.SerializeToString()
        )
        error = self.error("ALREADY_EXISTS", status.SerializeToString())
        self.assertIsInstance(error, TokenReused)
        self.assertEqual(
            (str(error), error.reason, error.metadata),
            ("the whole of it", "TOKEN_REUSED", {"execution": "abc"}),
        )

    def test_full_queue_is_retried_and_other_limits_are_final(self) -> None:
        for reason, kind in (("EXHAUSTED", Unavailable), ("TOO_LARGE", Rejected)):
            info = _wire.message_class("dcp.airflow.ErrorInfo")(reason=reason, domain="dcp.runner.v1")
            status = _wire.message_class("dcp.airflow.Status")(code=8, message="the queue is full")
            status.details.add(
                type_url="type.googleapis.com/google.rpc.ErrorInfo", value=info.SerializeToString()
            )
            error = self.error("RESOURCE_EXHAUSTED", status.SerializeToString())
            self.assertIsInstance(error, kind)
            self.assertIn("the queue is full", str(error))

    def test_undecodable_details_fall_back_to_the_status(self) -> None:
        for details in (None, b"", b"\xff\xff\xff", b"\x1a\x04\x0a\x02"):
            error = self.error("NOT_FOUND", details)
            self.assertIsInstance(error, NotFound)
            self.assertEqual(str(error), "short")
        self.assertIsInstance(self.error("UNAVAILABLE", None), Unavailable)
        self.assertIsInstance(self.error("DEADLINE_EXCEEDED", None), Unavailable)


class Values(TestCase):
    def test_address_has_domain_and_name(self) -> None:
        self.assertEqual(parse_address("CoreEtlJob/sales/orders"), ("sales", "orders"))
        self.assertEqual(parse_address("sales/orders"), ("sales", "orders"))
        for wrong in ("orders", "sales/", "/orders", "Other/sales/orders", "a/b/c/d", ""):
            with self.subTest(wrong), self.assertRaises(ValueError):
                parse_address(wrong)

    def test_parameter_is_text_of_a_scalar(self) -> None:
        for value, expected in (
            ("", ""),
            (True, "true"),
            (False, "false"),
            (-5, "-5"),
            (0.5, "0.5"),
            ("{{ x }}", "{{ x }}"),
        ):
            self.assertEqual(parameter_text("it", value), expected)
        for value in (None, [], {}, float("nan"), float("inf"), b"x"):
            with self.subTest(value), self.assertRaisesRegex(ValueError, "parameter `it` is"):
                parameter_text("it", value)

    def test_partition_path_escapes_values(self) -> None:
        it = SparkOperator(
            task_id="it",
            scope="shop",
            job="sales/orders",
            run_parameters={"day": "2026-11-20", "region": "a/b%=ü", "other": "x"},
            partition=["region", "day"],
        )
        self.assertEqual(it._partition_path(), "region=a%2Fb%25=%C3%BC/day=2026-11-20")
        with self.assertRaisesRegex(ValueError, "'month', which is not in run_parameters"):
            SparkOperator(
                task_id="it", scope="shop", job="a/b", run_parameters={"day": "x"}, partition=["month"]
            )
        with self.assertRaisesRegex(ValueError, "a list of names"):
            SparkOperator(task_id="it", scope="shop", job="a/b", run_parameters={"day": "x"}, partition="day")


class TriggeringUser(TestCase):
    def test_user_is_sent_if_a_user_triggered_the_run(self) -> None:
        def field(name: object) -> dict[str, str]:
            return triggering_user({"dag_run": SimpleNamespace(triggering_user_name=name)})

        self.assertEqual(field("ada"), {"on_behalf_of": "ada"})
        for invalid in (None, "", "a\nb", "ä" * 129, 7):
            self.assertEqual(field(invalid), {})
        self.assertEqual(triggering_user({}), {})


class Assets(TestCase):
    NAMES = (
        "table:lake.mart.orders",
        "table:lake.mart.orders ",
        "topic:a \"b\" 'c'",
        "table:größe.毎日",
        "path:s3://lake/a b/?x=1&b=2#frag",
        "path:/trailing/",
        "path:/trailing",
        "table:%41",
        "table:A",
        "t:" + "x" * 1500,
        "t:" + "x" * 1499 + "y",
        "t:" + "ü" * 700,
        "t:\n\t\x00",
    )

    def test_each_scope_and_asset_has_its_own_name_and_uri(self) -> None:
        made = [completed(scope, name) for scope in ("shop", "shop/prod", "a:b") for name in self.NAMES]
        self.assertEqual(len({it.name for it in made}), len(made))
        self.assertEqual(len({it.uri for it in made}), len(made))
        for it in made:
            self.assertLessEqual(len(it.name), 1500)
            self.assertLessEqual(len(it.uri), 1500)
            self.assertTrue(it.name.isascii() and it.uri.isascii())
        self.assertEqual(made[0].name, "completed:shop:table:lake.mart.orders")
        self.assertEqual(completed("a", "b:c"), completed("a", "b:c"))
        self.assertNotEqual(completed("a:b", "c:d").name, completed("a", "b:c:d").name)

    def test_trigger_survives_serialization(self) -> None:
        from airflow.sdk._shared.module_loading import import_string

        trigger = completed("shop/prod", "table:lake.mart.orders", "other").watchers[0].trigger
        path, kwargs = trigger.serialize()
        again = import_string(path)(**kwargs)
        self.assertEqual(again.serialize(), (path, kwargs))
        self.assertEqual(again.shared_stream_key(), ("dcp", "other", "shop/prod"))


CALLS: list[Any] = []


def callback(context: Any) -> None:
    CALLS.append(("sync", context["dag_run"]["dag_id"]))


async def async_callback(context: Any, **kwargs: Any) -> None:
    CALLS.append(("async", context["dag_run"]["dag_id"], kwargs))


def failing_callback(context: Any) -> None:
    raise RuntimeError("no owner")


class Deadlines(TestCase):
    CONTEXT = {
        "dag_run": {"dag_id": "sales", "dag_run_id": "manual__1", "state": "running"},
        "deadline": {"id": "1", "deadline_time": "2026-11-20T01:00:00Z"},
    }

    def miss_deadline(self, path: str = "", **kwargs: Any) -> list[str]:
        CALLS.clear()
        os.environ["AIRFLOW__DCP__ON_DEADLINE"] = path
        self.addCleanup(os.environ.pop, "AIRFLOW__DCP__ON_DEADLINE", None)
        with self.assertLogs("dcp_airflow.deadlines", logging.ERROR) as logged:
            asyncio.run(deadline_missed(context=self.CONTEXT, **kwargs))
        return logged.output

    def test_missed_deadline_is_logged(self) -> None:
        (line,) = self.miss_deadline()
        self.assertIn(
            "DAG sales missed its deadline: run manual__1 was due by 2026-11-20T01", line
        )

    def test_configured_function_is_called(self) -> None:
        self.miss_deadline(f"{__name__}.callback")
        self.assertEqual(CALLS, [("sync", "sales")])
        self.miss_deadline(f"{__name__}.async_callback", extra=1)
        self.assertEqual(CALLS, [("async", "sales", {"extra": 1})])

    def test_error_of_the_configured_function_is_logged(self) -> None:
        for path, message in (
            (f"{__name__}.failing_callback", "no owner"),
            ("nowhere.at_all", "No module"),
            ("x", "dotted path"),
        ):
            with self.subTest(path):
                lines = self.miss_deadline(path)
                self.assertEqual(len(lines), 2)
                self.assertIn(path, lines[1])
                self.assertIn(message, lines[1])


if __name__ == "__main__":
    unittest.main()
