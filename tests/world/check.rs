//! The ledger invariants that hold at every moment, also while workers run and after one dies.

use super::{INVOCATION, World};
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet};
use std::io::Read;
use trailhose::event::EventId;
use trailhose::ingest::{IngestReport, LEASE_MARGIN};
use trailhose::ledger::model::page::Owner;
use trailhose::ledger::model::row::{CURSOR_END, Row, Status};
use trailhose::ledger::store::memory::MemoryState;
use trailhose::object::{ObjectId, ObjectRef};

/// Checks a world's ledger and sink from outside.
#[derive(Debug)]
pub struct Watch {
    objects: HashMap<ObjectId, Vec<EventId>>,
    /// The events with each line. Only events without ID can have the same line.
    identities: HashMap<String, Vec<EventId>>,
    /// How many times each line was delivered.
    arrivals: HashMap<String, usize>,
    /// How many times each event was delivered.
    pub copies: HashMap<EventId, usize>,
    calls_read: usize,
    before: MemoryState,
    /// Rows and pages may have expired, so some invariants no longer apply.
    pub may_have_expired: bool,
}

pub type Violation = Result<(), String>;

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Violation {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Returns the line and the ID of each event of an object, or `None` if the object is unreadable. Independent of the
/// decoder: serde_json parses the whole object. The events have no white space between their tokens.
pub fn events_of(stored: &[u8]) -> Option<Vec<(String, EventId)>> {
    #[derive(serde::Deserialize)]
    struct Log<'a> {
        #[serde(rename = "Records", borrow)]
        records: Vec<&'a RawValue>,
    }
    let mut json = Vec::new();
    if stored.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(stored).read_to_end(&mut json).ok()?;
    } else {
        json.extend_from_slice(stored);
    }
    let records = match serde_json::from_slice::<Log<'_>>(&json) {
        Ok(log) => log.records,
        Err(_) => serde_json::from_slice(&json).ok()?,
    };
    let mut seen: HashMap<String, u32> = HashMap::new();
    let events = records.into_iter().map(|record| {
        let line = record.get().to_owned();
        let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).ok()?;
        let id = ["eventID", "eventId"].iter().find_map(|name| members.get(*name)?.as_str());
        let id = match id {
            Some(id) if !id.is_empty() => EventId::from_text(id.as_bytes()),
            _ => {
                let before = seen.entry(line.clone()).or_default();
                *before += 1;
                EventId::from_content(line.as_bytes()).occurrence(*before - 1)
            }
        };
        Some((line, id))
    });
    events.collect()
}

impl Watch {
    /// Starts with the events of these objects. Unreadable objects have none.
    pub fn new(world: &World, objects: &[ObjectRef]) -> Self {
        let (mut all, mut identities) = (HashMap::new(), HashMap::<String, Vec<EventId>>::new());
        for at in objects {
            let bytes = world.bucket.objects.lock().unwrap()[&at.key].1.clone();
            let mut ids = Vec::new();
            for (line, id) in events_of(&bytes).unwrap_or_default() {
                if !world.filter.drops(line.as_bytes()) {
                    ids.push(id);
                    let known = identities.entry(line).or_default();
                    if !known.contains(&id) {
                        known.push(id);
                    }
                }
            }
            all.insert(at.object().unwrap().id(), ids);
        }
        let before = world.store.contents().clone();
        let (copies, arrivals) = Default::default();
        Self { objects: all, identities, arrivals, copies, calls_read: 0, before, may_have_expired: false }
    }

    fn read_arrived(&mut self, world: &World) {
        let calls = world.sink.calls.lock().unwrap();
        for line in calls[self.calls_read..].iter().flatten() {
            let arrived = self.arrivals.entry(line.clone()).or_default();
            let identity = match self.identities.get(line) {
                Some(ids) => ids[(*arrived).min(ids.len() - 1)],
                // A pointer to an oversize event.
                None => events_of(format!("[{line}]").as_bytes()).unwrap()[0].1,
            };
            *arrived += 1;
            *self.copies.entry(identity).or_default() += 1;
        }
        self.calls_read = calls.len();
    }

    /// Returns the number of deliveries beyond the first of each event.
    pub fn repeats(&self) -> usize {
        self.copies.values().map(|copies| copies - 1).sum()
    }

    /// Checks the invariants. Their numbers are those of the protocol document.
    pub fn check(&mut self, world: &World) -> Violation {
        self.read_arrived(world);
        let now = world.now.load(std::sync::atomic::Ordering::SeqCst);
        let kept = world.store.contents().clone();
        let view = View {
            objects: &self.objects,
            arrived: &|id| self.copies.contains_key(id),
            now,
            longest: i64::try_from(INVOCATION.as_secs()).unwrap() + LEASE_MARGIN,
            may_have_expired: self.may_have_expired,
            filtered: world.filter != Default::default(),
        };
        view.check(&self.before, &kept)?;
        self.before = kept;
        Ok(())
    }

    /// Checks the final state, when no work is left. `quarantined`: the objects expected in quarantine.
    pub fn check_end(&self, world: &World, quarantined: &[ObjectId]) -> Violation {
        let kept = world.store.contents();
        for (id, events) in &self.objects {
            let expected = if quarantined.contains(id) { Status::Quarantined } else { Status::Done };
            end_of(*id, events, kept.rows.get(id), expected, self.may_have_expired, &|id| {
                self.copies.contains_key(id)
            })?;
        }
        Ok(())
    }
}

/// What the invariants compare the ledger with.
pub struct View<'a> {
    /// The events of each object, in file order.
    pub objects: &'a HashMap<ObjectId, Vec<EventId>>,
    /// Whether an event was delivered.
    pub arrived: &'a dyn Fn(&EventId) -> bool,
    pub now: i64,
    /// The longest lease, in seconds.
    pub longest: i64,
    /// Rows and pages may have expired, so some invariants no longer apply.
    pub may_have_expired: bool,
    /// A filter drops events, so ordinals include events that `objects` does not list.
    pub filtered: bool,
}

impl View<'_> {
    /// Checks the invariants of a ledger state and of the transition to it.
    pub fn check(&self, before: &MemoryState, kept: &MemoryState) -> Violation {
        let Self { objects, arrived, now, may_have_expired, .. } = *self;
        for (id, row) in &kept.rows {
            let events = &objects[id];
            ensure(row.until <= now + self.longest, || format!("{row:?} is leased beyond the longest lease"))?;
            ensure(row.expires.is_none() || row.status == Status::Done, || format!("{row:?} may expire"))?;
            if row.status == Status::Done {
                ensure(row.until == 0 && row.cursor == CURSOR_END, || format!("{row:?} is done and leased"))?;
                let missing = events.iter().find(|event| !arrived(event));
                ensure(missing.is_none(), || format!("1: {row:?} is done, but {missing:?} was not delivered"))?;
            }
            ensure(row.status != Status::Settled || row.cursor == CURSOR_END, || {
                format!("{row:?} is settled before its last event")
            })?;
        }
        let mut stored: HashSet<(&str, EventId)> = HashSet::new();
        for (name, page) in &kept.pages {
            // The pages of a time bucket's minutes and their shards share the root name.
            let root = name.0.split(['+', '~']).next().unwrap_or_default();
            for (event, entry) in &page.entries {
                let once = stored.insert((root, *event));
                ensure(once || may_have_expired, || format!("7: {event} is stored twice below {root}"))?;
                let Owner::Object(owner) = entry.owner else {
                    ensure(arrived(event), || format!("4: {event} is marked as delivered, but was not delivered"))?;
                    continue;
                };
                let row = kept.rows.get(&owner);
                ensure(row.is_some() || !page.live(now), || format!("6: {owner}, owner of {event}, has no row"))?;
                let ordinal = objects[&owner].iter().position(|held| held == event);
                let ordinal = ordinal.ok_or_else(|| format!("{owner} owns {event}, which it does not contain"))?;
                let ordinal = u32::try_from(ordinal).unwrap();
                ensure(self.filtered || entry.ordinal.is_none_or(|stored| stored == ordinal), || {
                    format!("{event} has ordinal {ordinal} in {owner}, but the page says {:?}", entry.ordinal)
                })?;
                // Also if the entry has no ordinal: a retry of the owner skips what its row states as delivered.
                let ordinal = if self.filtered { entry.ordinal } else { Some(ordinal) };
                let proven = row.is_some_and(|row| row.proves(ordinal));
                ensure(!proven || arrived(event) || !page.live(now), || {
                    format!("2, 5: {event} was not delivered, but {row:?} proves its delivery")
                })?;
            }
        }
        for (name, page) in before.pages.iter().filter(|(_, page)| page.live(now)) {
            for (event, was) in &page.entries {
                let is = kept.pages.get(name).and_then(|page| page.entries.get(event));
                let moved = is.is_none_or(|is| is.owner != was.owner && is.owner != Owner::Delivered);
                ensure(!moved, || format!("3: the owner of {event} changed from {was:?} to {is:?}"))?;
            }
        }
        Ok(())
    }
}

/// Checks the final state of one object.
pub fn end_of(
    id: ObjectId,
    events: &[EventId],
    row: Option<&Row>,
    expected: Status,
    may_have_expired: bool,
    arrived: &dyn Fn(&EventId) -> bool,
) -> Violation {
    // A lease that a helper could not release expires.
    let ended = row.is_some_and(|row| row.status == expected && (row.until == 0 || expected == Status::Quarantined));
    ensure(ended || row.is_none() && may_have_expired, || format!("{id} ended as {row:?}"))?;
    if expected == Status::Done {
        let missing = events.iter().find(|event| !arrived(event));
        ensure(missing.is_none(), || format!("lost: {missing:?} of {id}"))?;
    }
    if let Some(counts) = row.and_then(|row| row.counts) {
        let sum = counts.delivered + counts.duplicate + counts.filtered + counts.oversize;
        ensure(counts.seen == sum, || format!("{counts:?} does not add up"))?;
    }
    Ok(())
}

/// Checks that the counts of a report add up.
pub fn check_report(report: &IngestReport) -> Violation {
    let counts = report.counts;
    let sum = counts.delivered + counts.duplicate + counts.filtered + counts.oversize;
    ensure(counts.seen == sum, || format!("{counts:?} does not add up"))?;
    ensure(report.helped <= counts.delivered + counts.oversize, || {
        format!("{report:?} helped more events than it delivered")
    })
}
