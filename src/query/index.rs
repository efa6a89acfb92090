//! Lookups with the index of a folder, instead of a scan.

use super::report::ScanReport;
use crate::index::{Index, IndexQuery};
use crate::plan::{Column, Plan, Scope};
use crate::sink::jsonl::{EventPosition, read_events};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use trailhose_core::plan::evaluate::{
    CollectedRows, EventClass, FieldSlots, MemoryBudget, MemoryExceeded, PreparedPlan, QueryRow, RowCollector,
};

/// The maximum number of events that are looked up. For more events, a scan is faster.
const MAX_EVENTS: u32 = 10_000;

/// The maximum number of alternative values that are looked up.
const MAX_VALUES: usize = 16;

/// An index that contains every delivered event of its folder.
#[derive(Debug)]
pub struct IndexLookup {
    path: PathBuf,
    root: PathBuf,
}

/// The positions of events that can fulfill a plan.
#[derive(Debug, Clone)]
pub struct IndexedEvents {
    root: PathBuf,
    files: BTreeMap<String, Vec<EventPosition>>,
}

impl IndexLookup {
    /// Creates a lookup in the index at `path`, which contains the events of the folder `root`. Opens nothing.
    pub fn new(path: PathBuf, root: PathBuf) -> Self {
        Self { path, root }
    }

    /// Returns the events that can fulfill a plan, or `None` if the index cannot find them, if they are more than
    /// [`MAX_EVENTS`], if the index lacks events that its follower skipped, or if it cannot be read.
    pub(super) fn find(&self, plan: &Plan) -> Option<IndexedEvents> {
        let queries = queries(plan)?;
        let index = Index::open_read_only(&self.path).ok()?;
        if index.has_skipped_events().ok()? {
            return None;
        }
        let mut files: BTreeMap<String, Vec<EventPosition>> = BTreeMap::new();
        let mut left = MAX_EVENTS;
        for query in &queries {
            let found = index.find(query, left + 1).ok()?;
            left = left.checked_sub(u32::try_from(found.len()).ok()?)?;
            for event in found {
                files.entry(event.path).or_default().push(event.position);
            }
        }
        for positions in files.values_mut() {
            positions.sort_unstable_by_key(|position| (position.member, position.offset));
            // The plan can name a value twice.
            positions.dedup();
        }
        Some(IndexedEvents { root: self.root.clone(), files })
    }
}

/// Returns the lookups that find every event of a plan, or `None` if only a scan finds them.
fn queries(plan: &Plan) -> Option<Vec<IndexQuery>> {
    let span = match plan.scope() {
        Scope::EventId(id) => return Some(vec![IndexQuery { id: Some(id.clone()), ..IndexQuery::default() }]),
        Scope::Time(span) => span,
    };
    let id = |value| IndexQuery { id: Some(value), ..IndexQuery::default() };
    let access_key = |value| IndexQuery { access_key: Some(value), ..IndexQuery::default() };
    let principal = |value| IndexQuery { principal: Some(value), ..IndexQuery::default() };
    let address = |value| IndexQuery { address: Some(value), ..IndexQuery::default() };
    let lookups: [(Column, &dyn Fn(String) -> IndexQuery); 4] = [
        (Column::EventId, &id),
        (Column::UserIdentityAccessKeyId, &access_key),
        (Column::Principal, &principal),
        (Column::SourceIpAddress, &address),
    ];
    let (values, query) = lookups.into_iter().find_map(|(column, query)| {
        let values = super::partition_pruning::required_values(plan.predicate(), column)?;
        (values.len() <= MAX_VALUES && values.iter().all(|value| is_text(value))).then_some((values, query))
    })?;
    let in_span = |value: &String| IndexQuery {
        since: Some(span.since().as_second() - 1),
        until: Some(span.until().as_second().saturating_add(1)),
        ..query(value.clone())
    };
    // A plan accepts some forms of `eventTime` for which the index contains no time.
    let without_time = |value: &String| IndexQuery { without_time: true, ..query(value.clone()) };
    Some(values.iter().flat_map(|value| [in_span(value), without_time(value)]).collect())
}

/// Returns whether only a text can have this value. The index does not contain numbers and booleans.
fn is_text(value: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(value).is_err()
}

impl IndexedEvents {
    /// Reads and evaluates the events until `halt` is true. Returns `None` if one of them cannot be read.
    pub(super) fn read(
        &self,
        plan: &Arc<PreparedPlan>,
        memory: &Arc<MemoryBudget>,
        halt: &watch::Receiver<bool>,
    ) -> Result<Option<(CollectedRows, ScanReport)>, MemoryExceeded> {
        let started = Instant::now();
        let mut report = ScanReport { used_index: true, ..ScanReport::default() };
        let mut collector = RowCollector::new(plan, memory);
        let mut slots = FieldSlots::default();
        // Rows of a plan that lists events in the order in which they are read.
        let mut as_read: Vec<QueryRow> = Vec::new();
        let mut failed = None;
        let members = self.files.iter().flat_map(|(file, positions)| {
            positions.chunk_by(|one, other| one.member == other.member).map(move |positions| (file, positions))
        });
        let mut last_file = None;
        for (file, positions) in members {
            if *halt.borrow() {
                report.stopped = true;
                break;
            }
            let read = read_events(&self.root.join(file), positions, |event| {
                report.events += 1;
                report.bytes += event.len() as u64;
                match plan.classify(event, &mut slots) {
                    EventClass::Selected => {
                        report.selected += 1;
                        match collector.add(event, &slots) {
                            Ok(row) => as_read.extend(row),
                            Err(error) => failed = Some(error),
                        }
                    }
                    EventClass::WithoutTime => report.without_time += 1,
                    EventClass::NotSelected | EventClass::Invalid => {}
                }
            });
            if let Some(error) = failed {
                return Err(error);
            }
            if read.is_err() {
                return Ok(None);
            }
            report.files += u64::from(last_file.replace(file) != Some(file));
        }
        report.duration = started.elapsed();
        Ok(Some((collector.finish_with(as_read), report)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_ends_when_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let event = r#"{"eventTime":"2026-02-01T01:00:00Z","eventName":"A"}"#;
        let length = u32::try_from(event.len()).unwrap();
        let mut files = BTreeMap::new();
        for file in ["a.jsonl", "b.jsonl"] {
            std::fs::write(folder.path().join(file), format!("{event}\n").repeat(3)).unwrap();
            let at = |number| EventPosition { member: number * u64::from(length + 1), offset: 0, length };
            files.insert(file.to_owned(), vec![at(0), at(2)]);
        }
        let found = IndexedEvents { root: folder.path().to_owned(), files };
        let plan: Plan = serde_json::from_str(
            r#"{"time": {"since": "2026-02-01T00:00:00Z", "until": "2026-02-02T00:00:00Z"},
                "groups": {"by": ["eventName"], "aggregates": ["count"]}}"#,
        )
        .unwrap();
        let (plan, memory) = (Arc::new(PreparedPlan::new(&plan)), Arc::new(MemoryBudget::new(1 << 20)));
        let read = |is_stopped| found.read(&plan, &memory, &watch::channel(is_stopped).1).unwrap().unwrap().1;
        let (all, stopped) = (read(false), read(true));
        assert_eq!((all.files, all.events, all.stopped), (2, 4, false));
        assert_eq!((stopped.files, stopped.events, stopped.stopped), (0, 0, true));
    }
}
