//! The closed list of causes.

use dcp_model::manifest;

/// The cause of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    DriverHeap,
    ExecutorHeap,
    /// Killed from outside because its container exceeded its memory.
    DriverContainer,
    ExecutorContainer,
    ShuffleLost,
    NodeLost,
    /// An executor ended for a reason unknown to Spark.
    ExecutorLost,
    /// Ended by a signal for an unknown reason.
    DriverKilled,
    ImagePull,
    Scheduling,
    Dependencies,
    UserCodePython,
    UserCodeJvm,
    /// More rows were collected than the driver's limit allows.
    ResultTooLarge,
    /// A path or a table does not exist.
    MissingData,
    /// A table can't be created, because its location has files.
    LocationExists,
    AccessDenied,
    /// An account lacks a right of Kubernetes.
    ClusterRights,
    IncompatibleCheckpoint,
    LostOffsets,
    Timeout,
    Backend,
    Unknown,
}

/// The remedy of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Another attempt with the same settings.
    Retry,
    /// More memory of one kind.
    MoreMemory(Memory),
    /// None: no further attempt can succeed, for this reason.
    NoRetry(&'static str),
}

/// A kind of memory, each with its own setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    DriverHeap,
    ExecutorHeap,
    DriverOverhead,
    ExecutorOverhead,
}

impl Cause {
    pub const ALL: [Cause; 23] = [
        Cause::DriverHeap,
        Cause::ExecutorHeap,
        Cause::DriverContainer,
        Cause::ExecutorContainer,
        Cause::ShuffleLost,
        Cause::NodeLost,
        Cause::ExecutorLost,
        Cause::DriverKilled,
        Cause::ImagePull,
        Cause::Scheduling,
        Cause::Dependencies,
        Cause::UserCodePython,
        Cause::UserCodeJvm,
        Cause::ResultTooLarge,
        Cause::MissingData,
        Cause::LocationExists,
        Cause::AccessDenied,
        Cause::ClusterRights,
        Cause::IncompatibleCheckpoint,
        Cause::LostOffsets,
        Cause::Timeout,
        Cause::Backend,
        Cause::Unknown,
    ];

    /// Returns the name in responses.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Returns the cause with a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Returns whether no further attempt can succeed.
    pub fn is_permanent(self) -> bool {
        matches!(self.remedy(), Remedy::NoRetry(_))
    }

    /// Returns a sentence for people.
    pub fn description(self) -> &'static str {
        self.row().1
    }

    /// Returns the class for `retry.causes` in a manifest.
    pub fn class(self) -> Option<manifest::Cause> {
        self.row().2
    }

    pub fn remedy(self) -> Remedy {
        self.row().3
    }

    /// Returns whether the line that was found is more specific than the cause.
    pub(super) fn is_detailed_by_last_line(self) -> bool {
        matches!(
            self,
            Cause::UserCodePython
                | Cause::UserCodeJvm
                | Cause::MissingData
                | Cause::LocationExists
                | Cause::AccessDenied
                | Cause::Dependencies
                | Cause::IncompatibleCheckpoint
                | Cause::LostOffsets
        )
    }

    #[expect(clippy::too_many_lines, reason = "a table, a row for each cause")]
    fn row(self) -> (&'static str, &'static str, Option<manifest::Cause>, Remedy) {
        use manifest::Cause as Class;
        match self {
            Cause::DriverHeap => (
                "driverHeap",
                "the driver's heap was full",
                Some(Class::OutOfMemory),
                Remedy::MoreMemory(Memory::DriverHeap),
            ),
            Cause::ExecutorHeap => (
                "executorHeap",
                "an executor's heap was full",
                Some(Class::OutOfMemory),
                Remedy::MoreMemory(Memory::ExecutorHeap),
            ),
            Cause::DriverContainer => (
                "driverContainer",
                "the driver was killed for the memory of its container",
                Some(Class::OutOfMemory),
                Remedy::MoreMemory(Memory::DriverOverhead),
            ),
            Cause::ExecutorContainer => (
                "executorContainer",
                "an executor was killed for the memory of its container",
                Some(Class::OutOfMemory),
                Remedy::MoreMemory(Memory::ExecutorOverhead),
            ),
            Cause::ShuffleLost => {
                ("shuffleLost", "shuffle data was lost", Some(Class::ShuffleLost), Remedy::Retry)
            }
            Cause::NodeLost => ("nodeLost", "a node or a pod was lost", Some(Class::NodeLost), Remedy::Retry),
            Cause::ExecutorLost => {
                ("executorLost", "an executor was killed or lost", Some(Class::NodeLost), Remedy::Retry)
            }
            Cause::DriverKilled => {
                ("driverKilled", "the driver was killed", Some(Class::NodeLost), Remedy::Retry)
            }
            Cause::ImagePull => {
                ("imagePull", "the image could not be fetched", Some(Class::Dependencies), Remedy::Retry)
            }
            Cause::Scheduling => {
                ("scheduling", "the cluster had no room for it", Some(Class::Scheduling), Remedy::Retry)
            }
            Cause::Dependencies => (
                "dependencies",
                "a dependency could not be fetched",
                Some(Class::Dependencies),
                Remedy::Retry,
            ),
            Cause::UserCodePython => (
                "userCodePython",
                "the program failed",
                Some(Class::UserCode),
                Remedy::NoRetry("the same program on the same data fails again"),
            ),
            Cause::UserCodeJvm => (
                "userCodeJvm",
                "the program failed",
                Some(Class::UserCode),
                Remedy::NoRetry("the same program on the same data fails again"),
            ),
            Cause::ResultTooLarge => (
                "resultTooLarge",
                "the program collects more than `spark.driver.maxResultSize`",
                Some(Class::UserCode),
                Remedy::NoRetry("have it write its result instead of collecting it, or raise the limit"),
            ),
            Cause::MissingData => (
                "missingData",
                "a path or a table is not there",
                Some(Class::UserCode),
                Remedy::NoRetry("it has to be made, or the job to name another"),
            ),
            Cause::LocationExists => (
                "locationExists",
                "a table is to be created where files are already",
                Some(Class::UserCode),
                Remedy::NoRetry(
                    "without a metastore, Spark forgets its tables at the end of a run, and their files stay: delete the \
                     folder, or have the job write with `INSERT OVERWRITE DIRECTORY`, or use a catalog that keeps tables",
                ),
            ),
            Cause::AccessDenied => (
                "accessDenied",
                "access was denied",
                None,
                Remedy::NoRetry("the owner of the data has to grant access"),
            ),
            Cause::ClusterRights => (
                "clusterRights",
                "an account lacks a right on the cluster",
                None,
                Remedy::NoRetry(
                    "`dcp doctor --cluster NAME --domain DOMAIN --manifest` prints the roles that drivers need, for \
                     `kubectl apply -f -`",
                ),
            ),
            Cause::IncompatibleCheckpoint => (
                "incompatibleCheckpoint",
                "the query does not fit its checkpoint",
                None,
                Remedy::NoRetry("undo the change, or give the stream a new checkpoint"),
            ),
            Cause::LostOffsets => (
                "lostOffsets",
                "the source does not have any more what the stream has to read next",
                None,
                Remedy::NoRetry(
                    "some events are lost: start with a new checkpoint, or set `failOnDataLoss: false`",
                ),
            ),
            Cause::Timeout => ("timeout", "it took too long", Some(Class::Timeout), Remedy::Retry),
            Cause::Backend => ("backend", "the backend failed", Some(Class::Backend), Remedy::Retry),
            Cause::Unknown => ("unknown", "the driver failed", None, Remedy::Retry),
        }
    }
}

impl Memory {
    /// Returns Spark's setting for this memory.
    pub fn setting(self) -> &'static str {
        match self {
            Memory::DriverHeap => "spark.driver.memory",
            Memory::ExecutorHeap => "spark.executor.memory",
            Memory::DriverOverhead => "spark.driver.memoryOverhead",
            Memory::ExecutorOverhead => "spark.executor.memoryOverhead",
        }
    }
}
