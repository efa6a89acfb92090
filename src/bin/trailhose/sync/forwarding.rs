//! `[[forward]]` beside a sync: each forward sends the delivered events on a thread of its own, so that it never delays the
//! delivery.

use super::ForwardResult;
use super::plan::SyncPlan;
use crate::args::Dest;
use crate::followers::FollowedFolder;
use crate::text::{counted, one_line};
use crate::webhook;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::watch;
use trailhose::forward::{Forward, ForwardPhase, ForwardPolicy, ForwardReport, ForwardSink};
use trailhose::shell;

/// What is opened before the first object is read, so that an error starts nothing.
pub(crate) struct PreparedForwards(Vec<ForwardSink>);

/// Forwards that run.
pub(crate) struct RunningForwards {
    phase: watch::Sender<ForwardPhase>,
    threads: Vec<JoinHandle<Result<ForwardReport, String>>>,
}

impl PreparedForwards {
    /// Reads the secrets and certificates.
    ///
    /// # Errors
    /// One of them cannot be read, or the destination of the events is not a folder.
    pub(crate) fn new(plan: &SyncPlan) -> Result<Self, String> {
        if !plan.forwards.is_empty() && !matches!(plan.delivery.dest, Dest::Folder(_)) {
            return Err("[[forward]] reads delivered files, and a stream keeps none: use a folder as dest".into());
        }
        let sinks = plan.forwards.iter().cloned().map(ForwardSink::open).collect::<Result<_, _>>();
        sinks.map(Self).map_err(|error: String| if plan.is_spool { webhook::with_option(&error) } else { error })
    }

    /// Starts the forwards. The ledger of the destination must exist.
    pub(crate) fn start(self, plan: &SyncPlan) -> Result<Option<RunningForwards>, String> {
        let Dest::Folder(dest) = &plan.delivery.dest else { return Ok(None) };
        if self.0.is_empty() {
            return Ok(None);
        }
        let followed = FollowedFolder::open_folder(dest, Some(&plan.delivery.ledger))?;
        let state = Arc::new(followed.state()?);
        let (sender, phase) = watch::channel(ForwardPhase::Running);
        let mut threads = Vec::new();
        for sink in self.0 {
            let name = format!("forward-{}", sink.name());
            let (segments, state) = (Arc::clone(&followed.segments), Arc::clone(&state));
            let forward = Forward::new(sink, segments, state, ForwardPolicy::default(), phase.clone());
            let forward = forward.map_err(|error| error.to_string())?;
            let run = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|error| error.to_string())?;
                let report = runtime.block_on(forward.run());
                // A read of many filtered events is not awaited.
                runtime.shutdown_background();
                Ok(report)
            };
            threads.push(std::thread::Builder::new().name(name).spawn(run).map_err(|error| error.to_string())?);
        }
        Ok(Some(RunningForwards { phase: sender, threads }))
    }
}

impl Drop for RunningForwards {
    fn drop(&mut self) {
        self.phase.send_replace(ForwardPhase::Stop);
    }
}

impl RunningForwards {
    /// Sends the rest of the delivered events, as long as the destinations accept them, and ends. After an interrupt, only
    /// the responses to the last requests are awaited.
    pub(crate) async fn end(mut self, mut halt: watch::Receiver<bool>) -> Result<Vec<ForwardReport>, String> {
        self.phase.send_replace(ForwardPhase::Drain);
        let threads = std::mem::take(&mut self.threads);
        let mut joined =
            tokio::task::spawn_blocking(move || threads.into_iter().map(JoinHandle::join).collect::<Vec<_>>());
        let ended = tokio::select! {
            ended = &mut joined => ended,
            Ok(_) = halt.wait_for(|&halt| halt) => {
                self.phase.send_replace(ForwardPhase::Stop);
                joined.await
            }
        };
        let unexpected = || "the thread of a forward ended unexpectedly".to_owned();
        ended.map_err(|_| unexpected())?.into_iter().map(|report| report.map_err(|_| unexpected())?).collect()
    }
}

/// Returns what the forwards leave.
pub(crate) fn result(reports: &[ForwardReport]) -> ForwardResult {
    let incomplete = reports.iter().filter(|report| report.error.is_some() && !report.paused).count() as u64;
    ForwardResult { incomplete, refused: reports.iter().map(|report| report.refused).sum() }
}

/// Returns lines about what was sent, and about what needs attention.
pub(crate) fn lines(report: &ForwardReport, plan: &SyncPlan) -> Vec<String> {
    let name = &report.name;
    let dest = shell::word(&plan.delivery.dest.to_string());
    let mut lines = Vec::new();
    if report.requests > 0 {
        let (events, requests) = (counted(report.events, "event"), counted(report.requests, "request"));
        lines.push(format!("forward {name}: {events} sent in {requests}"));
    }
    if report.refused > 0 {
        let refused = counted(report.refused, "event");
        lines.push(format!(
            "warning: forward {name}: the destination refused {refused}, which are stored: see `trailhose forward status \
             {dest}{} --refused`",
            plan.ledger_option()
        ));
    }
    if report.filter_drops_all {
        lines.push(format!("warning: forward {name}: its filter dropped every event so far"));
    }
    match (&report.error, report.paused) {
        (Some(_), true) => {
            lines.push(format!(
                "warning: forward {name} is paused: use `trailhose forward resume {name} --dest {dest}`"
            ));
        }
        (Some(error), false) => {
            let error = if plan.is_spool { webhook::with_option(error) } else { error.clone() };
            lines.push(format!(
                "warning: forward {name} has not sent everything: {}. A later run continues",
                one_line(&error)
            ));
        }
        (None, _) => {}
    }
    lines
}
