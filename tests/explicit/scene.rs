//! A scene: who works on what, and what may happen to them.

use crate::world::{event, key, plain_log};
use std::collections::HashMap;
use trailhose::decode::{DecodeLimits, EventReader};
use trailhose::event::EventId;
use trailhose::ingest::LEASE_MARGIN;
use trailhose::ledger::model::page::CAPACITY;
use trailhose::object::{ObjectId, ObjectRef};
use trailhose::pack::{LinesPerRecord, PackLimits};

/// Longer than any lease of a worker here.
pub const LEASE: i64 = LEASE_MARGIN + 40;

/// Who works on what, and what may happen to them.
#[derive(Debug, Clone)]
pub struct Scene {
    pub objects: Vec<ObjectRef>,
    pub bytes: Vec<Vec<u8>>,
    pub ids: Vec<ObjectId>,
    pub events: HashMap<ObjectId, Vec<EventId>>,
    /// Every event: its line, and its identity.
    pub lines: Vec<(String, EventId)>,
    /// The objects of each worker's message. Those of one message are worked on at once, in one process.
    pub notices: Vec<Vec<usize>>,
    pub lines_per_call: usize,
    pub page_bytes: usize,
    pub keep: i64,
    /// Calls that may be refused, lose their reply, or be a worker's last.
    pub faults: u8,
    /// Leaps of time that may happen, each once, whoever is at work.
    pub leaps: Vec<i64>,
    /// How often the store may delete what it may forget.
    pub sweeps: u8,
    /// How often an object, the first, may be deleted from its bucket.
    pub vanishes: u8,
    /// How often a person may have an object forgotten, and announce it.
    pub forgets: u8,
    /// Whether calls that a worker makes at once reach the ledger in the order in which it made them.
    pub in_order: bool,
    /// What must be seen on some way.
    pub sights: Vec<Sight>,
}

/// What a scene is there to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// A worker waits for a lease to end.
    PutOff,
    /// An event was delivered and marked in its owner's stead.
    Marked,
    /// A page is full.
    Spilled,
    /// One write claims for two objects.
    TakenAlong,
    /// A worker takes its cursor back.
    Reopened,
    /// A row is settled.
    Settled,
    /// An object is set aside.
    Quarantined,
    /// An event arrived twice.
    Repeated,
}

impl Scene {
    /// One worker an object; the sink takes so many events a call.
    pub fn new(lines_per_call: usize, files: &[Vec<String>]) -> Self {
        let (mut objects, mut bytes, mut events, mut lines) = (Vec::new(), Vec::new(), HashMap::new(), Vec::new());
        for (number, file) in files.iter().enumerate() {
            let log = plain_log(file);
            let at = ObjectRef::new("logs", key(&format!("object{number}"))).with_version("e", log.len() as u64);
            let (mut ids, mut read) = (Vec::new(), EventReader::new(&log, DecodeLimits::default()));
            while let Some(event) = read.next().unwrap() {
                ids.push(event.id);
                let line = String::from_utf8(event.line.to_vec()).unwrap();
                if !lines.contains(&(line.clone(), event.id)) {
                    lines.push((line, event.id));
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
            leaps: Vec::new(),
            sweeps: 0,
            vanishes: 0,
            forgets: 0,
            in_order: false,
            sights: Vec::new(),
        }
    }

    /// These objects' notifications instead of one each, a message after the other.
    pub fn announced(self, notices: &[&[usize]]) -> Self {
        Self { notices: notices.iter().map(|objects| objects.to_vec()).collect(), ..self }
    }

    /// What the sink takes a call.
    pub fn limits(&self) -> PackLimits {
        let line = event(1).len() + 1;
        PackLimits {
            record_bytes: 100 * line,
            call_records: 1000,
            call_bytes: self.lines_per_call * line,
            lines: LinesPerRecord::Packed,
        }
    }
}

/// Whether more is to be explored than a build machine has time for.
pub fn all() -> bool {
    std::env::var_os("TRAILHOSE_EXPLORE").is_some_and(|much| much == "all")
}
