//! Parameters of a run: every invalid one is reported, and only valid values are used.

use std::collections::BTreeMap;

use dcp_model::primitive::CoreEtlJob;
use dcp_runner::parameters::{Problem, values};
use proptest::prelude::*;

fn job() -> CoreEtlJob {
    dcp_tests::job(
        "  job:\n    sql:\n      query: SELECT :day, :count, :rate, :full, :at, :name, :due\n      parameters:\n        \
         day: {type: date}\n        count: 3\n        rate: {type: number, default: 0.5}\n        \
         full: {type: boolean, default: false}\n        at: {type: timestamp, default: 2026-01-31T12:00:00Z}\n        \
         name: {type: string, default: \"\"}\n        due: {type: date, run: date}\n",
    )
}

fn with(given: &[(&str, &str)]) -> Result<BTreeMap<String, String>, Vec<String>> {
    let always = [("day", "2026-01-31"), ("due", "2026-01-30")];
    let given = always.iter().chain(given).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    match values(&job(), &given.collect(), "run-1") {
        Ok(values) => Ok(values.into_iter().map(|(name, value)| (name, value.value)).collect()),
        Err(problems) => Err(problems.into_iter().map(|Problem { message, .. }| message).collect()),
    }
}

#[test]
fn missing_parameters_get_their_defaults() {
    let values = with(&[("count", "-7")]).expect("the values are valid");
    let texts: Vec<&str> = values.values().map(String::as_str).collect();
    assert_eq!(values.len(), 7);
    assert_eq!(texts, ["2026-01-31T12:00:00Z", "-7", "2026-01-31", "2026-01-30", "false", "", "0.5"]);
}

#[test]
fn all_problems_are_reported() {
    let given = [
        ("nmae", "x"),
        ("count", "3.5"),
        ("rate", "NaN"),
        ("full", "yes"),
        ("at", "noon"),
        ("day", "31.1.2026"),
    ];
    let messages = with(&given).expect_err("all values are invalid");
    let expected = [
        "the job has no parameter `nmae`: did you mean `name`?",
        "`at` is \"noon\", and has to be a timestamp such as 2026-01-31T12:00:00Z",
        "`count` is \"3.5\", and has to be a whole number",
        "`day` is \"31.1.2026\", and has to be a date such as 2026-01-31",
        "`full` is \"yes\", and has to be `true` or `false`",
        "`rate` is \"NaN\", and has to be a number",
    ];
    assert_eq!(messages, expected);
    let missing = values(&job(), &BTreeMap::new(), "run-1").expect_err("two parameters are missing");
    let messages: Vec<&str> = missing.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "`day` is not given, and has no default",
            "`due` comes from the schedule, and this run has none: give it",
        ]
    );
}

#[test]
fn run_id_parameter_is_filled_in() {
    let job = dcp_tests::job(
        "  job:\n    sql:\n      query: SELECT :run\n      parameters: {run: {type: string, run: runId}}\n",
    );
    let value = |given: &[(&str, &str)]| {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        values(&job, &given.collect(), "run-1").expect("the parameter has a value")["run"].value.clone()
    };
    assert_eq!(value(&[]), "run-1");
    assert_eq!(value(&[("run", "scheduled__2026-11-21")]), "scheduled__2026-11-21");
}

proptest! {
    #[test]
    fn arbitrary_parameters_cause_no_panic(name in ".{0,20}", value in ".{0,40}") {
        _ = with(&[(&name, &value)]);
    }

    #[test]
    fn valid_values_are_not_changed(count in any::<i64>(), name in ".{0,40}") {
        let count = count.to_string();
        let values = with(&[("count", &count), ("name", &name)]).expect("the values are valid");
        prop_assert_eq!(&values["count"], &count);
        prop_assert_eq!(&values["name"], &name);
    }
}
