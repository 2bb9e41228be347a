//! Formats dates and instants. Spark's range exceeds that of every library that formats them. All years use today's
//! calendar, in both directions.

use std::fmt::Write as _;

/// Formats days since 1970 as `2026-01-31`. A year beyond four digits has a sign, as in ISO 8601.
pub(super) fn date(days: i64) -> String {
    // Years begin in March here, so that the leap day is the last day.
    let days = i128::from(days) + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + i128::from(month <= 2);
    match year {
        0..=9_999 => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{year:+05}-{month:02}-{day:02}"),
    }
}

/// Formats an instant as `2026-01-31T12:34:56.789`. The count since 1970 has `fraction` digits below the second.
pub(super) fn instant(count: i64, fraction: u32) -> String {
    let day = 86_400 * 10_i64.pow(fraction);
    format!("{}T{}", date(count.div_euclid(day)), clock(count.rem_euclid(day), fraction))
}

/// Formats a time of day, whose count has the same unit.
pub(super) fn time_of_day(count: i64, fraction: u32) -> Result<String, String> {
    let inside = (0..86_400 * 10_i64.pow(fraction)).contains(&count);
    inside.then(|| clock(count, fraction)).ok_or_else(|| "a time of day is none".to_owned())
}

/// Formats months as an ISO 8601 duration: `P1Y2M`.
pub(super) fn months(count: i32) -> String {
    let sign = if count < 0 { "-" } else { "" };
    let (years, months) = (count.unsigned_abs() / 12, count.unsigned_abs() % 12);
    match (years, months) {
        (0, months) => format!("{sign}P{months}M"),
        (years, 0) => format!("{sign}P{years}Y"),
        (years, months) => format!("{sign}P{years}Y{months}M"),
    }
}

/// Formats microseconds as an ISO 8601 duration: `P1DT2H3M4.5S`.
pub(super) fn span(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (seconds, fraction) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let part = |number: u64, unit: &str| if number == 0 { String::new() } else { format!("{number}{unit}") };
    let days = part(seconds / 86_400, "D");
    let clock = part(seconds / 3_600 % 24, "H") + &part(seconds / 60 % 60, "M");
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
    let fraction = fraction.trim_end_matches('0');
    let rest = match (seconds % 60, fraction) {
        (0, "") if days.is_empty() && clock.is_empty() => "0S".to_owned(),
        (0, "") => String::new(),
        (seconds, fraction) => format!("{seconds}{fraction}S"),
    };
    let time = clock + &rest;
    format!("{sign}P{days}{}{time}", if time.is_empty() { "" } else { "T" })
}

fn clock(count: i64, fraction: u32) -> String {
    let unit = 10_i64.pow(fraction);
    let (seconds, rest) = (count / unit, count % unit);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if rest > 0 {
        let width = usize::try_from(fraction).unwrap_or_default();
        // Writing to a string never fails.
        let _ = write!(text, ".{rest:0width$}");
        text.truncate(text.trim_end_matches('0').len());
    }
    text
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn instants_are_formatted_as_by_jiff(micros in -62_135_596_800_000_000_i64..253_402_207_200_000_000) {
            let expected = Timestamp::from_microsecond(micros).unwrap().to_string();
            prop_assert_eq!(format!("{}Z", instant(micros, 6)), expected);
        }

        #[test]
        fn every_number_of_days_is_formatted(days in any::<i64>(), micros in any::<i64>()) {
            prop_assert!(date(days).len() >= 10 && instant(micros, 6).contains('T'));
        }
    }

    #[test]
    fn intervals_are_formatted_as_iso_8601() {
        let formatted: Vec<_> = [0, 1, -1, 12, 14, -14, i32::MIN].map(months).to_vec();
        assert_eq!(formatted, ["P0M", "P1M", "-P1M", "P1Y", "P1Y2M", "-P1Y2M", "-P178956970Y8M"]);
        let second = 1_000_000;
        let formatted: Vec<_> =
            [0, -second, 86_400 * second, 93_784_500_000, 1, 3_600 * second, i64::MIN].map(span).to_vec();
        let expected =
            ["PT0S", "-PT1S", "P1D", "P1DT2H3M4.5S", "PT0.000001S", "PT1H", "-P106751991DT4H54.775808S"];
        assert_eq!(formatted, expected);
    }

    proptest! {
        #[test]
        fn formatted_spans_are_parsed_by_jiff(micros in any::<i64>()) {
            // jiff has limits for each unit that are smaller than Spark's.
            let read: jiff::Span = span(micros % 1_000_000_000_000_000).parse().unwrap();
            let days = jiff::SpanRelativeTo::days_are_24_hours();
            let total = read.to_duration(days).unwrap().as_micros();
            prop_assert_eq!(total, i128::from(micros % 1_000_000_000_000_000));
        }
    }

    #[test]
    fn years_beyond_four_digits_have_a_sign() {
        assert_eq!(instant(i64::MAX, 6), "+294247-01-10T04:00:54.775807");
        assert_eq!(date(-719_529), "-0001-12-31");
        assert_eq!(
            (time_of_day(86_399_999, 3).unwrap().as_str(), time_of_day(86_400_000, 3).is_err()),
            ("23:59:59.999", true)
        );
    }
}
