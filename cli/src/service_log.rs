//! Lines of a service on stderr, beside those of its calls.

use std::io::{self, Write as _};

use jiff::Timestamp;

use crate::render::sanitize;

/// Writes a line about a part of the service, such as `the policy: it was read again`.
pub(crate) fn write(part: &str, text: &str) {
    let line = format!("{:.3} {part}: {}\n", Timestamp::now(), sanitize(text));
    // One write for each line, so that lines do not mix. If it fails, the service continues.
    let _ = io::stderr().write_all(line.as_bytes());
}
