"""What needs neither a dcp nor a scheduler."""

from __future__ import annotations

import asyncio
import logging
import os
import unittest
from types import SimpleNamespace
from typing import Any
from unittest import TestCase

import support  # noqa: F401, I001  Airflow's home is set by this, and read by what follows
from dcp_airflow import _wire
from dcp_airflow._life import Life, Next, State, begin, decide, following, retried, token
from dcp_airflow._lines import Lines
from dcp_airflow._outage import Outage
from dcp_airflow._report import replaced_by
from dcp_airflow._settings import Settings
from dcp_airflow.assets import completed
from dcp_airflow.deadlines import deadline_missed
from dcp_airflow.errors import Invalid, NotFound, Refused, TokenReused, Unreachable
from dcp_airflow.operators import SparkOperator, address, text


LIVE = ("QUEUED", "SUBMITTING", "PENDING", "RUNNING", "RETRYING")


class Tokens(TestCase):
    def test_one_for_each_run_of_a_task(self) -> None:
        names = [
            ("", "dag", "run", "task", -1, 1),
            ("", "dag", "run", "task", -1, 2),
            ("", "dag", "run", "task", 0, 1),
            ("", "dag", "run", "task2", -1, 1),
            ("", "dag", "run2", "task", -1, 1),
            ("", "dag2", "run", "task", -1, 1),
            ("eu", "dag", "run", "task", -1, 1),
            # What would be the same, were the names only put one behind the other.
            ("", "d", "agrun", "task", -1, 1),
            ("", 'dag","run', "", "task", -1, 1),
            ("", "größe" * 200, "manual__2026-11-20T00:00:00+00:00", "täsk", 10**9, 10**6),
        ]
        tokens = [token(*it) for it in names]
        self.assertEqual(len(set(tokens)), len(names))
        for it in tokens:
            self.assertRegex(it, r"\A[!-~]{1,128}\Z")

    def test_it_holds_still(self) -> None:
        # A later version that made another one would start again what an earlier one has running.
        self.assertEqual(
            token("eu", "sales__orders", "scheduled__2026-11-20T00:00:00+00:00", "orders", -1, 3),
            "airflow:25502e641da1039cf605223ef0d53dbca0c7fa96c2c505acadaac2546f59589a:3",
        )


class Lives(TestCase):
    def test_decisions(self) -> None:
        for life in Life:
            for phase in (*LIVE, "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED"):
                with self.subTest(life=life, phase=phase):
                    # What is new is followed, whatever it is.
                    self.assertIs(decide(phase, True, life), Next.FOLLOW)
                    if phase in LIVE:
                        self.assertIs(decide(phase, False, life), Next.FOLLOW)
                    if phase in ("CANCELLING", "CANCELLED") and life is not Life.REPORTED:
                        self.assertIs(decide(phase, False, life), Next.RENEW)
        for life, phase, expected in (
            (Life.RESUMED, "SUCCEEDED", Next.FOLLOW),
            (Life.RESUMED, "FAILED", Next.FOLLOW),
            (Life.REPORTED, "SUCCEEDED", Next.FOLLOW),
            (Life.REPORTED, "FAILED", Next.FOLLOW),
            (Life.REPORTED, "CANCELLED", Next.FOLLOW),
            (Life.UNKNOWN, "SUCCEEDED", Next.RENEW),
            (Life.UNKNOWN, "FAILED", Next.RENEW),
            (Life.STATELESS, "SUCCEEDED", Next.FOLLOW),
            (Life.STATELESS, "FAILED", Next.RENEW),
        ):
            with self.subTest(life=life, phase=phase):
                self.assertIs(decide(phase, False, life), expected)

    def test_generations(self) -> None:
        first, resumed = begin(None, retried=False)
        self.assertEqual((first.generation, resumed), (1, False))
        # It died somewhere.
        self.assertEqual(begin(first, retried=False), (first, True))
        self.assertEqual(begin(first, retried=True), (first, True))
        # It was told how it ended, and then cleared.
        settled = State(1, settled=True, execution="a")
        second, resumed = begin(settled, retried=False)
        self.assertEqual(
            (second.generation, second.execution, second.settled, resumed), (2, "", False, False)
        )
        self.assertEqual(following(second).generation, 3)
        # Airflow has lost the try that reported the outcome.
        self.assertEqual(begin(settled, retried=True), (settled, True))
        self.assertIs(settled.life(created=0.0), Life.REPORTED)

    def test_retry_of_a_lost_try_is_told_from_a_cleared_task(self) -> None:
        for retries in (0, 2):
            max_tries, number = retries, 0
            for _ in range(3):
                number += 1
                self.assertFalse(retried(number, max_tries, retries))
                for _ in range(retries):
                    number += 1
                    self.assertTrue(retried(number, max_tries, retries))
                # What Airflow does when a person clears the task.
                max_tries = number + retries

    def test_what_an_earlier_run_by_this_name_has_left_is_not_taken_for_this_one(self) -> None:
        asked = State(1, asked=10_000.0)
        self.assertIs(asked.life(created=10_001.0), Life.RESUMED)
        # Clocks differ by a little.
        self.assertIs(asked.life(created=9_950.0), Life.RESUMED)
        self.assertIs(asked.life(created=5_000.0), Life.UNKNOWN)
        self.assertIs(State(1, asked=10_000.0, execution="a").life(created=5_000.0), Life.RESUMED)


class Replaced(TestCase):
    def test_replacing_execution_is_read_from_stopping(self) -> None:
        for stopping, by in (
            ('{"replaced":{"by":"01a"}}', "01a"),
            ('{"cancelled":{"by":"replaced"}}', ""),
            ('"startTimeout"', ""),
            ("", ""),
            ("no JSON", ""),
            ('{"replaced":"01a"}', ""),
        ):
            with self.subTest(stopping):
                self.assertEqual(replaced_by(SimpleNamespace(stopping=stopping)), by)


class Told(TestCase):
    """The lines of a log."""

    def lines(self, *pieces: tuple[int, int, bytes], **bounds: int) -> list[str]:
        it = Lines("id", **bounds)
        return [line for piece in pieces for line in it.feed(*piece)] + list(it.end())

    def test_whole_lines(self) -> None:
        told = self.lines((1, 0, b"one\ntw"), (1, 6, b"o\n\nth"), (1, 11, b"ree"))
        self.assertEqual(
            told, ["the log of attempt 1, from its beginning:", "| one", "| two", "| ", "| three"]
        )

    def test_a_break_repeats_nothing(self) -> None:
        it = Lines("id")
        told = list(it.feed(1, 0, b"one\ntw"))
        self.assertEqual((it.attempt, it.offset), (1, 6))
        told += [*it.feed(1, 4, b"two\nthree\n"), *it.feed(1, 0, b"one\n"), *it.end()]
        self.assertEqual(told[1:], ["| one", "| two", "| three"])

    def test_the_next_attempt(self) -> None:
        told = self.lines((1, 0, b"one"), (2, 0, b"two\n"))
        self.assertEqual(told[1:], ["| one", "the log of attempt 2, from its beginning:", "| two"])
        self.assertEqual(self.lines((3, 7, b"x"))[0], "the log of attempt 3, from byte 7 on:")

    def test_nothing_is_hidden(self) -> None:
        raw = "\x1b[31mred\x1b[0m ::group:: a\x00b\tc\r\n::endgroup::\n\u202eevil\u2028x\x1b]0;title\x07y\n".encode()
        told = self.lines((1, 0, raw + b"\xff\xfe\n"))
        self.assertEqual(told[1], "| red ::group:: a\ufffdb\tc")
        self.assertEqual(told[2], "| ::endgroup::")
        self.assertEqual(told[3], "| \ufffdevil\ufffdxy")
        self.assertEqual(told[4], "| \ufffd\ufffd")

    def test_a_line_without_end(self) -> None:
        told = self.lines((1, 0, b"a" * 10), (1, 10, b"a" * 10), (1, 20, b"a\nnext\n"), line=8)
        self.assertEqual(told[1:], ["| aaaaaaaa … (a longer line, cut)", "| next"])

    def test_a_log_without_end(self) -> None:
        it = Lines("some-id", total=2048)
        told = [line for number in range(100) for line in it.feed(1, number * 100, b"x" * 99 + b"\n")]
        self.assertTrue(it.full)
        self.assertEqual(told[-1], "the log goes on beyond 2 KiB, and only there: dcp logs some-id")
        self.assertLess(sum(map(len, told)), 2500)


def connection(**fields: Any) -> Any:
    return SimpleNamespace(**{"host": "127.0.0.1", "port": None, "password": None, "extra": None, **fields})


class Connections(TestCase):
    def test_defaults(self) -> None:
        it = Settings.of(connection())
        self.assertEqual(
            (it.runner, it.control, it.tls, it.patience), ("127.0.0.1:7420", "127.0.0.1:7420", False, 600)
        )
        self.assertEqual(it.url("a/b"), "http://127.0.0.1:7420/api/v1/job/a%2Fb")
        self.assertEqual(it.origin, "airflow")

    def test_all(self) -> None:
        extra = (
            '{"tls": "true", "control": "control.example.com:1", "patience": "5", "deployment": "eu", '
            '"link": "https://ui.example.com/{id}?x"}'
        )
        it = Settings.of(connection(host="runner.example.com", port=7421, password="s3cret", extra=extra))
        self.assertEqual((it.runner, it.control), ("runner.example.com:7421", "control.example.com:1"))
        self.assertEqual((it.tls, it.patience, it.origin), (True, 5.0, "airflow:eu"))
        self.assertEqual(it.url("x"), "https://ui.example.com/x?x")
        self.assertNotIn("s3cret", repr(it))

    def test_unix_socket(self) -> None:
        it = Settings.of(connection(host="unix:///shop/.dcp/up.sock", password="t"))
        self.assertEqual((it.runner, it.control), ("unix:///shop/.dcp/up.sock",) * 2)
        self.assertEqual(it.url("x"), "")
        with_link = connection(host="unix:///up.sock", extra='{"link": "https://ui.example.com/{id}"}')
        self.assertEqual(Settings.of(with_link).url("x"), "https://ui.example.com/x")
        with self.assertRaisesRegex(Invalid, "has no TLS"):
            Settings.of(connection(host="unix:///up.sock", extra='{"tls": true}'))

    def test_no_token_goes_out_in_the_clear(self) -> None:
        for host in ("127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", "::1", "[::1]", "::ffff:127.0.0.1"):
            Settings.of(connection(host=host, password="t"))
        for host in (
            "runner.example.com",
            "10.0.0.1",
            "127.0.0.1.example.com",
            "localhost.example.com",
            "2001:db8::1",
        ):
            with self.subTest(host), self.assertRaisesRegex(Invalid, "in the clear"):
                Settings.of(connection(host=host, password="t"))
            Settings.of(connection(host=host, password="t", extra='{"tls": true}'))
            Settings.of(connection(host=host))
        with self.assertRaisesRegex(Invalid, "in the clear"):
            Settings.of(connection(password="t", extra='{"control": "control.example.com:7420"}'))

    def test_what_can_not_be_right(self) -> None:
        for fields, why in (
            ({"host": ""}, "no host"),
            ({"extra": "{"}, "not JSON"),
            ({"extra": "[]"}, "not an object"),
            ({"extra": '{"tls": "maybe"}'}, "true or false"),
            ({"extra": '{"patience": -1}'}, "number of seconds"),
            ({"extra": '{"patience": "NaN"}'}, "number of seconds"),
            ({"extra": '{"control": "nowhere"}'}, "host:port"),
            ({"extra": '{"link": "http://x/{job}"}'}, "other braces"),
            ({"password": "a\nb"}, "characters that a token can't have"),
        ):
            with self.subTest(fields), self.assertRaisesRegex(Invalid, why):
                Settings.of(connection(**fields))


class Outages(TestCase):
    def test_patience(self) -> None:
        now = [0.0]
        with self.assertLogs("outage", logging.INFO) as told:
            log = logging.getLogger("outage")
            it = Outage(10, log, clock=lambda: now[0])
            waited = 0.0
            with self.assertRaisesRegex(Unreachable, "no answer for 10 s: gone"):
                while True:
                    delay = it.failed(Unreachable("gone"))
                    self.assertGreater(delay, 0)
                    now[0] += delay
                    waited += delay
            self.assertAlmostEqual(waited, 10)
            it.over()
        # Once for its beginning, and once for its end.
        self.assertEqual(len(told.output), 2)
        it.over()


class Wire(TestCase):
    def failed(self, code: str, details: bytes | None) -> Any:
        trailers = (("x", "y"),) + ((("grpc-status-details-bin", details),) if details is not None else ())
        return _wire.error(
            SimpleNamespace(
                code=lambda: SimpleNamespace(name=code),
                details=lambda: "short",
                trailing_metadata=lambda: trailers,
            ),
            "here",
        )

    def test_what_is_told_of_a_refusal(self) -> None:
        info = _wire.message("dcp.airflow.ErrorInfo")(reason="TOKEN_REUSED", domain="dcp.runner.v1")
        info.metadata.add(key="execution", value="abc")
        status = _wire.message("dcp.airflow.Status")(code=6, message="the whole of it")
        status.details.add(type_url="type.googleapis.com/google.rpc.Help", value=b"\xff\xff")
        status.details.add(
            type_url="type.googleapis.com/google.rpc.ErrorInfo", value=info.SerializeToString()
        )
        error = self.failed("ALREADY_EXISTS", status.SerializeToString())
        self.assertIsInstance(error, TokenReused)
        self.assertEqual(
            (str(error), error.reason, error.metadata),
            ("the whole of it", "TOKEN_REUSED", {"execution": "abc"}),
        )

    def test_full_queue_is_tried_again_and_other_limits_are_final(self) -> None:
        for reason, kind in (("EXHAUSTED", Unreachable), ("TOO_LARGE", Refused)):
            info = _wire.message("dcp.airflow.ErrorInfo")(reason=reason, domain="dcp.runner.v1")
            status = _wire.message("dcp.airflow.Status")(code=8, message="the queue is full")
            status.details.add(
                type_url="type.googleapis.com/google.rpc.ErrorInfo", value=info.SerializeToString()
            )
            error = self.failed("RESOURCE_EXHAUSTED", status.SerializeToString())
            self.assertIsInstance(error, kind)
            self.assertIn("the queue is full", str(error))

    def test_what_is_told_badly(self) -> None:
        for details in (None, b"", b"\xff\xff\xff", b"\x1a\x04\x0a\x02"):
            error = self.failed("NOT_FOUND", details)
            self.assertIsInstance(error, NotFound)
            self.assertEqual(str(error), "short")
        self.assertIsInstance(self.failed("UNAVAILABLE", None), Unreachable)
        self.assertIsInstance(self.failed("DEADLINE_EXCEEDED", None), Unreachable)


class Values(TestCase):
    def test_addresses(self) -> None:
        self.assertEqual(address("CoreEtlJob/sales/orders"), ("sales", "orders"))
        self.assertEqual(address("sales/orders"), ("sales", "orders"))
        for wrong in ("orders", "sales/", "/orders", "Other/sales/orders", "a/b/c/d", ""):
            with self.subTest(wrong), self.assertRaises(ValueError):
                address(wrong)

    def test_parameters(self) -> None:
        for value, expected in (
            ("", ""),
            (True, "true"),
            (False, "false"),
            (-5, "-5"),
            (0.5, "0.5"),
            ("{{ x }}", "{{ x }}"),
        ):
            self.assertEqual(text("it", value), expected)
        for value in (None, [], {}, float("nan"), float("inf"), b"x"):
            with self.subTest(value), self.assertRaisesRegex(ValueError, "parameter `it` is"):
                text("it", value)

    def test_partitions(self) -> None:
        it = SparkOperator(
            task_id="it",
            scope="shop",
            job="sales/orders",
            run_parameters={"day": "2026-11-20", "region": "a/b%=ü", "other": "x"},
            partition=["region", "day"],
        )
        self.assertEqual(it._partition(), "region=a%2Fb%25=%C3%BC/day=2026-11-20")
        with self.assertRaisesRegex(ValueError, "'month', which is not one of run_parameters"):
            SparkOperator(
                task_id="it", scope="shop", job="a/b", run_parameters={"day": "x"}, partition=["month"]
            )
        with self.assertRaisesRegex(ValueError, "a list of names"):
            SparkOperator(task_id="it", scope="shop", job="a/b", run_parameters={"day": "x"}, partition="day")


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

    def test_every_name_has_one_of_its_own(self) -> None:
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

    def test_its_trigger_can_be_kept(self) -> None:
        from airflow.sdk._shared.module_loading import import_string

        trigger = completed("shop/prod", "table:lake.mart.orders", "other").watchers[0].trigger
        path, kwargs = trigger.serialize()
        again = import_string(path)(**kwargs)
        self.assertEqual(again.serialize(), (path, kwargs))
        self.assertEqual(again.shared_stream_key(), ("dcp", "other", "shop/prod"))


CALLED: list[Any] = []


def called(context: Any) -> None:
    CALLED.append(("sync", context["dag_run"]["dag_id"]))


async def acalled(context: Any, **kwargs: Any) -> None:
    CALLED.append(("async", context["dag_run"]["dag_id"], kwargs))


def failing(context: Any) -> None:
    raise RuntimeError("no owner")


class Deadlines(TestCase):
    CONTEXT = {
        "dag_run": {"dag_id": "sales", "dag_run_id": "manual__1", "state": "running"},
        "deadline": {"id": "1", "deadline_time": "2026-11-20T01:00:00Z"},
    }

    def missed(self, path: str = "", **kwargs: Any) -> list[str]:
        CALLED.clear()
        os.environ["AIRFLOW__DCP__ON_DEADLINE"] = path
        self.addCleanup(os.environ.pop, "AIRFLOW__DCP__ON_DEADLINE", None)
        with self.assertLogs("dcp_airflow.deadlines", logging.ERROR) as told:
            asyncio.run(deadline_missed(context=self.CONTEXT, **kwargs))
        return told.output

    def test_it_is_logged(self) -> None:
        (line,) = self.missed()
        self.assertIn(
            "DAG sales has missed its deadline: run manual__1 had to be done by 2026-11-20T01", line
        )

    def test_who_is_to_know_is_called(self) -> None:
        self.missed(f"{__name__}.called")
        self.assertEqual(CALLED, [("sync", "sales")])
        self.missed(f"{__name__}.acalled", extra=1)
        self.assertEqual(CALLED, [("async", "sales", {"extra": 1})])

    def test_what_fails_there_is_logged(self) -> None:
        for path, why in (
            (f"{__name__}.failing", "no owner"),
            ("nowhere.at_all", "No module"),
            ("x", "dotted path"),
        ):
            with self.subTest(path):
                lines = self.missed(path)
                self.assertEqual(len(lines), 2)
                self.assertIn(path, lines[1])
                self.assertIn(why, lines[1])


if __name__ == "__main__":
    unittest.main()
