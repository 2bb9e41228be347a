use serde::{Deserialize, Serialize};

/// A property of the run that a task can use. Each is an Airflow template expression; no others are used.
///
/// Runs that a cron schedule starts have a logical date and a data interval. Runs that assets start have neither.
/// Runs that are started manually have both only if a date was given. If a task uses a property that its run lacks,
/// rendering its template fails before anything is submitted, because Airflow rejects undefined names in templates.
/// All runs have an id and a time after which they are due.
///
/// All values except [`TemplateValue::LocalDate`] and the dates of the interval are in UTC, regardless of the time zone of
/// the schedule: a run at 2026-01-02 00:00 in Berlin has the `Date` 2026-01-01. Timestamps are ISO 8601 with an
/// offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TemplateValue {
    /// The day of the logical date: `2026-01-01`. In scheduled runs, it is the start of the data interval. In manual
    /// runs, it is the date that was given, and the interval is the last complete one before it.
    Date,
    /// The day of the logical date in the time zone of the schedule.
    LocalDate,
    /// The logical date: `2026-01-01T00:00:00+00:00`.
    Timestamp,
    IntervalStart,
    /// The first day of the interval, in the time zone of the schedule.
    IntervalStartDate,
    IntervalEnd,
    IntervalEndDate,
    /// The time after which the run is due: the end of its data interval, or the last event for which an
    /// asset-triggered run waited.
    RunAfter,
    RunAfterDate,
    /// Unique within the DAG.
    RunId,
}

impl TemplateValue {
    pub const ALL: [TemplateValue; 10] = [
        TemplateValue::Date,
        TemplateValue::LocalDate,
        TemplateValue::Timestamp,
        TemplateValue::IntervalStart,
        TemplateValue::IntervalStartDate,
        TemplateValue::IntervalEnd,
        TemplateValue::IntervalEndDate,
        TemplateValue::RunAfter,
        TemplateValue::RunAfterDate,
        TemplateValue::RunId,
    ];

    /// Returns whether asset-triggered and manual runs have the value too.
    pub fn available_without_logical_date(self) -> bool {
        match self {
            TemplateValue::Date
            | TemplateValue::LocalDate
            | TemplateValue::Timestamp
            | TemplateValue::IntervalStart
            | TemplateValue::IntervalStartDate
            | TemplateValue::IntervalEnd
            | TemplateValue::IntervalEndDate => false,
            TemplateValue::RunAfter | TemplateValue::RunAfterDate | TemplateValue::RunId => true,
        }
    }

    /// Returns whether the value identifies the data that a run processes.
    pub fn identifies_data(self) -> bool {
        self != TemplateValue::RunId
    }
}
