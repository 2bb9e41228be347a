//! Statuses of custom resources that no recorded case has.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Hint, Operator};
use crate::{Phase, Reason, Status};

fn apache(states: &[(&str, &str)]) -> Hint {
    let state =
        |(summary, message): &(&str, &str)| json!({"currentStateSummary": summary, "message": message});
    // Texts sort 10 before 2.
    let history = states.iter().enumerate().map(|(number, it)| ((number + 2).to_string(), state(it)));
    let history: serde_json::Map<String, Value> = history.collect();
    let current = states.last().map(state);
    Operator::Apache.hint(&json!({"status": {"currentState": current, "stateTransitionHistory": history}}))
}

fn kubeflow(state: &str, message: &str, attempts: u64) -> Hint {
    let state = json!({"state": state, "errorMessage": message});
    Operator::Kubeflow.hint(&json!({"status": {"applicationState": state, "executionAttempts": attempts}}))
}

fn ended(succeeded: Option<bool>, message: &str) -> Hint {
    Hint::Ended { succeeded, message: (!message.is_empty()).then(|| message.to_owned()) }
}

fn failed(message: &str) -> Hint {
    Hint::SubmissionFailed { message: message.to_owned() }
}

#[test]
fn the_result_is_the_state_before_resources_were_released() {
    let released = ("ResourceReleased", "released");
    let retained = ("TerminatedWithoutReleaseResources", "retained");
    let failure = ("Failed", "bad");
    assert_eq!(apache(&[("Succeeded", "ok"), released]), ended(Some(true), "ok"));
    assert_eq!(apache(&[failure, retained, released]), ended(Some(false), "bad"));
    let running = [("RunningHealthy", ""); 9];
    assert_eq!(apache(&[&running[..], &[failure, retained]].concat()), ended(Some(false), "bad"));
    assert_eq!(apache(&[("Submitted", ""), ("RunningHealthy", ""), released]), ended(None, ""));
    assert_eq!(apache(&[("SchedulingFailure", "no"), retained]), failed("no"));
    assert_eq!(apache(&[retained]), ended(None, ""));
}

#[test]
fn states_of_apache_are_known() {
    for state in ["Submitted", "ScheduledToRestart", "StateOfALaterVersion"] {
        assert_eq!(apache(&[(state, "")]), Hint::Submitting, "{state}");
    }
    for state in ["DriverStarted", "RunningWithPartialCapacity", "RunningWithBelowThresholdExecutors"] {
        assert_eq!(apache(&[(state, "")]), Hint::DriverRequested, "{state}");
    }
    for state in ["DriverEvicted", "DriverReadyTimedOut", "ExecutorsStartTimedOut"] {
        assert_eq!(apache(&[(state, "")]), ended(Some(false), ""), "{state}");
    }
    assert_eq!(Operator::Apache.hint(&json!({"metadata": {}})), Hint::Submitting);
}

#[test]
fn states_of_kubeflow_are_known() {
    for state in ["", "PENDING_RERUN", "INVALIDATING", "RESUMING", "UNKNOWN", "STATE_OF_A_LATER_VERSION"] {
        assert_eq!(kubeflow(state, "", 1), Hint::Submitting, "{state}");
    }
    assert_eq!(kubeflow("FAILED", "exit", 1), ended(Some(false), "exit"));
    assert_eq!(kubeflow("FAILED", "no submission", 0), failed("no submission"));
    assert_eq!(kubeflow("SUBMISSION_FAILED", "no submission", 0), failed("no submission"));
    assert_eq!(Operator::Kubeflow.hint(&json!({"metadata": {}})), Hint::Submitting);
}

#[test]
fn the_message_of_a_submission_begins_with_its_exception() {
    let output = "failed to run spark-submit: 26/11/28 WARN Utils: x\n26/11/28 INFO y\n\
                  Exception in thread \"main\" java.lang.IllegalArgumentException: z\n\tat a.b";
    let exception = "Exception in thread \"main\" java.lang.IllegalArgumentException: z\n\tat a.b";
    assert_eq!(kubeflow("SUBMISSION_FAILED", output, 0), failed(exception));
}

#[test]
fn an_application_without_a_driver_ends_only_if_it_gets_none() {
    let at = Timestamp::UNIX_EPOCH;
    let reason = |hint: &Hint| hint.end_without_driver(at).map(|end| (end.reason, end.succeeded));
    for (hint, expected) in [
        (Hint::Submitting, None),
        (Hint::Suspended, None),
        (Hint::DriverRequested, Some(Reason::Deleted)),
        (failed("pods is forbidden: exceeded quota: small"), Some(Reason::QuotaExceeded)),
        (failed("pods is forbidden: User x cannot create"), Some(Reason::Forbidden)),
        (failed("no image"), Some(Reason::BackendFailed)),
        // The pod was there, and is not any more.
        (failed("failed to run spark-submit: driver pod already exist"), Some(Reason::Deleted)),
        (ended(Some(true), ""), Some(Reason::Deleted)),
    ] {
        assert_eq!(reason(&hint), expected.map(|reason| (reason, false)), "{hint:?}");
    }
}

#[test]
fn the_operator_explains_only_drivers_that_have_not_started() {
    let explained = |phase| failed("no image").explain(Status::new(phase)).obstacle.map(|it| it.to_string());
    let text = "the backend failed to run the application: operator: no image";
    assert_eq!(explained(Phase::Pending).as_deref(), Some(text));
    assert_eq!(explained(Phase::Running), None);
    assert_eq!(Hint::DriverRequested.explain(Status::new(Phase::Pending)).obstacle, None);
}
