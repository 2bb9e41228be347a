//! Commits until it is killed, and prints each serial once it is applied.
//!
//!     dcp-test-committer sqlite PATH | postgres URL
//!
//! Each commit sets the text of every address to the commit's serial. A state in which two addresses differ, or one
//! differs from the head, shows a partial commit.

use std::io::Write as _;
use std::path::Path;

use dcp_reconciler::registry::Registry as _;
use dcp_reconciler::registry::sql::Sql;
use dcp_tests::commits::{commit, create, scope, update};

const ADDRESSES: u32 = 1_500;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let registry = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["sqlite", path] => Sql::sqlite(Path::new(path)).await?,
        ["postgres", url] => Sql::postgres(url).await?,
        _ => return Err("dcp-test-committer sqlite PATH | postgres URL".into()),
    };
    let mut base = registry.state(&scope()).await?.base;
    loop {
        let text = (base.serial + 1).to_string();
        let change = |index| match base.serial {
            0 => create(&format!("job-{index}"), &text),
            _ => update(&format!("job-{index}"), &text),
        };
        base = registry.commit(&scope(), commit(&base, (0..ADDRESSES).map(change).collect())).await?.base;
        writeln!(std::io::stdout(), "{}", base.serial)?;
    }
}
