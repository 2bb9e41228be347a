//! `dcp policy`

use std::io::Write as _;
use std::path::Path;

use dcp_model::policy::{CallerName, Decision, DomainSelector, PolicyFile, Resource, ScopeSelector};

use crate::args::{PolicyArgs, PolicyCommand, PolicyRoleArgs, PolicyTestArgs};
use crate::failure::{Failure, Verdict};
use crate::out::Console;
use crate::render::{format_count, sanitize};
use crate::{operator_file, policy};

pub(super) fn run(args: &PolicyArgs, console: &mut Console) -> Result<Verdict, Failure> {
    match &args.command {
        PolicyCommand::Test(args) => test(args, console),
        PolicyCommand::Role(args) => role(args, console),
    }
}

fn test(args: &PolicyTestArgs, console: &mut Console) -> Result<Verdict, Failure> {
    let Some(declared) = read(&args.file, console)? else { return Ok(Verdict::Errors) };
    policy::issuers(&declared, args.file.parent().unwrap_or(Path::new(".")))?;
    if !console.quiet {
        let (bindings, tests) =
            (format_count(declared.bindings.len(), "binding"), format_count(declared.tests.len(), "test"));
        writeln!(console.out, "`{}` is valid: {bindings}, and {tests} passed", args.file.display())?;
    }
    Ok(Verdict::Success)
}

fn role(args: &PolicyRoleArgs, console: &mut Console) -> Result<Verdict, Failure> {
    let PolicyRoleArgs { file, user, groups, scope, domain } = args;
    let invalid = |error: dcp_model::manifest::FormatError| Failure::usage(error.message);
    for name in std::iter::once(user).chain(groups) {
        CallerName::parse(name).map_err(invalid)?;
    }
    scope.iter().try_for_each(|scope| ScopeSelector::parse(scope).map(drop)).map_err(invalid)?;
    domain.iter().try_for_each(|domain| DomainSelector::parse(domain).map(drop)).map_err(invalid)?;
    let Some(declared) = read(file, console)? else { return Ok(Verdict::Errors) };
    let one = |name: &Option<String>| name.clone().filter(|name| name != "*");
    let (scope, domain) = (one(scope), one(domain));
    let resource = Resource { scope: scope.as_deref(), domain: domain.as_deref() };
    let place = format!(
        "{} in {}",
        domain
            .as_ref()
            .map_or("all domains".to_owned(), |domain| format!("the domain `{}`", sanitize(domain))),
        scope.as_ref().map_or("all scopes".to_owned(), |scope| format!("the scope `{}`", sanitize(scope))),
    );
    let (policy, user_shown) = (declared.policy(), sanitize(user));
    let Some(role) = policy.role(user, groups, resource) else {
        writeln!(console.out, "`{user_shown}` has no role for {place}")?;
        return Ok(Verdict::Success);
    };
    let from = match policy.decide(user, groups, role, resource) {
        Decision::Allowed(index) => format!(", by the binding {} of {}", index + 1, policy.rules.len()),
        Decision::Forbidden | Decision::Hidden => String::new(),
    };
    writeln!(console.out, "`{user_shown}` has the role `{}` for {place}{from}", role.as_str())?;
    Ok(Verdict::Success)
}

/// Reads a policy, and prints its diagnostics.
fn read(path: &Path, console: &mut Console) -> Result<Option<PolicyFile>, Failure> {
    let text = operator_file::load(path).map_err(|error| {
        Failure::at(path, "read", &error).help("name the policy file: `dcp policy test FILE`")
    })?;
    let (declared, outcome) = policy::read(path, &text)?;
    operator_file::print(&outcome, console)?;
    Ok(declared)
}
