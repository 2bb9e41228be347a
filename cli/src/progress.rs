//! Progress of a command: a bar on a terminal, a line for each step elsewhere.

use std::io::{self, Write as _};
use std::sync::{Once, OnceLock};
use std::time::{Duration, Instant};

use console::Term;
use dcp_reconciler::apply::Step;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::interrupt;
use crate::out::{Console, Out};
use crate::render::format_count;

/// Time before a bar is shown.
const BAR_DELAY: Duration = Duration::from_millis(500);

/// The progress of an apply.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    shown: ProgressOutput<'a>,
    files: usize,
    removed: usize,
    pub(crate) commit_state: CommitState,
    /// Set once the user was informed that an interrupt has to wait.
    waits: bool,
}

/// The last irreversible step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitState {
    Nothing,
    /// The commit was sent, and there is no response yet.
    Committing,
    Committed(u64),
}

#[derive(Debug)]
enum ProgressOutput<'a> {
    Bar(ProgressBar),
    Lines(&'a mut Out),
    Nothing,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(err: &'a mut Out, quiet: bool) -> Self {
        let shown = match (quiet, err.look.animated) {
            (true, _) => ProgressOutput::Nothing,
            (false, true) => ProgressOutput::Bar(bar("{spinner} {bar:20} {wide_msg} {elapsed:>4}", 0)),
            (false, false) => ProgressOutput::Lines(err),
        };
        if let ProgressOutput::Bar(bar) = &shown {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self { shown, files: 0, removed: 0, commit_state: CommitState::Nothing, waits: false }
    }

    pub(crate) fn report(&mut self, step: Step) {
        match step {
            Step::Begun { files, removed } => (self.files, self.removed) = (files, removed),
            Step::Staged => self.commit_state = CommitState::Committing,
            Step::Committed { serial } => self.commit_state = CommitState::Committed(serial),
            Step::Switched | Step::Removed | Step::Published => {}
        }
        let Self { files, removed, .. } = *self;
        match &mut self.shown {
            ProgressOutput::Bar(bar) => {
                let (done, what) = next(step, files, removed);
                bar.set_length((2 * files + removed).max(1) as u64);
                bar.set_position(done as u64);
                bar.set_message(what);
            }
            ProgressOutput::Lines(err) => {
                if let Some(line) = done(step, files, removed) {
                    write_line(err, &line);
                }
            }
            ProgressOutput::Nothing => {}
        }
    }

    /// Returns true if the state after a stop would be known; otherwise tells the user to wait.
    pub(crate) fn may_stop(&mut self) -> bool {
        let may = self.commit_state != CommitState::Committing;
        if !may && !std::mem::replace(&mut self.waits, true) {
            let line = "interrupted: waiting for the answer to the commit; interrupt again to stop at once";
            match &mut self.shown {
                ProgressOutput::Bar(bar) => bar.println(line),
                ProgressOutput::Lines(err) => write_line(err, line),
                ProgressOutput::Nothing => {}
            }
        }
        may
    }

    pub(crate) fn finish(&self) {
        if let ProgressOutput::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

/// A failed write is ignored: the final report has the same information.
fn write_line(err: &mut Out, line: &str) {
    let _ = writeln!(err, "{line}").and_then(|()| err.flush());
}

/// Returns the line for a completed step, if it deserves one.
fn done(step: Step, files: usize, removed: usize) -> Option<String> {
    match step {
        Step::Staged if files > 0 => Some(format!("staged {}", format_count(files, "DAG file"))),
        Step::Committed { serial } => Some(format!("committed serial {serial}")),
        Step::Switched if files > 0 => Some(format!("switched {}", format_count(files, "DAG file"))),
        Step::Removed if removed > 0 => Some(format!("removed {}", format_count(removed, "DAG file"))),
        Step::Begun { .. } | Step::Staged | Step::Switched | Step::Removed | Step::Published => None,
    }
}

/// Returns the number of files handled so far, both staged and switched, and the next step.
fn next(step: Step, files: usize, removed: usize) -> (usize, String) {
    match step {
        Step::Begun { .. } if files > 0 => (0, format!("staging {}", format_count(files, "DAG file"))),
        Step::Begun { .. } => (0, "committing".to_owned()),
        Step::Staged => (files, format!("{files} of {files} staged, committing")),
        Step::Committed { serial } if files > 0 => {
            (files, format!("committed serial {serial}, switching {}", format_count(files, "DAG file")))
        }
        Step::Committed { serial } => (files, format!("committed serial {serial}")),
        Step::Switched if removed > 0 => (
            2 * files,
            format!("{files} of {files} switched, removing {}", format_count(removed, "DAG file")),
        ),
        Step::Switched | Step::Removed | Step::Published => (2 * files + removed, "cleaning up".to_owned()),
    }
}

/// The number of manifests read so far: a bar on a terminal, if it takes long.
#[derive(Debug)]
struct ReadingBar {
    bar: ProgressBar,
    /// None if no bar is shown.
    since: Option<Instant>,
    shown: Once,
}

impl ReadingBar {
    fn new(manifests: usize, shown: bool) -> Self {
        let bar = bar("{bar:20} {pos} of {len} manifests", manifests as u64);
        bar.set_draw_target(ProgressDrawTarget::hidden());
        Self { bar, since: shown.then(Instant::now), shown: Once::new() }
    }

    /// Counts one manifest.
    fn increment(&self) {
        let Some(since) = self.since else { return };
        if since.elapsed() > BAR_DELAY {
            self.shown.call_once(|| {
                self.bar.set_draw_target(stderr());
                let bar = self.bar.clone();
                interrupt::clean_up_before_end(move || bar.finish_and_clear());
            });
        }
        self.bar.inc(1);
    }
}

/// Shows the number of files that a compilation has read.
#[derive(Debug)]
pub(crate) struct ReadProgress {
    shown: bool,
    reading: OnceLock<ReadingBar>,
}

impl ReadProgress {
    pub(crate) fn new(shown: bool) -> Self {
        Self { shown, reading: OnceLock::new() }
    }

    pub(crate) fn file(&self, of: usize) {
        self.reading.get_or_init(|| ReadingBar::new(of, self.shown)).increment();
    }
}

impl Drop for ReadingBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Creates a spinner with a message and the elapsed time.
pub(crate) fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed:>4}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::with_draw_target(None, stderr()).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A spinner with a message that appears after a delay, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting(Option<tokio::task::JoinHandle<()>>);

impl Waiting {
    /// Starts it, if progress is shown.
    pub(crate) fn new(console: &Console, message: &'static str, delay: Duration) -> Self {
        let show = async move {
            tokio::time::sleep(delay).await;
            let spinner = Cleared(spinner());
            spinner.0.set_message(message);
            std::future::pending::<()>().await;
        };
        Self(console.watched().then(|| tokio::spawn(show)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A spinner that leaves no line behind.
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn bar(template: &str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), stderr()).with_style(style.progress_chars("━╸─"))
}

fn stderr() -> ProgressDrawTarget {
    ProgressDrawTarget::term_like(Box::new(Narrow(Term::stderr())))
}

/// A terminal without its last columns. Terminals print `^C` at the cursor: in the last columns, it would start
/// another line, and the bar's own line would remain.
#[derive(Debug)]
struct Narrow(Term);

impl TermLike for Narrow {
    fn width(&self) -> u16 {
        TermLike::width(&self.0).saturating_sub(4)
    }

    fn height(&self) -> u16 {
        TermLike::height(&self.0)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.0.write_line(line)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use dcp_reconciler::apply::Step;

    use super::{done, next};

    const STEPS: [Step; 6] = [
        Step::Begun { files: 3, removed: 1 },
        Step::Staged,
        Step::Committed { serial: 7 },
        Step::Switched,
        Step::Removed,
        Step::Published,
    ];

    #[test]
    fn steps_with_an_effect_have_a_line() {
        let lines = |files, removed| STEPS.iter().filter_map(move |&step| done(step, files, removed));
        let all = ["staged 3 DAG files", "committed serial 7", "switched 3 DAG files", "removed 1 DAG file"];
        assert!(lines(3, 1).eq(all));
        assert!(lines(0, 0).eq(["committed serial 7"]));
    }

    #[test]
    fn bar_goes_forward_to_its_end() {
        let positions = STEPS.map(|step| next(step, 3, 1).0);
        assert!(positions.is_sorted() && positions[0] == 0 && positions[5] == 7, "{positions:?}");
        let last = STEPS.map(|step| next(step, 0, 0).0);
        assert_eq!(last, [0; 6]);
    }
}
