//! `dcp connect`

use std::io::Write as _;
use std::path::Path;

use dcp_connect::route::{CORES, DOMAIN, ENGINE, MEMORY, POOL};
use http::Uri;

use crate::args::{ConnectArgs, ConnectFormat, DriverChoice, DriverSize};
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::sessions;

pub(super) fn run(
    args: &ConnectArgs,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let options = super::serve::block_on(sessions::options(project, &args.driver.server))?;
    let address = address(&options.url, &args.driver, args.size)?;
    if args.output == ConnectFormat::Url {
        writeln!(console.out, "{address}")?;
        return Ok(Verdict::Success);
    }
    writeln!(console.out, "{address}\n")?;
    let program = format!(
        "# pip install \"pyspark-client>=4.0\"\nimport os\nfrom pyspark.sql import SparkSession\n\n\
         address = \"{address}\"\n\
         spark = SparkSession.builder.remote(f\"{{address}};token={{os.environ['DCP_TOKEN']}}\").getOrCreate()\n\
         spark.sql(\"SELECT 1\").show()\n"
    );
    console.out.write_all(program.as_bytes())?;
    Ok(Verdict::Success)
}

/// Returns the address for clients, without a token.
fn address(url: &str, choice: &DriverChoice, size: DriverSize) -> Result<String, Failure> {
    let uri: Option<Uri> = url.parse().ok().filter(|_| !url.starts_with("unix:"));
    let uri = uri.ok_or_else(|| {
        Failure::new("the project's `dcp up` listens at a Unix socket only, which Spark Connect clients can't use")
            .help("start it as `dcp up --listen 127.0.0.1:7420`, and give `--server http://localhost:7420`; DCP_TOKEN is then the content of .dcp/token")
    })?;
    let is_tls = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default();
    // Clients send a token without TLS to a server of this name only.
    let host = if !is_tls && matches!(host, "127.0.0.1" | "[::1]") { "localhost" } else { host };
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let mut address = format!("sc://{host}:{port}/");
    if is_tls {
        address.push_str(";use_ssl=true");
    }
    let DriverChoice { domain, pool, engine, server: _ } = choice;
    let (cores, memory) = (size.cores.map(|it| it.to_string()), size.memory.map(|it| it.to_string()));
    let chosen = [(DOMAIN, domain), (POOL, pool), (ENGINE, engine), (CORES, &cores), (MEMORY, &memory)];
    for (key, value) in chosen {
        if let Some(value) = value {
            let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            if !is_plain {
                return Err(Failure::usage(format!("`{value}` can't be a `{key}`")));
            }
            for part in [";", key, "=", value] {
                address.push_str(part);
            }
        }
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dcp_model::manifest::Memory;

    use crate::args::ConnectServer;

    fn choice(domain: Option<&str>, pool: Option<&str>) -> DriverChoice {
        let (domain, pool) = (domain.map(str::to_owned), pool.map(str::to_owned));
        DriverChoice { domain, pool, engine: None, server: ConnectServer::default() }
    }

    #[test]
    fn address_is_that_of_spark_connect() {
        for (url, of, expected) in [
            ("https://dcp.example.com", choice(None, None), "sc://dcp.example.com:443/;use_ssl=true"),
            (
                "http://127.0.0.1:7420",
                choice(Some("a"), Some("b")),
                "sc://localhost:7420/;dcp-domain=a;dcp-pool=b",
            ),
        ] {
            assert_eq!(address(url, &of, DriverSize::default()).unwrap(), expected);
        }
        let size = DriverSize { cores: Some(8), memory: Memory::parse("16g").ok() };
        let sized = address("https://a", &choice(None, None), size).unwrap();
        assert_eq!(sized, "sc://a:443/;use_ssl=true;dcp-cores=8;dcp-memory=16g");
        let rejected = |url, of| address(url, &of, DriverSize::default()).is_err();
        assert!(rejected("unix:///tmp/up.sock", choice(None, None)));
        assert!(rejected("http://a:1", choice(Some("a;token=b"), None)));
    }
}
