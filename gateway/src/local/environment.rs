//! The environment of a supervisor and its driver. It starts empty, so that it has no password or token of the
//! service that starts them.

use std::ffi::{OsStr, OsString};

/// The variables that are passed on, listed in `docs/reliability.md`; none of them holds a secret.
const PASSED_ON: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "JAVA_HOME",
    "SPARK_CONF_DIR",
    "HADOOP_CONF_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Returns the variables of this process that the processes of an application get too.
pub(super) fn passed_on() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| is_passed_on(name))
}

fn is_passed_on(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| PASSED_ON.contains(&name) || name.starts_with("LC_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_variables_are_passed_on() {
        for name in ["PATH", "LC_ALL", "JAVA_HOME"] {
            assert!(is_passed_on(name.as_ref()), "{name}");
        }
        for name in
            ["DCP_DATABASE", "DCP_TOKEN", "AWS_SECRET_ACCESS_KEY", "PATHS", "path", "JAVA_TOOL_OPTIONS"]
        {
            assert!(!is_passed_on(name.as_ref()), "{name}");
        }
    }
}
