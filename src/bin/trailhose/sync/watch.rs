//! `sync --watch`: runs rounds until it is interrupted.
//!
//! There is no marker of the last key. The first round scans the whole selection. Each later round scans the days since
//! the last *clean* round, minus the look-back. So late objects, objects with earlier keys and replaced objects are
//! found, even after the machine was suspended for a week. A round with failed or deferred objects is not clean; the next round
//! retries these objects.

use super::plan::SyncPlan;
use super::round::{Components, not_started};
use super::{Print, summary};
use crate::INTERRUPTED;
use crate::progress::Progress;
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use std::io::Write as _;
use std::time::{Duration, Instant};
use tokio::sync::watch::Receiver;
use trailhose::sync::{Completion, SyncReport};

/// Runs rounds until `halt` becomes true, `pause` apart. After a failed round, the error is printed and the components
/// are opened again.
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
) -> Result<u8, String> {
    let mut open = Some(components);
    let mut clean: Option<Date> = None;
    for round in 1.. {
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let components = match open.take() {
            Some(components) => Ok(components),
            None => Components::open(plan).await,
        };
        match components {
            Ok(components) => {
                let started = Instant::now();
                let ended = components.round(plan, clean, &halt, progress).await;
                if let (1, Some(reason)) = (round, not_started(&ended)) {
                    return Err(reason);
                }
                print_round(plan, &components, &ended, started.elapsed(), progress, print, round);
                if is_clean(&ended) {
                    clean = Some(today);
                }
                if let Completion::Aborted(reason) = &ended.completion {
                    print_aborted(progress, round, reason, pause);
                } else {
                    open = Some(components);
                }
            }
            Err(reason) => print_aborted(progress, round, &reason, pause),
        }
        // An error means that the sender is gone: continue, because no stop request can arrive.
        let stopped = tokio::time::timeout(pause, halt.wait_for(|&halt| halt)).await;
        if matches!(stopped, Ok(Ok(_))) {
            progress.line(&format!("stopped in round {round}; rerun to resume"));
            break;
        }
        progress.begin();
    }
    Ok(INTERRUPTED)
}

/// Whether the round completed without failed or deferred objects.
fn is_clean(ended: &SyncReport) -> bool {
    ended.completion == Completion::Complete && ended.tally.failed + ended.tally.deferred == 0
}

fn print_aborted(progress: &Progress, round: u64, reason: &str, pause: Duration) {
    let reason = crate::labels::one_line(reason);
    progress.line(&format!(
        "{}: round {round} failed: {reason}; the next round starts in {} s",
        crate::summary::error_word(),
        pause.as_secs()
    ));
}

/// Prints the result of a round: as JSON always; as text for the first round and for later rounds with changes.
fn print_round(
    plan: &SyncPlan,
    components: &Components,
    ended: &SyncReport,
    took: Duration,
    progress: &Progress,
    print: Print,
    round: u64,
) {
    let summary = summary(plan, components, ended, took, progress, Some(round));
    match (print, round) {
        (Print::Nothing, _) => {}
        (Print::Json, _) => summary.print_json(),
        (Print::Table, 1) => summary.print(),
        (Print::Table, _) => {
            if let Some(line) = summary.round_line() {
                let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
                // A closed pipe does not stop the watch.
                let _ = writeln!(anstream::stdout(), "{at}  {line}");
            }
        }
    }
}
