//! Texts of the file of drivers.

use crate::diag::Code;
use crate::manifest::{FormatError, text_types};

text_types! {
    /// The host and the port of a server.
    HostPort: "host-port", check_host_port, ["spark-connect.example.com:15002", "[::1]:15002"];
}

const MAX_HOST: usize = 253;

fn check_host_port(text: &str) -> Result<(), FormatError> {
    let parts = text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    let is_host = |host: &str| match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => {
            address.matches(':').count() >= 2
                && address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))
        }
        None => {
            (1..=MAX_HOST).contains(&host.len())
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    };
    match parts {
        Some((host, _)) if is_host(host) => Ok(()),
        _ => {
            let message = format!("`{text}` is no host with a port");
            Err(FormatError::new(Code::BAD_URI, message).help("write `HOST:PORT`, without `sc://`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in ["a:1", "127.0.0.1:15002", "[::1]:15002", "x-1.ns.svc:65535"] {
            assert!(check_host_port(good).is_ok(), "{good}");
        }
        for bad in ["", "a", ":1", "a:0", "a:65536", "sc://a:1", "a:1/", "::1:5", "[a]:1", "a b:1"] {
            assert!(check_host_port(bad).is_err(), "{bad}");
        }
    }
}
