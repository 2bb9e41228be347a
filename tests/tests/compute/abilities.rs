//! Every ability that a backend lists has a test of it.

use std::collections::BTreeSet;

use dcp_gateway::kubernetes::{Kubernetes, Settings, connect};
use dcp_gateway::{Ability, Compute as _};
use dcp_tests::cluster::{kubeconfig, kubeconfig_of_nobody};
use dcp_tests::fake_spark::FakeSpark;

use crate::local::SUPERVISOR;

/// Each ability of `local`, with a test of it: a file of this folder, and a function.
const LOCAL: [(Ability, &str, &str); 6] = [
    (Ability::EventLog, "spark/addresses.rs", "a_running_driver_has_the_address_of_its_web_interface"),
    (Ability::Ui, "spark/addresses.rs", "a_running_driver_has_the_address_of_its_web_interface"),
    (Ability::Secrets, "files.rs", "secrets_are_in_no_command_line_and_in_no_remaining_file"),
    (Ability::PythonPackages, "files.rs", "python_packages_are_installed_once_for_all_applications"),
    (Ability::Drain, "spark/drain.rs", "stopped_stream_commits_its_running_batch_and_begins_no_other"),
    (Ability::Connect, "spark/connect.rs", "a_driver_of_a_pool_serves_only_calls_with_its_token"),
];

/// Each ability of `kubernetes`, with a test of it: a file of `tests/tests`, and a function.
const KUBERNETES: [(Ability, &str, &str); 5] = [
    (Ability::Pods, "kubernetes/cluster/lifecycle.rs", "a_driver_runs_to_its_end_and_is_forgotten"),
    (Ability::Ui, "kubernetes/cluster/lifecycle.rs", "a_running_driver_has_the_address_of_its_web_interface"),
    (
        Ability::Secrets,
        "kubernetes/cluster/secrets.rs",
        "a_driver_has_the_secrets_of_its_namespace_and_no_object_has_their_values",
    ),
    (
        Ability::Drain,
        "kubernetes/cluster/lifecycle.rs",
        "a_driver_that_watches_for_the_stop_request_finishes_its_work",
    ),
    (
        Ability::Connect,
        "kubernetes/cluster/connect.rs",
        "a_driver_of_a_pool_serves_only_calls_with_its_token_and_leaves_nothing",
    ),
];

#[tokio::test]
async fn every_ability_of_kubernetes_has_a_test() {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let client = connect(&kubeconfig(kubeconfig_of_nobody(folder.path()))).await.expect("the file is valid");
    let backend = Kubernetes::new(client, Settings::new("main"), jiff::Timestamp::now);
    check(backend.capabilities().abilities, &KUBERNETES, "tests/tests");
}

#[test]
fn every_ability_of_local_has_a_test() {
    let fake_spark = FakeSpark::new("exit 0");
    let capabilities = fake_spark.local_backend(SUPERVISOR).capabilities();
    check(capabilities.abilities, &LOCAL, "tests/tests/compute");
}

fn check(abilities: &[Ability], tests: &[(Ability, &str, &str)], folder: &str) {
    let listed: BTreeSet<Ability> = abilities.iter().copied().collect();
    assert_eq!(listed, tests.iter().map(|(ability, ..)| *ability).collect());
    let folder = dcp_tests::workspace().join(folder);
    for (ability, file, function) in tests {
        let text = std::fs::read_to_string(folder.join(file)).expect("the file is text");
        assert!(text.contains(&format!("async fn {function}()")), "{ability:?}: {file} has no {function}");
    }
}
