//! Splits a driver's log into the events that Spark logged and the lines that the program wrote.
//!
//! Both go to one file. An event begins with a line in Spark's log4j pattern, `26/01/31 02:00:11 ERROR Logger:
//! message`. log4j writes an event at once, so that the lines of a stack trace or of a longer message follow without a
//! gap. All other lines are the program's. Lines that a program prints in that pattern count as Spark's. An event in JSON
//! is one line.

mod json;

use std::mem;

pub(crate) use json::as_text;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

/// The first line of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub level: Level,
    /// The last part of the logger's name.
    pub logger: &'a str,
    pub message: &'a str,
}

/// The source of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Program,
    /// The first line of an event.
    Event(Level),
    /// A further line of the event before it.
    Continued(Level),
    /// Written by the JVM, spark-submit, Ivy or PySpark's own logger.
    Launcher,
}

impl Source {
    /// Returns whether the line belongs to the program's own output: lines of the program, and errors.
    pub fn is_output(self) -> bool {
        match self {
            Source::Program => true,
            Source::Event(level) | Source::Continued(level) => level >= Level::Error,
            Source::Launcher => false,
        }
    }
}

/// The first line of an error, as Python and the JVM write it.
pub(crate) const TRACEBACK: &str = "Traceback (most recent call last):";
pub(crate) const MAIN_EXCEPTION: &str = "Exception in thread \"main\" ";
const PROFILE_LINE: &str = "Using Spark's default log4j profile: ";
/// Maximum number of lines of a message.
const MAX_MESSAGE_LINES: u32 = 5_000;

/// Determines the source of each line of a log, in order. Keeps no text.
#[derive(Debug, Clone, Default)]
pub struct Splitter {
    /// The level of the event of the last line, and its possible continuation.
    event: Option<(Level, Expected)>,
    has_event: bool,
}

#[derive(Debug, Clone, Copy)]
enum Expected {
    /// An exception, or the end of the event.
    Exception,
    /// The message continues: open braces, and number of lines so far.
    Message {
        depth: u32,
        lines: u32,
    },
    /// The message of an exception continues until its first frame: number of lines so far.
    ExceptionMessage {
        lines: u32,
    },
    Stack,
}

impl Splitter {
    pub fn next(&mut self, line: &str) -> Source {
        if let Some(header) = header(line) {
            self.has_event = true;
            self.event = Some((header.level, after_header(header.message)));
            return Source::Event(header.level);
        }
        if let Some(level) = json::level_of(line) {
            (self.has_event, self.event) = (true, None);
            return Source::Event(level);
        }
        if let Some((level, expected)) = self.event {
            self.event = expected.after_line(line).map(|expected| (level, expected));
            if self.event.is_some() {
                return Source::Continued(level);
            }
        }
        // The JVM of a Python program logs this only after the program has started.
        let is_launcher = line.starts_with(PROFILE_LINE)
            || is_pyspark_error(line)
            || (!self.has_event && is_launcher(line));
        if is_launcher { Source::Launcher } else { Source::Program }
    }
}

fn after_header(message: &str) -> Expected {
    let message = message.trim_end();
    // The reason for a lost task is part of the message, with all of its lines.
    if message.ends_with(TRACEBACK) || (message.starts_with("Lost task ") && exception_in(message)) {
        Expected::ExceptionMessage { lines: 0 }
    } else if message.is_empty() || message.ends_with(':') {
        Expected::Message { depth: 0, lines: 0 }
    } else {
        Expected::Exception
    }
}

impl Expected {
    /// Returns the expectation after this line; none if the line does not belong to the event.
    fn after_line(self, line: &str) -> Option<Self> {
        if is_frame(line) {
            return Some(Expected::Stack);
        }
        match self {
            Expected::Exception => after_exception(line),
            // A failed fetch has its exception in brackets.
            Expected::Stack if matches!(line, "" | ")" | "Driver stacktrace:") => Some(Expected::Stack),
            Expected::Stack => line.strip_prefix("Caused by: ").and_then(after_exception),
            // The program's own error is never part of a message.
            Expected::ExceptionMessage { .. } if line == TRACEBACK || line.starts_with(MAIN_EXCEPTION) => {
                None
            }
            Expected::ExceptionMessage { lines } => {
                (lines < MAX_MESSAGE_LINES).then_some(Expected::ExceptionMessage { lines: lines + 1 })
            }
            Expected::Message { depth, lines } => after_message(line, depth, lines),
        }
    }
}

fn after_exception(line: &str) -> Option<Expected> {
    let class = exception_class(line)?;
    // An exception without a message is followed by frames, or by none.
    Some(if line.len() > class.len() { Expected::ExceptionMessage { lines: 0 } } else { Expected::Stack })
}

/// Returns the expectation after a line of a message. Schemas, plans and lists of statuses have several lines.
fn after_message(line: &str, depth: u32, lines: u32) -> Option<Expected> {
    let opened = u32::try_from(line.matches(['{', '[']).count()).unwrap_or(u32::MAX);
    let closed = u32::try_from(line.matches(['}', ']']).count()).unwrap_or(u32::MAX);
    let continues = lines == 0
        || depth > 0
        || line.trim().is_empty()
        || line.ends_with([':', '{'])
        || line.starts_with(['\t', '+', ':', '~'])
        || line.starts_with("  ")
        || line.starts_with("The API gave ");
    let depth = depth.saturating_add(opened).saturating_sub(closed);
    (continues && lines < MAX_MESSAGE_LINES).then_some(Expected::Message { depth, lines: lines + 1 })
}

/// Returns whether a line belongs to a stack trace, below its exception.
pub(crate) fn is_frame(line: &str) -> bool {
    let inside = line.trim_start_matches('\t');
    inside.len() < line.len()
        && (inside.starts_with("at ") || inside.starts_with("... ") || inside.starts_with("Suppressed: "))
}

/// Returns the name of the exception's class that a line begins with: `java.lang.Exception`, `java.lang.Exception:
/// message`.
pub(crate) fn exception_class(line: &str) -> Option<&str> {
    let end = line.find(|it: char| !(it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '$')));
    let name = &line[..end.unwrap_or(line.len())];
    let rest = &line[name.len()..];
    let (package, simple) = name.rsplit_once('.')?;
    let is_class = package.starts_with(|it: char| it.is_ascii_lowercase())
        && simple.starts_with(|it: char| it.is_ascii_uppercase());
    (is_class && (rest.is_empty() || rest.starts_with(": "))).then_some(name)
}

/// Returns whether a message ends with an exception: `Lost task 0.0 … (host executor 0): java.lang.Exception: message`.
fn exception_in(message: &str) -> bool {
    let ends = ["Exception", "Error", "Throwable"];
    message
        .match_indices(": ")
        .filter_map(|(at, _)| exception_class(&message[at + 2..]))
        .any(|name| ends.iter().any(|end| name.ends_with(end)))
}

/// Reads a line in the pattern `26/01/31 02:00:11 ERROR Logger: message`.
pub fn header(line: &str) -> Option<Header<'_>> {
    let rest = line.get(17..).filter(|_| is_time(&line.as_bytes()[..17]))?;
    let (name, rest) = rest.strip_prefix(' ')?.split_once(' ')?;
    let level = level(name)?;
    // The colon has nothing after it if the message begins with a line break.
    let (logger, message) = rest.split_once(": ").or_else(|| Some((rest.strip_suffix(':')?, "")))?;
    let logger = logger.rsplit('.').next().unwrap_or(logger);
    let fits =
        !logger.is_empty() && logger.bytes().all(|it| it.is_ascii_alphanumeric() || b"_$".contains(&it));
    fits.then_some(Header { level, logger, message })
}

fn level(name: &str) -> Option<Level> {
    Some(match name {
        "TRACE" => Level::Trace,
        "DEBUG" => Level::Debug,
        "INFO" => Level::Info,
        "WARN" => Level::Warn,
        "ERROR" => Level::Error,
        "FATAL" => Level::Fatal,
        _ => return None,
    })
}

fn is_time(text: &[u8]) -> bool {
    let pattern = b"00/00/00 00:00:00";
    text.len() == pattern.len()
        && text.iter().zip(pattern).all(|(byte, like)| match like {
            b'0' => byte.is_ascii_digit(),
            like => byte == like,
        })
}

/// PySpark logs an exception as JSON before it raises it.
fn is_pyspark_error(line: &str) -> bool {
    line.starts_with("{\"ts\": \"") && line.contains("QueryContextLogger\"")
}

fn is_launcher(line: &str) -> bool {
    const BEGINNINGS: [&str; 13] = [
        "WARNING: Using incubator modules: ",
        "WARNING: package sun.security.action not in ",
        "Picked up JAVA_TOOL_OPTIONS: ",
        "Setting default log level to ",
        "To adjust logging level use ",
        ":: ",
        "Ivy Default Cache set to: ",
        "The jars for the packages stored in: ",
        "\tconfs: [",
        "\tfound ",
        "downloading ",
        "\t[SUCCESSFUL ]",
        "Files have been renamed ",
    ];
    BEGINNINGS.iter().any(|it| line.starts_with(it))
        || line.ends_with(" added as a dependency")
        || (line.starts_with("\t---") && line.ends_with("---"))
        || (line.starts_with("\t|") && line.ends_with('|'))
}

/// An event with all of its lines.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    pub header: Header<'a>,
    /// The header's line and the lines that follow it.
    pub lines: Vec<&'a str>,
}

/// A log, split into events and lines of the program, each in order.
#[derive(Debug, Default)]
pub struct Log<'a> {
    pub events: Vec<Event<'a>>,
    pub program: Vec<&'a str>,
}

impl<'a> Log<'a> {
    pub fn read(text: &'a str) -> Self {
        let mut log = Self::default();
        let mut splitter = Splitter::default();
        for line in text.lines() {
            match (splitter.next(line), header(line)) {
                (Source::Event(_), Some(header)) => log.events.push(Event { header, lines: vec![line] }),
                (Source::Continued(_), _) => {
                    if let Some(event) = log.events.last_mut() {
                        event.lines.push(line);
                    }
                }
                (Source::Launcher, _) => {}
                _ => log.program.push(line),
            }
        }
        log
    }
}

/// Maximum length of a line; a longer line is passed on in pieces.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Filters a log that arrives in pieces, and passes on the program's output.
#[derive(Debug, Default)]
pub struct Filter {
    splitter: Splitter,
    /// The beginning of a line whose end has not arrived yet.
    partial_line: Vec<u8>,
    /// Set for the rest of a line that is too long: whether to pass it on.
    passes_long_line: Option<bool>,
}

impl Filter {
    /// Takes a piece, and returns the output in it.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial_line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial_line.len() >= MAX_LINE_BYTES {
                self.flush(&mut output);
            }
        }
        output
    }

    /// Returns the unfinished last line of a log or an attempt, and resets the splitter.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        if !self.partial_line.is_empty() {
            self.flush(&mut output);
        }
        *self = Self::default();
        output
    }

    fn flush(&mut self, output: &mut Vec<u8>) {
        let line = mem::take(&mut self.partial_line);
        let ended = line.ends_with(b"\n");
        let is_output = self.passes_long_line.take().unwrap_or_else(|| {
            let text = String::from_utf8_lossy(&line);
            self.splitter.next(text.trim_end_matches(['\n', '\r'])).is_output()
        });
        if !ended {
            self.passes_long_line = Some(is_output);
        }
        if is_output {
            output.extend_from_slice(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOG: &str = "\
Using Spark's default log4j profile: org/apache/spark/log4j2-defaults.properties
:: loading settings :: url = jar:file:/opt/spark/jars/ivy-2.5.3.jar!/org/apache/ivy/core/settings/ivysettings.xml
26/01/31 02:00:11 INFO SparkContext: Running Spark version 4.1.1
first row
26/01/31 02:00:12 INFO ParquetWriteSupport: Initialized Parquet WriteSupport with Catalyst schema:
{
  \"type\" : \"struct\",
  \"fields\" : [ {
    \"name\" : \"id\"
  } ]
}
and corresponding Parquet message type:
message spark_schema {
  required int64 id;
}

second: {row}
26/01/31 02:00:13 WARN NettyRpcEnv: Ignored failure: java.io.IOException: Connection reset by peer
third row
26/01/31 02:00:14 WARN FileStreamSink: Assume no metadata directory.
java.io.FileNotFoundException: File /nowhere does not exist
\tat org.apache.hadoop.fs.RawLocalFileSystem.open(RawLocalFileSystem.java:1)
Caused by: java.io.IOException: no
\t... 3 more
26/01/31 02:00:15 ERROR Executor: Exception in task 0.0
java.lang.IllegalStateException: bad
\tat Main.main(Main.java:1)
Traceback (most recent call last):
  File \"main.py\", line 1, in <module>
KeyError: 'amount'
";

    const OUTPUT: &str = "\
first row
second: {row}
third row
26/01/31 02:00:15 ERROR Executor: Exception in task 0.0
java.lang.IllegalStateException: bad
\tat Main.main(Main.java:1)
Traceback (most recent call last):
  File \"main.py\", line 1, in <module>
KeyError: 'amount'
";

    proptest! {
        #[test]
        fn output_is_the_same_however_the_log_is_cut(cuts in prop::collection::vec(0..LOG.len(), 0..9)) {
            let mut cuts = cuts;
            cuts.extend([0, LOG.len()]);
            cuts.sort_unstable();
            let mut filter = Filter::default();
            let mut output = Vec::new();
            for pair in cuts.windows(2) {
                output.extend(filter.push(&LOG.as_bytes()[pair[0]..pair[1]]));
            }
            output.extend(filter.finish());
            prop_assert_eq!(String::from_utf8(output).unwrap(), OUTPUT);
        }

        #[test]
        fn any_bytes_are_filtered_in_bounded_memory(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut filter = Filter::default();
            let passed = filter.push(&bytes).len() + filter.finish().len();
            prop_assert!(passed <= bytes.len());
        }
    }

    #[test]
    fn a_line_without_end_is_passed_on_in_pieces() {
        let mut filter = Filter::default();
        let piece = vec![b'x'; MAX_LINE_BYTES];
        assert_eq!(filter.push(&piece).len(), MAX_LINE_BYTES);
        assert_eq!(filter.push(b"x\n26/01/31 02:00:11 INFO A: b\ny"), b"x\n");
        assert_eq!(filter.finish(), b"y");
    }

    #[test]
    fn only_the_pattern_of_spark_begins_an_event() {
        let expected = Header { level: Level::Warn, logger: "Logger", message: "a: b" };
        assert_eq!(header("26/01/31 02:00:11 WARN org.apache.Logger: a: b"), Some(expected));
        assert_eq!(header("26/01/31 02:00:11 WARN Logger:").map(|it| it.message), Some(""));
        for line in [
            "",
            "26/01/31 02:00:11",
            "26/01/31 02:00:11 OH Logger: a",
            "26/01/31 02:00:11 WARN two words: a",
            "2é/01/31 02:00:11 WARN Logger: a",
            " 26/01/31 02:00:11 WARN Logger: a",
        ] {
            assert_eq!(header(line), None, "{line}");
        }
    }
}
