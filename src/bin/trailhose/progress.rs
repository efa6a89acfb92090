//! A progress bar on the terminal, and the lines printed above it.

use crate::not_ingested::{NotIngested, NotIngestedLog, UnvisitedCause};
use crate::text::{counted, objects_are};
use indicatif::{DecimalBytes, FormattedDuration, ProgressBar, ProgressStyle};
use std::io::Write;
use std::time::{Duration, Instant};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use trailhose::ingest::Outcome;
use trailhose::sync::{Completion, SyncEvent};
use trailhose::telemetry;

/// Template while the listing is in progress. The total is unknown, so there is no bar: a bar without a total is full.
const LISTING: &str = "{spinner:.cyan} {human_pos} of {human_len}+ objects  {msg}  {elapsed}";
const LISTED: &str = "{bar:24.cyan/dim} {human_pos} of {human_len} objects  {msg}  {elapsed}, {eta} to go";

/// Template between two rounds.
const WAITING: &str = "{spinner:.cyan} {msg}";

/// Progress display of a sync.
pub(crate) struct Progress {
    bar: ProgressBar,
    pub(crate) not_ingested: NotIngestedLog,
    started: Instant,
    found: u64,
    events: u64,
    bytes: u64,
    /// Whether an object of an unknown kind was named. Further ones are only counted.
    named_unknown_kind: bool,
}

impl Progress {
    /// Creates a display. It has a bar if standard error is a terminal and `quiet` is false.
    pub(crate) fn new(quiet: bool, all: bool) -> Self {
        // indicatif draws nothing if standard error is not a terminal.
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
        bar.set_style(style(LISTING));
        // The tick is a thread of its own, and a service has many hidden bars.
        if !quiet {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let (found, events, bytes, named_unknown_kind) = Default::default();
        Self {
            bar,
            not_ingested: NotIngestedLog::new(all),
            started: Instant::now(),
            found,
            events,
            bytes,
            named_unknown_kind,
        }
    }

    /// Starts another round: resets the bar. Objects that an earlier round printed are not printed again.
    pub(crate) fn start_round(&mut self) {
        (self.found, self.events, self.bytes, self.started) = (0, 0, 0, Instant::now());
        self.bar.reset();
        self.bar.set_length(0);
        self.bar.set_message("");
        self.bar.set_style(style(LISTING));
        self.not_ingested.start_round();
    }

    /// Shows that the watch is running: the number of the last round, and the time until the next one.
    pub(crate) fn wait(&self, round: u64, left: Duration) {
        if self.bar.is_finished() {
            self.bar.reset();
            self.bar.set_style(style(WAITING));
        }
        let left = Duration::from_secs(left.as_secs_f64().ceil() as u64);
        self.bar.set_message(format!("round {round} ended; the next round starts in {}", FormattedDuration(left)));
    }

    /// Prints folders that were not listed.
    pub(crate) fn print_unvisited(&mut self, folders: &[trailhose::object::ObjectRef], cause: UnvisitedCause) {
        for folder in folders {
            if let Some(line) = self.not_ingested.note(NotIngested::unvisited(folder, cause)) {
                self.line(&line);
            }
        }
    }

    /// Updates the display after an event.
    pub(crate) fn handle(&mut self, event: &SyncEvent<'_>) {
        match event {
            SyncEvent::Found(objects) => {
                self.found += objects;
                self.bar.set_length(self.found);
            }
            SyncEvent::AlreadyDone(objects) => self.bar.inc(*objects),
            SyncEvent::Listed => self.bar.set_style(style(LISTED)),
            SyncEvent::Deferred(at, outcome) => tracing::info!(object = %at, ?outcome, "deferred"),
            SyncEvent::Finished(at, outcome) => self.object_finished(at, outcome),
            SyncEvent::Stopping(Completion::Stopped, in_flight) => self.line(&format!(
                "stopping: {} still being finished; press Ctrl-C again to stop immediately",
                objects_are(*in_flight as u64)
            )),
            SyncEvent::Stopping(..) => {}
        }
    }

    fn object_finished(&mut self, at: &trailhose::object::ObjectRef, outcome: &Outcome) {
        if let Some(line) = NotIngested::of(at, outcome).and_then(|named| self.not_ingested.note(named)) {
            self.line(&line);
        }
        if let Outcome::Done(report) = outcome {
            self.events += report.counts.seen;
            if report.unknown_kinds > 0 && !std::mem::replace(&mut self.named_unknown_kind, true) {
                self.line(&format!(
                    "{}: an unknown kind of CloudTrail file; its events are delivered, and further such files are only \
                     counted; check for a newer version of trailhose",
                    crate::text::one_line(&at.to_string())
                ));
            }
        }
        self.bytes += at.size.unwrap_or(0);
        self.bar.inc(1);
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let rate = DecimalBytes((self.bytes as f64 / seconds) as u64);
        self.bar.set_message(format!("{}  {rate}/s", counted(self.events, "event")));
    }

    /// Prints a line on standard error, above the bar.
    pub(crate) fn line(&self, text: &str) {
        self.bar.suspend(|| anstream::eprintln!("{text}"));
    }

    /// Removes the bar.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Sends the library's warnings to standard error, above the bar. `RUST_LOG` changes the log level.
    pub(crate) fn start_logging(&self) {
        // The program reports missing credentials itself. The SDK's warnings about its providers are debug output.
        let default = Targets::new().with_default(LevelFilter::WARN).with_target("aws_config", LevelFilter::OFF);
        let levels = telemetry::levels(default);
        let logs = tracing_subscriber::fmt::layer().without_time().with_target(false).with_ansi(false);
        let logs = logs.with_writer(AboveBar(self.bar.clone()));
        // In tests, a logger may already be installed.
        let _ = tracing_subscriber::registry().with(logs).with(levels).try_init();
    }
}

/// Returns the style of a template. An invalid template gives the default style.
pub(crate) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A writer to standard error that prints above the bar.
struct AboveBar(ProgressBar);

impl<'a> MakeWriter<'a> for AboveBar {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self(self.0.clone())
    }
}

impl Write for AboveBar {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.suspend(|| std::io::stderr().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{ProgressDrawTarget, TermLike};
    use std::sync::{Arc, Mutex};

    /// A terminal that keeps what is drawn.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl Screen {
        /// Returns what was drawn since the last call.
        fn take(&self) -> String {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            120
        }

        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> std::io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> std::io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> std::io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn on_screen() -> (Progress, Screen) {
        let (progress, screen) = (Progress::new(false, false), Screen::default());
        progress.bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        (progress, screen)
    }

    #[test]
    fn bar_appears_with_the_total_and_is_not_full_before() {
        let (mut progress, screen) = on_screen();
        progress.bar.force_draw();
        let first = screen.take();
        assert!(first.contains("0 of 0+ objects") && !first.contains('█'), "{first:?}");
        progress.handle(&SyncEvent::Found(4));
        progress.handle(&SyncEvent::Listed);
        progress.handle(&SyncEvent::AlreadyDone(1));
        progress.bar.force_draw();
        let listed = screen.take();
        assert!(listed.contains("1 of 4 objects") && listed.contains('█') && listed.contains('░'), "{listed:?}");
    }

    #[test]
    fn waiting_watch_shows_when_the_next_round_starts() {
        let (mut progress, screen) = on_screen();
        progress.end();
        screen.take();
        progress.wait(7, Duration::from_secs(272));
        progress.bar.force_draw();
        let waiting = screen.take();
        assert!(waiting.contains("round 7 ended; the next round starts in 00:04:32"), "{waiting:?}");
        progress.start_round();
        progress.bar.force_draw();
        assert!(screen.take().contains("0 of 0+ objects"));
    }
}
