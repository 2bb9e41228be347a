//! The configuration of a driver's log: the file that a backend writes, and the option by which a JVM finds it.

use std::collections::BTreeMap;

use crate::application::LOG4J;

/// The name of the file.
pub(crate) const FILE: &str = "log4j2.properties";

/// Takes the content of the file from the settings, if they have one, and makes the JVMs of some roles read it from a
/// path. Their other options stay.
pub(crate) fn configure(conf: &mut BTreeMap<String, String>, roles: &[&str], path: &str) -> Option<String> {
    let content = conf.remove(LOG4J)?;
    let option = format!("-Dlog4j2.configurationFile={path}");
    for role in roles {
        let key = format!("spark.{role}.extraJavaOptions");
        let own = conf.get(&key).map(|options| format!(" {options}")).unwrap_or_default();
        conf.insert(key, format!("{}{own}", quoted(&option)));
    }
    Some(content)
}

/// Quotes an option for Spark, which splits options at spaces.
fn quoted(option: &str) -> String {
    match option.contains([' ', '\t', '"', '\'', '\\']) {
        true => format!("\"{}\"", option.replace('\\', "\\\\").replace('"', "\\\"")),
        false => option.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_application_follow_the_own_one() {
        let mut conf = BTreeMap::from([
            (LOG4J.to_owned(), "a = b".to_owned()),
            ("spark.driver.extraJavaOptions".to_owned(), "-Dx=1".to_owned()),
        ]);
        let content = configure(&mut conf, &["driver", "executor"], "/a b/f");
        assert_eq!(content.as_deref(), Some("a = b"));
        let option = "\"-Dlog4j2.configurationFile=/a b/f\"";
        assert_eq!(conf["spark.driver.extraJavaOptions"], format!("{option} -Dx=1"));
        assert_eq!(conf["spark.executor.extraJavaOptions"], option);
        assert_eq!(configure(&mut conf, &["driver"], "/f"), None);
    }
}
