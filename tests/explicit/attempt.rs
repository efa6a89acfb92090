//! One attempt of a worker: the replies that it has received, and the calls that it waits for.
//!
//! A worker is deterministic, so its replies determine its state. To find its next calls, the code is replayed from the
//! start with these replies. Equal histories are replayed once.

use super::Scene;
use super::wire::{Reply, SinkCall, Wire};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use trailhose::decode;
use trailhose::event::filter::Filter;
use trailhose::ingest::{Deadline, Deferred, Ingest, KeyPolicy, Outcome};
use trailhose::ledger::Ledger;

use crate::world::check::check_report;

/// A reply, the call that it belongs to, and its time.
#[derive(Debug)]
struct TimedReply {
    slot: usize,
    reply: Reply,
    now: i64,
}

/// One attempt, replayed.
#[derive(Debug)]
pub struct Attempt {
    /// Equal for equal histories.
    pub key: u64,
    worker: u8,
    started: i64,
    history: Vec<Arc<TimedReply>>,
    pub progress: AttemptProgress,
}

/// The progress of an attempt.
#[derive(Debug)]
pub enum AttemptProgress {
    /// It waits for a reply to one of these calls.
    Waits(Vec<(usize, SinkCall)>),
    /// The message is acknowledged.
    Acknowledged,
    /// The message becomes visible after this time.
    Deferred(i64),
    /// The message may become visible at any time.
    Failed,
    /// It ended in a way that is an error.
    Invalid(String),
}

/// All attempts that were replayed.
#[derive(Debug, Default)]
pub struct Attempts {
    known: Mutex<HashMap<u64, Arc<Attempt>>>,
}

impl Attempts {
    /// Returns the number of replayed attempts.
    pub fn len(&self) -> usize {
        self.known.lock().unwrap().len()
    }

    /// Returns the attempt of a worker that receives its message at this time.
    pub fn start(&self, scene: &Scene, worker: u8, now: i64) -> Arc<Attempt> {
        self.get_or_run(scene, worker, now, Vec::new())
    }

    /// Returns the attempt after one more reply.
    pub fn answer(&self, scene: &Scene, attempt: &Attempt, slot: usize, reply: Reply, now: i64) -> Arc<Attempt> {
        let mut history = attempt.history.clone();
        history.push(Arc::new(TimedReply { slot, reply, now }));
        self.get_or_run(scene, attempt.worker, attempt.started, history)
    }

    fn get_or_run(&self, scene: &Scene, worker: u8, started: i64, history: Vec<Arc<TimedReply>>) -> Arc<Attempt> {
        let mut key = DefaultHasher::new();
        (worker, started).hash(&mut key);
        for timed_reply in &history {
            (timed_reply.slot, timed_reply.reply.hash(), timed_reply.now).hash(&mut key);
        }
        let key = key.finish();
        if let Some(attempt) = self.known.lock().unwrap().get(&key) {
            return Arc::clone(attempt);
        }
        let progress = run(scene, worker, started, &history);
        let attempt = Arc::new(Attempt { key, worker, started, history, progress });
        self.known.lock().unwrap().insert(key, Arc::clone(&attempt));
        attempt
    }
}

impl Attempt {
    /// Whether the attempt has received no reply, so that it could also start later.
    pub fn is_fresh(&self) -> bool {
        self.history.is_empty()
    }

    pub fn waits(&self) -> &[(usize, SinkCall)] {
        match &self.progress {
            AttemptProgress::Waits(calls) => calls,
            _ => &[],
        }
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The runtime of the workers' timers. No timer expires, because no replay waits.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());

/// Replays the real code with these replies.
fn run(scene: &Scene, worker: u8, started: i64, history: &[Arc<TimedReply>]) -> AttemptProgress {
    let _inside = RUNTIME.enter();
    let objects = &scene.notices[worker as usize];
    let bytes = objects.iter().map(|&object| (scene.objects[object].key.clone(), scene.bytes[object].clone()));
    let wire = Arc::new(Wire::new(worker, bytes.collect(), scene.limits(), scene.deletions > 0, started));
    let clock = Arc::clone(&wire);
    let ledger = Ledger::new(Arc::clone(&wire) as _, Arc::new(move || clock.now()), scene.keep);
    let ingest = Ingest {
        source: Arc::clone(&wire) as _,
        ledger: ledger.with_page_bytes(scene.page_bytes).without_write_waits(),
        sink: Arc::clone(&wire) as _,
        limits: decode::DecodeLimits::default(),
        filter: Filter::default(),
        chunk_bytes: 1 << 20,
        max_buffered_bytes: 1 << 20,
        key_policy: KeyPolicy::CloudTrailLogs,
    };
    // The invocation has no time left by the system clock, so no replay depends on it. The lease margin remains.
    let now = Instant::now();
    let deadline = Deadline { stop: now + Duration::from_secs(86_400), end: now };
    let mut attempt = pin!(join_all(objects.iter().map(|&object| ingest.object(&scene.objects[object], deadline))));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut poll = || loop {
        if let Poll::Ready(outcomes) = attempt.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(outcomes);
        }
        if !woken.0.swap(false, Ordering::SeqCst) {
            return None;
        }
    };
    let mut ended = poll();
    for timed_reply in history {
        assert!(ended.is_none(), "the code is not deterministic: it ended earlier than in the previous replay");
        wire.answer(timed_reply.slot, timed_reply.reply.clone(), timed_reply.now);
        ended = poll();
    }
    match ended {
        None => AttemptProgress::Waits(wire.waiting()),
        Some(outcomes) => outcomes.into_iter().map(progress).fold(AttemptProgress::Acknowledged, AttemptProgress::and),
    }
}

fn progress(outcome: Outcome) -> AttemptProgress {
    match outcome {
        Outcome::Done(report) => match check_report(&report) {
            Ok(()) => AttemptProgress::Acknowledged,
            Err(violation) => AttemptProgress::Invalid(violation),
        },
        Outcome::AlreadyDone | Outcome::Quarantined(_) => AttemptProgress::Acknowledged,
        Outcome::Deferred(Deferred::Leased { until } | Deferred::OwnerInProgress { until }) => {
            AttemptProgress::Deferred(until)
        }
        Outcome::Failed(_) => AttemptProgress::Failed,
        other => AttemptProgress::Invalid(format!("{other:?}")),
    }
}

impl AttemptProgress {
    /// Combines the results of two objects of one message, which becomes visible again if one of them is not done.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Invalid(violation), _) | (_, Self::Invalid(violation)) => Self::Invalid(violation),
            (Self::Failed, _) | (_, Self::Failed) => Self::Failed,
            (Self::Deferred(one), Self::Deferred(other)) => Self::Deferred(one.max(other)),
            (Self::Deferred(until), _) | (_, Self::Deferred(until)) => Self::Deferred(until),
            _ => Self::Acknowledged,
        }
    }
}
