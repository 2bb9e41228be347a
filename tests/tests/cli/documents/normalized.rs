//! Compares output word by word, except values that differ between runs: ids, times, durations, rates and versions.
//! Line breaks are not compared, because they depend on the length of such values.

const UNITS: [&str; 5] = ["µs", "ms", "s", "min", "rows/s"];

/// Returns true if shown output matches written output. A line `…` matches any number of words.
pub(super) fn matches(shown: &str, written: &str) -> bool {
    let mut written = normalized(written);
    let mut parts: Vec<Vec<String>> = vec![Vec::new()];
    for line in shown.lines() {
        if line == "…" {
            parts.push(Vec::new());
        } else {
            parts.last_mut().expect("the list is not empty").extend(words(line));
        }
    }
    // Join the words first, because the kind of a value may depend on the word before it.
    let parts: Vec<Vec<String>> = parts.iter().map(|part| normalized(&part.join(" "))).collect();
    let (first, rest) = parts.split_first().expect("the list is not empty");
    let Some(left) = written.strip_prefix(first.as_slice()) else { return false };
    written = left.to_vec();
    let Some((last, middle)) = rest.split_last() else { return written.is_empty() };
    for part in middle {
        let found = (0..=written.len()).find(|at| written[*at..].starts_with(part));
        let Some(at) = found else { return false };
        written.drain(..at + part.len());
    }
    written.ends_with(last)
}

fn words(line: &str) -> impl Iterator<Item = String> {
    line.split_whitespace().map(str::to_owned)
}

/// Returns the words of a text, with placeholders for values that differ between runs.
fn normalized(text: &str) -> Vec<String> {
    let text = without_ids_and_times(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    let word = |at: usize| words.get(at).map_or("", |word| word.trim_end_matches([',', ';']));
    let duration = |at: usize| is_number(word(at)) && UNITS.contains(&word(at + 1));
    let normalized = |at: usize| match word(at) {
        it if is_time_of_day(it) || (is_date(it) && is_time_of_day(word(at + 1))) => "T",
        _ if duration(at) => "N",
        // `dcp status` shows `-` for an unknown rate.
        "-" => "N",
        it if ["/s", "ms", "s", "m"].iter().any(|unit| it.strip_suffix(unit).is_some_and(is_number)) => "N",
        it if it.ends_with("/bin/java") || it.ends_with("/bin/python") || it.ends_with("/pyspark") => "PATH",
        _ if at > 0 && words[at - 1] == "java" => "V",
        _ => words[at],
    };
    let is_unit = |at: usize| at > 0 && duration(at - 1);
    (0..words.len()).filter(|at| !is_unit(*at)).map(|at| normalized(at).to_owned()).collect()
}

/// Replaces ids of executions and times such as `2026-11-21T15:24:27.178592648Z`, also within JSON.
fn without_ids_and_times(text: &str) -> String {
    let is_word_char = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | ':' | '.');
    let pieces = text.split_inclusive(|it| !is_word_char(it)).map(|piece| {
        let word = piece.trim_end_matches(|it| !is_word_char(it));
        let rest = &piece[word.len()..];
        if is_id(word) {
            format!("ID{rest}")
        } else if word.ends_with('Z') && word.split('T').count() == 2 && word.starts_with("20") {
            format!("T{rest}")
        } else {
            piece.to_owned()
        }
    });
    pieces.collect()
}

fn is_id(word: &str) -> bool {
    word.len() == 26 && word.starts_with("01") && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_date(word: &str) -> bool {
    let digits = |byte: u8| byte == b'-' || byte.is_ascii_digit();
    word.split('-').map(str::len).eq([4, 2, 2]) && word.bytes().all(digits)
}

fn is_time_of_day(word: &str) -> bool {
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    word.contains(':') && word.split(':').all(digits)
}

fn is_number(word: &str) -> bool {
    word.parse::<f64>().is_ok()
}

#[test]
fn outputs_of_two_runs_match() {
    for (shown, written) in [
        ("✓ submitted  01m8gxxe3krm18da84jsxmh39q\n", "✓ submitted  01m9gxxe3krm18da84jsxmh39q\n"),
        ("attempt 1 in 71 s  its rows\n", "attempt 1 in 8.1 s  its rows\n"),
        ("at 2026-11-28 11:17 UTC  0/s  9.8 s\n", "at 2026-11-29 01:07 UTC  -  640 ms\n"),
        ("healthy  1  0/s  0.4/s  4.6s  -  1\n", "healthy  1  -  -  -  640ms  1\n"),
        (
            "~ a  REDEPLOY restarts once; live: healthy, 0 rows/s\n",
            "~ a  REDEPLOY\n    restarts once; live: healthy,\n    10.5 rows/s\n",
        ),
        (
            "{\"at\":\"2026-11-21T15:24:27.178Z\",\"id\":\"01m8gxxe3krm18da84jsxmh39q\"}\n",
            "{\"at\":\"2026-11-28T01:02:03Z\",\"id\":\"01m9gxxe3krm18da84jsxmh39q\"}\n",
        ),
        ("a\n…\nd\n", "a\nb\nc\nd\n"),
        ("a\n…\n", "a\n"),
        ("…\n11:17:00 b\n…\n", "a\n12:00:00 b\nc\n"),
        ("", ""),
    ] {
        assert!(matches(shown, written), "{shown} {written}");
    }
}

#[test]
fn outputs_of_different_commands_do_not_match() {
    for (shown, written) in [
        ("2 create\n", "3 create\n"),
        ("a\n", "a\nb\n"),
        ("a\nb\n", "a\n"),
        ("a\n…\nd\n", "a\nb\nc\n"),
        ("…\nb\n…\n", "a\nc\n"),
        ("day 2026-11-28\n", "day 2026-11-29\n"),
        ("", "a\n"),
        ("a\n", ""),
    ] {
        assert!(!matches(shown, written), "{shown} {written}");
    }
}
