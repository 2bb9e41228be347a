//! The settings that Spark has, to find those that are misspelt.

use std::sync::LazyLock;

/// Made by `scripts/spark-settings`: a setting in each line, and the versions that have it where not all do.
static SETTINGS: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("settings/spark.txt").lines().collect());

/// Settings of these families have names that users choose, and those of others' programs.
const OPEN: &[&str] =
    &["spark.sql.catalog.", "spark.kubernetes.driver.volumes.", "spark.kubernetes.executor.volumes."];

/// More edits than this lead to another setting.
const EDITS: usize = 2;

/// A setting that was probably meant by one that this Spark does not know.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meant {
    pub(super) name: &'static str,
    /// Whether another version has the setting that was written.
    pub(super) elsewhere: bool,
}

/// Returns the setting that was probably meant. Unknown settings that are like no known one are those of other programs.
pub(super) fn meant(name: &str, spark: Option<(u32, u32)>) -> Option<Meant> {
    let line = SETTINGS.binary_search_by(|line| name_of(line).cmp(name));
    if line.is_ok_and(|at| has(SETTINGS[at], spark)) || OPEN.iter().any(|family| name.starts_with(family)) {
        return None;
    }
    let known = SETTINGS.iter().filter(|line| has(line, spark)).map(|line| name_of(line));
    let near = known.filter_map(|known| Some((distance(name, known)?, known))).min()?;
    Some(Meant { name: near.1, elsewhere: line.is_ok() })
}

fn name_of(line: &str) -> &str {
    line.split_once(' ').map_or(line, |(name, _)| name)
}

/// Whether a version has a setting. Versions that the list does not have are taken for ones that have all.
fn has(line: &str, spark: Option<(u32, u32)>) -> bool {
    let Some((_, versions)) = line.split_once(' ') else { return true };
    let Some((major, minor)) = spark else { return true };
    let mut versions = versions.split(' ').filter_map(|version| {
        let (major, minor) = version.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    let last = versions.clone().max();
    // A later version than the list knows has what the last one has.
    versions.any(|it| it == (major, minor)) || last.is_some_and(|last| last == LAST && (major, minor) > LAST)
}

/// The last version in the list.
const LAST: (u32, u32) = (4, 1);

/// The number of edits between two names, if they have as many parts and few enough edits.
fn distance(name: &str, known: &str) -> Option<usize> {
    if name.len().abs_diff(known.len()) > EDITS {
        return None;
    }
    let (mut mine, mut theirs) = (name.split('.'), known.split('.'));
    let mut edits = 0;
    loop {
        match (mine.next(), theirs.next()) {
            (Some(mine), Some(theirs)) if mine == theirs => {}
            // A word of three letters is another one after an edit.
            (Some(mine), Some(theirs)) if mine.len().min(theirs.len()) > 3 => {
                edits += strsim::osa_distance(&mine.to_ascii_lowercase(), &theirs.to_ascii_lowercase());
                // Another case alone is an edit, too.
                edits = edits.max(1);
            }
            (None, None) => break,
            _ => return None,
        }
        if edits > EDITS {
            return None;
        }
    }
    (edits > 0).then_some(edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(written: &str) -> Option<&'static str> {
        meant(written, Some((4, 1))).map(|meant| meant.name)
    }

    #[test]
    fn misspelt_settings_are_recognized() {
        for (written, expected) in [
            ("spark.sql.shufle.partitions", "spark.sql.shuffle.partitions"),
            ("spark.sql.shuffle.partition", "spark.sql.shuffle.partitions"),
            ("spark.sql.shuffle.Partitions", "spark.sql.shuffle.partitions"),
            ("spark.sql.adaptive.enable", "spark.sql.adaptive.enabled"),
            ("spark.serialiser", "spark.serializer"),
            ("spark.dynamicAllocation.executorIdleTimeut", "spark.dynamicAllocation.executorIdleTimeout"),
        ] {
            assert_eq!(name(written), Some(expected), "{written}");
        }
    }

    #[test]
    fn known_settings_and_those_of_other_programs_are_left_alone() {
        for written in [
            "spark.sql.shuffle.partitions",
            "spark.sql.catalog.lake",
            "spark.sql.catalog.lake.uri",
            "spark.databricks.delta.optimizeWrite.enabled",
            "spark.openlineage.transport.type",
            "spark.mycompany.team",
            "spark.sql.extensions",
            "spark.hadoop.fs.s3a.endpoint",
            "spark.executorEnv.PATH",
        ] {
            assert_eq!(name(written), None, "{written}");
        }
    }

    #[test]
    fn the_list_is_in_order_so_that_it_can_be_searched() {
        let sorted = SETTINGS.windows(2).all(|pair| name_of(pair[0]).cmp(name_of(pair[1])).is_lt());
        assert!(sorted && SETTINGS.len() > 1_000);
    }

    #[test]
    fn versions_decide_what_is_known() {
        assert!(has("spark.x 4.0 4.1", Some((4, 0))));
        assert!(!has("spark.x 4.0 4.1", Some((3, 5))));
        assert!(has("spark.x 4.0 4.1", Some((4, 3))), "a later version than the last one");
        assert!(!has("spark.x 3.5", Some((4, 3))));
        assert!(has("spark.x 3.5", None));
    }
}
