//! `dcp whoami`

use std::io::Write as _;
use std::path::Path;

use dcp_identity::{RoleBinding, WhoAmI, remote};
use dcp_workspace::project::Workspace;
use serde_json::json;

use super::login::target;
use super::serve::block_on;
use crate::args::{Format, WhoamiArgs};
use crate::control::{remote_options, user_name};
use crate::credentials::call_failed;
use crate::failure::{Failure, Verdict};
use crate::out::{BOLD, Console};
use crate::render::{aligned, hanging, sanitize};

pub(super) fn run(
    args: &WhoamiArgs,
    project: Option<&Path>,
    console: &mut Console,
) -> Result<Verdict, Failure> {
    let server = target(&args.server, project)?.server;
    let who = match &server {
        Some(server) => {
            let home = Workspace::find(project, &[]).ok();
            let options = remote_options(server, home.as_ref().map(|home| home.root.as_path()))?;
            block_on(async { remote::who_am_i(options).await.map_err(|error| call_failed(&error)) })?
        }
        None => local_user(),
    };
    match args.output {
        Format::Json => {
            let WhoAmI { name, groups, credential, unrestricted, roles } = &who;
            let value = json!({
                "server": server, "name": name, "groups": groups, "credential": credential,
                "unrestricted": unrestricted, "roles": roles,
            });
            writeln!(console.out, "{value:#}")?;
        }
        Format::Text => print(&who, server.as_deref(), console)?,
    }
    Ok(Verdict::Success)
}

/// Returns the user of this machine, who may do everything with a target that has no server.
fn local_user() -> WhoAmI {
    let (groups, roles) = (Vec::new(), Vec::new());
    WhoAmI { name: user_name(), groups, credential: "process".to_owned(), unrestricted: true, roles }
}

fn print(who: &WhoAmI, server: Option<&str>, console: &mut Console) -> Result<(), Failure> {
    let look = console.out.look;
    let groups = if who.groups.is_empty() { "none".to_owned() } else { who.groups.join(", ") };
    let place = server.map_or_else(|| "none: the target is on this machine".to_owned(), str::to_owned);
    for (title, text) in
        [("server", &place), ("name", &who.name), ("groups", &groups), ("credential", &who.credential)]
    {
        let title = look.paint(BOLD, format!("{title:<12}"));
        writeln!(console.out, "{}", hanging(&title, &sanitize(text), look))?;
    }
    writeln!(console.out)?;
    match (who.unrestricted, who.roles.is_empty()) {
        (true, _) => writeln!(console.out, "may do everything, without a policy")?,
        (false, true) => {
            writeln!(console.out, "no roles: ask an admin for a binding of this name, or of a group")?;
        }
        (false, false) => print_roles(&who.roles, console)?,
    }
    Ok(())
}

fn print_roles(roles: &[RoleBinding], console: &mut Console) -> Result<(), Failure> {
    let look = console.out.look;
    let head = ["ROLE", "SCOPES", "DOMAINS"].map(str::to_owned);
    let row = |binding: &RoleBinding| {
        [&binding.role, &binding.scopes.join(", "), &binding.domains.join(", ")].map(|text| sanitize(text))
    };
    let rows: Vec<_> = std::iter::once(head).chain(roles.iter().map(row)).collect();
    for (index, cells) in aligned(&rows, look.limit()).into_iter().enumerate() {
        let line = cells.join("  ").trim_end().to_owned();
        let line = if index == 0 { look.paint(BOLD, line) } else { line };
        writeln!(console.out, "{line}")?;
    }
    Ok(())
}
