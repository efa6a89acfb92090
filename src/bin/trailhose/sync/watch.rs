//! Watch: round after round, until somebody ends it.
//!
//! There is no marker of how far a round came. The first round is as full as the selection; each after it looks again at
//! the days from the look-back before the day of the last *clean* round on, so what comes late, under an earlier key or in
//! place of another object is found, also when the machine slept for a week. A round that left something behind is not
//! clean, and what it left is the next one's.

use super::plan::Plan;
use super::round::{Parts, nothing_begun};
use super::{Print, summary};
use crate::INTERRUPTED;
use crate::progress::Progress;
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use std::io::Write as _;
use std::time::{Duration, Instant};
use tokio::sync::watch::Receiver;
use trailhose::sync::{Ended, How};

/// Runs rounds until `halt`, `pause` apart. A round that fails is said, and the next one begins with parts opened anew.
///
/// # Errors
/// The first round could not begin.
pub(super) async fn run(
    plan: &Plan,
    parts: Parts,
    pause: Duration,
    mut halt: Receiver<bool>,
    progress: &mut Progress,
    print: Print,
) -> Result<u8, String> {
    let mut open = Some(parts);
    let mut clean: Option<Date> = None;
    for round in 1.. {
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let parts = match open.take() {
            Some(parts) => Ok(parts),
            None => Parts::open(plan).await,
        };
        match parts {
            Ok(parts) => {
                let started = Instant::now();
                let ended = parts.round(plan, clean, &halt, progress).await;
                if let (1, Some(reason)) = (round, nothing_begun(&ended)) {
                    return Err(reason);
                }
                say(plan, &parts, &ended, started.elapsed(), progress, print, round);
                if left_nothing(&ended) {
                    clean = Some(today);
                }
                if let How::GaveUp(reason) = &ended.how {
                    gave_up(progress, round, reason, pause);
                } else {
                    open = Some(parts);
                }
            }
            Err(reason) => gave_up(progress, round, &reason, pause),
        }
        // An error: nobody is left who could end it.
        let told = tokio::time::timeout(pause, halt.wait_for(|&halt| halt)).await;
        if matches!(told, Ok(Ok(_))) {
            progress.line(&format!("ended in round {round}: the same command goes on where it stopped"));
            break;
        }
        progress.begin();
    }
    Ok(INTERRUPTED)
}

/// Whether nothing is left that only a full look would find.
fn left_nothing(ended: &Ended) -> bool {
    ended.how == How::Complete && ended.tally.failed + ended.tally.later == 0
}

fn gave_up(progress: &Progress, round: u64, reason: &str, pause: Duration) {
    let reason = crate::labels::one_line(reason);
    progress.line(&format!(
        "{}: round {round} gave up: {reason}; the next begins in {} s",
        crate::summary::error_word(),
        pause.as_secs()
    ));
}

/// Prints what a round brought: a program is told of every round, a person of the first and of those with news.
fn say(plan: &Plan, parts: &Parts, ended: &Ended, took: Duration, progress: &Progress, print: Print, round: u64) {
    let summary = summary(plan, parts, ended, took, progress, Some(round));
    match (print, round) {
        (Print::Nothing, _) => {}
        (Print::Json, _) => summary.print_json(),
        (Print::Table, 1) => summary.print(),
        (Print::Table, _) => {
            if let Some(news) = summary.news() {
                let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
                // A reader that has gone away does not end the watch.
                let _ = writeln!(anstream::stdout(), "{at}  {news}");
            }
        }
    }
}
