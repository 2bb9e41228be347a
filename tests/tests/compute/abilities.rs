//! Every ability that a backend lists has a test of it.

use std::collections::BTreeSet;

use dcp_gateway::{Ability, Compute as _};
use dcp_tests::fake_spark::FakeSpark;

use crate::local::SUPERVISOR;

/// Each ability, with a test of it: a file of this folder, and a function.
const TESTS: [(Ability, &str, &str); 5] = [
    (Ability::EventLog, "spark/addresses.rs", "a_running_driver_has_the_address_of_its_web_interface"),
    (Ability::Ui, "spark/addresses.rs", "a_running_driver_has_the_address_of_its_web_interface"),
    (Ability::Secrets, "files.rs", "secrets_are_in_no_command_line_and_in_no_remaining_file"),
    (Ability::PythonPackages, "files.rs", "python_packages_are_installed_once_for_all_applications"),
    (Ability::Drain, "spark/drain.rs", "stopped_stream_commits_its_running_batch_and_begins_no_other"),
];

#[test]
fn every_ability_of_a_backend_has_a_test() {
    let fake_spark = FakeSpark::new("exit 0");
    let capabilities = fake_spark.local_backend(SUPERVISOR).capabilities();
    let listed: BTreeSet<Ability> = capabilities.abilities.iter().copied().collect();
    assert_eq!(listed, TESTS.iter().map(|(ability, ..)| *ability).collect());
    let folder = dcp_tests::workspace().join("tests/tests/compute");
    for (ability, file, function) in TESTS {
        let text = std::fs::read_to_string(folder.join(file)).expect("the file is text");
        assert!(text.contains(&format!("async fn {function}()")), "{ability:?}: {file} has no {function}");
    }
}
