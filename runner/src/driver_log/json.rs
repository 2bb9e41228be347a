//! Events in JSON, one on each line, as `spark.logging.format: json` makes Spark write them.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;

use super::{Level, level};

/// The beginning of an event. PySpark's own JSON has a space in it.
const BEGINNING: &str = "{\"ts\":\"";

/// An event. Other fields are not needed.
#[derive(Debug, Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    ts: Cow<'a, str>,
    #[serde(borrow)]
    level: Cow<'a, str>,
    #[serde(borrow)]
    logger: Cow<'a, str>,
    #[serde(borrow)]
    msg: Cow<'a, str>,
    #[serde(borrow, default)]
    exception: Option<Cow<'a, str>>,
}

impl<'a> Event<'a> {
    fn parse(line: &'a str) -> Option<(Self, Level)> {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let event: Self = line.starts_with(BEGINNING).then(|| serde_json::from_str(line).ok())??;
        let level = level(&event.level)?;
        Some((event, level))
    }

    /// Appends the event in Spark's pattern.
    fn write(&self, text: &mut String) {
        // `2026-01-31T02:00:11.000Z`
        let digits = |range: std::ops::Range<usize>| {
            let part = self.ts.get(range).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
            part.unwrap_or("00")
        };
        let date = [digits(2..4), digits(5..7), digits(8..10)].join("/");
        let time = [digits(11..13), digits(14..16), digits(17..19)].join(":");
        let logger = self.logger.rsplit('.').next().unwrap_or_default();
        let _ = writeln!(text, "{date} {time} {} {logger}: {}", self.level, self.msg);
        if let Some(exception) = &self.exception {
            text.push_str(exception.trim_end());
            text.push('\n');
        }
    }
}

/// Returns the level of a line that is an event.
pub(super) fn level_of(line: &str) -> Option<Level> {
    Event::parse(line).map(|(_, level)| level)
}

/// Returns a log whose events in JSON are in Spark's pattern instead.
pub(crate) fn as_text(log: &str) -> Cow<'_, str> {
    if !log.contains(BEGINNING) {
        return Cow::Borrowed(log);
    }
    let mut text = String::with_capacity(log.len());
    for line in log.split_inclusive('\n') {
        match Event::parse(line.trim_end_matches('\n')) {
            Some((event, _)) => event.write(&mut text),
            None => text.push_str(line),
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENT: &str = r#"{"ts":"2026-01-31T02:00:11.123Z","level":"ERROR","logger":"org.apache.spark.executor.Executor","msg":"Exception in \"task\" 0.0","context":{"task_id":"1"},"exception":"java.lang.IllegalStateException: bad\n\tat Main.main(Main.java:1)\n"}"#;

    #[test]
    fn events_get_the_pattern_of_spark_and_other_lines_stay() {
        let log = format!("a\n{EVENT}\n{{\"ts\":\"x\"}}\nb");
        let text = "a\n26/01/31 02:00:11 ERROR Executor: Exception in \"task\" 0.0\n\
                    java.lang.IllegalStateException: bad\n\tat Main.main(Main.java:1)\n{\"ts\":\"x\"}\nb";
        assert_eq!(as_text(&log), text);
        assert_eq!((level_of(EVENT), level_of("{\"ts\":\"x\"}")), (Some(Level::Error), None));
        assert!(matches!(as_text("a\nb\n"), Cow::Borrowed("a\nb\n")));
    }

    proptest! {
        #[test]
        fn any_event_becomes_a_header(ts in ".{0,30}", logger in "[a-z.]{1,20}[A-Z]", msg in "[a-z ]{0,20}") {
            let event = format!(
                "{{\"ts\":{},\"level\":\"WARN\",\"logger\":{},\"msg\":{}}}",
                serde_json::json!(ts), serde_json::json!(logger), serde_json::json!(msg)
            );
            let text = as_text(&event);
            let header = super::super::header(text.lines().next().unwrap_or_default());
            prop_assert_eq!(header.map(|it| it.level), Some(Level::Warn));
        }
    }
}
