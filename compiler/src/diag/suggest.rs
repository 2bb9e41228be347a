//! The nearest valid name, and lists of names as a sentence has them.

/// The candidate that `name` was probably meant to be, if one is near enough to be worth saying.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(&lower, &candidate.to_ascii_lowercase())?, candidate)))
        .min_by_key(|(distance, candidate)| (*distance, *candidate))
        .map(|(_, candidate)| candidate)
}

/// The same for names of several parts, such as those of tables: each part must be near, or the shorter one must be how
/// the longer one ends.
pub fn nearest_dotted<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    candidates
        .into_iter()
        .filter_map(|candidate| Some((dotted_distance(&lower, &candidate.to_ascii_lowercase())?, candidate)))
        .min_by_key(|(distance, candidate)| (*distance, *candidate))
        .map(|(_, candidate)| candidate)
}

fn dotted_distance(name: &str, other: &str) -> Option<usize> {
    let parts = |name: &str| name.matches('.').count();
    if parts(name) == parts(other) {
        return name.split('.').zip(other.split('.')).map(|(part, other)| distance(part, other)).sum();
    }
    let (long, short) = if parts(name) > parts(other) { (name, other) } else { (other, name) };
    let rest = long.strip_suffix(short)?;
    rest.ends_with('.').then_some(rest.len())
}

/// How many edits are between two names, if they are few enough.
fn distance(name: &str, other: &str) -> Option<usize> {
    // A name of four letters may be one edit away, one of eight two, and so on; never more than a third of it.
    let limit = (name.chars().count() / 3).clamp(1, 4);
    let distance = strsim::osa_distance(name, other);
    (distance <= limit || singular(name) == singular(other)).then_some(distance)
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
    fn tables_are_near_part_by_part() {
        let tables = ["lake.raw.orders", "lake.raw.shops"];
        assert_eq!(nearest_dotted("lake.raw.order", tables), Some("lake.raw.orders"));
        assert_eq!(nearest_dotted("Raw.Orders", tables), Some("lake.raw.orders"));
        assert_eq!(nearest_dotted("lakes.rw.orders", tables), Some("lake.raw.orders"));
        assert_eq!(nearest_dotted("lake.raw.stores", tables), None);
        assert_eq!(nearest_dotted("aw.orders", tables), None);
    }

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(list(["a"], "or"), "`a`");
        assert_eq!(list(["a", "b", "c"], "or"), "`a`, `b` or `c`");
        assert_eq!(list([], "or"), "");
    }
}
