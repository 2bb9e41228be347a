use serde::{Deserialize, Serialize};

/// What a task can be told about the run it belongs to: the only Airflow template expressions there are.
///
/// A run that a cron schedule started has a logical date and a data interval, the two together. A run that
/// assets started has neither, and one started by hand has them only if whoever started it gave a date. There
/// a task that asks for one fails when its template is rendered, before anything is submitted: names that are
/// not defined are errors in Airflow's templates, not empty text. What every run has is its id and the moment
/// after which it was due.
///
/// All but [`RunValue::LocalDate`] and the dates of the interval are in UTC, whatever the schedule's time zone: a run for
/// 2026-01-02 00:00 in Berlin has the `Date` 2026-01-01. Timestamps are ISO 8601 with their offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunValue {
    /// The day of the logical date: `2026-01-01`. In a run that a cron schedule started, that is the start of its
    /// data interval. In one started by hand it is the date that was given, and the interval is the last complete
    /// one before it.
    Date,
    /// The same day in the time zone of the schedule.
    LocalDate,
    /// The logical date: `2026-01-01T00:00:00+00:00`.
    Timestamp,
    IntervalStart,
    /// The day on which the interval begins, in the time zone of the schedule.
    IntervalStartDate,
    IntervalEnd,
    IntervalEndDate,
    /// The moment after which the run was due: the end of its data interval, or the last event that an
    /// asset-triggered run waited for.
    RunAfter,
    RunAfterDate,
    /// Unique within the DAG.
    RunId,
}

impl RunValue {
    pub const ALL: [RunValue; 10] = [
        RunValue::Date,
        RunValue::LocalDate,
        RunValue::Timestamp,
        RunValue::IntervalStart,
        RunValue::IntervalStartDate,
        RunValue::IntervalEnd,
        RunValue::IntervalEndDate,
        RunValue::RunAfter,
        RunValue::RunAfterDate,
        RunValue::RunId,
    ];

    /// Whether runs that assets or people start have it too.
    pub fn available_without_logical_date(self) -> bool {
        match self {
            RunValue::Date
            | RunValue::LocalDate
            | RunValue::Timestamp
            | RunValue::IntervalStart
            | RunValue::IntervalStartDate
            | RunValue::IntervalEnd
            | RunValue::IntervalEndDate => false,
            RunValue::RunAfter | RunValue::RunAfterDate | RunValue::RunId => true,
        }
    }

    /// Whether it says which part of the data a run is for.
    pub fn is_of_data(self) -> bool {
        self != RunValue::RunId
    }
}
