//! `dcp history`

use std::io::Write as _;
use std::path::Path;

use dcp_reconciler::registry::Applied;

use crate::args::{self, Format};
use crate::control::Control;
use crate::failure::{Failure, Verdict};
use crate::out::{BOLD, Console, DIM};
use crate::project::Home;
use crate::render::harmless;

pub(super) fn run(
    args: &args::History,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let args::History { target, limit, output } = args;
    let home = Home::find(project, &[])?;
    let project = home.target(target.as_deref())?;
    let control = Control::open(&home, &project)?;
    let all = control.run(control.registry.history(&control.scope, None, *limit));
    let all = all.map_err(|error| control.failed(&error))?;
    match output {
        Format::Json => {
            let text = serde_json::to_string_pretty(&all)
                .map_err(|error| Failure::new(format!("it can't be written as JSON: {error}")))?;
            writeln!(console.out, "{text}")?;
        }
        Format::Text if all.is_empty() => {
            writeln!(console.out, "nothing was ever applied to {}", control.scope)?;
        }
        Format::Text => {
            for applied in &all {
                let line = line(applied, console);
                writeln!(console.out, "{line}")?;
            }
        }
    }
    Ok(Verdict::Fine)
}

fn line(applied: &Applied, console: &Console) -> String {
    let look = console.out.look;
    let Applied { serial, by, at, commit, counts, .. } = applied;
    let counts = counts.iter().map(|(action, count)| format!("{count} {}", action.name()));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let commit = commit.as_deref().map(|it| it.chars().take(12).collect::<String>()).unwrap_or_default();
    let at = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let serial = look.paint(BOLD, format!("{serial:>6}"));
    let commit = look.paint(DIM, harmless(&commit));
    format!("{serial}  {at}  {}  {counts}  {commit}", harmless(by)).trim_end().to_owned()
}
