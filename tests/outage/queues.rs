//! A model of SQS standard queues with a virtual clock: visibility, delays, receive counts, retention, dead-letter queues
//! and the limit of messages in flight. There is no emulator whose clock a test can advance.

use async_trait::async_trait;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trailhose::notification::Message;
use trailhose::queue::{OutgoingMessage, Queue, QueueError, Target, queue_name};

/// The virtual clock: the time since the start.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    /// The time at the start, in seconds since 1970: 2026-11-01T00:00:00Z.
    const START: i64 = 1_793_491_200;

    pub fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }

    pub fn set(&self, now: Duration) {
        self.0.store(u64::try_from(now.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// A time in seconds since 1970.
    pub fn seconds(time: Duration) -> i64 {
        Self::START + i64::try_from(time.as_secs()).unwrap()
    }
}

/// The settings of a queue.
#[derive(Debug, Clone)]
pub struct Settings {
    pub visibility_timeout: Duration,
    pub retention: Duration,
    /// The maximum number of receives, and the dead-letter queue.
    pub redrive: Option<(u32, &'static str)>,
    /// The maximum number of messages in flight.
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html>
    pub in_flight: usize,
}

#[derive(Debug, Clone)]
struct Stored {
    id: u64,
    body: String,
    sent: Duration,
    first_seen: Option<i64>,
    source: Option<String>,
    reason: Option<String>,
    receives: u32,
}

#[derive(Debug)]
struct QueueState {
    settings: Settings,
    visible: VecDeque<Stored>,
    hidden: BTreeMap<(Duration, u64), Stored>,
    delayed: BTreeMap<(Duration, u64), Stored>,
    /// When each hidden message becomes visible.
    until: HashMap<u64, Duration>,
}

/// The queues.
#[derive(Debug)]
pub struct Queues {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<&'static str, QueueState>,
    next_id: u64,
    stats: Stats,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    pub receives: u64,
    pub most_receives: u32,
    pub most_in_flight: usize,
    /// Messages deleted because of their age. They are lost.
    pub expired: u64,
}

impl Queues {
    pub fn new(clock: Clock, queues: impl IntoIterator<Item = (&'static str, Settings)>) -> Self {
        let queue = |settings| QueueState {
            settings,
            visible: VecDeque::new(),
            hidden: BTreeMap::new(),
            delayed: BTreeMap::new(),
            until: HashMap::new(),
        };
        let queues = queues.into_iter().map(|(name, settings)| (name, queue(settings))).collect();
        let state = Mutex::new(State { queues, ..State::default() });
        Self { clock, state }
    }

    pub fn stats(&self) -> Stats {
        self.state.lock().unwrap().stats
    }

    /// The number of messages in a queue, in all states.
    pub fn len(&self, queue: &str) -> usize {
        let state = self.state.lock().unwrap();
        let queue = &state.queues[queue];
        queue.visible.len() + queue.hidden.len() + queue.delayed.len()
    }

    /// The reasons of the messages in a queue.
    pub fn reasons(&self, queue: &str) -> Vec<Option<String>> {
        self.state.lock().unwrap().queues[queue].visible.iter().map(|stored| stored.reason.clone()).collect()
    }

    pub fn push(&self, queue: &str, body: &str) {
        let message = OutgoingMessage { body, ..OutgoingMessage::default() };
        self.state.lock().unwrap().push(self.clock.now(), queue, &message);
    }

    /// Receives up to ten messages.
    pub fn receive(&self, queue: &'static str) -> Vec<Message> {
        let stored = self.state.lock().unwrap().receive(self.clock.now(), queue);
        let message = |stored: Stored| Message {
            id: stored.id.to_string(),
            receipt_handle: stored.id.to_string(),
            body: stored.body,
            receive_count: stored.receives,
            queue_arn: format!("arn:aws:sqs:eu-west-1:111122223333:{queue}"),
            sent_at: Some(Clock::seconds(stored.sent)),
            first_seen_attribute: stored.first_seen,
            source_attribute: stored.source,
        };
        stored.into_iter().map(message).collect()
    }

    pub fn delete(&self, queue: &str, id: &str) {
        let mut state = self.state.lock().unwrap();
        let queue = state.queues.get_mut(queue).unwrap();
        let id = id.parse().unwrap();
        if let Some(until) = queue.until.remove(&id) {
            queue.hidden.remove(&(until, id));
        }
    }
}

impl State {
    fn push(&mut self, now: Duration, queue: &str, message: &OutgoingMessage<'_>) {
        self.next_id += 1;
        let stored = Stored {
            id: self.next_id,
            body: message.body.to_owned(),
            sent: now,
            first_seen: message.first_seen,
            source: message.source_arn.map(str::to_owned),
            reason: message.reason.map(str::to_owned),
            receives: 0,
        };
        let queue = self.queues.get_mut(queue).unwrap_or_else(|| panic!("no queue {queue}"));
        if message.delay.is_zero() {
            queue.visible.push_back(stored);
        } else {
            queue.delayed.insert((now + message.delay, stored.id), stored);
        }
    }

    fn receive(&mut self, now: Duration, name: &'static str) -> Vec<Stored> {
        let queue = self.queues.get_mut(name).unwrap();
        while let Some(entry) = queue.delayed.first_entry().filter(|entry| entry.key().0 <= now) {
            queue.visible.push_back(entry.remove());
        }
        while let Some(entry) = queue.hidden.first_entry().filter(|entry| entry.key().0 <= now) {
            queue.until.remove(&entry.key().1);
            queue.visible.push_back(entry.remove());
        }
        let (mut received, mut dead) = (Vec::new(), Vec::new());
        while received.len() < 10 && queue.hidden.len() < queue.settings.in_flight {
            let Some(mut stored) = queue.visible.pop_front() else { break };
            if now.saturating_sub(stored.sent) > queue.settings.retention {
                self.stats.expired += 1;
                continue;
            }
            if let Some((most, target)) = queue.settings.redrive
                && stored.receives >= most
            {
                dead.push((target, stored));
                continue;
            }
            stored.receives += 1;
            self.stats.receives += 1;
            self.stats.most_receives = self.stats.most_receives.max(stored.receives);
            let until = now + queue.settings.visibility_timeout;
            queue.until.insert(stored.id, until);
            queue.hidden.insert((until, stored.id), stored.clone());
            received.push(stored);
        }
        self.stats.most_in_flight = self.stats.most_in_flight.max(queue.hidden.len());
        for (target, stored) in dead {
            // SQS keeps the time of the original message.
            self.queues.get_mut(target).unwrap().visible.push_back(stored);
        }
        received
    }
}

#[async_trait]
impl Queue for Queues {
    async fn hide(&self, message: &Message, time: Duration) -> Result<(), QueueError> {
        let mut state = self.state.lock().unwrap();
        let queue = state.queues.get_mut(queue_name(&message.queue_arn)).unwrap();
        let id: u64 = message.receipt_handle.parse().unwrap();
        let before = queue.until.remove(&id).ok_or_else(|| QueueError(format!("{id} is not in flight")))?;
        let stored = queue.hidden.remove(&(before, id)).unwrap();
        let until = self.clock.now() + time;
        queue.until.insert(id, until);
        queue.hidden.insert((until, id), stored);
        Ok(())
    }

    async fn send(&self, target: Target<'_>, message: &OutgoingMessage<'_>) -> Result<(), QueueError> {
        let queue = match target {
            Target::Url(url) => queue_name(url),
            Target::SourceOf(source) => source.map_or("ingest", |source| queue_name(&source.queue_arn)),
        };
        self.state.lock().unwrap().push(self.clock.now(), queue, message);
        Ok(())
    }
}
