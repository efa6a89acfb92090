//! Sends the alerts of the outbox: in order within a group, with retries, and with a circuit breaker for each
//! destination.

use super::{AlertDestination, SendOutcome};
use crate::backoff::Pace;
use crate::finding_store::{Circuit, FindingStore, PendingAlert};
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
    /// The time for which an open circuit sends nothing. Then one alert is sent as a probe.
    pub open: Pace,
    /// An alert that is older than this and was sent at least 10 times fails.
    pub give_up: Duration,
    /// The time for which alerts are still sent after a sync has ended.
    pub last_alerts: Duration,
}

/// The number of attempts before an alert can fail because of its age. Without it, an alert would fail at the first attempt
/// after a computer was switched off for days.
pub(super) const MIN_ATTEMPTS: u32 = 10;

impl Default for SendPolicy {
    /// An alert is sent again after a random wait of up to 1 second, which doubles with each attempt up to 5 minutes. The
    /// circuit opens after 5 failures, for 15 seconds to 15 minutes. An alert fails after 7 days.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            retries: Pace { base: seconds(1), cap: seconds(300) },
            failures_to_open: 5,
            open: Pace { base: seconds(30), cap: seconds(900) },
            give_up: seconds(7 * 86_400),
            last_alerts: seconds(10),
        }
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
    /// What was done so far. It has no pending alerts.
    progress: Arc<Mutex<SendReport>>,
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

    /// Returns what the sender did so far, also while it runs. The number of pending alerts in it is 0.
    pub fn progress(&self) -> Arc<Mutex<SendReport>> {
        Arc::clone(&self.progress)
    }

    /// Sends alerts until `ends` is true. Then continues until nothing is pending, every destination with pending
    /// alerts fails, or the time limit of the policy is reached.
    ///
    /// # Errors
    /// Errors of the store.
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
        let mut deadline = None;
        loop {
            // After the sync has ended, there are no new alerts.
            let deadline = match *ends.borrow() {
                true => Some(*deadline.get_or_insert_with(|| Instant::now() + self.policy.last_alerts)),
                false => None,
            };
            let is_late = |wait: Duration| deadline.is_some_and(|deadline| Instant::now() + wait > deadline);
            let step = self.step(destination).await?;
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
                    let wait = due.map_or(POLL, |due| milliseconds(due.saturating_sub(now_milliseconds())));
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
        report.pending = self.store.pending_alerts(destination.name()).await?.1;
        Ok(report)
    }

    /// Sends the next alert of a destination, if one is due.
    async fn step(&self, destination: &dyn AlertDestination) -> Result<SendStep, S::Error> {
        let (name, now) = (destination.name(), now_milliseconds());
        let circuit = self.store.circuit(name).await?;
        if circuit.open_until > now {
            return Ok(SendStep::Open);
        }
        let Some(pending) = self.store.next_alert(name, now).await? else {
            return Ok(SendStep::Idle(self.store.pending_alerts(name).await?.0));
        };
        let outcome = destination.send(&pending.alert, now.div_euclid(1_000)).await;
        self.record(name, &pending, &circuit, outcome).await
    }

    /// Durably records the result of an attempt.
    async fn record(
        &self,
        name: &str,
        pending: &PendingAlert,
        circuit: &Circuit,
        outcome: SendOutcome,
    ) -> Result<SendStep, S::Error> {
        let (now, policy, number) = (now_milliseconds(), &self.policy, pending.number);
        let (after, reason, is_blocked) = match outcome {
            SendOutcome::Delivered => {
                self.store.record_sent(name, number, now.div_euclid(1_000)).await?;
                return Ok(SendStep::Sent);
            }
            SendOutcome::Refused { reason } => {
                tracing::warn!(destination = name, alert = pending.alert.id(), "alert refused: {reason}");
                self.store.record_failed(name, number, &reason).await?;
                return Ok(SendStep::Failed);
            }
            SendOutcome::Retry { after, reason } => (after.unwrap_or_default(), reason, false),
            SendOutcome::Blocked { reason } => (Duration::ZERO, reason, true),
        };
        let age = milliseconds(now.saturating_sub(pending.recorded.saturating_mul(1_000)));
        if age > policy.give_up && pending.attempts + 1 >= MIN_ATTEMPTS {
            tracing::warn!(
                destination = name,
                alert = pending.alert.id(),
                "alert failed, because it could not be sent for too long: {reason}"
            );
            self.store.record_failed(name, number, &reason).await?;
            return Ok(SendStep::Failed);
        }
        tracing::warn!(destination = name, alert = pending.alert.id(), "alert not sent: {reason}");
        let failures = circuit.failures.saturating_add(1);
        let opens = is_blocked || failures >= policy.failures_to_open;
        // An open circuit waits at least half of its time.
        let open = match opens {
            true => policy.open.wait(failures.saturating_sub(policy.failures_to_open), 0.5 + fastrand::f64() / 2.0),
            false => Duration::ZERO,
        };
        let wait = after.max(policy.retries.wait(pending.attempts, fastrand::f64()));
        let due = now.saturating_add(whole_milliseconds(wait));
        let open_until = now.saturating_add(whole_milliseconds(open.max(after)));
        let circuit = Circuit { failures, open_until, error: reason };
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
