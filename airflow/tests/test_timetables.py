"""Tests of the timetables, called as a scheduler calls them."""

from __future__ import annotations

from datetime import timedelta
from unittest import TestCase
from unittest.mock import patch

import support  # noqa: F401, I001  sets the environment that Airflow reads on import
import pendulum
from airflow.sdk import CronDataIntervalTimetable as SdkCron
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from dcp_airflow import EveryTimetable, SuspendedTimetable

UTC = pendulum.timezone("UTC")
LENGTH = timedelta(hours=7)
SINCE = pendulum.datetime(2026, 1, 1, tz="Europe/Berlin").in_timezone(UTC)


def at(text: str) -> pendulum.DateTime:
    found = pendulum.parse(text)
    assert isinstance(found, pendulum.DateTime)
    return found


def every(seconds: int = 7 * 3600, since: str = "2026-01-01", timezone: str = "Europe/Berlin") -> EveryTimetable:
    return EveryTimetable(seconds=seconds, since=since, timezone=timezone)


def next_run(
    timetable: EveryTimetable,
    now: pendulum.DateTime,
    last: DataInterval | None = None,
    earliest: pendulum.DateTime | None = None,
    catchup: bool = False,
) -> DagRunInfo | None:
    restriction = TimeRestriction(earliest=earliest, latest=None, catchup=catchup)
    with patch("dcp_airflow.timetables.pendulum.now", return_value=now):
        return timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)


class Every(TestCase):
    def interval(self, info: DagRunInfo | None) -> tuple[int, timedelta]:
        """Returns the index of an interval, counted from the first one, and its length."""
        assert info is not None and info.data_interval is not None
        start, end = info.data_interval
        self.assertEqual(info.run_after, end)
        self.assertEqual(info.logical_date, start)
        number, rest = divmod((start - SINCE).as_timedelta(), LENGTH)
        self.assertEqual(rest, timedelta(0))
        return int(number), end - start

    def test_first_run_has_the_last_complete_interval(self) -> None:
        for now, number in ((10, 9), (10.5, 9), (10.99, 9), (11, 10)):
            for earliest in (None, SINCE):
                info = next_run(every(), SINCE + now * LENGTH, earliest=earliest)
                self.assertEqual(self.interval(info), (number, LENGTH), now)

    def test_intervals_before_the_start_date_have_no_run(self) -> None:
        info = next_run(every(), SINCE - 5.5 * LENGTH, earliest=SINCE)
        self.assertEqual(self.interval(info), (0, LENGTH))
        # A start date other than `since` does not move the intervals.
        info = next_run(every(), SINCE, earliest=SINCE + 2.1 * LENGTH, catchup=True)
        self.assertEqual(self.interval(info), (3, LENGTH))

    def test_each_interval_has_a_run_with_catchup(self) -> None:
        last, numbers = None, []
        for _ in range(4):
            info = next_run(every(), SINCE + 100 * LENGTH, last, SINCE, catchup=True)
            numbers.append(self.interval(info)[0])
            last = info.data_interval if info else None
        self.assertEqual(numbers, [0, 1, 2, 3])

    def test_missed_intervals_have_no_run_without_catchup(self) -> None:
        last = DataInterval(SINCE + 3 * LENGTH, SINCE + 4 * LENGTH)
        self.assertEqual(self.interval(next_run(every(), SINCE + 4.5 * LENGTH, last))[0], 4)
        self.assertEqual(self.interval(next_run(every(), SINCE + 9.5 * LENGTH, last))[0], 8)

    def test_first_interval_after_a_change_of_length_starts_at_the_end_of_the_last_run(self) -> None:
        hour = timedelta(hours=1)
        last = DataInterval(SINCE + 22 * hour, SINCE + 23 * hour)
        for catchup in (False, True):
            info = next_run(every(), SINCE + 23.1 * hour, last, SINCE, catchup)
            assert info is not None
            self.assertEqual(info.data_interval, DataInterval(SINCE + 23 * hour, SINCE + 28 * hour))
            info = next_run(every(), SINCE + 28.1 * hour, info.data_interval, SINCE, catchup)
            self.assertEqual(self.interval(info), (4, LENGTH))
        # A longer last interval ends in the future.
        longer = DataInterval(SINCE, SINCE + 70 * hour)
        self.assertEqual(self.interval(next_run(every(), SINCE + 8 * hour, longer, SINCE, True))[0], 10)

    def test_manual_run_has_the_last_complete_interval(self) -> None:
        for moment, number in ((4, 3), (4.7, 3), (-0.5, -2)):
            found = every().infer_manual_data_interval(run_after=SINCE + moment * LENGTH)
            self.assertEqual(found, DataInterval(SINCE + number * LENGTH, SINCE + (number + 1) * LENGTH))
        # Airflow's cron timetable gives the same interval.
        cron = CronDataIntervalTimetable("0 * * * *", timezone=UTC)
        hourly = every(3600, "1970-01-01", "UTC")
        for text in ("2026-03-01T10:00:00Z", "2026-03-01T10:59:59.999999Z"):
            moment = at(text)
            self.assertEqual(
                hourly.infer_manual_data_interval(run_after=moment), cron.infer_manual_data_interval(run_after=moment)
            )

    def test_summer_time_does_not_change_the_length(self) -> None:
        daily = every(86400)
        info = next_run(daily, at("2026-07-02T12:00:00Z"))
        assert info is not None
        self.assertEqual(info.data_interval, DataInterval(at("2026-06-30T23:00:00Z"), at("2026-07-01T23:00:00Z")))

    def test_timetable_survives_serialization(self) -> None:
        encoded = encode_timetable(every())
        decoded = decode_timetable(encoded)
        self.assertIsInstance(decoded, EveryTimetable)
        self.assertEqual(encode_timetable(decoded), encoded)
        moment = SINCE + 3.5 * LENGTH
        self.assertEqual(
            decoded.infer_manual_data_interval(run_after=moment), every().infer_manual_data_interval(run_after=moment)
        )
        self.assertEqual(str(decoded.timezone), "Europe/Berlin")


class Suspended(TestCase):
    def test_suspended_timetable_schedules_no_run(self) -> None:
        last = DataInterval(SINCE, SINCE + LENGTH)
        for catchup in (False, True):
            restriction = TimeRestriction(earliest=SINCE, latest=None, catchup=catchup)
            for before in (None, last):
                found = SuspendedTimetable(every()).next_dagrun_info(
                    last_automated_data_interval=before, restriction=restriction
                )
                self.assertIsNone(found)

    def test_manual_run_of_suspended_timetable_has_the_interval_of_the_other_timetable(self) -> None:
        moment = SINCE + 3.5 * LENGTH
        for other in (SdkCron("0 2 * * *", timezone="Europe/Berlin"), every()):
            suspended = SuspendedTimetable(other)
            self.assertEqual(str(suspended.timezone), "Europe/Berlin")
            decoded = decode_timetable(encode_timetable(suspended))
            self.assertIsInstance(decoded, SuspendedTimetable)
            self.assertEqual(encode_timetable(decoded), encode_timetable(suspended))
            expected = decode_timetable(encode_timetable(other)).infer_manual_data_interval(run_after=moment)
            for it in (suspended, decoded):
                self.assertEqual(it.infer_manual_data_interval(run_after=moment), expected)
            self.assertEqual(decoded.summary, f"suspended: {decode_timetable(encode_timetable(other)).summary}")
