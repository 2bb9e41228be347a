//! Output streams and their capabilities.

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
    /// Print only errors and warnings.
    pub(crate) quiet: bool,
}

impl Console {
    pub(crate) fn new(color: Color, quiet: bool) -> Self {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let out = Look::of(&stdout, color);
        let err = Look::of(&stderr, color);
        // Not locked: a lock would last as long as the process, and another thread draws progress.
        Self { out: Out::new(stdout, out), err: Out::new(stderr, err), quiet }
    }

    /// Returns true if progress should be shown.
    pub(crate) fn watched(&self) -> bool {
        self.err.look.animated && !self.quiet
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.err.flush()
    }
}

/// The capabilities of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) color: bool,
    /// The width of the terminal, or a default.
    pub(crate) width: usize,
    /// True for a terminal, where output may differ from run to run.
    pub(crate) terminal: bool,
    /// True if earlier output can be overwritten.
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
        // The same check as that of the library that draws progress: it draws nothing on a dumb terminal.
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

/// A stream whose reader may close it early without an error, as in `dcp graph | head`.
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

    fn ignore_closed<T>(&mut self, result: io::Result<T>, otherwise: T) -> io::Result<T> {
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
        self.ignore_closed(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let result = self.stream.flush();
        self.ignore_closed(result, ())
    }
}
