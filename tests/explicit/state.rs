//! One state, and when two are one.

use super::attempt::Attempt;
use super::ground::Ground;
use super::wire::Call;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use trailhose::ledger::model::row::Status;

/// What the ledger holds, what arrived, the answers each worker got, and the time.
#[derive(Debug, Clone)]
pub struct State {
    pub ground: Arc<Ground>,
    /// How often each event arrived.
    pub arrived: Vec<u8>,
    pub workers: Vec<Worker>,
    pub now: i64,
    pub faults: u8,
    /// Of the scene's leaps, those that happened.
    pub leapt: u8,
    pub sweeps: u8,
    pub vanishes: u8,
    pub forgets: u8,
    /// Of the objects, those no longer in the bucket.
    pub gone: u8,
    pub returns: u8,
    /// A worker may have outlived its lease, a page its time, or a person has an object forgotten: repeats are not
    /// bounded.
    pub unbounded: bool,
    /// What the store could forget, or could not be relied on for its age.
    pub forgotten: bool,
    pub broken: Option<(u8, Arc<str>)>,
}

/// Where a message's worker stands.
#[derive(Debug, Clone)]
pub enum Worker {
    /// At work.
    At(Arc<Attempt>),
    /// Its message is hidden until this time is over.
    Hidden(i64),
    /// Its message is gone.
    Acknowledged,
}

impl Worker {
    pub fn waits(&self) -> &[(usize, Call)] {
        match self {
            Self::At(attempt) => attempt.waits(),
            _ => &[],
        }
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hash: &mut H) {
        (self.ground.hash, &self.arrived, self.now, self.faults, self.leapt, self.sweeps, self.vanishes).hash(hash);
        (self.forgets, self.gone, self.returns, self.unbounded, self.forgotten).hash(hash);
        self.broken.as_ref().map(|(law, _)| law).hash(hash);
        for worker in &self.workers {
            match worker {
                Worker::At(attempt) => (0, attempt.key).hash(hash),
                Worker::Hidden(until) => (1, until).hash(hash),
                Worker::Acknowledged => 2.hash(hash),
            }
        }
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let hash = |state: &Self| {
            let mut hash = std::hash::DefaultHasher::new();
            state.hash(&mut hash);
            hash.finish()
        };
        hash(self) == hash(other)
    }
}

impl State {
    pub fn call(&self, worker: u8, slot: usize) -> (&Attempt, &Call) {
        let Worker::At(attempt) = &self.workers[worker as usize] else { panic!("worker {worker} is not at work") };
        let call = attempt.waits().iter().find(|(number, _)| *number == slot).expect("a call that waits");
        (attempt, &call.1)
    }

    pub fn has(&self, status: Status) -> bool {
        self.ground.kept().rows.values().any(|row| row.status == status)
    }

    pub fn is_over(&self) -> bool {
        self.workers.iter().all(|worker| matches!(worker, Worker::Acknowledged))
    }

    pub fn repeats(&self) -> usize {
        self.arrived.iter().map(|copies| usize::from(copies.saturating_sub(1))).sum()
    }
}
