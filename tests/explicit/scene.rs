//! A scenario: the objects, the workers, and the faults and events that may occur.

use crate::world::check::events_of;
use crate::world::{event, key, plain_log};
use std::collections::HashMap;
use trailhose::event::EventId;
use trailhose::ingest::LEASE_MARGIN;
use trailhose::ledger::model::page::CAPACITY;
use trailhose::object::{ObjectId, ObjectRef};
use trailhose::pack::{LinesPerRecord, PackLimits};

/// Longer than the lease of any worker, in seconds.
pub const LEASE: i64 = LEASE_MARGIN + 40;

/// A scenario to explore.
#[derive(Debug, Clone)]
pub struct Scene {
    pub objects: Vec<ObjectRef>,
    pub bytes: Vec<Vec<u8>>,
    pub ids: Vec<ObjectId>,
    pub events: HashMap<ObjectId, Vec<EventId>>,
    /// The line and the ID of every event.
    pub lines: Vec<(String, EventId)>,
    /// The objects of each worker's message. One process works on all objects of a message concurrently.
    pub notices: Vec<Vec<usize>>,
    pub lines_per_call: usize,
    pub page_bytes: usize,
    pub keep: i64,
    /// How many calls may fail, lose their reply, or end in a crash.
    pub faults: u8,
    /// How many calls may be acknowledged in part. Each line is then a record of its own.
    pub partials: u8,
    /// How many writes may take effect late, after their sender's next calls: instead of in time, or a second time.
    pub lates: u8,
    /// Time jumps in seconds. Each may occur once, also while workers are active.
    pub clock_jumps: Vec<i64>,
    /// Whether time jumps only while no attempt is in progress: for jumps of days, which no attempt outlasts.
    pub jumps_only_when_idle: bool,
    /// How often the store may delete expired items.
    pub sweeps: u8,
    /// How often the first object may be deleted from its bucket.
    pub deletions: u8,
    /// How often the user may reset an object and send its notification.
    pub resets: u8,
    /// Whether concurrent calls of a worker reach the ledger in the order in which it makes them.
    pub in_order: bool,
    /// What must occur on some path.
    pub goals: Vec<Goal>,
}

/// A situation that a scenario must reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// A worker waits for a lease to end.
    Deferred,
    /// A helper delivered an event and marked it as delivered.
    Marked,
    /// A page is full.
    Spilled,
    /// One write contains the claims of two objects.
    ClaimsMerged,
    /// A worker moves its cursor back.
    CursorReset,
    /// A row is settled.
    Settled,
    /// An object is quarantined.
    Quarantined,
    /// An event was delivered twice.
    Repeated,
    /// A row has acknowledged ordinals after its cursor.
    Acknowledged,
    /// An entry of an object that needs one call has an ordinal.
    Numbered,
}

impl Scene {
    /// Creates a scenario with one worker per object and `lines_per_call` events per sink call.
    pub fn new(lines_per_call: usize, files: &[Vec<String>]) -> Self {
        let (mut objects, mut bytes, mut events, mut lines) = (Vec::new(), Vec::new(), HashMap::new(), Vec::new());
        for (number, file) in files.iter().enumerate() {
            let log = plain_log(file);
            let at = ObjectRef::new("logs", key(&format!("object{number}"))).with_version("e", log.len() as u64);
            let mut ids = Vec::new();
            for (line, id) in events_of(&log).unwrap() {
                ids.push(id);
                if !lines.contains(&(line.clone(), id)) {
                    lines.push((line, id));
                }
            }
            events.insert(at.object().unwrap().id(), ids);
            objects.push(at);
            bytes.push(log);
        }
        let ids = objects.iter().map(|at: &ObjectRef| at.object().unwrap().id()).collect();
        let notices = (0..objects.len()).map(|object| vec![object]).collect();
        Self {
            ids,
            objects,
            bytes,
            events,
            lines,
            notices,
            lines_per_call,
            page_bytes: CAPACITY,
            keep: 10 * 86_400,
            faults: 0,
            partials: 0,
            lates: 0,
            clock_jumps: Vec::new(),
            jumps_only_when_idle: false,
            sweeps: 0,
            deletions: 0,
            resets: 0,
            in_order: false,
            goals: Vec::new(),
        }
    }

    /// Replaces the messages: each contains the notifications of these objects.
    pub fn announced(self, notices: &[&[usize]]) -> Self {
        Self { notices: notices.iter().map(|objects| objects.to_vec()).collect(), ..self }
    }

    /// Returns the limits of the sink.
    pub fn limits(&self) -> PackLimits {
        let line = event(1).len() + 1;
        PackLimits {
            record_bytes: 100 * line,
            call_records: 1000,
            call_bytes: self.lines_per_call * line,
            lines: if self.partials > 0 { LinesPerRecord::One } else { LinesPerRecord::Many },
        }
    }
}

/// Whether to explore the scenarios that take too long for CI.
pub fn all() -> bool {
    match std::env::var_os("TRAILHOSE_EXPLORE") {
        None => false,
        Some(scope) if scope == "all" => true,
        // A misspelled value must not select the small exploration.
        Some(scope) => panic!("TRAILHOSE_EXPLORE={}: expected all", scope.display()),
    }
}
