//! Builds the configuration of log4j from a manifest's settings of the log.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dcp_model::manifest::{LogFormat, Logging};

/// Spark's own pattern, which [`driver_log`](crate::driver_log) reads.
const PATTERN: &str = "%d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex";
/// The fields of an event in JSON, which [`driver_log::json`](crate::driver_log) reads.
const TEMPLATE: &str = concat!(
    r#"{"ts":{"$resolver":"timestamp"},"level":{"$resolver":"level","field":"name"},"#,
    r#""logger":{"$resolver":"logger","field":"name"},"msg":{"$resolver":"message","stringified":true},"#,
    r#""context":{"$resolver":"mdc"},"#,
    r#""exception":{"$resolver":"exception","field":"stackTrace","stackTrace":{"stringified":true}}}"#,
);
/// Maximum length of a text in JSON. Stack traces of Spark are longer than the default of 16 KiB.
const MAX_JSON_TEXT: u32 = 256 << 10;

/// Levels that hold unless the manifest has another: those of Spark's own configuration, and those of loggers that
/// report the addresses of a driver.
const DEFAULTS: &[(&str, &str)] = &[
    ("org.apache.hadoop.hive.metastore.RetryingHMSHandler", "fatal"),
    ("org.apache.hadoop.hive.ql.exec.FunctionRegistry", "error"),
    ("org.apache.parquet", "error"),
    ("org.apache.spark.sql.connect.service.SparkConnectServer", "info"),
    ("org.apache.spark.util.Utils", "info"),
    ("org.sparkproject.jetty", "warn"),
    ("parquet", "error"),
];

/// Renders a file of properties.
pub(super) fn properties(logging: &Logging) -> String {
    let Logging { level, loggers, format } = logging;
    let mut text = String::new();
    let mut set = |key: &str, value: &str| {
        let _ = writeln!(text, "{key} = {}", escaped(value));
    };
    set("rootLogger.level", level.name());
    set("rootLogger.appenderRef.console.ref", "console");
    set("appender.console.type", "Console");
    set("appender.console.name", "console");
    set("appender.console.target", "SYSTEM_ERR");
    match format {
        LogFormat::Text => {
            set("appender.console.layout.type", "PatternLayout");
            set("appender.console.layout.pattern", PATTERN);
        }
        LogFormat::Json => {
            set("appender.console.layout.type", "JsonTemplateLayout");
            set("appender.console.layout.eventTemplate", TEMPLATE);
            set("appender.console.layout.maxStringLength", &MAX_JSON_TEXT.to_string());
        }
    }
    let mut levels: BTreeMap<&str, &str> = DEFAULTS.iter().copied().collect();
    levels.extend(loggers.iter().map(|(logger, level)| (logger.as_str(), level.name())));
    for (number, (logger, level)) in levels.into_iter().enumerate() {
        set(&format!("logger.l{number}.name"), logger);
        set(&format!("logger.l{number}.level"), level);
    }
    text
}

/// Escapes a value for a file of properties, which Java reads as ISO 8859-1.
fn escaped(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            ' '..='~' => text.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use dcp_model::manifest::{ClassName, LogLevel};

    use super::*;

    #[test]
    fn levels_of_the_manifest_replace_defaults_and_names_are_escaped() {
        let mut logging = Logging::default();
        let mut set = |name: &str, level| {
            logging.loggers.insert(ClassName::parse(name).expect("it is a name"), level);
        };
        set("parquet", LogLevel::Debug);
        set("com.exämple.Orders", LogLevel::Off);
        let text = properties(&logging);
        assert!(text.starts_with("rootLogger.level = info\n"), "{text}");
        assert!(
            text.contains("logger.l0.name = com.ex\\u00e4mple.Orders\nlogger.l0.level = off\n"),
            "{text}"
        );
        assert!(text.contains(".name = parquet\n") && text.contains(".level = debug\n"), "{text}");
        assert_eq!(text.matches("= parquet\n").count(), 1);
        assert!(text.is_ascii());
    }
}
