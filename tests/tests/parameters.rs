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
fn defaults_stand_in_for_what_is_not_given() {
    let values = with(&[("count", "-7")]).expect("they fit");
    let said: Vec<&str> = values.values().map(String::as_str).collect();
    assert_eq!(values.len(), 7);
    assert_eq!(said, ["2026-01-31T12:00:00Z", "-7", "2026-01-31", "2026-01-30", "false", "", "0.5"]);
}

#[test]
fn all_that_is_wrong_is_said() {
    let given = [
        ("nmae", "x"),
        ("count", "3.5"),
        ("rate", "NaN"),
        ("full", "yes"),
        ("at", "noon"),
        ("day", "31.1.2026"),
    ];
    let said = with(&given).expect_err("nothing fits");
    let expected = [
        "the job has no parameter `nmae`: did you mean `name`?",
        "`at` is \"noon\", and has to be a timestamp such as 2026-01-31T12:00:00Z",
        "`count` is \"3.5\", and has to be a whole number",
        "`day` is \"31.1.2026\", and has to be a date such as 2026-01-31",
        "`full` is \"yes\", and has to be `true` or `false`",
        "`rate` is \"NaN\", and has to be a number",
    ];
    assert_eq!(said, expected);
    let missing = values(&job(), &BTreeMap::new(), "run-1").expect_err("two are not given");
    let said: Vec<&str> = missing.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "`day` is not given, and has no default",
            "`due` comes from the schedule, and this run has none: give it",
        ]
    );
}

#[test]
fn a_parameter_for_the_identifier_of_the_run_is_filled_in() {
    let job = dcp_tests::job(
        "  job:\n    sql:\n      query: SELECT :run\n      parameters: {run: {type: string, run: runId}}\n",
    );
    let value = |given: &[(&str, &str)]| {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        values(&job, &given.collect(), "run-1").expect("it has a value")["run"].value.clone()
    };
    assert_eq!(value(&[]), "run-1");
    assert_eq!(value(&[("run", "scheduled__2026-11-21")]), "scheduled__2026-11-21");
}

proptest! {
    #[test]
    fn nothing_that_is_given_makes_it_panic(name in ".{0,20}", value in ".{0,40}") {
        _ = with(&[(&name, &value)]);
    }

    #[test]
    fn what_fits_is_kept_as_it_was_written(count in any::<i64>(), name in ".{0,40}") {
        let count = count.to_string();
        let values = with(&[("count", &count), ("name", &name)]).expect("they fit");
        prop_assert_eq!(&values["count"], &count);
        prop_assert_eq!(&values["name"], &name);
    }
}
