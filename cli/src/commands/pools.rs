//! `dcp pools`

use std::io::Write as _;
use std::path::Path;

use dcp_connect::remote::Remote;
use jiff::Timestamp;
use serde_json::json;

use super::serve::block_on;
use crate::args::{Format, PoolsArgs};
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::render::pools as render;
use crate::sessions;

pub(super) fn run(
    args: &PoolsArgs,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let domain = args.domain.as_deref();
    let look = console.out.look;
    let lines = block_on(async {
        let options = sessions::options(project, &args.server).await?;
        let remote = Remote::new(options).map_err(|error| sessions::failed(&error))?;
        if let Some(id) = &args.end_session {
            let ended = remote.end_session(id, domain, args.user.as_deref()).await;
            let ended = ended.map_err(|error| sessions::failed(&error))?;
            return Ok(vec![match args.output {
                Format::Json => format!("{:#}", json!({ "ended": ended })),
                Format::Text => render::ended(&ended),
            }]);
        }
        if args.sessions {
            let found = remote.sessions(domain, args.all).await.map_err(|error| sessions::failed(&error))?;
            return Ok(match args.output {
                Format::Json => vec![format!("{:#}", json!({ "sessions": found }))],
                Format::Text if found.is_empty() => vec![NO_SESSION.to_owned()],
                Format::Text => render::sessions(&found, look, Timestamp::now()),
            });
        }
        let found = remote.pools(domain).await.map_err(|error| sessions::failed(&error))?;
        Ok(match args.output {
            Format::Json => vec![format!("{:#}", json!({ "pools": found }))],
            Format::Text if found.is_empty() => vec![NO_POOL.to_owned()],
            Format::Text => render::pools(&found, look, Timestamp::now()),
        })
    })?;
    for line in lines {
        writeln!(console.out, "{line}")?;
    }
    Ok(Verdict::Success)
}

const NO_POOL: &str =
    "there is no pool that you may see: `kind: Pool` declares one, and `dcp whoami` shows your roles";
const NO_SESSION: &str = "there is no session: `dcp sql` and `dcp connect` begin one";
