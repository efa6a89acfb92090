//! Progress: a bar on a terminal, and the lines that appear above it.

use crate::labels::{Named, Names};
use indicatif::{DecimalBytes, HumanCount, ProgressBar, ProgressStyle};
use std::io::Write;
use std::time::{Duration, Instant};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use trailhose::ingest::Outcome;
use trailhose::sync::{How, News};
use trailhose::telemetry;

/// While the listing goes on, the end is not known.
const LISTING: &str = "{bar:24.cyan/dim} {human_pos} of {human_len}+ objects  {msg}  {elapsed}";
const LISTED: &str = "{bar:24.cyan/dim} {human_pos} of {human_len} objects  {msg}  {elapsed}, {eta} to go";

/// What a person sees while objects are ingested.
pub(crate) struct Progress {
    bar: ProgressBar,
    pub(crate) names: Names,
    started: Instant,
    found: u64,
    events: u64,
    bytes: u64,
}

impl Progress {
    /// With a bar, if standard error is a terminal and `quiet` is not asked for.
    pub(crate) fn new(quiet: bool, all: bool) -> Self {
        // indicatif draws nothing where standard error is no terminal.
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
        bar.set_style(style(LISTING));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, names: Names::new(all), started: Instant::now(), found: 0, events: 0, bytes: 0 }
    }

    /// Begins another round: the bar at nothing, and what was named before is not named again.
    pub(crate) fn begin(&mut self) {
        (self.found, self.events, self.bytes, self.started) = (0, 0, 0, Instant::now());
        self.bar.reset();
        self.bar.set_length(0);
        self.bar.set_message("");
        self.bar.set_style(style(LISTING));
        self.names.begin();
    }

    /// Names folders that were not looked into.
    pub(crate) fn passed_over(&mut self, folders: &[trailhose::object::ObjectRef]) {
        for folder in folders {
            if let Some(line) = self.names.note(Named::passed_over(folder)) {
                self.line(&line);
            }
        }
    }

    /// Takes up what happened.
    pub(crate) fn news(&mut self, news: &News<'_>) {
        match news {
            News::Found(objects) => {
                self.found += objects;
                self.bar.set_length(self.found);
            }
            News::Already(objects) => self.bar.inc(*objects),
            News::Listed => self.bar.set_style(style(LISTED)),
            News::PutOff(at, outcome) => tracing::info!(object = %at, ?outcome, "comes back"),
            News::Ended(at, outcome) => self.ended(at, outcome),
            News::Halting(How::Halted, in_flight) => self.line(&format!(
                "stopping: {in_flight} {} finished first; Ctrl-C again stops at once",
                if *in_flight == 1 { "object is" } else { "objects are" }
            )),
            News::Halting(..) => {}
        }
    }

    fn ended(&mut self, at: &trailhose::object::ObjectRef, outcome: &Outcome) {
        if let Some(line) = Named::of(at, outcome).and_then(|named| self.names.note(named)) {
            self.line(&line);
        }
        if let Outcome::Done(report) = outcome {
            self.events += report.counts.seen;
        }
        self.bytes += at.size.unwrap_or(0);
        self.bar.inc(1);
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let rate = DecimalBytes((self.bytes as f64 / seconds) as u64);
        self.bar.set_message(format!("{} events  {rate}/s", HumanCount(self.events)));
    }

    /// Prints a line on standard error, above the bar.
    pub(crate) fn line(&self, text: &str) {
        self.bar.suspend(|| anstream::eprintln!("{text}"));
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Sends the library's warnings to standard error, above the bar; more of them as `RUST_LOG` asks.
    pub(crate) fn log(&self) {
        let asked = telemetry::levels(Targets::new().with_default(LevelFilter::WARN));
        let logs = tracing_subscriber::fmt::layer().without_time().with_target(false).with_ansi(false);
        let logs = logs.with_writer(Above(self.bar.clone()));
        // A second start, in a test, finds the first one's logger in place.
        let _ = tracing_subscriber::registry().with(logs).with(asked).try_init();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Standard error, with the bar out of the way.
struct Above(ProgressBar);

impl<'a> MakeWriter<'a> for Above {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self(self.0.clone())
    }
}

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.suspend(|| std::io::stderr().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
