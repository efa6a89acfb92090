//! The checks of the backfill's schedule and of the last run.

use super::catalog::{BACKFILL_RUN, BACKFILL_SCHEDULE};
use super::deployment::Deployment;
use super::facts::Fact;
use super::finding::{Finding, Verdict};
use super::text::{ago, counted, short};
use crate::backfill::record::{RunProgress, Stage};

/// Maximum age of the last run in seconds, if a schedule is enabled. The default schedule is every six hours.
const EXPECTED_WITHIN: i64 = 2 * 86_400;

/// Age in seconds after which a run that is not finished is reported.
const LONG_RUN: i64 = 86_400;

/// The last run and its progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// ID of the run.
    pub id: String,
    /// Start in seconds since 1970.
    pub started: i64,
    /// Progress of the run.
    pub progress: RunProgress,
}

/// Judges the schedule by the parameters of the stack.
pub(super) fn schedule(deployment: &Deployment) -> Finding {
    BACKFILL_SCHEDULE.finding(match (&deployment.stack, &deployment.paused_since) {
        (None, _) => Verdict::not_applicable("the resources were given as arguments"),
        (Some(_), Some(since)) => {
            Verdict::warning(format!("disabled since {since} by trailhose pause"), "run trailhose resume")
        }
        (Some(_), None) if deployment.scheduled => Verdict::ok("enabled"),
        (Some(_), None) => Verdict::warning(
            "disabled",
            "deploy the stack with BackfillState=ENABLED, or start each run with trailhose backfill",
        ),
    })
}

pub(super) fn finding(run: Option<&Fact<Option<LastRun>>>, deployment: &Deployment, now: i64) -> Finding {
    match run {
        None => BACKFILL_RUN.finding(Verdict::not_applicable("the table is not known")),
        Some(run) => BACKFILL_RUN.finding_of(run, |run| evaluate(run.as_ref(), deployment, now)),
    }
}

fn evaluate(run: Option<&LastRun>, deployment: &Deployment, now: i64) -> Verdict {
    let start = deployment.backfill_function.as_deref().map_or_else(
        || "trailhose backfill (docs/backfill.md)".to_owned(),
        |function| {
            format!(
                "aws lambda invoke --function-name {function} --cli-binary-format raw-in-base64-out --payload '{{}}' \
                 answer.json"
            )
        },
    );
    let Some(LastRun { id, started, progress }) = run else {
        return match deployment.scheduled {
            true => Verdict::warning("no run yet", format!("wait for the schedule, or start one: {start}")),
            false => Verdict::warning("no run yet, and the schedule is disabled", format!("start one: {start}")),
        };
    };
    let age = now - started;
    let when = ago(age);
    let table = deployment.table.as_deref().unwrap_or("TABLE");
    let status = format!("trailhose backfill status {id} --ledger dynamodb://{table}");
    if let Some(failure) = progress.failures.first() {
        return Verdict::failed(
            format!(
                "{id}, started {when}: {}; first: {}",
                counted(progress.failures.len() as u64, "failure"),
                short(failure, 160)
            ),
            format!("{status} lists all failures; correct their causes, then start a run: {start}"),
        );
    }
    if let Some(empty) = progress.empty.first() {
        return Verdict::failed(
            format!("{id}, started {when}, found nothing to list under {empty}"),
            "check LogPrefix, and that CloudTrail writes to this bucket",
        );
    }
    if progress.unvisited > 0 {
        return Verdict::warning(
            format!(
                "{id}, started {when}, did not list {}, such as {}",
                counted(progress.unvisited, "folder"),
                progress.unvisited_names.first().map_or("?", String::as_str)
            ),
            "if these folders contain logs, deliver them with trailhose sync: the backfill lists only folders of CloudTrail's layout",
        );
    }
    match progress.stage {
        Stage::Discovering | Stage::Working if age > LONG_RUN => Verdict::warning(
            format!("{id}, started {when}, is not finished: {} of {} units", progress.done, progress.units),
            format!("check the dead-letter queue of the backfill; {status} shows the progress"),
        ),
        _ if deployment.scheduled && age > EXPECTED_WITHIN => Verdict::warning(
            format!("the last run {id} started {when}, although a schedule is enabled"),
            format!("check BackfillSchedule and the dead-letter queue of the backfill, then start a run: {start}"),
        ),
        Stage::Done => Verdict::ok(format!(
            "{id}, started {when}, is done: {} listed, {} enqueued",
            counted(progress.counts.listed, "key"),
            counted(progress.counts.sent, "object")
        )),
        Stage::Discovering | Stage::Working => {
            Verdict::ok(format!("{id}, started {when}, is running: {} of {} units", progress.done, progress.units))
        }
        // Failures are reported above.
        Stage::Failed => Verdict::failed(format!("{id}, started {when}, failed"), status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backfill::run::{Defaults, Request, RunId, SourceRoot};
    use crate::doctor::finding::CheckStatus::{Failed, NotApplicable, Ok as Fine, Warning};

    const NOW: i64 = 1_795_132_800;

    fn progress(stage: Stage) -> RunProgress {
        let defaults = Defaults { sources: vec![SourceRoot::parse("s3://logs").unwrap()], look_back_days: 3 };
        let run = Request::default().resolve(RunId::at(0, 0), &defaults, NOW).unwrap();
        RunProgress { stage, ..RunProgress::of(&run, &[]) }
    }

    #[test]
    fn old_failed_and_unfinished_runs_are_reported() {
        let scheduled = Deployment { scheduled: true, ..Deployment::default() };
        let of = |age: i64, progress: RunProgress| {
            finding(Some(&Ok(Some(LastRun { id: "r".into(), started: NOW - age, progress }))), &scheduled, NOW).status
        };
        assert_eq!(of(3_600, progress(Stage::Done)), Fine);
        assert_eq!(of(3_600, progress(Stage::Working)), Fine);
        assert_eq!(of(90_000, progress(Stage::Working)), Warning);
        assert_eq!(of(200_000, progress(Stage::Done)), Warning);
        assert_eq!(of(60, RunProgress { failures: vec!["denied".into()], ..progress(Stage::Failed) }), Failed);
        let empty = vec![SourceRoot::parse("s3://logs/a").unwrap()];
        assert_eq!(of(60, RunProgress { empty, ..progress(Stage::Done) }), Failed);
        assert_eq!(of(60, RunProgress { unvisited: 1, ..progress(Stage::Done) }), Warning);
        assert_eq!(finding(Some(&Ok(None)), &scheduled, NOW).status, Warning);
        assert_eq!(finding(None, &scheduled, NOW).status, NotApplicable);
    }

    #[test]
    fn disabled_schedule_is_a_warning() {
        let stack = crate::doctor::deployment::StackState { name: "s".into(), status: "CREATE_COMPLETE".into() };
        let of = |stack: Option<_>, scheduled: bool, paused_since: Option<&str>| {
            let paused_since = paused_since.map(str::to_owned);
            schedule(&Deployment { stack, scheduled, paused_since, ..Deployment::default() })
        };
        assert_eq!(of(None, true, None).status, NotApplicable);
        assert_eq!(of(Some(stack.clone()), true, None).status, Fine);
        assert_eq!(of(Some(stack.clone()), false, None).status, Warning);
        let paused = of(Some(stack), false, Some("2026-11-20T10:00:00Z"));
        assert!(paused.status == Warning && paused.next_step.unwrap().contains("trailhose resume"));
    }

    #[test]
    fn old_run_without_a_schedule_is_no_problem() {
        let run = LastRun { id: "r".into(), started: NOW - 900_000, progress: progress(Stage::Done) };
        assert_eq!(finding(Some(&Ok(Some(run))), &Deployment::default(), NOW).status, Fine);
    }
}
