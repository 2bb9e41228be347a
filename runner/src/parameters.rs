//! Validates requested parameters, and returns the values of a run.

use std::collections::BTreeMap;

use dcp_model::diag::{list, nearest};
use dcp_model::manifest::{Identifier, ParameterType, RunValue, Scalar, ScalarOr, TypedParameter};
use dcp_model::primitive::CoreEtlJob;
use jiff::civil::Date;
use jiff::{Timestamp, civil::DateTime};
use serde::{Deserialize, Serialize};

/// A value that matches its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Value {
    #[serde(rename = "type")]
    pub kind: ParameterType,
    pub value: String,
}

/// A parameter that is invalid or missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    pub parameter: String,
    pub message: String,
}

/// Maximum number of a job's parameters that a message names, or that an unknown name is compared with.
const MAX_NAMES: usize = 50;

/// Returns the values of all parameters of a job, or all problems. A parameter that takes the identifier of the run
/// gets `run`, unless it is given.
pub fn values(
    job: &CoreEtlJob,
    given: &BTreeMap<String, String>,
    run: &str,
) -> Result<BTreeMap<String, Value>, Vec<Problem>> {
    let none = BTreeMap::new();
    let known = job.job.parameters().unwrap_or(&none);
    let mut problems = Vec::new();
    let mut problem = |parameter: &str, message: String| {
        problems.push(Problem { parameter: parameter.to_owned(), message });
    };
    for name in given.keys() {
        if !known.keys().any(|it| it.as_str() == name) {
            let names = || known.keys().map(Identifier::as_str).take(MAX_NAMES);
            let help = match (nearest(name, names()), known.len()) {
                (Some(meant), _) => format!("did you mean `{meant}`?"),
                (None, 0) => "it has none".to_owned(),
                (None, 1..=MAX_NAMES) => format!("it has {}", list(names(), "and")),
                (None, count) => format!("it has {count} others"),
            };
            problem(name, format!("the job has no parameter `{name}`: {help}"));
        }
    }
    let mut values = BTreeMap::new();
    for (name, parameter) in known {
        let name = name.as_str();
        // In a compiled job, all parameters are typed.
        let ScalarOr::Map(TypedParameter { kind, default, run: wanted, .. }) = parameter else { continue };
        let identifier = (*wanted == Some(RunValue::RunId)).then_some(run);
        let given = given.get(name).map(String::as_str);
        let value = given.or(default.as_ref().map(Scalar::as_str)).or(identifier);
        match value {
            Some(value) => match check_type(*kind, value) {
                Ok(()) => {
                    values.insert(name.to_owned(), Value { kind: *kind, value: value.to_owned() });
                }
                Err(expected) => problem(name, format!("`{name}` is {value:?}, and has to be {expected}")),
            },
            None if wanted.is_some() => {
                problem(name, format!("`{name}` comes from the schedule, and this run has none: give it"));
            }
            None => problem(name, format!("`{name}` is not given, and has no default")),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

/// Checks a value against its type. Returns the expected format as the error.
fn check_type(kind: ParameterType, value: &str) -> Result<(), &'static str> {
    let (fits, expected) = match kind {
        ParameterType::String => (true, "text"),
        ParameterType::Integer => (value.parse::<i64>().is_ok(), "a whole number"),
        ParameterType::Number => {
            // Rust parses `NaN` and `inf` as numbers, and SQL does not.
            let digits = value.bytes().any(|byte| byte.is_ascii_digit());
            (digits && value.parse::<f64>().is_ok_and(f64::is_finite), "a number")
        }
        ParameterType::Boolean => (matches!(value, "true" | "false"), "`true` or `false`"),
        ParameterType::Date => {
            (value.parse::<Date>().is_ok() && value.len() == 10, "a date such as 2026-01-31")
        }
        ParameterType::Timestamp => {
            let fits = value.parse::<Timestamp>().is_ok() || value.parse::<DateTime>().is_ok();
            (fits, "a timestamp such as 2026-01-31T12:00:00Z")
        }
    };
    if fits { Ok(()) } else { Err(expected) }
}
