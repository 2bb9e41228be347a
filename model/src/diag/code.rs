//! All diagnostic codes. A code is never reused for another problem, and never removed.
//!
//! Each code has a page, `docs/diagnostics/<CODE>.md`, which `dcp explain` shows. A test checks that the codes and
//! the pages match.

use std::fmt;

/// The severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The manifest can't be compiled.
    Error,
    /// The manifest can be compiled, but is probably wrong. `--deny-warnings` turns warnings into errors.
    Warning,
    /// Information that is never an error. Most notes are about things that could not be checked.
    Note,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

#[derive(Debug, Clone, Copy)]
pub struct CodeInfo {
    pub code: Code,
    pub severity: Severity,
    /// The title of the code's page.
    pub title: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DCP{:04}", self.0)
    }
}

impl Code {
    pub fn info(self) -> &'static CodeInfo {
        let at = ALL.binary_search_by_key(&self, |info| info.code);
        &ALL[at.expect("a Code can only be one of the constants below, and each has its row in ALL")]
    }

    /// Returns all codes, in ascending order.
    pub fn all() -> &'static [CodeInfo] {
        ALL
    }

    /// Reads `DCP0107`, `dcp107` or `107`.
    pub fn parse(text: &str) -> Option<Code> {
        let upper = text.trim().to_ascii_uppercase();
        let digits = upper.strip_prefix("DCP").unwrap_or(&upper);
        let code = Code(digits.parse().ok()?);
        ALL.iter().any(|info| info.code == code).then_some(code)
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal, $severity:ident, $title:literal;)*) => {
        impl Code { $(#[doc = $title] pub const $name: Code = Code($number);)* }
        const ALL: &[CodeInfo] = &[
            $(CodeInfo { code: Code($number), severity: Severity::$severity, title: $title },)*
        ];
    };
}

codes! {
    // Files and YAML.
    UNREADABLE = 1, Error, "A file can't be read";
    TOO_LARGE = 2, Error, "A file is too large to be a manifest";
    OUTSIDE_PROJECT = 3, Error, "A path leads out of the project";
    EMPTY = 4, Error, "A file holds no manifest";
    SYNTAX = 5, Error, "The YAML is malformed";
    TAB_INDENTATION = 6, Error, "A tab is used for indentation";
    DUPLICATE_KEY = 7, Error, "A key stands twice in one map";
    AMBIGUOUS_SCALAR = 8, Warning, "Readers of YAML disagree about this value";
    TOO_COMPLEX = 9, Error, "A document is too deep or grows too large";
    UNSUPPORTED_YAML = 10, Error, "A YAML feature that manifests don't have";
    UNKNOWN_KIND = 11, Error, "Not a manifest that dcp knows";
    UNKNOWN_FIELD = 12, Error, "A field that does not exist";
    MISSING_FIELD = 13, Error, "A required field is missing";
    WRONG_TYPE = 14, Error, "A value of the wrong type";
    NOT_ALLOWED = 15, Error, "A value that is not one of those allowed";
    EXACTLY_ONE = 16, Error, "Exactly one of several fields must be there";
    OUT_OF_RANGE = 17, Error, "A number or a length is out of range";
    MALFORMED = 18, Error, "A value is malformed";
    DUPLICATE_ADDRESS = 19, Error, "Two manifests have the same address";

    // The project file, targets and variables.
    UNKNOWN_VARIABLE = 20, Error, "A variable that the target does not define";
    UNKNOWN_TARGET = 21, Error, "A target that the project does not have";
    UNUSED_OVERLAY = 22, Warning, "An overlay that matches no manifest";
    BAD_REFERENCE = 23, Error, "A reference that can't be read";
    FOREIGN_REFERENCE = 24, Warning, "A reference that nothing replaces";
    MORE_PROBLEMS = 29, Error, "More problems than are shown";

    // Scalars with a format.
    BAD_CRON = 30, Error, "A cron expression is wrong";
    BAD_TIMEZONE = 31, Error, "A time zone that does not exist";
    BAD_DURATION = 32, Error, "A duration is malformed";
    BAD_MEMORY = 33, Error, "A memory size is malformed";
    BAD_CPU = 34, Error, "A CPU quantity is malformed";
    BAD_MAVEN = 35, Error, "Maven coordinates are malformed";
    BAD_KUBERNETES_NAME = 36, Error, "A name, label or annotation that Kubernetes would refuse";
    BAD_URI = 37, Error, "A path or URI can't be used";
    BAD_DATE = 38, Error, "A date is wrong";
    UNKNOWN_ENGINE = 39, Error, "An engine version that the platform does not have";

    // Secrets and configuration.
    SECRET_LITERAL = 40, Error, "A literal that looks like a secret";
    RESERVED_CONF = 50, Error, "A Spark setting that the platform owns";
    CONTRADICTING_CONF = 51, Error, "A Spark setting that has a field of its own";
    NOT_A_SPARK_KEY = 52, Error, "Not the name of a Spark setting";
    REDUNDANT_CONF = 53, Warning, "A Spark setting that changes nothing";
    UNKNOWN_SETTING = 54, Warning, "A Spark setting that does not exist";
    BAD_LOGGING = 55, Error, "A log that dcp can't read";

    // Resources and run modes.
    BAD_BOUNDS = 60, Error, "Bounds that contradict each other";
    BAD_SIZING = 61, Error, "A sizing policy without what it needs";
    BAD_RUN = 70, Error, "This kind of job can't run this way";
    BAD_CHECKPOINT = 71, Error, "A checkpoint is missing, or stands where it has no use";
    NEVER_RUNS = 72, Warning, "A schedule that never fires";
    UNKNOWN_PARAMETER = 73, Error, "A parameter that is not declared";
    UNUSED_PARAMETER = 74, Warning, "A parameter that nothing uses";
    BAD_PARAMETER = 75, Error, "A parameter whose default does not fit its type";
    NO_CLASS = 76, Warning, "A main class that no jar contains";
    OLD_POOL_ENGINE = 77, Error, "A pool with an engine that can't serve it";

    // Clusters.
    NO_NAMESPACE = 80, Error, "A domain without a namespace";
    BAD_NAMESPACE = 81, Error, "A namespace that a cluster can't use";
    UNUSED_NAMESPACE = 82, Warning, "A namespace of a domain that the cluster does not allow";

    // The policy.
    BAD_CALLER = 83, Error, "A name that is not valid for a caller";
    BAD_SELECTOR = 84, Error, "A text that selects no scope or no domain";
    EMPTY_BINDING = 85, Error, "A binding without users and groups";
    FAILED_POLICY_TEST = 86, Error, "A test of the policy that fails";
    DUPLICATE_ISSUER = 87, Error, "Two issuers with the same URL";
    DUPLICATE_LIMIT = 90, Error, "Two entries of limits for the same domain";
    EMPTY_LIMIT = 91, Error, "An entry of limits without a limit";

    // Drivers on clusters.
    SHARED_NAMESPACE = 92, Error, "Two entries with the same pods";

    // SQL.
    SQL_SYNTAX = 100, Error, "The SQL is malformed";
    UNDECLARED_INPUT = 101, Warning, "The SQL reads what the manifest does not declare";
    UNDECLARED_OUTPUT = 102, Warning, "The SQL writes what the manifest does not declare";
    UNPARSED_SQL = 103, Note, "SQL that could not be read";
    NO_RESULT = 104, Error, "A result is asked of SQL that returns none";
    NOT_A_QUERY = 105, Error, "A stream needs one query";
    UNSUPPORTED_SQL = 106, Error, "SQL that this version of Spark refuses";

    // Structured Streaming.
    APPEND_WITHOUT_WATERMARK = 107, Error, "`append` output of an aggregate needs a watermark";
    COMPLETE_WITHOUT_AGGREGATE = 108, Error, "`complete` output needs an aggregate";
    UPDATE_TO_FILES = 109, Error, "A sink that takes no updates";
    OUTER_JOIN_UNBOUNDED = 110, Error, "An outer join of two streams needs watermark and time range";
    OUTER_JOIN_STATIC = 111, Error, "An outer join that would wait for the end of the stream";
    UNBOUNDED_STATE = 112, Warning, "State that never stops growing";
    STATE_PARTITIONS = 113, Note, "The number of state partitions is left to chance";
    CONTINUOUS_TRIGGER = 114, Error, "The continuous trigger takes map-like queries only";
    UNKNOWN_SOURCE = 115, Error, "Not a source of this stream";
    WATERMARK_IGNORED = 116, Warning, "A watermark without effect";
    NO_STREAM = 117, Error, "A stream without a streaming source";
    NOT_STREAMABLE = 118, Error, "SQL that Spark can't run on a stream";
    UNUSED_SOURCE = 119, Warning, "A source that the query does not read";
    UNKNOWN_COLUMN = 120, Error, "A column that the source does not have";
    SINK_COLUMN_MISMATCH = 121, Error, "The query does not give what the sink takes";
    NEVER_COMPLETE = 122, Error, "No data of the stream can be reported as complete";
    SAME_COLUMN = 123, Warning, "Two output columns have the same name";
    BAD_SINK = 124, Error, "Fields of a sink that do not go together";

    // SQL, continued.
    UNKNOWN_FUNCTION = 130, Warning, "A function that Spark does not have";
    UNGROUPED_COLUMN = 131, Error, "A column that is neither grouped nor aggregated";

    // The graph of all workloads.
    CYCLE = 200, Error, "Workloads wait for each other in a circle";
    TWO_WRITERS = 201, Error, "Two workloads write the same table or folder";
    SHARED_CHECKPOINT = 202, Error, "Two workloads share a checkpoint";
    NO_PRODUCER = 203, Warning, "Nothing produces what a workload waits for";
    GROUP_RUN_MISMATCH = 204, Error, "Workloads of one group run in different ways";
    GROUP_MIXED_WAITS = 205, Error, "A wait that a group can't make an order of its tasks";
    GROUP_NAME_CONFLICT = 206, Error, "A group has the name of a workload";
    CHECKPOINT_OVERLAPS_DATA = 210, Warning, "A checkpoint and data lie in one another";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted() {
        assert!(ALL.windows(2).all(|pair| pair[0].code < pair[1].code));
    }

    #[test]
    fn codes_are_parsed_with_and_without_prefix() {
        for text in ["DCP0107", "dcp0107", "107", " DCP107 "] {
            assert_eq!(Code::parse(text), Some(Code::APPEND_WITHOUT_WATERMARK));
        }
        assert_eq!(Code::parse("DCP9999"), None);
        assert_eq!(Code::parse("watermark"), None);
    }
}
