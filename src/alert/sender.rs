//! Sends the alerts of the outbox: in order within a group, with retries, and with a circuit breaker for each
//! destination.

use super::{AlertDestination, SendOutcome};
use crate::backoff::{Pace, remaining_wait};
use crate::finding_store::{Circuit, FindingStore, PendingAlert};
use crate::http::MAX_RETRY_AFTER;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often the outbox is read while nothing is due.
const POLL: Duration = Duration::from_millis(500);

/// When alerts are sent again, and after which time they fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendPolicy {
    /// The waits before an alert is sent again, with full jitter.
    pub retries: Pace,
    /// The number of consecutive failures after which the circuit of a destination opens.
    pub failures_to_open: u32,
    /// The number of alerts that can be refused one after another, also in different runs. The next refusal opens the circuit,
    /// because the cause cannot be a single alert.
    pub max_refusals: u32,
    /// The time for which an open circuit sends nothing. Then one alert is sent as a probe.
    pub open_circuit: Pace,
    /// An alert that is older than this and was sent at least 10 times fails.
    pub give_up: Duration,
    /// The time for which alerts are still sent after a sync has ended.
    pub final_send_time: Duration,
    /// The time until the next attempt after an error of the store.
    pub pause_after_error: Duration,
}

/// The number of attempts before an alert can fail because of its age. Without it, an alert would fail at the first attempt
/// after a computer was switched off for days.
pub(super) const MIN_ATTEMPTS: u32 = 10;

impl Default for SendPolicy {
    /// An alert is sent again after a random wait of up to 1 second, which doubles with each attempt up to 5 minutes. The
    /// circuit opens after 5 failures, or with the 6th refused alert in a row, for 15 seconds to 15 minutes. An alert fails
    /// after 7 days and at least 10 attempts.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            retries: Pace { base: seconds(1), cap: seconds(300) },
            failures_to_open: 5,
            max_refusals: 5,
            open_circuit: Pace { base: seconds(30), cap: seconds(900) },
            give_up: seconds(7 * 86_400),
            final_send_time: seconds(10),
            pause_after_error: seconds(10),
        }
    }
}

impl SendPolicy {
    /// Returns the longest wait that is stored. A longer one was stored while the clock was ahead.
    fn longest_wait(&self) -> Duration {
        self.retries.cap.saturating_add(self.open_circuit.cap.saturating_mul(2)).saturating_add(MAX_RETRY_AFTER)
    }
}

/// What a sender did, and what is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Alerts that destinations acknowledged.
    pub sent: u64,
    /// Attempts that failed and are repeated.
    pub retried: u64,
    /// Alerts that failed.
    pub failed: u64,
    /// Alerts that are still in the outbox.
    pub pending: u64,
}

impl SendReport {
    /// Adds the counts of another destination.
    pub fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.retried += other.retried;
        self.failed += other.failed;
        self.pending += other.pending;
    }
}

/// Sends alerts to destinations.
#[derive(Debug)]
pub struct AlertSender<S> {
    store: Arc<S>,
    destinations: Vec<Arc<dyn AlertDestination>>,
    policy: SendPolicy,
    /// What was done so far. Pending alerts are not counted in it.
    progress: Arc<Mutex<SendReport>>,
}

/// What a sender remembers about a destination between two steps.
#[derive(Debug, Default)]
struct SenderMemory {
    /// An attempt whose result could not be stored. It is stored before anything else is sent.
    unrecorded: Option<SendAttempt>,
}

/// An attempt to send an alert.
#[derive(Debug)]
struct SendAttempt {
    pending: PendingAlert,
    /// The circuit before the attempt.
    circuit: Circuit,
    outcome: SendOutcome,
}

/// The result of one step of a sender.
enum SendStep {
    Sent,
    Retried,
    Failed,
    /// The circuit is open.
    Open,
    /// Nothing is due before this time, in milliseconds since 1970. `None` if nothing is pending.
    Idle(Option<i64>),
}

impl<S: FindingStore> AlertSender<S> {
    /// Creates a sender.
    pub fn new(store: Arc<S>, destinations: Vec<Arc<dyn AlertDestination>>, policy: SendPolicy) -> Self {
        Self { store, destinations, policy, progress: Arc::default() }
    }

    /// Returns what the sender did so far, also while it runs. Pending alerts are not counted in it.
    pub fn progress(&self) -> Arc<Mutex<SendReport>> {
        Arc::clone(&self.progress)
    }

    /// Sends alerts until `ends` is true. Then continues until nothing is pending, every destination with pending
    /// alerts fails, or the time limit of the policy is reached. Until `ends` is true, an error of the store is logged, and
    /// the work continues after a pause.
    ///
    /// # Errors
    /// Errors of the store after `ends` is true.
    pub async fn run(&self, ends: watch::Receiver<bool>) -> Result<SendReport, S::Error> {
        let senders = self.destinations.iter().map(|destination| self.send_to(destination.as_ref(), ends.clone()));
        let mut report = SendReport::default();
        for sent in futures_util::future::join_all(senders).await {
            report.add(sent?);
        }
        Ok(report)
    }

    async fn send_to(
        &self,
        destination: &dyn AlertDestination,
        mut ends: watch::Receiver<bool>,
    ) -> Result<SendReport, S::Error> {
        let mut report = SendReport::default();
        let mut memory = SenderMemory::default();
        let mut deadline = None;
        loop {
            // After the sync has ended, there are no new alerts.
            let deadline = match *ends.borrow() {
                true => Some(*deadline.get_or_insert_with(|| Instant::now() + self.policy.final_send_time)),
                false => None,
            };
            let is_late = |wait: Duration| deadline.is_some_and(|deadline| Instant::now() + wait > deadline);
            let step = match self.step(destination, &mut memory).await {
                Ok(step) => step,
                Err(error) if deadline.is_some() => return Err(error),
                Err(error) => {
                    let pause = self.policy.pause_after_error;
                    tracing::warn!(
                        destination = destination.name(),
                        "the sender of alerts failed, the next attempt is in {} s: {error}",
                        pause.as_secs()
                    );
                    let _ = tokio::time::timeout(pause, ends.wait_for(|&ends| ends)).await;
                    continue;
                }
            };
            let mut done = SendReport::default();
            match step {
                SendStep::Sent => done.sent = 1,
                SendStep::Failed => done.failed = 1,
                SendStep::Retried => done.retried = 1,
                // A process does not wait for a destination that fails. The next run sends the rest.
                SendStep::Idle(None) | SendStep::Open if deadline.is_some() => break,
                SendStep::Open => {
                    let _ = tokio::time::timeout(POLL, ends.wait_for(|&ends| ends)).await;
                    continue;
                }
                SendStep::Idle(due) => {
                    // A time in the past belongs to an alert that waits for an earlier one of its group.
                    let wait = due.map(|due| milliseconds(due.saturating_sub(now_milliseconds())));
                    let wait = wait.filter(|wait| !wait.is_zero()).unwrap_or(POLL);
                    if is_late(wait) {
                        break;
                    }
                    match deadline {
                        // The end of the sync interrupts the wait.
                        None => _ = tokio::time::timeout(wait.min(POLL), ends.wait_for(|&ends| ends)).await,
                        Some(_) => tokio::time::sleep(wait.min(POLL)).await,
                    }
                    continue;
                }
            }
            report.add(done);
            self.progress.lock().unwrap_or_else(PoisonError::into_inner).add(done);
            if is_late(destination.interval()) {
                break;
            }
            tokio::time::sleep(destination.interval()).await;
        }
        report.pending = self.store.pending_alerts(destination.name()).await?.count;
        Ok(report)
    }

    /// Sends the next alert of a destination, if one is due, and durably records the result.
    async fn step(&self, destination: &dyn AlertDestination, memory: &mut SenderMemory) -> Result<SendStep, S::Error> {
        let attempt = match memory.unrecorded.take() {
            Some(attempt) => attempt,
            None => {
                let (name, now) = (destination.name(), now_milliseconds());
                let circuit = self.store.circuit(name).await?;
                if !remaining_wait(circuit.open_until, now, self.policy.longest_wait()).is_zero() {
                    return Ok(SendStep::Open);
                }
                let pending = match self.next_alert(name, now).await? {
                    (Some(pending), _) => pending,
                    (None, due) => return Ok(SendStep::Idle(due)),
                };
                let outcome = destination.send(&pending.alert, now.div_euclid(1_000)).await;
                SendAttempt { pending, circuit, outcome }
            }
        };
        let recorded = self.record(destination.name(), &attempt).await;
        if recorded.is_err() {
            memory.unrecorded = Some(attempt);
        }
        recorded
    }

    /// Returns the next alert that is due, or the time at which one is due. If all alerts wait for longer than the policy
    /// allows, their times were stored while the clock was ahead, and the first one is due.
    async fn next_alert(&self, name: &str, now: i64) -> Result<(Option<PendingAlert>, Option<i64>), S::Error> {
        let next = self.store.next_alert(name, now).await?;
        if next.is_some() {
            return Ok((next, None));
        }
        let pending = self.store.pending_alerts(name).await?;
        let latest = now.saturating_add(whole_milliseconds(self.policy.longest_wait()));
        if pending.count == 0 || self.store.next_alert(name, latest).await?.is_some() {
            return Ok((None, pending.next_due));
        }
        Ok((self.store.next_alert(name, i64::MAX).await?, pending.next_due))
    }

    /// Durably records the result of an attempt.
    async fn record(&self, name: &str, attempt: &SendAttempt) -> Result<SendStep, S::Error> {
        let SendAttempt { pending, circuit, outcome } = attempt;
        let (now, policy, number) = (now_milliseconds(), &self.policy, pending.number);
        // If the failures of the circuit are enough to open it, this attempt is a probe and no alert was acknowledged since
        // the circuit opened. A refusal then opens it again.
        let are_all_refused = circuit.refusals >= policy.max_refusals || circuit.failures >= policy.failures_to_open;
        let (after, reason, is_unusable) = match outcome {
            SendOutcome::Delivered => {
                self.store.record_sent(name, number, now.div_euclid(1_000)).await?;
                return Ok(SendStep::Sent);
            }
            SendOutcome::AlertRefused { reason } if !are_all_refused => {
                tracing::warn!(destination = name, alert = pending.alert.id(), "alert refused: {reason}");
                self.store.record_refused_alert(name, number, reason).await?;
                return Ok(SendStep::Failed);
            }
            SendOutcome::AlertRefused { reason } => (Duration::ZERO, reason, true),
            SendOutcome::Retry { after, reason } => (after.unwrap_or_default(), reason, false),
            SendOutcome::DestinationUnusable { reason } => (Duration::ZERO, reason, true),
        };
        let age = milliseconds(now.saturating_sub(pending.recorded.saturating_mul(1_000)));
        if age > policy.give_up && pending.attempts + 1 >= MIN_ATTEMPTS {
            tracing::warn!(
                destination = name,
                alert = pending.alert.id(),
                "alert failed, because it could not be sent for too long: {reason}"
            );
            self.store.record_failed(name, number, reason).await?;
            return Ok(SendStep::Failed);
        }
        tracing::warn!(destination = name, alert = pending.alert.id(), "alert not sent: {reason}");
        let is_refused = matches!(outcome, SendOutcome::AlertRefused { .. });
        let failures = circuit.failures.saturating_add(1);
        // With this count, the next process opens the circuit again if its first alert is refused too.
        let failures = if is_refused { failures.max(policy.failures_to_open) } else { failures };
        let opens = is_unusable || failures >= policy.failures_to_open;
        // An open circuit waits at least half of its time.
        let open = match opens {
            true => {
                policy.open_circuit.wait(failures.saturating_sub(policy.failures_to_open), 0.5 + fastrand::f64() / 2.0)
            }
            false => Duration::ZERO,
        };
        let open = open.max(after);
        // Another alert is the next probe, because this one can be refused for a cause of its own.
        let earliest = if is_refused { open.saturating_mul(2) } else { after };
        let wait = earliest.max(policy.retries.wait(pending.attempts, fastrand::f64()));
        let due = now.saturating_add(whole_milliseconds(wait));
        let open_until = now.saturating_add(whole_milliseconds(open));
        let circuit = Circuit { failures, refusals: circuit.refusals, open_until, error: reason.clone() };
        self.store.record_retry(name, number, due, &circuit).await?;
        Ok(SendStep::Retried)
    }
}

fn now_milliseconds() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn milliseconds(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(0))
}

fn whole_milliseconds(wait: Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}
