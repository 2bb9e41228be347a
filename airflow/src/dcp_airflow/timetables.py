"""Timetables that Airflow lacks."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable

if TYPE_CHECKING:
    from airflow.sdk.bases.timetable import BaseTimetable
    from airflow.timetables.base import TimeRestriction
    from pendulum import DateTime


class EveryTimetable(Timetable):
    """Schedules runs for data intervals of equal length, counted from midnight of the day `since` in `timezone`.

    A run is due when its interval ends. Airflow's own `DeltaDataIntervalTimetable` counts from the start date, from 1970
    or from the end of the last run, depending on the history of the DAG; intervals of this timetable never move.
    """

    def __init__(self, *, seconds: int, since: str = "1970-01-01", timezone: str = "UTC") -> None:
        self._arguments: dict[str, Any] = {"seconds": seconds, "since": since, "timezone": timezone}
        # Templates of generated DAGs read it, as they read that of Airflow's cron timetables.
        self.timezone = pendulum.timezone(timezone)
        self._length = timedelta(seconds=seconds)
        day = date.fromisoformat(since)
        midnight = pendulum.datetime(day.year, day.month, day.day, tz=self.timezone)
        self._origin: DateTime = midnight.in_timezone("UTC")
        self.description = f"Every {self._length}, counted from {since} in {timezone}"

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> EveryTimetable:
        return cls(**data)

    def serialize(self) -> dict[str, Any]:
        return self._arguments

    @property
    def summary(self) -> str:
        return f"every {self._length}"

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """Returns the last complete interval, as Airflow's cron timetables do."""
        end = self._at_or_before(run_after)
        return DataInterval(start=end - self._length, end=end)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        last, earliest = last_automated_data_interval, restriction.earliest
        starts = []
        if earliest is not None:
            starts.append(self._at_or_after(earliest))
        if not restriction.catchup:
            starts.append(self._at_or_before(pendulum.now("UTC")) - self._length)
        if last is not None:
            # After a change of the length, one interval is shorter, so that intervals neither overlap nor leave gaps.
            starts.append(last.end)
        if not starts:
            return None
        start = max(starts)
        if restriction.latest is not None and start > restriction.latest:
            return None
        return DagRunInfo.interval(start=start, end=self._at_or_before(start) + self._length)

    def _at_or_before(self, moment: DateTime) -> DateTime:
        return self._origin + (moment - self._origin).as_timedelta() // self._length * self._length

    def _at_or_after(self, moment: DateTime) -> DateTime:
        return self._origin - (self._origin - moment).as_timedelta() // self._length * self._length


class SuspendedTimetable(Timetable):
    """Schedules no runs. A manual run has the data interval that another timetable gives it."""

    can_be_scheduled = False
    description = "Suspended in its manifest: no run is scheduled"

    def __init__(self, timetable: BaseTimetable | Timetable) -> None:
        self._timetable = timetable
        # Templates of generated DAGs read it.
        self.timezone = getattr(timetable, "timezone", "UTC")

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> SuspendedTimetable:
        from airflow.serialization.decoders import decode_timetable

        return cls(decode_timetable(data["timetable"]))

    def serialize(self) -> dict[str, Any]:
        from airflow.serialization.encoders import encode_timetable

        return {"timetable": encode_timetable(self._timetable)}

    @property
    def summary(self) -> str:
        return f"suspended: {self._core.summary}"

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        return self._core.infer_manual_data_interval(run_after=run_after)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        return None

    @property
    def _core(self) -> Timetable:
        """The other timetable, converted to the scheduler's class: a DAG file has that of the SDK."""
        from airflow.serialization.encoders import coerce_to_core_timetable

        return coerce_to_core_timetable(self._timetable)
