//! Suggestions for misspelt names, and lists of names for messages.

/// Returns the candidate that is most similar to `name`, if it is similar enough.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(&lower, &candidate.to_ascii_lowercase())?, candidate)))
        .min_by_key(|(distance, candidate)| (*distance, *candidate))
        .map(|(_, candidate)| candidate)
}

/// Names of several parts, such as tables. Their number may be very large.
#[derive(Debug)]
pub struct DottedNames<'a> {
    known: Vec<Candidate<'a>>,
}

#[derive(Debug)]
struct Candidate<'a> {
    name: &'a str,
    lower: String,
    parts: Box<[Part]>,
}

/// Properties of a part of a name by which most names are excluded without a computation of their distance.
#[derive(Debug)]
struct Part {
    /// A bit set of the letters in the part.
    letters: u64,
    /// The maximum number of edits of the part.
    edits: usize,
}

impl<'a> DottedNames<'a> {
    pub fn new(names: impl IntoIterator<Item = &'a str>) -> Self {
        let known = |name: &'a str| {
            let lower = name.to_ascii_lowercase();
            Candidate { name, parts: parts(&lower), lower }
        };
        Self { known: names.into_iter().map(known).collect() }
    }

    /// Returns the name that is most similar to `name`. Either all parts are similar, or the shorter name is a suffix
    /// of the longer one.
    pub fn nearest(&self, name: &str) -> Option<&'a str> {
        let lower = name.to_ascii_lowercase();
        let mine = parts(&lower);
        let distance = |it: &Candidate<'a>| {
            let compare = mine.len() != it.parts.len() || has_similar_letters(&mine, &it.parts);
            compare.then(|| dotted_distance(&lower, &it.lower))?
        };
        let near = self.known.iter().filter_map(|it| Some((distance(it)?, it.name)));
        near.min().map(|(_, name)| name)
    }
}

fn parts(name: &str) -> Box<[Part]> {
    let letters = |part: &str| part.chars().fold(0, |letters, c| letters | 1 << (u32::from(c) % 64));
    name.split('.').map(|part| Part { letters: letters(part), edits: max_edits(part) }).collect()
}

/// Compares the letters only: each edit changes at most two of them.
fn has_similar_letters(name: &[Part], other: &[Part]) -> bool {
    let near = |(mine, theirs): (&Part, &Part)| {
        (mine.letters ^ theirs.letters).count_ones() as usize <= 2 * mine.edits
    };
    name.iter().zip(other).all(near)
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

/// Returns the number of edits between two names, if it is small enough.
fn distance(name: &str, other: &str) -> Option<usize> {
    // Computing the distance takes time proportional to the product of both lengths.
    if name.len().max(other.len()) > MAX_LENGTH {
        return None;
    }
    let distance = strsim::osa_distance(name, other);
    (distance <= max_edits(name) || singular(name) == singular(other)).then_some(distance)
}

/// Maximum length of names that are compared.
const MAX_LENGTH: usize = 256;

/// Returns the maximum number of edits: a third of the length, between 1 and 4.
fn max_edits(name: &str) -> usize {
    (name.chars().count() / 3).clamp(1, 4)
}

fn singular(name: &str) -> &str {
    name.strip_suffix('s').unwrap_or(name)
}

/// Returns "`a`", "`a` or `b`", "`a`, `b` or `c`".
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
    fn nearest_finds_misspelt_names() {
        let fields = ["executors", "driver", "sizing"];
        assert_eq!(nearest("exectuors", fields), Some("executors"));
        assert_eq!(nearest("executor", fields), Some("executors"));
        assert_eq!(nearest("Driver", fields), Some("driver"));
        assert_eq!(nearest("memory", fields), None);
        assert_eq!(nearest("", fields), None);
    }

    #[test]
    fn dotted_names_are_compared_part_by_part() {
        let tables = ["lake.raw.orders", "lake.raw.shops"];
        let tables = DottedNames::new(tables);
        assert_eq!(tables.nearest("lake.raw.order"), Some("lake.raw.orders"));
        assert_eq!(tables.nearest("Raw.Orders"), Some("lake.raw.orders"));
        assert_eq!(tables.nearest("lakes.rw.orders"), Some("lake.raw.orders"));
        assert_eq!(tables.nearest("lake.raw.stores"), None);
        assert_eq!(tables.nearest("aw.orders"), None);
    }

    proptest::proptest! {
        #[test]
        fn letter_filter_excludes_no_similar_name(name in "[a-dü]{1,9}([.][a-dü]{1,6}){0,2}", other in "[a-dü]{1,9}([.][a-dü]{1,6}){0,2}") {
            let expected = dotted_distance(&name, &other).map(|_| other.as_str());
            proptest::prop_assert_eq!(DottedNames::new([other.as_str()]).nearest(&name), expected);
        }
    }

    #[test]
    fn list_joins_names_with_the_conjunction() {
        assert_eq!(list(["a"], "or"), "`a`");
        assert_eq!(list(["a", "b", "c"], "or"), "`a`, `b` or `c`");
        assert_eq!(list([], "or"), "");
    }
}
