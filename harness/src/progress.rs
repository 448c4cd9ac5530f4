//! How far the work is: counted by the runs, shown on standard error while they run. On a terminal it is a bar, elsewhere a line now
//! and then.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar is drawn, and notes are written.
const FRAME: Duration = Duration::from_millis(250);

/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(10);

/// What the runs count. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Points that were judged. Most instructions that a run passes are none, or none any more.
    points: AtomicU64,
    /// Runs that have ended.
    done: AtomicU64,
    /// Runs that are to be made.
    of: AtomicU64,
    /// Whether anyone wants notes.
    wants_notes: AtomicBool,
    /// What is to be told of runs that have ended.
    notes: Mutex<Vec<String>>,
}

impl Progress {
    /// So many more runs are to be made.
    pub fn plan(&self, runs: usize) {
        self.counts.of.fetch_add(runs as u64, Ordering::Relaxed);
    }

    /// A run has ended.
    pub fn done(&self) {
        self.counts.done.fetch_add(1, Ordering::Relaxed);
    }

    /// A point was judged.
    pub fn point(&self) {
        self.counts.points.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted as a point was none after all.
    pub fn no_point(&self) {
        self.counts.points.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many points were judged.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.counts.points.load(Ordering::Relaxed)
    }

    /// Something about a run that has ended, for those who want to know each of them.
    pub fn note(&self, note: impl FnOnce() -> String) {
        if self.counts.wants_notes.load(Ordering::Relaxed) {
            self.counts.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note());
        }
    }

    fn notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.counts.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How far the work is after this time, in words; `latest`: when the latest run ended, and how many had then.
    fn text(&self, after: Duration, latest: &mut (u64, Duration)) -> String {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let done = count(&self.counts.done);
        if done != latest.0 {
            *latest = (done, after);
        }
        in_words((done, latest.1), count(&self.counts.of), count(&self.counts.points), after)
    }
}

/// How far the work is: runs that are done and when the latest of them ended, all runs, points, and the time that this took. The time
/// that is left supposes that all runs take as long as those that are done; when that is over, nobody knows.
fn in_words((done, latest): (u64, Duration), of: u64, points: u64, after: Duration) -> String {
    let seconds = after.as_secs().max(1);
    let mut text = format!("{done} of {of} runs, {points} points, {} points/s", points / seconds);
    let all = latest.as_secs() * of / done.max(1);
    if (1..of).contains(&done) && all > after.as_secs() {
        let _ = write!(text, ", about {} s left", all - after.as_secs());
    }
    text
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Not at all.
    #[default]
    Silent,
    /// As a bar that is drawn anew: the stream is a terminal.
    Bar,
    /// As a line now and then.
    Lines,
}

/// Progress that is being shown; it disappears with this value.
#[derive(Debug)]
pub struct Shown {
    /// Dropped when there is nothing more to show.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Shown {
    /// Shows progress on `err`, in this form; with `verbose`, also a line for each run that ends.
    #[must_use]
    pub fn begin(progress: &Progress, form: Form, verbose: bool, err: Box<dyn Write + Send>) -> Self {
        if form == Form::Silent {
            return Self { end: None, thread: None };
        }
        progress.counts.wants_notes.store(verbose, Ordering::Relaxed);
        let (end, ended) = mpsc::channel();
        let progress = progress.clone();
        let thread = std::thread::spawn(move || {
            let mut view = View::new(form, err);
            while ended.recv_timeout(FRAME) == Err(RecvTimeoutError::Timeout) {
                view.show(&progress);
            }
            view.end(&progress);
        });
        Self { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it shows; there is nothing to lose
        }
    }
}

/// What draws.
struct View {
    bar: Option<ProgressBar>,
    err: Box<dyn Write + Send>,
    start: Instant,
    /// When the next line is due.
    due: Instant,
    /// How many runs had ended when the latest one did, and when that was.
    latest: (u64, Duration),
}

impl View {
    fn new(form: Form, err: Box<dyn Write + Send>) -> Self {
        let bar = (form == Form::Bar).then(|| {
            let bar = ProgressBar::new(0);
            if let Ok(style) = ProgressStyle::with_template("{bar:20} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        let start = Instant::now();
        Self { bar, err, start, due: start + LINE, latest: (0, Duration::ZERO) }
    }

    /// Nobody can be told that standard error is closed.
    fn show(&mut self, progress: &Progress) {
        let text = progress.text(self.start.elapsed(), &mut self.latest);
        for note in progress.notes() {
            match &self.bar {
                Some(bar) => bar.println(note),
                None => drop(writeln!(self.err, "{note}")),
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_length(progress.counts.of.load(Ordering::Relaxed));
            bar.set_position(progress.counts.done.load(Ordering::Relaxed));
            bar.set_message(text);
        } else if Instant::now() >= self.due {
            let _ = writeln!(self.err, "{text}");
            self.due = Instant::now() + LINE;
        }
    }

    fn end(self, progress: &Progress) {
        let Self { bar, mut err, .. } = self;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        for note in progress.notes() {
            let _ = writeln!(err, "{note}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::{Form, Progress, Shown, in_words};

    /// A stream that the test reads.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_rate_and_the_time_left_follow_from_what_is_done() {
        let after = Duration::from_secs(20);
        assert_eq!(in_words((2, after), 10, 5000, after), "2 of 10 runs, 5000 points, 250 points/s, about 80 s left");
        assert_eq!(in_words((0, Duration::ZERO), 10, 0, Duration::ZERO), "0 of 10 runs, 0 points, 0 points/s");
        assert_eq!(in_words((10, after), 10, 40, after), "10 of 10 runs, 40 points, 2 points/s");
        // While a long run goes on, the time that is left becomes less, and not more.
        for (now, left) in [(30, ", about 10 s left"), (40, ""), (50, "")] {
            let now = Duration::from_secs(now);
            assert!(in_words((1, after), 2, 0, now).ends_with(&format!(" points/s{left}")), "{now:?}");
        }
    }

    #[test]
    fn notes_are_shown_to_those_who_want_them() {
        for (form, verbose, expected) in
            [(Form::Lines, true, "leaf\n"), (Form::Lines, false, ""), (Form::Silent, true, "")]
        {
            let (progress, page) = (Progress::default(), Page::default());
            let shown = Shown::begin(&progress, form, verbose, Box::new(page.clone()));
            progress.note(|| "leaf".to_owned());
            drop(shown);
            assert_eq!(String::from_utf8_lossy(&page.0.lock().unwrap()), expected, "{form:?} {verbose}");
        }
    }
}
