//! The drivers of a source as a watch has reported them, and what is to be stored. It is pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dcp_gateway::kubernetes::{ConnectServer, ServerEvent};

use super::Source;
use crate::session::{Driver, DriverState};

#[derive(Debug, Default)]
pub(super) struct State {
    /// The servers that run, by the UID of their pods.
    running: BTreeMap<String, ConnectServer>,
    /// The drivers that were stored before the list was read, and that it has not had so far.
    unconfirmed: BTreeSet<String>,
    /// The drivers that have ended, until this is stored.
    ended: BTreeSet<String>,
    /// Whether the list was read to its end.
    is_complete: bool,
}

/// A change of the stored drivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Store a driver, once something listens at its address.
    Add(Driver),
    Report(Driver),
    /// Have a driver take no new sessions, because it is not ready.
    Drain(String),
    Reopen(String),
    End(String),
}

impl State {
    /// Begins another list of all pods. `stored` are the drivers of the source that were stored before it is read.
    pub(super) fn begin(&mut self, stored: BTreeSet<String>) {
        // Ends that are not stored yet stay.
        *self = Self { unconfirmed: stored, ended: std::mem::take(&mut self.ended), ..Self::default() };
    }

    pub(super) fn handle(&mut self, source: &Source, event: ServerEvent) {
        match event {
            ServerEvent::Running(server) => {
                let id = source.id(&server);
                self.unconfirmed.remove(&id);
                let last = self.running.insert(server.uid.clone(), server);
                self.ended.extend(last.map(|last| source.id(&last)).filter(|last| *last != id));
            }
            ServerEvent::Ended(uid) => {
                let last = self.running.remove(&uid);
                self.ended.extend(last.map(|last| source.id(&last)));
            }
            ServerEvent::Listed => {
                self.is_complete = true;
                self.ended.append(&mut self.unconfirmed);
            }
        }
    }

    /// Returns a pod whose version of Spark is not known.
    pub(super) fn without_engine(&self, source: &Source) -> Option<&str> {
        let mut servers = self.running.values();
        servers.find(|server| source.driver(server).is_none()).map(|server| &*server.pod)
    }

    /// Returns what is to be stored, given the stored drivers of the source.
    pub(super) fn steps(&self, source: &Source, stored: &HashMap<String, DriverState>) -> Vec<Step> {
        let mut steps: Vec<Step> = self.ended.iter().cloned().map(Step::End).collect();
        for server in self.running.values() {
            let Some(driver) = source.driver(server) else { continue };
            let id = || driver.id.clone();
            match (stored.get(&driver.id), server.is_ready) {
                (None, true) => steps.push(Step::Add(driver.clone())),
                (None, false) => {}
                (Some(state), _) => {
                    steps.push(Step::Report(driver.clone()));
                    match (state, server.is_ready) {
                        (DriverState::Draining, true) => steps.push(Step::Reopen(id())),
                        (DriverState::Open, false) => steps.push(Step::Drain(id())),
                        _ => {}
                    }
                }
            }
        }
        steps
    }

    /// Notes that the end of a driver is stored.
    pub(super) fn settle(&mut self, id: &str) {
        self.ended.remove(id);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{of_team, server};
    use super::*;

    const ID: &str = "cluster:team/logistics/notebooks/server/0123abcd";
    const UID: &str = "0123abcd-1";

    fn handle(state: &mut State, server: ConnectServer) {
        state.handle(&of_team(), ServerEvent::Running(server));
    }

    fn end(state: &mut State) {
        state.handle(&of_team(), ServerEvent::Ended(UID.to_owned()));
    }

    fn list(state: &mut State) {
        state.handle(&of_team(), ServerEvent::Listed);
    }

    /// Returns a state after a list with one driver.
    fn listed() -> State {
        let mut state = State::default();
        handle(&mut state, server("server", UID));
        list(&mut state);
        state
    }

    /// Returns what is to be stored if the driver is stored in a state.
    fn steps(state: &State, stored: Option<DriverState>) -> Vec<Step> {
        state.steps(&of_team(), &stored.map(|stored| (ID.to_owned(), stored)).into_iter().collect())
    }

    fn unready() -> ConnectServer {
        ConnectServer { is_ready: false, ..server("server", UID) }
    }

    #[test]
    fn new_driver_is_added_once_it_is_ready_and_then_reported() {
        let mut state = State::default();
        handle(&mut state, unready());
        list(&mut state);
        assert_eq!(steps(&state, None), []);
        handle(&mut state, server("server", UID));
        assert!(matches!(&steps(&state, None)[..], [Step::Add(it)] if it.id == ID));
        let reported = steps(&state, Some(DriverState::Starting));
        assert!(matches!(&reported[..], [Step::Report(it)] if it.id == ID));
    }

    #[test]
    fn driver_that_is_not_ready_is_drained_and_has_not_ended() {
        let mut state = listed();
        handle(&mut state, unready());
        let drained = steps(&state, Some(DriverState::Open));
        assert!(matches!(&drained[..], [Step::Report(_), Step::Drain(id)] if id == ID));
        handle(&mut state, server("server", UID));
        let reopened = steps(&state, Some(DriverState::Draining));
        assert!(matches!(&reopened[..], [Step::Report(_), Step::Reopen(id)] if id == ID));
    }

    #[test]
    fn deleted_replaced_and_restarted_drivers_have_ended() {
        let ends = |state: &State| {
            let steps = steps(state, None).into_iter();
            steps.filter(|step| matches!(step, Step::End(_))).collect::<Vec<_>>()
        };
        let mut state = listed();
        end(&mut state);
        assert_eq!(ends(&state), [Step::End(ID.to_owned())]);
        state.settle(ID);
        assert_eq!(ends(&state), []);
        let mut state = listed();
        handle(&mut state, ConnectServer { restarts: 1, ..server("server", UID) });
        assert_eq!(ends(&state), [Step::End(ID.to_owned())]);
        // A replaced pod has the same name.
        let mut state = listed();
        handle(&mut state, server("server", "ffff0000-1"));
        assert_eq!(ends(&state), []);
        end(&mut state);
        assert_eq!(ends(&state), [Step::End(ID.to_owned())]);
    }

    #[test]
    fn end_is_concluded_only_from_a_complete_list_that_is_younger_than_the_driver() {
        let mut state = State::default();
        state.begin(BTreeSet::from([ID.to_owned()]));
        assert_eq!(steps(&state, Some(DriverState::Open)), []);
        list(&mut state);
        assert_eq!(steps(&state, Some(DriverState::Open)), [Step::End(ID.to_owned())]);
        // Another proxy has stored the driver after this list was read.
        let mut state = State::default();
        state.begin(BTreeSet::new());
        list(&mut state);
        assert_eq!(steps(&state, Some(DriverState::Open)), []);
    }

    #[test]
    fn lost_watch_concludes_nothing_and_keeps_ends_that_are_not_stored() {
        let mut state = listed();
        state.begin(BTreeSet::from([ID.to_owned()]));
        assert_eq!(steps(&state, Some(DriverState::Open)), []);
        let mut state = listed();
        end(&mut state);
        state.begin(BTreeSet::from([ID.to_owned()]));
        list(&mut state);
        assert_eq!(steps(&state, Some(DriverState::Open)), [Step::End(ID.to_owned())]);
    }

    #[test]
    fn server_without_a_version_is_no_driver_and_has_not_ended() {
        let mut state = State::default();
        state.begin(BTreeSet::from([ID.to_owned()]));
        handle(&mut state, ConnectServer { version: None, ..server("server", UID) });
        list(&mut state);
        assert_eq!(steps(&state, Some(DriverState::Open)), []);
        assert_eq!(state.without_engine(&of_team()), Some("server"));
    }
}
