//! `sync --watch`: runs rounds until it is interrupted.
//!
//! There is no marker of the last key. The first round scans the whole selection. Each later round scans each source from
//! the day of its newest log that was listed by the end of its last *clean* round, minus the look-back; see
//! `look_back.rs`. So late objects, objects with earlier keys and replaced objects are found, even after the machine was
//! suspended for a week. A round with failed or deferred objects is not clean; the next round retries these objects. A
//! source that cannot be read does not change how much of the others is scanned, and each round tries to read it again.

use super::look_back::LookBack;
use super::plan::SyncPlan;
use super::round::{Components, Round};
use super::{Print, summary};
use crate::detection_counts::DetectionCounts;
use crate::interrupt;
use crate::print::{self, print_json};
use crate::progress::Progress;
use crate::summary::Summary;
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use std::time::{Duration, Instant};
use tokio::sync::watch::Receiver;
use trailhose::sync::Completion;

/// Interval between two lines about rounds without changes, if there is no terminal to show a status line.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3600);

/// Interval at which the status line on the terminal is updated.
const STATUS_UPDATE: Duration = Duration::from_secs(1);

/// Runs rounds until `halt` becomes true, `pause` apart. After a failed round, the error is printed and the components
/// are opened again. `detected` returns what the detection found and sent so far. Returns the exit code: see
/// [`interrupt::watch_exit_code`].
///
/// # Errors
/// The first round could not start.
pub(super) async fn run(
    plan: &SyncPlan,
    components: Components,
    pause: Duration,
    mut halt: Receiver<bool>,
    progress: &mut Progress,
    print: Print,
    detected: &(dyn Fn() -> Option<DetectionCounts> + Sync),
) -> Result<u8, String> {
    let mut counted = DetectionCounts::default();
    let mut open = Some(components);
    let mut look_backs = vec![LookBack::default(); plan.sources.len()];
    let mut quiet_since: Option<Instant> = None;
    let mut aborted = false;
    for round in 1.. {
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let components = match open.take() {
            Some(components) => Ok(components),
            None => Components::open(plan, false).await,
        };
        match components {
            Ok(mut components) => {
                if round > 1 {
                    components.check_output(progress).await;
                    components.prune(plan, progress).await;
                }
                let started = Instant::now();
                let starts: Vec<Option<Date>> = look_backs.iter().map(|look_back| look_back.start(today)).collect();
                let mut result = components.round(plan, &starts, &halt, progress).await;
                if round > 1 {
                    // New objects may arrive at any time, so it is normal that a round finds none.
                    result.empty.clear();
                }
                let ended = &result.report;
                if let (1, Some(reason)) = (round, result.not_started()) {
                    return Err(reason);
                }
                let detection = detected().map(|counts| counts.since(std::mem::replace(&mut counted, counts)));
                let summary = summary(plan, &components, &result, started.elapsed(), progress, Some(round));
                let printed = print_round(&Summary { detection, ..summary }, &result, progress, print, round);
                if printed {
                    quiet_since = None;
                } else if quiet_since.is_none_or(|since| since.elapsed() >= HEARTBEAT_INTERVAL) {
                    quiet_since = Some(Instant::now());
                    print_line(&format!("round {round}: no new objects; running"), print);
                }
                for (look_back, end) in look_backs.iter_mut().zip(&result.ends) {
                    if let Some(end) = *end {
                        end.add_to(look_back, today);
                    }
                }
                aborted = matches!(ended.completion, Completion::Aborted(_));
                if let Completion::Aborted(reason) = &ended.completion {
                    print_aborted(progress, round, reason, pause);
                } else {
                    open = Some(components);
                }
            }
            Err(reason) => {
                aborted = true;
                if print == Print::Json {
                    print_json(&FailedRound { round, result: "aborted", reason: &reason, exit_code: ABORTED });
                }
                print_aborted(progress, round, &reason, pause);
            }
        }
        if stopped_within(pause, round, &mut halt, progress).await {
            progress.line(&format!("stopped in round {round}; rerun to resume"));
            break;
        }
        progress.start_round();
    }
    Ok(interrupt::watch_exit_code(aborted))
}

/// Exit code in the JSON object of a round that could not start.
const ABORTED: u8 = 1;

/// The JSON object of a round that could not start.
#[derive(serde::Serialize)]
struct FailedRound<'a> {
    round: u64,
    result: &'static str,
    reason: &'a str,
    exit_code: u8,
}

/// Waits for the next round and shows the remaining time on the terminal. Returns whether the watch was stopped.
async fn stopped_within(pause: Duration, round: u64, halt: &mut Receiver<bool>, progress: &Progress) -> bool {
    let end = Instant::now() + pause;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return *halt.borrow();
        }
        progress.wait(round, left);
        let wait = left.min(STATUS_UPDATE);
        // An error means that the sender was dropped: continue, because no stop request can arrive.
        match tokio::time::timeout(wait, halt.wait_for(|&halt| halt)).await {
            Ok(Ok(_)) => return true,
            Ok(Err(_)) => tokio::time::sleep(wait).await,
            Err(_) => {}
        }
    }
}

fn print_aborted(progress: &Progress, round: u64, reason: &str, pause: Duration) {
    let reason = crate::text::one_line(reason);
    progress.line(&format!(
        "{}: round {round} failed: {reason}; the next round starts in {} s",
        crate::summary::error_word(),
        pause.as_secs()
    ));
}

/// Prints the result of a round. With `--json` every round is printed; as text, the first round and later rounds with
/// changes are. Returns false if the output is text and the round was complete and had no changes.
fn print_round(summary: &Summary<'_>, result: &Round, progress: &Progress, print: Print, round: u64) -> bool {
    result.empty.iter().for_each(|source| progress.line(&source.warning()));
    match (print, round) {
        (Print::Nothing, _) => {}
        (Print::Json, _) => summary.print_json(),
        (Print::Table, 1) => summary.print(),
        (Print::Table, _) => match summary.round_line() {
            Some(line) => print_line(&line, print),
            None => return result.report.completion != Completion::Complete,
        },
    }
    true
}

/// Prints a line with the time to standard output, if the summary is text.
fn print_line(line: &str, print: Print) {
    if print == Print::Table {
        let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        // Neither a closed pipe nor a full device stops the watch.
        print::print(&format!("{at}  {line}\n"));
    }
}
