//! Checks that parameters are declared, used, of the right type, and always have a value.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use dcp_model::manifest::{
    Date, Identifier, JobKind, Parameter, ParameterType, Run, RunValue, Scalar, ScalarOr, TypedParameter,
};
use dcp_model::reference::{self, Reference};

use super::{SqlSource, Subject};
use crate::diag::{Code, Diagnostic, list, nearest};
use crate::source::Span;
use crate::sql;

pub(super) fn check(subject: &mut Subject<'_>) {
    let job = &subject.manifest.spec.job;
    let kind = job.kind();
    let Some(parameters) = job.parameters() else { return };
    let used = used(subject, kind);
    unknown(subject, parameters, &used);
    // The parameters of SQL that could not be read are unknown.
    let readable = subject.sql.is_none_or(|sql| sql.facts().is_some());
    for (name, parameter) in parameters {
        let path = ["spec", "job", kind.name(), "parameters", name.as_str()];
        if readable && !used.iter().any(|(used, _)| *used == name.as_str()) {
            let at = subject.key(&path);
            let how = if kind == JobKind::Sql {
                format!("write `:{name}` in the SQL")
            } else {
                format!("write `${{param.{name}}}` in `args`")
            };
            subject.problem(
                Code::UNUSED_PARAMETER,
                format!("the parameter `{name}` is not used"),
                at,
                "",
                format!("{how}, or remove it"),
            );
        }
        check_parameter(subject, &path, name, parameter);
    }
}

/// The use of a parameter. Its place in the source is computed only for diagnostics.
enum Place<'a> {
    Sql(&'a Range<u32>),
    Argument(Span),
}

/// Returns the parameters that the SQL or the arguments use, with their first uses.
fn used<'a>(subject: &mut Subject<'a>, kind: JobKind) -> Vec<(&'a str, Place<'a>)> {
    let parameters = subject.sql.and_then(SqlSource::facts).map_or(&[][..], |facts| &facts.parameters);
    let first = |parameter: &'a sql::Parameter| Some(Place::Sql(parameter.at.first()?));
    let mut used: Vec<_> = parameters.iter().filter_map(|it| Some((it.name.as_str(), first(it)?))).collect();
    let manifest = subject.manifest;
    for (at, arg) in manifest.spec.job.args().iter().enumerate() {
        let place = subject.at(&["spec", "job", kind.name(), "args", &at.to_string()]);
        match reference::references(arg.as_str()) {
            Ok(references) => used.extend(references.into_iter().filter_map(|reference| match reference {
                Reference::Param(name) => Some((name, Place::Argument(place))),
                Reference::Var(_) | Reference::Secret { .. } => None,
            })),
            Err(reference::Error::Malformed(message) | reference::Error::Unknown(message)) => {
                subject.problem(Code::BAD_REFERENCE, message, place, "", reference::HELP);
            }
            // This error can't occur, because nothing is replaced.
            Err(reference::Error::TooLong(_)) => {}
        }
    }
    used
}

fn unknown(
    subject: &mut Subject<'_>,
    parameters: &BTreeMap<Identifier, Parameter>,
    used: &[(&str, Place<'_>)],
) {
    let names: BTreeSet<&str> = parameters.keys().map(Identifier::as_str).collect();
    for (name, place) in used.iter().filter(|(name, _)| !names.contains(name)) {
        let at = match place {
            Place::Sql(range) => subject.sql_at(range),
            Place::Argument(at) => *at,
        };
        let diagnostic =
            Diagnostic::new(Code::UNKNOWN_PARAMETER, format!("the parameter `{name}` is not declared"));
        subject.report(match nearest(name, names.iter().copied()) {
            Some(meant) => diagnostic.at(at, format!("did you mean `{meant}`?")),
            None => diagnostic
                .at(at, "used here")
                .help(format!("declare it under `parameters`: `{name}: <value>`")),
        });
    }
}

fn check_parameter(subject: &mut Subject<'_>, path: &[&str], name: &Identifier, parameter: &Parameter) {
    let ScalarOr::Map(parameter) = parameter else { return };
    let TypedParameter { kind, default, run, description: _ } = parameter;
    if let Some(default) = default
        && let Err(expected) = fits(*kind, default)
    {
        let at = subject.at(&[path, &["default"]].concat());
        subject.problem(
            Code::BAD_PARAMETER,
            format!("`{default}` is no {expected}"),
            at,
            format!("`{name}` is a {expected}"),
            "correct the default, or the type",
        );
    }
    let mode = &subject.manifest.spec.run;
    if let (Some(run), false) = (run, matches!(mode, Run::Continuous(_) | Run::Service(_)))
        && let Some((value, types)) = contradiction(*kind, *run)
    {
        let at = subject.at(&[path, &["run"]].concat());
        let message = format!("{value} is no {}", noun(*kind));
        let types = list(types.iter().copied(), "or");
        let label = format!("`{name}` is a {}", noun(*kind));
        subject.problem(Code::BAD_PARAMETER, message, at, label, format!("make its `type` {types}"));
    }
    value_of_run(subject, path, name, parameter);
}

/// Checks that each run gives the parameter a value.
fn value_of_run(subject: &mut Subject<'_>, path: &[&str], name: &Identifier, parameter: &TypedParameter) {
    let mode = &subject.manifest.spec.run;
    let run_at = |subject: &Subject<'_>| subject.at(&[path, &["run"]].concat());
    // The `run` of a group's DAG may be in another manifest.
    let elsewhere = matches!(mode, Run::OnAssets(_)) && subject.manifest.spec.orchestrator.is_some();
    match (&parameter.run, mode) {
        (Some(RunValue::IntervalStart | RunValue::IntervalEnd), _) if elsewhere => {}
        (Some(RunValue::IntervalStart | RunValue::IntervalEnd), Run::OnAssets(_) | Run::Manual(_)) => {
            let at = run_at(subject);
            let message = format!("a run by `{}` is for no interval of data", mode.kind());
            let help = "take `date` or `timestamp`, which are then the run's own";
            subject.problem(Code::BAD_PARAMETER, message, at, "has no value", help);
        }
        (Some(_), Run::Continuous(_) | Run::Service(_)) => {
            let at = run_at(subject);
            let what = if matches!(mode, Run::Service(_)) { "service" } else { "continuous job" };
            let message = format!("a {what} has no runs that differ");
            subject.problem(Code::BAD_PARAMETER, message, at, "has no value", "give a `default` instead");
        }
        (None, Run::Schedule(_) | Run::OnAssets(_) | Run::Continuous(_) | Run::Service(_))
            if parameter.default.is_none() =>
        {
            let at = subject.key(path);
            let message = format!("nobody gives `{name}` a value");
            let help = "add a `default`, or `run` to say what of the run is the value";
            subject.problem(Code::BAD_PARAMETER, message, at, "needed at every run", help);
        }
        _ => {}
    }
}

/// Returns a description of the run's value and its possible types, if the declared type is not one of them. A
/// timestamp can be used as a date, and a date as a timestamp.
fn contradiction(kind: ParameterType, run: RunValue) -> Option<(&'static str, &'static [&'static str])> {
    use ParameterType::{Date, String, Timestamp};
    let times: (&[ParameterType], &[&str]) = (&[Date, Timestamp, String], &["date", "timestamp", "string"]);
    let (value, (fitting, names)) = match run {
        RunValue::Date => ("the date of the run", times),
        RunValue::Timestamp => ("the moment of the run", times),
        RunValue::IntervalStart => ("the beginning of the interval", times),
        RunValue::IntervalEnd => ("the end of the interval", times),
        RunValue::RunId => ("the identifier of the run", ([String].as_slice(), ["string"].as_slice())),
    };
    (!fitting.contains(&kind)).then_some((value, names))
}

fn noun(kind: ParameterType) -> &'static str {
    match kind {
        ParameterType::String => "text",
        ParameterType::Integer => "whole number",
        ParameterType::Number => "number",
        ParameterType::Boolean => "boolean",
        ParameterType::Date => "date",
        ParameterType::Timestamp => "timestamp",
    }
}

/// Checks that a value has a type. The error is the name of the type.
fn fits(kind: ParameterType, value: &Scalar) -> Result<(), &'static str> {
    let text = value.as_str();
    let fits = match kind {
        ParameterType::String => true,
        ParameterType::Integer => text.parse::<i64>().is_ok(),
        ParameterType::Number => text.parse::<f64>().is_ok_and(f64::is_finite),
        ParameterType::Boolean => matches!(text, "true" | "false"),
        ParameterType::Date => Date::parse(text).is_ok(),
        ParameterType::Timestamp => {
            text.parse::<jiff::Timestamp>().is_ok() || text.parse::<jiff::civil::DateTime>().is_ok()
        }
    };
    if fits { Ok(()) } else { Err(noun(kind)) }
}
