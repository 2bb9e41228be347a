//! Where output goes, and how it looks there.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use clap::builder::styling::{AnsiColor, Style};

use crate::args::Color;

pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const NOTE: Style = AnsiColor::Cyan.on_default().bold();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const HELP: Style = AnsiColor::Cyan.on_default();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();

/// Both streams of the process.
#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) out: Out,
    pub(crate) err: Out,
    /// Say only what is wrong.
    pub(crate) quiet: bool,
}

impl Console {
    pub(crate) fn new(color: Color, quiet: bool) -> Self {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let out = Look::of(&stdout, color);
        let err = Look::of(&stderr, color);
        // A lock would be held for as long as the process runs, and progress is drawn from a thread of its own.
        Self { out: Out::new(stdout, out), err: Out::new(stderr, err), quiet }
    }

    /// Whether somebody may want to see how far a command is.
    pub(crate) fn watched(&self) -> bool {
        self.err.look.animated && !self.quiet
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.err.flush()
    }
}

/// What a stream can show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) color: bool,
    /// Of the terminal, or what is usual.
    pub(crate) width: usize,
    /// Whether a person reads it, so that what differs from run to run does no harm.
    pub(crate) terminal: bool,
    /// Whether what was written can be written over.
    pub(crate) animated: bool,
}

impl Look {
    fn of(stream: &(impl RawStream + IsTerminal), color: Color) -> Self {
        let color = match color {
            Color::Auto => AutoStream::choice(stream) != ColorChoice::Never,
            Color::Always => true,
            Color::Never => false,
        };
        let terminal = IsTerminal::is_terminal(stream);
        let size = terminal_size::terminal_size().filter(|_| terminal);
        let width = size.map_or(80, |(width, _)| usize::from(width.0).clamp(40, 160));
        // As the one who draws it sees it, who would else draw nothing.
        let dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
        Self { color, width, terminal, animated: terminal && !dumb }
    }

    /// Returns the width that lines must fit into: that of the terminal, if there is one.
    pub(crate) fn limit(self) -> Option<usize> {
        self.terminal.then_some(self.width)
    }

    pub(crate) fn paint(self, style: Style, text: impl Display) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
}

/// A stream that may be closed by its reader without that being an error: `dcp graph | head` has had enough.
pub(crate) struct Out {
    stream: BufWriter<Box<dyn Write + Send>>,
    closed: bool,
    pub(crate) look: Look,
}

impl std::fmt::Debug for Out {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Out").field("look", &self.look).finish_non_exhaustive()
    }
}

impl Out {
    fn new(stream: impl Write + Send + 'static, look: Look) -> Self {
        Self { stream: BufWriter::with_capacity(64 * 1024, Box::new(stream)), closed: false, look }
    }

    fn forgive<T>(&mut self, result: io::Result<T>, otherwise: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(otherwise)
            }
            other => other,
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Ok(bytes.len());
        }
        let result = self.stream.write(bytes);
        self.forgive(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let result = self.stream.flush();
        self.forgive(result, ())
    }
}
