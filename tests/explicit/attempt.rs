//! One attempt of a worker: what it was answered so far, and what it waits for next.
//!
//! A worker is deterministic given the answers it got, so its answers *are* its state. What it does next is found by
//! running the code from the start on them. Equal histories are run once.

use super::Scene;
use super::wire::{Call, Reply, Wire};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::time::Instant;
use trailhose::decode;
use trailhose::event::filter::Filter;
use trailhose::ingest::{Deadline, Deferred, Ingest, KeyPolicy, Outcome};
use trailhose::ledger::Ledger;

use crate::world::check::check_report;

/// An answer, to which of the attempt's calls, and when.
#[derive(Debug)]
struct Answered {
    slot: usize,
    reply: Reply,
    now: i64,
}

/// See the module.
#[derive(Debug)]
pub struct Attempt {
    /// Equal for equal histories.
    pub key: u64,
    worker: u8,
    started: i64,
    history: Vec<Arc<Answered>>,
    pub standing: Standing,
}

/// Where an attempt stands.
#[derive(Debug)]
pub enum Standing {
    /// It waits for one of these.
    Waits(Vec<(usize, Call)>),
    /// The message is acknowledged.
    Acknowledged,
    /// The message comes back once this time is over.
    Deferred(i64),
    /// The message comes back at any time.
    Failed,
    /// It ended as it must not.
    Wrong(String),
}

/// The attempts met so far.
#[derive(Debug, Default)]
pub struct Attempts {
    met: Mutex<HashMap<u64, Arc<Attempt>>>,
}

impl Attempts {
    /// How many attempts, in how many states, were run.
    pub fn len(&self) -> usize {
        self.met.lock().unwrap().len()
    }

    /// A worker that takes its message now.
    pub fn start(&self, scene: &Scene, worker: u8, now: i64) -> Arc<Attempt> {
        self.meet(scene, worker, now, Vec::new())
    }

    /// An attempt that was answered once more.
    pub fn answer(&self, scene: &Scene, attempt: &Attempt, slot: usize, reply: Reply, now: i64) -> Arc<Attempt> {
        let mut history = attempt.history.clone();
        history.push(Arc::new(Answered { slot, reply, now }));
        self.meet(scene, attempt.worker, attempt.started, history)
    }

    fn meet(&self, scene: &Scene, worker: u8, started: i64, history: Vec<Arc<Answered>>) -> Arc<Attempt> {
        let mut key = DefaultHasher::new();
        (worker, started).hash(&mut key);
        for answered in &history {
            (answered.slot, answered.reply.hash(), answered.now).hash(&mut key);
        }
        let key = key.finish();
        if let Some(met) = self.met.lock().unwrap().get(&key) {
            return Arc::clone(met);
        }
        let standing = run(scene, worker, started, &history);
        let attempt = Arc::new(Attempt { key, worker, started, history, standing });
        self.met.lock().unwrap().insert(key, Arc::clone(&attempt));
        attempt
    }
}

impl Attempt {
    /// Whether nothing of it was answered: it may as well begin later.
    pub fn is_fresh(&self) -> bool {
        self.history.is_empty()
    }

    pub fn waits(&self) -> &[(usize, Call)] {
        match &self.standing {
            Standing::Waits(calls) => calls,
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

/// The real code on these answers.
fn run(scene: &Scene, worker: u8, started: i64, history: &[Arc<Answered>]) -> Standing {
    let objects = &scene.notices[worker as usize];
    let bytes = objects.iter().map(|&object| (scene.objects[object].key.clone(), scene.bytes[object].clone()));
    let wire = Arc::new(Wire::new(worker, bytes.collect(), scene.limits(), scene.vanishes > 0, started));
    let clock = Arc::clone(&wire);
    let ledger = Ledger::new(Arc::clone(&wire) as _, Arc::new(move || clock.now()), scene.keep);
    let ingest = Ingest {
        source: Arc::clone(&wire) as _,
        ledger: ledger.with_page_bytes(scene.page_bytes),
        sink: Arc::clone(&wire) as _,
        limits: decode::DecodeLimits::default(),
        filter: Filter::default(),
        chunk_bytes: 1 << 20,
        max_buffered_bytes: 1 << 20,
        key_policy: KeyPolicy::CloudTrailLogs,
    };
    // The invocation ends at once by the machine's clock, which no replay may depend on; the lease's margin remains.
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
    for answered in history {
        assert!(ended.is_none(), "the code ended otherwise than in the replay before");
        wire.answer(answered.slot, answered.reply.clone(), answered.now);
        ended = poll();
    }
    match ended {
        None => Standing::Waits(wire.waiting()),
        Some(outcomes) => outcomes.into_iter().map(standing).fold(Standing::Acknowledged, Standing::and),
    }
}

fn standing(outcome: Outcome) -> Standing {
    match outcome {
        Outcome::Done(report) => match check_report(&report) {
            Ok(()) => Standing::Acknowledged,
            Err(violation) => Standing::Wrong(violation),
        },
        Outcome::AlreadyDone | Outcome::Quarantined(_) => Standing::Acknowledged,
        Outcome::Deferred(Deferred::Leased { until } | Deferred::OwnerInProgress { until }) => {
            Standing::Deferred(until)
        }
        Outcome::Failed(_) => Standing::Failed,
        other => Standing::Wrong(format!("{other:?}")),
    }
}

impl Standing {
    /// What becomes of a message of several objects: it comes back as a whole.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Wrong(violation), _) | (_, Self::Wrong(violation)) => Self::Wrong(violation),
            (Self::Failed, _) | (_, Self::Failed) => Self::Failed,
            (Self::Deferred(one), Self::Deferred(other)) => Self::Deferred(one.max(other)),
            (Self::Deferred(until), _) | (_, Self::Deferred(until)) => Self::Deferred(until),
            _ => Self::Acknowledged,
        }
    }
}
