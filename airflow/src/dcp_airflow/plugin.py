"""Plugin that registers the timetables of this package with Airflow."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from dcp_airflow.timetables import EveryTimetable, SuspendedTimetable


class DcpPlugin(AirflowPlugin):
    name = "dcp"
    timetables = [EveryTimetable, SuspendedTimetable]
