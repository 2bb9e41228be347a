//! Parses the error that ended a program, as Python or the JVM wrote it: each exception of its chain, with the frame of
//! the program's own code.

use crate::driver_log::{MAIN_EXCEPTION, TRACEBACK, exception_class, is_frame};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    Jvm,
}

#[derive(Debug, Clone)]
pub(super) struct Error<'a> {
    pub(super) language: Language,
    /// The exception that ended the program, followed by its causes.
    pub(super) exceptions: Vec<Exception<'a>>,
}

/// One exception of a chain.
#[derive(Debug, Clone)]
pub(super) struct Exception<'a> {
    /// Its class and the first line of its message.
    pub(super) head: &'a str,
    /// The program's own frame, and the line of its source where Python shows it.
    pub(super) own_frame: Vec<&'a str>,
    /// Set if the JVM or PySpark raised it, rather than the program's own Python code.
    pub(super) is_from_spark: bool,
    /// Set if its stack has a frame of Spark's dependency resolution.
    pub(super) in_resolution: bool,
}

/// PySpark writes this line above the traceback of a worker, below an exception of the driver.
const PYTHON_WORKER: &str = "An exception was thrown from the Python worker.";
const DIRECT_CAUSE: &str = "The above exception was the direct cause of the following exception:";
/// Maximum length of a chain.
const MAX_EXCEPTIONS: usize = 32;

impl<'a> Exception<'a> {
    pub(super) fn class(&self) -> &'a str {
        exception_class(self.head).unwrap_or("")
    }

    /// Returns whether it only reports that a job failed; its cause is in Spark's events.
    pub(super) fn is_job_abort(&self) -> bool {
        let says =
            ["Job aborted", "the maximum allowable number of times", "because SparkContext was shut down"];
        self.is_from_spark
            && self.class().starts_with("org.apache.spark.")
            && says.iter().any(|it| self.head.contains(it))
    }

    fn is_wrapper(&self) -> bool {
        self.is_job_abort()
            || ["Py4JJavaError", "StreamingQueryException", "PythonException", "SparkRuntimeException"]
                .iter()
                .any(|it| self.class().ends_with(it))
    }
}

impl<'a> Error<'a> {
    /// Returns the last error in the program's output.
    pub(super) fn last(program: &[&'a str]) -> Option<Self> {
        let begins = |line: &&str| line.trim_end() == TRACEBACK || line.starts_with(MAIN_EXCEPTION);
        let mut start = program.iter().rposition(begins)?;
        if let Some(text) = program[start].strip_prefix(MAIN_EXCEPTION) {
            return Some(Self { language: Language::Jvm, exceptions: jvm(text, &program[start + 1..]) });
        }
        // The traceback of a worker or of a cause belongs to another error.
        let before = |start: usize| program[..start].iter().rev().take(3).map(|line| line.trim());
        if before(start).any(|line| line.starts_with(PYTHON_WORKER)) {
            start = program[..start].iter().rposition(begins).unwrap_or(start);
        }
        let mut exceptions = python(&program[start + 1..]);
        while exceptions.len() < MAX_EXCEPTIONS && before(start).any(|line| line == DIRECT_CAUSE) {
            let Some(earlier) = program[..start].iter().rposition(begins) else { break };
            exceptions.extend(python(&program[earlier + 1..start]));
            start = earlier;
        }
        (!exceptions.is_empty()).then_some(Self { language: Language::Python, exceptions })
    }

    /// Returns the exceptions of an event that Spark logged: in its message, or below it.
    pub(super) fn exceptions_of_event(message: &'a str, lines: &[&'a str]) -> Vec<Exception<'a>> {
        let within = message
            .match_indices(": ")
            .map(|(at, _)| &message[at + 2..])
            .find(|it| exception_class(it).is_some());
        match (within, lines.split_first()) {
            (Some(text), _) => jvm(text, lines),
            (None, Some((first, rest))) if exception_class(first).is_some() => jvm(first, rest),
            _ => Vec::new(),
        }
    }

    /// Returns the most specific exception: the cause, if the one that ended the program only wraps it.
    pub(super) fn most_specific(&self) -> Option<&Exception<'a>> {
        self.exceptions.iter().find(|exception| !exception.is_wrapper()).or(self.exceptions.last())
    }

    /// Returns the program's frames and the exceptions, in the order that readers expect.
    pub(super) fn lines(&self) -> Vec<&'a str> {
        let mut lines: Vec<&str> = Vec::new();
        for exception in &self.exceptions {
            for line in exception.own_frame.iter().chain([&exception.head]) {
                let says_nothing =
                    line.starts_with("py4j.protocol.Py4JJavaError: ") || line.trim_end().ends_with(':');
                if !lines.contains(line) && !says_nothing {
                    lines.push(line);
                }
            }
        }
        lines
    }

    /// Returns the same lines, with one exception moved to the end.
    pub(super) fn lines_ending_with(&self, head: &'a str) -> Vec<&'a str> {
        self.lines().into_iter().filter(|line| *line != head).chain([head]).collect()
    }
}

/// Parses the lines after `Traceback`: frames, the exception, and the lines that PySpark writes below it.
fn python<'a>(lines: &[&'a str]) -> Vec<Exception<'a>> {
    // Frames are indented, and the exception is not.
    let Some(end) = lines.iter().position(|line| !line.starts_with(' ') && !line.trim().is_empty()) else {
        return Vec::new();
    };
    let head = lines[end];
    let is_from_spark = head.starts_with("py4j.protocol.") || head.starts_with("pyspark.errors.");
    let mut chain =
        vec![Exception { head, own_frame: python_frame(&lines[..end]), is_from_spark, in_resolution: false }];
    let below = &lines[end + 1..];
    if let Some(text) = below.first().and_then(|line| line.strip_prefix(": ")).filter(|_| is_from_spark) {
        chain.extend(jvm(text, &below[1..]));
    }
    let worker = below.iter().take(3).position(|line| line.trim() == TRACEBACK).filter(|_| is_from_spark);
    if let Some(at) = worker {
        chain.extend(python(&below[at + 1..]));
    }
    chain
}

/// Returns the last frame outside of libraries, with its line of source.
fn python_frame<'a>(stack: &[&'a str]) -> Vec<&'a str> {
    const LIBRARIES: [&str; 5] = ["site-packages", "pyspark.zip", "py4j", "/lib/python", "<frozen"];
    let is_file = |line: &str| line.trim_start().starts_with("File \"");
    let is_own = |line: &&str| is_file(line) && !LIBRARIES.iter().any(|it| line.contains(it));
    let Some(at) = stack.iter().rposition(is_own) else { return Vec::new() };
    let source = stack.get(at + 1).filter(|line| !is_file(line));
    [stack[at]].into_iter().chain(source.copied()).collect()
}

/// Parses an exception of the JVM and its causes. The first line of its text is given separately.
fn jvm<'a>(first: &'a str, lines: &[&'a str]) -> Vec<Exception<'a>> {
    let mut chain = Vec::new();
    let (mut head, mut rest) = (first, lines);
    while chain.len() < MAX_EXCEPTIONS {
        // Lines before the first frame belong to the message. Without a frame, they belong to something else.
        let message = rest.iter().position(|line| is_frame(line)).unwrap_or(0);
        let frames = rest[message..].iter().take_while(|line| is_frame(line)).count();
        let stack = &rest[message..message + frames];
        chain.push(Exception {
            head,
            own_frame: jvm_frame(stack).into_iter().collect(),
            is_from_spark: true,
            in_resolution: stack.iter().any(|line| line.contains("at org.apache.spark.util.MavenUtils")),
        });
        if head.ends_with(TRACEBACK) {
            let nested = if message == 0 { rest } else { &rest[..message] };
            chain.extend(python(nested));
        }
        rest = &rest[message + frames..];
        let cause = rest
            .iter()
            .position(|line| !(line.trim().is_empty() || *line == "Driver stacktrace:" || is_frame(line)));
        match cause.and_then(|at| Some((at, rest[at].strip_prefix("Caused by: ")?))) {
            Some((at, cause)) if frames > 0 => (head, rest) = (cause, &rest[at + 1..]),
            _ => break,
        }
    }
    chain
}

/// Returns the first frame outside of Java, Scala and Apache.
fn jvm_frame<'a>(stack: &[&'a str]) -> Option<&'a str> {
    const LIBRARY_PACKAGES: [&str; 8] =
        ["java.", "jdk.", "javax.", "sun.", "scala.", "org.apache.", "org.sparkproject.", "py4j."];
    let is_own = |line: &&&str| {
        let frame = line.trim_start().strip_prefix("at ");
        frame.is_some_and(|frame| !LIBRARY_PACKAGES.iter().any(|it| frame.starts_with(it)))
    };
    stack.iter().find(is_own).copied()
}
