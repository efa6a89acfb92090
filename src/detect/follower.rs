//! The follower `detect`: evaluates rules over the delivered events, and records findings and alerts.
//!
//! Findings and the alerts that follow from them are durable before their events are acknowledged. If a batch is delivered
//! again after a kill, it has the same findings, and recording them again has no effect.

use super::findings_in::{EventLocation, findings_in};
use crate::alert::{AlertSender, SendReport};
use crate::finding::Grouping;
use crate::finding_store::{RecordedFindings, Route};
use crate::follow::{BatchLimits, EventBatch, FollowError, Follower, follow};
use crate::retention::{RetentionTarget, check_clock};
use crate::sink::jsonl::CommittedSegments;
use crate::state::{DeletedFindings, FindingRetention, StateDatabase};
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use trailhose_rules::RuleSet;

/// The name of the follower.
pub const FOLLOWER: &str = "detect";

/// The time between two reads of the segments.
const PAUSE: Duration = Duration::from_millis(500);

/// The time between two deletions of old findings. The first one is at the start.
const RETENTION_PAUSE: Duration = Duration::from_secs(3_600);

/// The time until the next attempt after an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(10);

/// The follower that evaluates rules.
#[derive(Debug)]
pub struct DetectFollower {
    rules: Arc<RuleSet>,
    state: Arc<StateDatabase>,
    grouping: Grouping,
    routes: Vec<Route>,
    /// What was recorded so far.
    recorded: Arc<Mutex<RecordedFindings>>,
}

impl DetectFollower {
    /// Creates the follower. `routes` are the destinations that get alerts.
    pub fn new(rules: Arc<RuleSet>, state: Arc<StateDatabase>, grouping: Grouping, routes: Vec<Route>) -> Self {
        Self { rules, state, grouping, routes, recorded: Arc::default() }
    }

    /// Returns what the follower recorded so far, also while it runs.
    pub fn progress(&self) -> Arc<Mutex<RecordedFindings>> {
        Arc::clone(&self.recorded)
    }
}

#[async_trait]
impl Follower for DetectFollower {
    fn name(&self) -> &str {
        FOLLOWER
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits { events: 2_000, bytes: 4 << 20 }
    }

    async fn deliver(&mut self, batch: &EventBatch) -> Result<(), String> {
        let files: HashMap<i64, &str> = batch.files.iter().map(|(number, path)| (*number, path.as_str())).collect();
        let mut findings = Vec::new();
        for (event, bytes) in batch.iter() {
            let location = EventLocation {
                file: files.get(&event.file).copied().unwrap_or_default(),
                member: event.position.member,
                offset: event.position.offset.into(),
            };
            findings.extend(findings_in(&self.rules, bytes, &location).unwrap_or_default());
        }
        let now = jiff::Timestamp::now().as_second();
        let recorded = self.state.record_findings(&findings, &self.grouping, &self.routes, now);
        let recorded = recorded.map_err(|error| error.to_string())?;
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).add(recorded);
        Ok(())
    }
}

/// Evaluates rules during a sync.
#[derive(Debug)]
pub struct Detection {
    /// The follower.
    pub follower: DetectFollower,
    /// The segments of the destination.
    pub segments: Arc<CommittedSegments>,
    /// The state database.
    pub state: Arc<StateDatabase>,
    /// The sender of alerts.
    pub sender: AlertSender<StateDatabase>,
    /// The time after the end of a window at which it is closed.
    pub close_after: Duration,
    /// Which findings are deleted. `None` deletes none.
    pub retention: Option<FindingRetention>,
}

/// What a detection did.
#[derive(Debug, Default)]
pub struct DetectionReport {
    /// The findings.
    pub recorded: RecordedFindings,
    /// The alerts.
    pub alerts: SendReport,
    /// The rules whose evaluation panicked, and how often.
    pub failed_rules: Vec<(String, u64)>,
    /// The error that ended the follower or the sender of alerts, if there is one.
    pub error: Option<String>,
}

impl Detection {
    /// Follows the segments until `ends` is true and all segments are read, and sends alerts meanwhile. After an error, which
    /// is logged, the work continues after a pause. The report contains the error that ended the work, if there is one.
    pub async fn run(mut self, ends: watch::Receiver<bool>) -> DetectionReport {
        let (ended, sender_ends) = watch::channel(false);
        let sender = self.sender.run(sender_ends);
        let mut report = DetectionReport::default();
        let followed = async {
            let work = FollowedWork {
                segments: &self.segments,
                state: &self.state,
                close_after: self.close_after,
                retention: self.retention,
            };
            let error = self.follower.follow(work, ends).await.err();
            ended.send_replace(true);
            error
        };
        let (error, sent) = tokio::join!(followed, sender);
        report.error = error.map(|error| error.to_string());
        match sent {
            Ok(sent) => report.alerts = sent,
            Err(error) => report.error = Some(error.to_string()),
        }
        report.recorded = *self.follower.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = self.follower.rules.failed_rules();
        report.failed_rules = failed.into_iter().map(|(rule, count)| (rule.title.clone(), count)).collect();
        report
    }
}

/// What a follower reads, and the periodic work beside it.
struct FollowedWork<'a> {
    segments: &'a Arc<CommittedSegments>,
    state: &'a Arc<StateDatabase>,
    close_after: Duration,
    retention: Option<FindingRetention>,
}

impl DetectFollower {
    async fn follow(&mut self, work: FollowedWork<'_>, mut ends: watch::Receiver<bool>) -> Result<(), FollowError> {
        let FollowedWork { segments, state, close_after, retention } = work;
        let grace = i64::try_from(close_after.as_secs()).unwrap_or(i64::MAX);
        let mut cleanup = retention.map(FindingCleanup::new);
        loop {
            // `follow` reads everything that is committed before this point.
            let is_last = *ends.borrow();
            let followed = follow(self, segments, state, &|| false, &|_| {}).await;
            let closed = followed.and_then(|_| {
                // Everything was read, so a window is complete when it is closed.
                let now = jiff::Timestamp::now().as_second();
                state.close_windows(&self.routes, grace, now)?;
                cleanup.as_mut().map_or(Ok(()), |cleanup| cleanup.run(segments, state, now, is_last))
            });
            let pause = match closed {
                Ok(()) if is_last => return Ok(()),
                Err(error) if is_last => return Err(error),
                Ok(()) => PAUSE,
                Err(error) => {
                    tracing::warn!(
                        "the detection failed, the next attempt is in {} s: {error}",
                        PAUSE_AFTER_ERROR.as_secs()
                    );
                    PAUSE_AFTER_ERROR
                }
            };
            let _ = tokio::time::timeout(pause, ends.wait_for(|&ends| ends)).await;
        }
    }
}

/// Deletes old findings beside a follower.
struct FindingCleanup {
    retention: FindingRetention,
    /// The time of the next deletion.
    next: Instant,
    /// Whether the clock was too far ahead at the last attempt.
    is_ahead: bool,
    /// When the clock was last reported, or the start.
    reported: Instant,
}

impl FindingCleanup {
    fn new(retention: FindingRetention) -> Self {
        Self { retention, next: Instant::now(), is_ahead: false, reported: Instant::now() }
    }

    /// Deletes old findings, if it is time. `now` is in seconds since 1970.
    ///
    /// After a long pause, the clock is ahead until the first events are delivered. So it is compared again soon and at the end, and
    /// reported only at the end or after an hour.
    fn run(
        &mut self,
        segments: &CommittedSegments,
        state: &StateDatabase,
        now: i64,
        is_last: bool,
    ) -> Result<(), FollowError> {
        if Instant::now() < self.next && !(self.is_ahead && is_last) {
            return Ok(());
        }
        let ahead = check_clock(RetentionTarget::Findings, segments, state, now)?;
        self.is_ahead = ahead.is_some();
        if let Some(ahead) = ahead {
            if is_last || self.reported.elapsed() >= RETENTION_PAUSE {
                tracing::warn!("old findings are kept: {ahead}");
                self.reported = Instant::now();
            }
            self.next = Instant::now() + PAUSE_AFTER_ERROR;
            return Ok(());
        }
        let DeletedFindings { findings, windows, alerts } = state.delete_old_findings(&self.retention, now)?;
        if findings + windows + alerts > 0 {
            tracing::info!(findings, windows, alerts, "old findings, windows and sent alerts were deleted");
        }
        self.next = Instant::now() + RETENTION_PAUSE;
        Ok(())
    }
}
