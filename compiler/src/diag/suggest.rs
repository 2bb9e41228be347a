//! The nearest valid name, and lists of names as a sentence has them.

/// The candidate that `name` was probably meant to be, if one is near enough to be worth saying.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    // A name of four letters may be one edit away, one of eight two, and so on; never more than a third of it.
    let limit = (name.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let other = candidate.to_ascii_lowercase();
            let distance = strsim::osa_distance(&lower, &other);
            let near = distance <= limit || singular(&lower) == singular(&other);
            near.then_some((distance, candidate))
        })
        .min_by_key(|(distance, candidate)| (*distance, *candidate))
        .map(|(_, candidate)| candidate)
}

fn singular(name: &str) -> &str {
    name.strip_suffix('s').unwrap_or(name)
}

/// "`a`", "`a` or `b`", "`a`, `b` or `c`".
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>, conjunction: &str) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} {conjunction} {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let fields = ["executors", "driver", "sizing"];
        assert_eq!(nearest("exectuors", fields), Some("executors"));
        assert_eq!(nearest("executor", fields), Some("executors"));
        assert_eq!(nearest("Driver", fields), Some("driver"));
        assert_eq!(nearest("memory", fields), None);
        assert_eq!(nearest("", fields), None);
    }

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(list(["a"], "or"), "`a`");
        assert_eq!(list(["a", "b", "c"], "or"), "`a`, `b` or `c`");
        assert_eq!(list([], "or"), "");
    }
}
