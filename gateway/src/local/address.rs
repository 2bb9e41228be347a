//! The addresses of a driver on this machine, from the lines that Spark logs when its services have started.

use std::io::Read as _;

use super::folder::Folder;
use crate::{Addresses, regular};

/// Maximum length of the beginning of a log that is searched.
const BEGINNING: u64 = 256 << 10;
/// The text before the port of the web interface.
const UI: &str = "Successfully started service 'SparkUI' on port ";
/// The text before the address of a Spark Connect server.
const CONNECT: &str = "Spark Connect server started at: ";

/// Returns the addresses of a running driver. They are those of this machine, whatever its log says, as a program can
/// write the same lines; only the port is from the log.
pub(super) fn of_driver(folder: &Folder) -> Addresses {
    let read = || {
        let mut bytes = Vec::new();
        regular::open(&folder.log())?.take(BEGINNING).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let log = String::from_utf8_lossy(&bytes);
    let port = |text: &str| log.lines().find_map(|line| port(line, text));
    Addresses {
        ui: port(UI).map(|port| format!("http://127.0.0.1:{port}")),
        connect: port(CONNECT).map(|port| format!("127.0.0.1:{port}")),
        event_log: None,
    }
}

/// Returns the port at the end of a line that has a text.
fn port(line: &str, text: &str) -> Option<u16> {
    let (_, rest) = line.split_once(text)?;
    // In JSON, the text ends with a quotation mark.
    let rest = rest.split('"').next().unwrap_or(rest);
    rest.trim_end().trim_end_matches('.').rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_in_lines_of_spark() {
        let line = "26/01/31 02:00:11 INFO Utils: Successfully started service 'SparkUI' on port 40405.";
        assert_eq!((port(line, UI), port(line, CONNECT)), (Some(40405), None));
        let line = r#"{"ts":"2026-01-31T02:00:11.000Z","level":"INFO","msg":"Successfully started service 'SparkUI' on port 40405.","context":{}}"#;
        assert_eq!(port(line, UI), Some(40405));
        let line = "26/01/31 02:00:11 INFO SparkConnectServer: Spark Connect server started at: 0:0:0:0:0:0:0:0:15002";
        assert_eq!((port(line, UI), port(line, CONNECT)), (None, Some(15002)));
        for other in ["Successfully started service 'SparkUI' on port 99999.", "service 'SparkUI' on port 1."]
        {
            assert_eq!(port(other, UI), None, "{other}");
        }
    }
}
