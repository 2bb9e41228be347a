//! Properties of every text.

use std::time::Duration;

use dcp_model::secrets::{self, REDACTED, TextKind};
use proptest::prelude::*;
use rustix::time::{ClockId, clock_gettime};

/// Pieces that secrets and their surroundings are made of.
const PIECES: &[&str] = &[
    "password",
    "token",
    "secret_key",
    "pass",
    "sig",
    "=",
    ":",
    " ",
    "'",
    "\"",
    "\\",
    "\\\"",
    "://",
    "@",
    "/",
    ",",
    ";",
    "&",
    "(",
    ")",
    "<",
    ">",
    "[",
    "]",
    "{",
    "}",
    "${",
    "x",
    "hunter22",
    "AbCdEf012345",
    "…",
    "ü",
    "\n",
    "-",
    "--",
    "-u ",
    "Bearer ",
    "Authorization",
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "eyJhbGciOi.",
    "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----",
    "oracle:thin:",
    "SET ",
    "OPTIONS (",
    "SELECT ",
    "=>",
    "->",
    "b",
    "</name>",
    "<value>",
];

fn text() -> impl Strategy<Value = String> {
    let pieces =
        prop::collection::vec(prop::sample::select(PIECES), 0..40).prop_map(|pieces| pieces.concat());
    prop_oneof![pieces, "\\PC{0,200}"]
}

fn kind() -> impl Strategy<Value = TextKind> {
    prop_oneof![Just(TextKind::Log), Just(TextKind::Manifest), Just(TextKind::Sql)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 2_000 } else { 20_000 }))]

    #[test]
    fn secrets_are_found_in_order_and_on_character_boundaries(text in text(), kind in kind()) {
        let mut end = 0;
        for secret in secrets::find(&text, kind) {
            prop_assert!(secret.range.start >= end && secret.range.start < secret.range.end);
            prop_assert!(text.get(secret.range.clone()).is_some());
            end = secret.range.end;
        }
    }

    #[test]
    fn redact_is_idempotent(text in text()) {
        let once = secrets::redact(&text).into_owned();
        prop_assert_eq!(secrets::redact(&once), once.as_str());
    }

    #[test]
    fn redacted_text_has_as_many_lines_and_bounded_size(text in text()) {
        let redacted = secrets::redact(&text);
        prop_assert_eq!(redacted.matches('\n').count(), text.matches('\n').count());
        prop_assert!(redacted.len() <= text.len() * REDACTED.len());
    }

    #[test]
    fn assigned_password_is_redacted(
        before in "[ -~]{0,20}",
        name in "(password|api_key|AUTH_TOKEN|db\\.secret)",
        after in "[ ,;].{0,20}",
    ) {
        // A value with this in it is taken for an address.
        prop_assume!(!after.contains("://"));
        let line = format!("{before} {name}=s3cr3tvalue{after}");
        prop_assert!(!secrets::redact(&line).contains("s3cr3tvalue"));
    }
}

/// The time for 32 times the text is about 32 times as long. If each byte were looked at anew for each name, it would be
/// 1,024 times as long; the limit is far from both.
#[test]
fn find_takes_linear_time() {
    const SIZE: usize = 8 * 1024;
    const FACTOR: u32 = 32;
    let time = |text: &str, kind| {
        // The CPU time of this thread, which does not depend on other processes of the machine.
        let cpu_time =
            || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("it is not negative");
        let start = cpu_time();
        secrets::find(text, kind);
        cpu_time().saturating_sub(start)
    };
    let hostile = PIECES.iter().flat_map(|first| PIECES.iter().map(move |second| [*first, *second].concat()));
    let pairs =
        ["password=a${", "token: aB", "oracle:thin:a", "a://", "\"password\": \"${", "password=\\'", "-u a"];
    for unit in hostile.step_by(37).chain(pairs.map(str::to_owned)) {
        for kind in [TextKind::Log, TextKind::Sql] {
            let small = unit.repeat(SIZE / unit.len() + 1);
            let large = small.repeat(FACTOR as usize);
            let small = (0..5).map(|_| time(&small, kind)).min().expect("it was measured");
            let large = time(&large, kind);
            let limit = small * FACTOR * 10 + Duration::from_millis(100);
            assert!(large < limit, "{unit:?} as {kind:?}: {small:?}, then {large:?}");
        }
    }
}
