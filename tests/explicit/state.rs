//! One state, and the equality of states.

use super::attempt::Attempt;
use super::ledger_state::LedgerState;
use super::wire::SinkCall;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use trailhose::ledger::model::row::Status;

/// The ledger, the delivered events, the replies of each worker, and the time.
#[derive(Debug, Clone)]
pub struct State {
    pub ledger: Arc<LedgerState>,
    /// How many times each event was delivered.
    pub arrived: Vec<u8>,
    pub workers: Vec<Worker>,
    pub now: i64,
    pub faults: u8,
    pub partials: u8,
    pub lates: u8,
    /// A write that will take effect late.
    pub late: Option<Arc<SinkCall>>,
    /// The time jumps that have occurred, as a bit set.
    pub jumped: u8,
    pub sweeps: u8,
    pub deletions: u8,
    pub resets: u8,
    /// The objects that are no longer in the bucket, as a bit set.
    pub deleted: u8,
    pub returns: u8,
    /// A lease or a page may have expired in use, or the user has reset an object: repeats are not limited.
    pub unbounded: bool,
    /// Whether items of the ledger may have expired.
    pub may_have_expired: bool,
    pub broken: Option<(u8, Arc<str>)>,
}

/// The state of a message's worker.
#[derive(Debug, Clone)]
pub enum Worker {
    /// The worker is active.
    At(Arc<Attempt>),
    /// The message is hidden until this time.
    Hidden(i64),
    /// The message is deleted.
    Acknowledged,
}

impl Worker {
    pub fn waits(&self) -> &[(usize, SinkCall)] {
        match self {
            Self::At(attempt) => attempt.waits(),
            _ => &[],
        }
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hash: &mut H) {
        (self.ledger.hash, &self.arrived, self.now, self.faults, self.jumped, self.sweeps, self.deletions).hash(hash);
        (self.partials, self.lates, self.late.as_ref().map(|call| call.hash())).hash(hash);
        (self.resets, self.deleted, self.returns, self.unbounded, self.may_have_expired).hash(hash);
        self.broken.as_ref().map(|(number, _)| number).hash(hash);
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
    pub fn call(&self, worker: u8, slot: usize) -> (&Attempt, &SinkCall) {
        let Worker::At(attempt) = &self.workers[worker as usize] else { panic!("worker {worker} is not active") };
        let call = attempt.waits().iter().find(|(number, _)| *number == slot).expect("a call that waits");
        (attempt, &call.1)
    }

    pub fn has(&self, status: Status) -> bool {
        self.ledger.contents().rows.values().any(|row| row.status == status)
    }

    pub fn is_over(&self) -> bool {
        self.workers.iter().all(|worker| matches!(worker, Worker::Acknowledged))
    }

    pub fn repeats(&self) -> usize {
        self.arrived.iter().map(|copies| usize::from(copies.saturating_sub(1))).sum()
    }
}
