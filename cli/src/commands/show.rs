//! `dcp show`

use std::io::Write as _;
use std::path::Path;

use dcp_model::primitive::{Address, Fingerprint, Kind};
use dcp_reconciler::state::Revision;
use dcp_workspace::project::Workspace;
use serde_json::Value;

use crate::args;
use crate::control::Control;
use crate::failure::{Failure, Verdict};
use crate::out::{BOLD, Console};

pub(super) fn run(
    args: &args::Show,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let args::Show { address, target, revision, revisions } = args;
    let home = Workspace::find(project, &[])?;
    let project = home.target(target.as_deref())?;
    let control = Control::open(&home, &project)?;
    let mut found = false;
    for address in addresses(address)? {
        let all = control.run(control.registry.revisions(&control.scope, &address));
        let all = all.map_err(|error| crate::control::registry_failed(&error))?;
        if all.is_empty() {
            continue;
        }
        found = true;
        if *revisions {
            list(&address, &all, console)?;
        } else {
            show(&address, &all, *revision, &control, console)?;
        }
    }
    if found { Ok(Verdict::Success) } else { Err(nothing_applied(address, &control)?) }
}

/// Shows a revision, or else the newest one.
fn show(
    address: &Address,
    all: &[Revision],
    revision: Option<u64>,
    control: &Control,
    console: &mut Console,
) -> Result<(), Failure> {
    let chosen = match revision {
        Some(number) => all.iter().find(|it| it.revision == number),
        None => all.first(),
    };
    let Some(chosen) = chosen else {
        let message = format!("`{address}` has no revision {}", revision.unwrap_or_default());
        return Err(Failure::new(message).help(format!("`dcp show {address} --revisions` lists them")));
    };
    match &chosen.fingerprint {
        Some(fingerprint) => print(address, chosen, fingerprint, control, console)?,
        None => {
            writeln!(console.out, "{address} is not applied: it was deleted with serial {}", chosen.serial)?;
        }
    }
    Ok(())
}

/// Returns the failure for an address without revisions.
fn nothing_applied(address: &str, control: &Control) -> Result<Failure, Failure> {
    let state = control.state()?;
    let ids = state
        .entries
        .keys()
        .map(|it| format!("{}/{}", it.domain, it.name))
        .collect::<std::collections::BTreeSet<_>>();
    let failure = Failure::new(format!("nothing was ever applied at `{address}` of {}", control.scope));
    Ok(match dcp_compiler::diag::nearest(address, ids.iter().map(String::as_str)) {
        Some(meant) => failure.help(format!("did you mean `{meant}`?")),
        None => failure.help("`dcp history` tells what was applied"),
    })
}

/// Parses an address, or returns all addresses of a workload.
fn addresses(text: &str) -> Result<Vec<Address>, Failure> {
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    match text.split('/').collect::<Vec<_>>().as_slice() {
        [domain, name] if !domain.is_empty() && !name.is_empty() => {
            let (domain, name) = ((*domain).to_owned(), (*name).to_owned());
            let all = Kind::ALL.into_iter();
            Ok(all.map(|kind| Address { domain: domain.clone(), name: name.clone(), kind }).collect())
        }
        _ => Err(Failure::usage(format!("`{text}` is no address"))
            .help("write `domain/name`, or `kind/domain/name`")),
    }
}

fn list(address: &Address, all: &[Revision], console: &mut Console) -> Result<(), Failure> {
    writeln!(console.out, "{}", console.out.look.paint(BOLD, address))?;
    for it in all {
        let fingerprint = it.fingerprint.as_ref().map_or("", Fingerprint::short);
        let line =
            format!("  revision {}, serial {}: {} {fingerprint}", it.revision, it.serial, it.action.name());
        writeln!(console.out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn print(
    address: &Address,
    revision: &Revision,
    fingerprint: &Fingerprint,
    control: &Control,
    console: &mut Console,
) -> Result<(), Failure> {
    let texts = control.bodies(vec![fingerprint.clone()])?;
    let text = texts.get(fingerprint).map(String::as_str).unwrap_or_default();
    let body: Value = serde_json::from_str(text)
        .map_err(|error| Failure::new(format!("`{address}` can't be read: {error}")))?;
    let value = serde_json::json!({
        "address": address.to_string(),
        "revision": revision.revision,
        "serial": revision.serial,
        "fingerprint": fingerprint,
        "body": body,
    });
    writeln!(console.out, "{value:#}")?;
    Ok(())
}
