//! `dcp assets`

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;

use dcp_compiler::diag::nearest;
use dcp_model::primitive::{Address, Body};
use dcp_reconciler::assets::lineage::Lineage;
use dcp_reconciler::assets::{Completed, NewCompletions, canonical};
use dcp_workspace::project::Workspace;
use jiff::Timestamp;
use serde_json::Value;

use crate::args::{self, AssetsCommand, Complete, Format};
use crate::control::{Control, user_name};
use crate::failure::{Failure, Verdict};
use crate::out::{Console, WARNING};
use crate::render::assets::{self as render, AssetsView};
use crate::render::sanitize;

/// The origin of completions by this command.
const ORIGIN: &str = "dcp";

pub(super) fn run(
    args: &args::Assets,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    if let Some(AssetsCommand::Complete(args)) = &args.command {
        return complete(args, project, console);
    }
    let control = open_control(project, args.target.as_deref())?;
    let assets = control.assets();
    let lineage = lineage(&control)?;
    let all = control
        .run(assets.completed(&control.scope))
        .map_err(|error| crate::control::registry_failed(&error))?;
    let completed: BTreeMap<String, Completed> =
        all.into_iter().map(|it| (it.last.asset.clone(), it)).collect();
    let known = AssetsView { lineage: &lineage, completed: &completed, now: Timestamp::now() };
    let look = console.out.look;
    let (json, lines): (Value, Vec<String>) = match &args.asset {
        None => (render::all_as_json(&known), render::table(&known, look)),
        Some(asset) => {
            let asset = find_asset(asset, &known, &control)?;
            let page = assets.completions(&control.scope, None, Some(&asset), args.limit.max(1));
            let page = control.run(page).map_err(|error| crate::control::registry_failed(&error))?;
            let one = render::AssetDetails { asset: &asset, last: &page.completions };
            (render::one_as_json(&one, &known), render::details(&one, &known, look))
        }
    };
    match args.output {
        Format::Json => writeln!(console.out, "{json:#}")?,
        Format::Text => {
            for line in lines {
                writeln!(console.out, "{line}")?;
            }
        }
    }
    Ok(Verdict::Success)
}

fn complete(args: &Complete, project: Option<&Path>, console: &mut Console) -> Result<Verdict, Failure> {
    let Complete { assets, partition, run, target } = args;
    let control = open_control(project, target.as_deref())?;
    let run = run.clone().unwrap_or_else(|| format!("by-hand-{:016x}", rand::random::<u64>()));
    let new = NewCompletions {
        assets: assets.clone(),
        partition: partition.clone(),
        run,
        job: None,
        origin: ORIGIN.to_owned(),
    };
    let done = control.run(control.assets().complete(&control.scope, &new, &user_name(), Timestamp::now()));
    let done = done.map_err(|error| crate::control::registry_failed(&error))?;
    let lineage = lineage(&control)?;
    let look = console.out.look;
    for it in &done {
        if !lineage.assets.contains_key(&it.asset) {
            let warning = look.paint(WARNING, "warning:");
            let asset = sanitize(&it.asset);
            let why = format!("nothing that is applied to `{}` reads or writes `{asset}`", control.scope);
            writeln!(console.err, "{warning} {why}; it is complete all the same")?;
        }
        if !console.quiet {
            writeln!(console.out, "{}", render::describe_completion(it, lineage.assets.get(&it.asset)))?;
        }
    }
    Ok(Verdict::Success)
}

/// Returns the asset that the user named: by kind and name, or by a suffix of exactly one name.
fn find_asset(given: &str, known: &AssetsView<'_>, control: &Control) -> Result<String, Failure> {
    if let Ok(asset) = canonical(given)
        && known.has(&asset)
    {
        return Ok(asset);
    }
    let lower = given.to_lowercase();
    let ends_so = |name: &&str| {
        let rest = name.to_lowercase();
        rest.strip_suffix(&lower).is_some_and(|rest| rest.ends_with([':', '.', '/']))
    };
    let ending: Vec<&str> = known.names().into_iter().filter(ends_so).collect();
    if let [one] = ending.as_slice() {
        return Ok((*one).to_owned());
    }
    let given = sanitize(given);
    let message = format!("nothing that is applied to `{}` reads or writes `{given}`", control.scope);
    let help = match nearest(&lower, known.names()) {
        _ if ending.len() > 1 => format!("several end so: {}", ending.join(", ")),
        Some(near) => format!("did you mean `{near}`? `dcp assets` lists all that there are"),
        None => "`dcp assets` lists all that there are".to_owned(),
    };
    Err(Failure::new(message).help(help))
}

fn open_control(project: Option<&Path>, target: Option<&str>) -> Result<Control, Failure> {
    let home = Workspace::find(project, &[])?;
    let project = home.target(target)?;
    Control::open(&home, &project)
}

/// Returns the lineage of all applied workloads.
fn lineage(control: &Control) -> Result<Lineage, Failure> {
    let state = control.state()?;
    let wanted = state.entries.values().map(|entry| entry.fingerprint.clone()).collect();
    let texts: HashMap<_, _> = control.bodies(wanted)?;
    let mut bodies: Vec<(&Address, Body)> = Vec::with_capacity(state.entries.len());
    for (address, entry) in &state.entries {
        let Some(text) = texts.get(&entry.fingerprint) else { continue };
        let body = Body::parse(address.kind, text).map_err(|error| {
            Failure::new(format!("what is applied at `{address}` can't be read: {error}"))
                .help("it was applied by another version of dcp: apply it again with this one")
        })?;
        bodies.push((address, body));
    }
    Ok(Lineage::of(bodies.iter().map(|(address, body)| (*address, body))))
}
