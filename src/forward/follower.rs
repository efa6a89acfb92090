//! The follower of a forward: sends each batch until it is accepted, with retries, splits and a circuit breaker.

use super::batch::{ForwardRequest, ForwardedEvent, batch_id, size};
use super::destination::{ForwardOutcome, ItemOutcome};
use super::{ForwardSink, follower_name};
use crate::backoff::{Pace, remaining_wait};
use crate::event::filter::Filter;
use crate::follow::{BatchLimits, EventBatch, Follower};
use crate::http::MAX_RETRY_AFTER;
use crate::shell;
use crate::state::{RefusedEvent, StateDatabase, StateError};
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The time between two reads of the state while nothing may be sent. `trailhose forward` can change the state.
const POLL: Duration = Duration::from_millis(500);

/// When requests are sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardPolicy {
    /// The waits before a batch is sent again, with full jitter.
    pub retries: Pace,
    /// The number of consecutive failures after which the circuit opens.
    pub failures_to_open: u32,
    /// The time for which an open circuit sends nothing. Then the same batch is sent as a probe.
    pub open: Pace,
    /// The number of events that can be refused one by one without an accepted request. The next refusal opens the
    /// circuit, because the cause cannot be a single event.
    pub max_refusals: u32,
    /// How long failed requests are repeated after a sync has ended. An accepted request starts this time again.
    pub last_retries: Duration,
    /// How long a response is awaited after an interrupt.
    pub last_response: Duration,
}

impl Default for ForwardPolicy {
    /// A failed request is repeated after a random wait of at most 1 second at first, and of at most 5 minutes later. The
    /// circuit opens after 5 failures, or with the 11th refused event in a row, for 15 seconds to 15 minutes.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            retries: Pace { base: seconds(1), cap: seconds(300) },
            failures_to_open: 5,
            open: Pace { base: seconds(30), cap: seconds(900) },
            max_refusals: 10,
            last_retries: seconds(10),
            last_response: seconds(5),
        }
    }
}

impl ForwardPolicy {
    /// Returns the limit of stored waits. A stored wait that exceeds it was stored while the clock was ahead.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.retries.cap.saturating_add(self.open.cap).saturating_add(MAX_RETRY_AFTER)
    }
}

/// Whether a forward continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardPhase {
    /// More events can be delivered.
    Running,
    /// No more events are delivered. Delivered events are sent while the destination accepts them.
    Drain,
    /// Only the response to the last request is awaited.
    Stop,
}

/// What a forward sent in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SentCounts {
    /// Accepted events, including repeats.
    pub(super) events: u64,
    /// Accepted requests.
    pub(super) requests: u64,
    /// Failed requests.
    pub(super) failures: u64,
    /// Refused events.
    pub(super) refused: u64,
}

/// Why sending ended before everything was sent.
pub(super) enum Unsent {
    /// A pause, an interrupt, an open circuit, or another reason that is not an error of the state database.
    Stopped(String),
    /// The state database failed.
    State(StateError),
}

impl From<StateError> for Unsent {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl Unsent {
    pub(super) fn reason(self) -> String {
        match self {
            Self::Stopped(reason) => reason,
            Self::State(error) => error.to_string(),
        }
    }
}

/// The answer to a request that accepts or refuses the batch or single events. Without one, the request is repeated.
enum Settled {
    Accepted,
    TooLarge(String),
    Refused(u16, String),
    Items(Vec<ItemOutcome>),
    PartlyRefused(String),
}

/// The follower of a forward.
#[derive(Debug)]
pub(super) struct ForwardFollower {
    sink: ForwardSink,
    follower: String,
    policy: ForwardPolicy,
    state: Arc<StateDatabase>,
    phase: watch::Receiver<ForwardPhase>,
    /// The size of the smallest batch that was too large.
    too_large: usize,
    /// With a rate limit: the earliest time of the next request.
    next_request: Option<Instant>,
    /// After the end of the sync: the time from which failed requests are not repeated.
    deadline: Option<Instant>,
    pub(super) counts: SentCounts,
}

impl ForwardFollower {
    /// Returns the command that lets this forward send again at once.
    fn retry_command(&self) -> String {
        // The state database is in the folder `.trailhose` of the destination.
        let dest = self.state.path().ancestors().nth(2).map(|dest| shell::word(&dest.to_string_lossy()));
        format!("trailhose forward retry {} --dest {}", self.sink.name(), dest.unwrap_or_default())
    }

    pub(super) fn new(
        sink: ForwardSink,
        state: Arc<StateDatabase>,
        policy: ForwardPolicy,
        phase: watch::Receiver<ForwardPhase>,
    ) -> Self {
        let follower = follower_name(sink.name());
        let too_large = sink.config.limits.bytes.saturating_add(1);
        let counts = SentCounts::default();
        Self { sink, follower, policy, state, phase, too_large, next_request: None, deadline: None, counts }
    }

    pub(super) fn forward(&self) -> &str {
        self.sink.name()
    }

    /// Sends the refused events that `trailhose forward retry` selected. An event that is refused again stays stored.
    pub(super) async fn send_refused_again(&mut self) -> Result<(), Unsent> {
        while let Some(refused) = self.state.next_retried_event(self.sink.name())? {
            let event =
                self.sink.prepare_event(&refused.content, || refused.event_id.clone()).map_err(Unsent::Stopped)?;
            // The ID is stored too. For an event without an event ID, it depends on a position that is not stored.
            let event = event.with_id(refused.event_id.clone());
            let is_accepted = self.send_alone(&event, &refused.batch).await?;
            if is_accepted {
                self.state.remove_refused(refused.number)?;
            }
        }
        Ok(())
    }

    /// Sends an event that was refused. Returns whether it is accepted.
    async fn send_alone(&mut self, event: &ForwardedEvent, batch: &str) -> Result<bool, Unsent> {
        let events = std::slice::from_ref(event);
        let (status, response) = loop {
            match self.settle(events).await? {
                Settled::Accepted => return Ok(true),
                Settled::TooLarge(response) => break (413, response),
                Settled::Refused(status, response) => break (status, response),
                Settled::PartlyRefused(response) => break (200, response),
                Settled::Items(mut items) => match items.pop() {
                    Some(ItemOutcome::Accepted) => return Ok(true),
                    Some(ItemOutcome::Refused { status, response }) => break (status, response),
                    // The failure is recorded, so the next request waits.
                    Some(ItemOutcome::Retry(_) | ItemOutcome::Blocked(_)) | None => {}
                },
            }
        };
        self.quarantine(event, batch.to_owned(), status, response, false)?;
        Ok(false)
    }

    /// Sends events until all are accepted or stored as refused.
    async fn send_all(&mut self, events: Vec<ForwardedEvent>) -> Result<(), Unsent> {
        // Batches that are not sent yet. The last one is sent next.
        let mut pending = vec![events];
        while let Some(events) = pending.pop() {
            if events.is_empty() {
                continue;
            }
            if events.len() > 1 && size(&events) >= self.too_large {
                halve(events, &mut pending);
                continue;
            }
            match self.settle(&events).await? {
                Settled::Accepted => {}
                Settled::TooLarge(_) if events.len() > 1 => {
                    self.too_large = self.too_large.min(size(&events));
                    halve(events, &mut pending);
                }
                Settled::Refused(..) if events.len() > 1 => halve(events, &mut pending),
                Settled::TooLarge(response) => self.quarantine_all(&events, 413, &response, true)?,
                Settled::Refused(status, response) => self.quarantine_all(&events, status, &response, true)?,
                Settled::PartlyRefused(response) => {
                    // Each such request counts as one refusal, because it is unknown which events are refused.
                    let (first, others) = events.split_at(1);
                    self.quarantine_all(first, 200, &response, true)?;
                    self.quarantine_all(others, 200, &response, false)?;
                }
                Settled::Items(items) => {
                    // A request that accepts an event shows that each refusal concerns a single event.
                    let is_limited = !items.contains(&ItemOutcome::Accepted);
                    let mut again = Vec::new();
                    for (event, item) in events.into_iter().zip(items) {
                        match item {
                            ItemOutcome::Accepted => {}
                            ItemOutcome::Retry(_) | ItemOutcome::Blocked(_) => again.push(event),
                            ItemOutcome::Refused { status, response } => {
                                let batch = batch_id(std::slice::from_ref(&event));
                                self.quarantine(&event, batch, status, response, is_limited)?;
                            }
                        }
                    }
                    pending.push(again);
                }
            }
        }
        Ok(())
    }

    fn quarantine_all(
        &mut self,
        events: &[ForwardedEvent],
        status: u16,
        response: &str,
        is_limited: bool,
    ) -> Result<(), Unsent> {
        for event in events {
            let batch = batch_id(std::slice::from_ref(event));
            self.quarantine(event, batch, status, response.to_owned(), is_limited)?;
        }
        Ok(())
    }

    /// Stores a refused event.
    ///
    /// `is_limited` applies [`ForwardPolicy::max_refusals`]: after this number of refused events without an accepted request,
    /// the next refused one is not stored. It opens the circuit, and the position is kept, because the destination probably
    /// refuses every event. `trailhose forward retry` starts the count again. Events that are stored already are not counted,
    /// so each retry stores further events.
    fn quarantine(
        &mut self,
        event: &ForwardedEvent,
        batch: String,
        status: u16,
        response: String,
        is_limited: bool,
    ) -> Result<(), Unsent> {
        let name = self.sink.name();
        let refusals = self.state.forward(name)?.unwrap_or_default().refusals;
        let is_limited = is_limited && !self.state.is_refused(name, &batch)?;
        if is_limited && refusals >= self.policy.max_refusals {
            let reason = format!(
                "status {status}: {response}: {refusals} events in a row were refused, so this one is sent again later. Correct the \
                 settings or the destination, then use `{}`",
                self.retry_command()
            );
            self.record_failure(None, &reason, true)?;
            return Err(Unsent::Stopped(reason));
        }
        let (event_id, content) = (event.id.clone(), event.original().to_vec());
        tracing::warn!(forward = name, event = event_id, status, "event refused and stored: {response}");
        let recorded = jiff::Timestamp::now().as_second();
        let refused =
            RefusedEvent { number: 0, batch, event_id, content, status, response, recorded, attempts: 1, retry: false };
        self.state.record_refused(name, &refused, is_limited)?;
        self.counts.refused += 1;
        Ok(())
    }

    /// Sends a batch until the destination accepts or refuses it, as a whole or event by event.
    async fn settle(&mut self, events: &[ForwardedEvent]) -> Result<Settled, Unsent> {
        let sink = self.sink.clone();
        let request = sink.build_request(events);
        loop {
            self.wait().await?;
            self.state.record_request(sink.name(), &request.id)?;
            let outcome = self.attempt(&sink, &request).await?;
            let (after, reason, opens_circuit) = match outcome {
                ForwardOutcome::Accepted => {
                    self.record_accepted(events.len())?;
                    return Ok(Settled::Accepted);
                }
                ForwardOutcome::Items(items) => {
                    let accepted = items.iter().filter(|item| **item == ItemOutcome::Accepted).count();
                    if accepted > 0 {
                        self.record_accepted(accepted)?;
                    }
                    let failed = items.iter().find_map(|item| match item {
                        ItemOutcome::Retry(reason) => Some((reason, false)),
                        ItemOutcome::Blocked(reason) => Some((reason, true)),
                        ItemOutcome::Accepted | ItemOutcome::Refused { .. } => None,
                    });
                    if let Some((reason, opens_circuit)) = failed {
                        self.record_failure(None, reason, opens_circuit)?;
                    }
                    return Ok(Settled::Items(items));
                }
                ForwardOutcome::TooLarge { response } => return Ok(Settled::TooLarge(response)),
                ForwardOutcome::Refused { status, response } => return Ok(Settled::Refused(status, response)),
                ForwardOutcome::PartlyRefused { response } => return Ok(Settled::PartlyRefused(response)),
                ForwardOutcome::Retry { after, reason } => (after, reason, false),
                ForwardOutcome::Blocked { reason } => (None, reason, true),
            };
            self.record_failure(after, &reason, opens_circuit)?;
        }
    }

    /// Sends a request once. After an interrupt, the response is awaited for at most [`ForwardPolicy::last_response`].
    async fn attempt(&mut self, sink: &ForwardSink, request: &ForwardRequest<'_>) -> Result<ForwardOutcome, Unsent> {
        let mut phase = self.phase.clone();
        let interrupted = async {
            // An error means that the sender was dropped: there is no interrupt.
            if phase.wait_for(|phase| *phase == ForwardPhase::Stop).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(self.policy.last_response).await;
        };
        tokio::select! {
            outcome = sink.send(request) => Ok(outcome),
            () = interrupted => Err(Unsent::Stopped("interrupted before the response; the batch is sent again".into())),
        }
    }

    fn record_accepted(&mut self, events: usize) -> Result<(), StateError> {
        self.counts.requests += 1;
        self.counts.events += events as u64;
        self.deadline = None;
        if let Some(rate) = self.sink.config.events_per_second {
            let now = Instant::now();
            let start = self.next_request.unwrap_or(now).max(now);
            self.next_request = Some(start + Duration::from_secs_f64(events as f64 / f64::from(rate)));
        }
        self.state.record_accepted(self.sink.name(), jiff::Timestamp::now().as_second())
    }

    fn record_failure(&mut self, after: Option<Duration>, reason: &str, opens_circuit: bool) -> Result<(), StateError> {
        let name = self.sink.name();
        let failures = self.state.forward(name)?.unwrap_or_default().failures;
        let policy = &self.policy;
        let wait = match opens_circuit || failures + 1 >= policy.failures_to_open {
            // An open circuit waits at least half of its time.
            true => {
                let number = (failures + 1).saturating_sub(policy.failures_to_open);
                policy.open.wait(number, 0.5 + fastrand::f64() / 2.0)
            }
            false => policy.retries.wait(failures, fastrand::f64()),
        };
        let wait = wait.max(after.unwrap_or_default());
        tracing::warn!(
            forward = name,
            "the request failed, the next attempt is in {:.1} s: {reason}",
            wait.as_secs_f64()
        );
        self.counts.failures += 1;
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        let until = jiff::Timestamp::now().as_millisecond().saturating_add(wait);
        self.state.record_forward_failure(name, until, reason)
    }

    /// Waits until a request may be sent.
    async fn wait(&mut self) -> Result<(), Unsent> {
        loop {
            let current = *self.phase.borrow();
            let stored = self.state.forward(self.sink.name())?.unwrap_or_default();
            let now = jiff::Timestamp::now().as_millisecond();
            let retry_wait = remaining_wait(stored.wait_until, now, self.policy.longest_wait());
            let rate_wait =
                self.next_request.map_or(Duration::ZERO, |next| next.saturating_duration_since(Instant::now()));
            if current == ForwardPhase::Stop {
                return Err(Unsent::Stopped("interrupted".into()));
            }
            if !stored.paused && retry_wait.max(rate_wait).is_zero() {
                return Ok(());
            }
            if current == ForwardPhase::Drain {
                let last = self.policy.last_retries;
                let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + last);
                if stored.paused {
                    return Err(Unsent::Stopped("the forward is paused".into()));
                }
                if Instant::now() + retry_wait > deadline {
                    let error = stored.error.unwrap_or_else(|| "the destination fails".into());
                    let command = self.retry_command();
                    let until = jiff::Timestamp::from_millisecond(stored.wait_until);
                    let until = until.map(|at| at.strftime("%FT%TZ").to_string()).unwrap_or_default();
                    return Err(Unsent::Stopped(format!(
                        "{error}. Nothing is sent before {until}, except after `{command}`"
                    )));
                }
            }
            let wait = if stored.paused { POLL } else { retry_wait.max(rate_wait).min(POLL) };
            let _ = tokio::time::timeout(wait, self.phase.changed()).await;
        }
    }
}

/// Appends the halves of a batch, so that the first half is sent first. A batch always has the same halves, so the IDs of
/// the halves are the same too.
fn halve(mut events: Vec<ForwardedEvent>, pending: &mut Vec<Vec<ForwardedEvent>>) {
    let second = events.split_off(events.len().div_ceil(2));
    pending.push(second);
    pending.push(events);
}

#[async_trait]
impl Follower for ForwardFollower {
    fn name(&self) -> &str {
        &self.follower
    }

    fn limits(&self) -> BatchLimits {
        let BatchLimits { events, bytes } = self.sink.config.limits;
        // A batch also contains a separator for each event.
        BatchLimits { events, bytes: bytes.saturating_sub(events + 2).max(bytes / 2) }
    }

    fn filter(&self) -> Filter {
        self.sink.config.filter.clone()
    }

    async fn deliver(&mut self, batch: &EventBatch) -> Result<(), String> {
        let files: HashMap<i64, &str> = batch.files.iter().map(|(number, path)| (*number, path.as_str())).collect();
        let mut events = Vec::with_capacity(batch.events.len());
        for (event, bytes) in batch.iter() {
            let position = || {
                let path = files.get(&event.file).copied().unwrap_or_default();
                format!("{path}:{}:{}", event.position.member, event.position.offset)
            };
            events.push(self.sink.prepare_event(bytes, position)?);
        }
        self.send_all(events).await.map_err(Unsent::reason)
    }
}
