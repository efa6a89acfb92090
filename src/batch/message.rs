//! Decides what happens with a message after its objects were processed.
//!
//! | unfinished objects | message from the ingest queues | message from the deferred queue |
//! |---|---|---|
//! | a service failed, or time ran out | moved to the deferred queue | hidden |
//! | failed for another reason | retried by its queue | hidden |
//! | leased by another worker | hidden until the lease ends | hidden |
//! | an owner is in progress | replaced by a copy with a delay; moved to the deferred queue after `max_age` | hidden |
//!
//! The first row that applies to an object of the message decides. In the deferred queue, a message is hidden for a wait
//! that doubles with each attempt, and at least until the leases of its objects and owners end. SQS counts each receive of a
//! message, also after the message was hidden. The ingest queues permit few receives, so that a message that crashes the
//! function is not retried without end. The deferred queue permits many receives. A message that is in it for too long goes
//! to the dead-letter queue with the reason.

use super::{Batch, BatchReport, Disposition, NextStep};
use crate::ledger::model::row::Seconds;
use crate::notification::{self, Message};
use crate::object::ObjectRef;
use crate::queue::{MAX_DELAY, OutgoingMessage, Target, queue_name};
use std::time::Duration;

/// How long a message waits in the deferred queue before the first attempt. The wait doubles with each attempt, up to
/// [`MAX_DELAY`].
const FIRST_WAIT: Duration = Duration::from_secs(60);

/// Time after [`Deferral::max_age`] at which a message is given up without another attempt. Each attempt that ends
/// gives up a message that is older than `max_age`. So a message that is still in the queue after this margin had only
/// attempts that did not end: they crash the function. The margin also allows for messages that are received late,
/// because the queue has more messages than SQS permits in flight.
const OVERDUE_MARGIN: Seconds = 24 * 3600;

/// The queues to which messages are moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferral {
    /// The URL of the queue in which messages wait during an outage.
    pub deferred_url: String,
    /// The URL of the queue for messages that are given up.
    pub dead_letter_url: String,
    /// How long a message stays in the deferred queue, in seconds.
    pub max_age: Seconds,
}

impl Batch {
    /// Acknowledges, hides or moves a message according to the steps of its objects.
    pub(super) async fn finish_message(
        &self,
        message: &Message,
        steps: &[(&ObjectRef, NextStep)],
        report: &mut BatchReport,
    ) -> Disposition {
        let unfinished: Vec<&(&ObjectRef, NextStep)> =
            steps.iter().filter(|(_, step)| *step != NextStep::Finished).collect();
        if unfinished.is_empty() {
            return Disposition::Acknowledge;
        }
        report.record_unfinished(message.first_seen());
        let until = unfinished.iter().filter_map(|(_, step)| step.until()).max();
        let reason = unfinished.iter().find_map(|(object, step)| step.reason().map(|text| format!("{object}: {text}")));
        if self.is_in_deferred_queue(message) {
            let reason = reason.unwrap_or_else(|| format!("{}: waits for another object", unfinished[0].0));
            return match self.time_in_deferred_queue(message) > self.max_age() {
                true => self.give_up(message, &reason, report).await,
                false => self.hide(message, self.wait_until(until).max(next_wait(message))).await,
            };
        }
        let is_postponed = unfinished.iter().any(|(_, step)| matches!(step, NextStep::Postpone { .. }));
        let is_failed = unfinished.iter().any(|(_, step)| matches!(step, NextStep::Retry { .. }));
        let is_leased = unfinished.iter().any(|(_, step)| matches!(step, NextStep::WaitForLease { .. }));
        // For SQS, each copy is a new message with age 0. Without this limit, objects could wait for each other without
        // end, and the queue's age metric would not show it.
        let is_too_old =
            self.deferral.is_some() && self.age(message.first_seen()) > self.max_age() && !is_failed && !is_leased;
        if is_postponed || is_too_old {
            let reason = reason.unwrap_or_else(|| format!("{}: waits for another object", unfinished[0].0));
            return self.move_to_deferred(message, steps, &reason, report).await;
        }
        if is_failed {
            return Disposition::Retry;
        }
        if is_leased {
            // An immediate retry would be deferred again, and each retry brings the message closer to the dead-letter
            // queue.
            return self.hide(message, self.wait_until(until)).await;
        }
        // Send a new copy, because a retry of this message would increase its receive count while it waits for another
        // object.
        let body = unfinished_body(message, steps);
        let copy = OutgoingMessage { body: &body, delay: self.wait_until(until), ..OutgoingMessage::copy_of(message) };
        self.send_instead(Target::SourceOf(Some(message)), &copy).await
    }

    /// Sends an object of a direct invocation to the queue in which it has to wait.
    pub(super) async fn finish_direct(&self, object: &ObjectRef, step: &NextStep) -> Disposition {
        let body = notification::render(object);
        let message = |delay, reason| OutgoingMessage {
            body: &body,
            delay,
            first_seen: Some(self.ingest.ledger.now()),
            reason,
            source_arn: None,
        };
        match (step, &self.deferral) {
            (NextStep::Finished, _) => Disposition::Acknowledge,
            (NextStep::WaitForLease { until } | NextStep::WaitForOwner { until }, _) => {
                self.send_instead(Target::SourceOf(None), &message(self.wait_until(Some(*until)), None)).await
            }
            (NextStep::Postpone { reason }, Some(deferral)) => {
                self.send_instead(Target::Url(&deferral.deferred_url), &message(FIRST_WAIT, Some(reason))).await
            }
            (NextStep::Postpone { .. } | NextStep::Retry { .. }, _) => Disposition::Retry,
        }
    }

    /// Returns whether a message has been in the deferred queue for so long that its attempts cannot have ended: see
    /// [`OVERDUE_MARGIN`].
    pub(super) fn is_overdue(&self, message: &Message) -> bool {
        self.is_in_deferred_queue(message)
            && message.receive_count > 1
            && self.time_in_deferred_queue(message) > self.max_age() + OVERDUE_MARGIN
    }

    /// Moves an overdue message to the dead-letter queue without another attempt.
    pub(super) async fn give_up_overdue(&self, message: &Message, report: &mut BatchReport) -> Disposition {
        report.record_unfinished(message.first_seen());
        let reason = "the attempts at this message did not end: see the log of the function for crashes and timeouts";
        self.give_up(message, reason, report).await
    }

    /// Moves a message to the dead-letter queue with a reason.
    pub(super) async fn give_up(&self, message: &Message, reason: &str, report: &mut BatchReport) -> Disposition {
        let Some(deferral) = &self.deferral else { return Disposition::Retry };
        let copy = OutgoingMessage { reason: Some(reason), ..OutgoingMessage::copy_of(message) };
        let disposition = self.send_instead(Target::Url(&deferral.dead_letter_url), &copy).await;
        if disposition == Disposition::Acknowledge {
            tracing::error!(message_id = message.id, reason, "moved to the dead-letter queue");
            report.messages_dead_lettered += 1;
        }
        disposition
    }

    async fn move_to_deferred(
        &self,
        message: &Message,
        steps: &[(&ObjectRef, NextStep)],
        reason: &str,
        report: &mut BatchReport,
    ) -> Disposition {
        let Some(deferral) = &self.deferral else { return Disposition::Retry };
        let body = unfinished_body(message, steps);
        let copy = OutgoingMessage {
            body: &body,
            delay: FIRST_WAIT,
            reason: Some(reason),
            ..OutgoingMessage::copy_of(message)
        };
        let disposition = self.send_instead(Target::Url(&deferral.deferred_url), &copy).await;
        if disposition == Disposition::Acknowledge {
            report.messages_deferred += 1;
        }
        disposition
    }

    /// Sends a message that replaces the received one. If this fails, the received one is retried.
    async fn send_instead(&self, target: Target<'_>, copy: &OutgoingMessage<'_>) -> Disposition {
        let Some(queue) = &self.queue else { return Disposition::Retry };
        match queue.send(target, copy).await {
            Ok(()) => Disposition::Acknowledge,
            Err(error) => {
                tracing::warn!(%error, "could not move the message; it is retried by its queue");
                Disposition::Retry
            }
        }
    }

    /// Hides a message for `time`. Its queue retries it afterwards.
    async fn hide(&self, message: &Message, time: Duration) -> Disposition {
        if let Some(queue) = &self.queue
            && let Err(error) = queue.hide(message, time).await
        {
            tracing::warn!(%error, "could not hide the message; it is hidden for the visibility timeout of its queue");
        }
        Disposition::Retry
    }

    fn is_in_deferred_queue(&self, message: &Message) -> bool {
        self.deferral
            .as_ref()
            .is_some_and(|deferral| queue_name(&deferral.deferred_url) == queue_name(&message.queue_arn))
    }

    fn max_age(&self) -> Seconds {
        self.deferral.as_ref().map_or(Seconds::MAX / 2, |deferral| deferral.max_age)
    }

    fn time_in_deferred_queue(&self, message: &Message) -> Seconds {
        self.age(message.sent_at)
    }

    fn age(&self, since: Option<Seconds>) -> Seconds {
        since.map_or(0, |since| self.ingest.ledger.now() - since)
    }

    /// Returns the time from now until just after a lease ends: at least a second.
    fn wait_until(&self, until: Option<Seconds>) -> Duration {
        let seconds = until.map_or(0, |until| until + 1 - self.ingest.ledger.now());
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1))
    }
}

impl NextStep {
    fn until(&self) -> Option<Seconds> {
        match self {
            Self::WaitForLease { until } | Self::WaitForOwner { until } => Some(*until),
            _ => None,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Postpone { reason } | Self::Retry { reason } => Some(reason),
            _ => None,
        }
    }
}

/// Returns how long a message of the deferred queue is hidden after this attempt.
fn next_wait(message: &Message) -> Duration {
    let doublings = message.receive_count.saturating_sub(1).min(8);
    (FIRST_WAIT * (1 << doublings)).min(MAX_DELAY)
}

/// Returns the body of a copy with the unfinished objects only. If no object is finished, the copy has the same body.
fn unfinished_body(message: &Message, steps: &[(&ObjectRef, NextStep)]) -> String {
    let unfinished = steps.iter().filter(|(_, step)| *step != NextStep::Finished).map(|(object, _)| *object);
    if unfinished.clone().count() == steps.len() {
        return message.body.clone();
    }
    notification::render_all(unfinished)
}
