//! Limits the time until a response begins.

use std::time::Duration;

use http::HeaderMap;
use tonic::Code;

use super::target::Target;
use crate::error::ServiceError;

/// Returns the maximum time until the response of a call begins: the caller's timeout, up to `limit`. Proxied calls have none:
/// their client ends them, and the server behind the proxy does.
pub(super) fn of(target: Target, headers: &HeaderMap, limit: Duration) -> Option<Duration> {
    let time = || grpc_timeout(headers).map_or(limit, |requested| requested.min(limit));
    (!target.is_proxied).then(time)
}

/// Returns the error of a call that took too long.
pub(super) fn error(target: Target, time: Duration) -> ServiceError {
    let message = format!("the call took longer than {time:?}, which is all that it may take");
    target.error(Code::DeadlineExceeded, "TOO_LATE", message)
}

/// Parses gRPC's `grpc-timeout`, the caller's timeout: at most eight digits and a unit.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_hours(number)),
        "M" => Some(Duration::from_mins(number)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeout_is_parsed() {
        let read = |text: &str| {
            grpc_timeout(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]))
        };
        assert_eq!(read("3S"), Some(Duration::from_secs(3)));
        assert_eq!(read("99999999H"), Some(Duration::from_hours(99_999_999)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!((read("7u"), read("7n")), (Some(Duration::from_micros(7)), Some(Duration::from_nanos(7))));
        for wrong in ["", "S", "3", "3s", "+3S", "-3S", "999999999S", "3 S", "1.5S"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
