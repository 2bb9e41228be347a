//! `dcp audit`

use std::io::Write as _;
use std::path::Path;

use dcp_identity::audit::{Filter, Store};
use dcp_model::manifest::Duration;
use dcp_server::AuditEntry;
use jiff::{SignedDuration, Timestamp};

use super::serve::{block_on, open_audit};
use super::token::default_database;
use crate::args::{AuditArgs, Format};
use crate::audit::to_json;
use crate::failure::{Failure, Verdict};
use crate::out::{BOLD, Console, ERROR};
use crate::render::{aligned, sanitize};

pub(super) fn run(
    args: &AuditArgs,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let filter = filter(args, Timestamp::now())?;
    let database = match &args.database.database {
        Some(database) => database.clone(),
        None => default_database(project)?,
    };
    let entries = block_on(async {
        let store: Store = open_audit(&database).await?;
        store.list(&filter, args.limit).await.map_err(|error| Failure::new(error.to_string()))
    })?;
    match args.output {
        Format::Json => {
            for entry in entries.iter().rev() {
                writeln!(console.out, "{}", to_json(entry))?;
            }
        }
        Format::Text if entries.is_empty() => writeln!(console.out, "there are no such entries")?,
        Format::Text => write_table(&entries, console)?,
    }
    Ok(Verdict::Success)
}

fn filter(args: &AuditArgs, now: Timestamp) -> Result<Filter, Failure> {
    let since = args.since.as_deref().map(|text| {
        let duration =
            Duration::parse(text).map_err(|error| Failure::usage(format!("--since: {}", error.message)))?;
        let seconds = i64::try_from(duration.secs()).unwrap_or(i64::MAX);
        Ok::<_, Failure>(now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::UNIX_EPOCH))
    });
    Ok(Filter {
        since: since.transpose()?,
        caller: args.user.clone(),
        action: args.action.clone(),
        scope: args.scope.clone(),
        domain: args.domain.clone(),
        refused: args.refused,
    })
}

fn write_table(entries: &[AuditEntry], console: &mut Console) -> Result<(), Failure> {
    let look = console.out.look;
    let head = ["AT", "CALLER", "ACTION", "ON", "DECISION"].map(str::to_owned);
    let row = |entry: &AuditEntry| {
        [
            entry.at.strftime("%F %T").to_string(),
            sanitize(&match &entry.on_behalf_of {
                Some(person) => format!("{} for {person}", entry.caller),
                None => entry.caller.clone(),
            }),
            sanitize(&entry.action),
            sanitize(&subject(entry)),
            format!("{}: {}", if entry.is_allowed { "allowed" } else { "refused" }, sanitize(&entry.reason)),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(entries.iter().rev().map(row)).collect();
    let refused = std::iter::once(false).chain(entries.iter().rev().map(|entry| !entry.is_allowed));
    for (index, (cells, is_refused)) in aligned(&rows, look.limit()).into_iter().zip(refused).enumerate() {
        let line = cells.join("  ").trim_end().to_owned();
        let line = match (index, is_refused) {
            (0, _) => look.paint(BOLD, line),
            (_, true) => look.paint(ERROR, line),
            (_, false) => line,
        };
        writeln!(console.out, "{line}")?;
    }
    Ok(())
}

/// Describes what an entry is about: the subject, or the domain, in the scope.
fn subject(entry: &AuditEntry) -> String {
    let domain = entry.domain.as_deref().unwrap_or("all domains");
    let of = match &entry.subject {
        Some(subject) if subject.contains('/') => subject.clone(),
        Some(subject) => format!("{domain}/{subject}"),
        None => domain.to_owned(),
    };
    entry.scope.as_ref().map_or_else(|| of.clone(), |scope| format!("{of} in {scope}"))
}
