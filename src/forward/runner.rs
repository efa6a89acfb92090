//! Runs a forward beside a sync.

use super::ForwardSink;
use super::follower::{ForwardFollower, ForwardPhase, ForwardPolicy, Unsent};
use crate::follow::{FollowError, FollowProgress, Follower, follow};
use crate::sink::jsonl::CommittedSegments;
use crate::state::{StateDatabase, StateError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The time between two reads of the segments.
const PAUSE: Duration = Duration::from_millis(500);

/// The time until the next attempt after an error that the destination did not cause.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(10);

/// A forward with the segments that it reads.
#[derive(Debug)]
pub struct Forward {
    follower: ForwardFollower,
    segments: Arc<CommittedSegments>,
    state: Arc<StateDatabase>,
    phase: watch::Receiver<ForwardPhase>,
}

/// What a forward did in this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardReport {
    /// The name of the forward.
    pub name: String,
    /// Accepted events, including repeats.
    pub events: u64,
    /// Accepted requests.
    pub requests: u64,
    /// Failed requests.
    pub failures: u64,
    /// Events that the destination refused. They are stored.
    pub refused: u64,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether its filter dropped every event that it has read.
    pub filter_drops_all: bool,
    /// Why it ended before the last event, if it did.
    pub error: Option<String>,
}

impl Forward {
    /// Creates a forward that reads these segments.
    ///
    /// # Errors
    /// Errors of the state database.
    pub fn new(
        sink: ForwardSink,
        segments: Arc<CommittedSegments>,
        state: Arc<StateDatabase>,
        policy: ForwardPolicy,
        phase: watch::Receiver<ForwardPhase>,
    ) -> Result<Self, StateError> {
        state.add_forward(sink.name())?;
        // A prune must also wait for a forward that has not sent anything yet.
        let follower = ForwardFollower::new(sink, Arc::clone(&state), policy, phase.clone());
        if state.follower(follower.name())?.is_none() {
            let folder = segments.folder_id().to_owned();
            state.put_follower(follower.name(), &crate::state::FollowerState { folder, ..Default::default() })?;
        }
        Ok(Self { follower, segments, state, phase })
    }

    /// Sends the delivered events while `phase` is [`ForwardPhase::Running`], and then what the new value asks for. After an
    /// error, which is logged, the work continues after a pause. The report contains the error that ended the work.
    pub async fn run(mut self) -> ForwardReport {
        let error = loop {
            // Everything that is committed before this point is read below.
            let current = *self.phase.borrow();
            let sent = self.send().await;
            let pause = match (current, sent) {
                (ForwardPhase::Running, Ok(())) => PAUSE,
                // The sync ended during this attempt. The remaining events are still sent.
                (ForwardPhase::Running, Err(_)) if *self.phase.borrow() == ForwardPhase::Drain => continue,
                (ForwardPhase::Running, Err(reason)) if *self.phase.borrow() == ForwardPhase::Stop => {
                    break Some(reason);
                }
                (ForwardPhase::Running, Err(reason)) => {
                    let seconds = PAUSE_AFTER_ERROR.as_secs();
                    tracing::warn!(
                        forward = self.follower.forward(),
                        "the forward failed, the next attempt is in {seconds} s: {reason}"
                    );
                    PAUSE_AFTER_ERROR
                }
                (_, sent) => break sent.err(),
            };
            let _ = tokio::time::timeout(pause, self.phase.wait_for(|phase| *phase != ForwardPhase::Running)).await;
        };
        self.report(error)
    }

    async fn send(&mut self) -> Result<(), String> {
        self.follower.send_refused_again().await.map_err(Unsent::reason)?;
        let (segments, state) = (Arc::clone(&self.segments), Arc::clone(&self.state));
        let phase = self.phase.clone();
        let is_stopped = move || *phase.borrow() == ForwardPhase::Stop;
        let followed = follow(&mut self.follower, &segments, &state, &is_stopped, &|_: &FollowProgress| {}).await;
        match followed {
            Ok(_) => Ok(()),
            Err(FollowError::Follower { reason, .. }) => Err(reason),
            Err(error) => Err(error.to_string()),
        }
    }

    fn report(self, error: Option<String>) -> ForwardReport {
        let (name, counts) = (self.follower.forward().to_owned(), self.follower.counts);
        let paused = self.state.forward(&name).ok().flatten().is_some_and(|state| state.paused);
        let follower = self.state.follower(self.follower.name()).ok().flatten().unwrap_or_default();
        ForwardReport {
            events: counts.events,
            requests: counts.requests,
            failures: counts.failures,
            refused: counts.refused,
            paused,
            filter_drops_all: follower.filtered > 0 && follower.events == 0,
            error,
            name,
        }
    }
}
