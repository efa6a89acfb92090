//! The events in a set of committed files, each identified as in the ledger: by its root page and its ID.

use super::check::{FaultyFile, FileFault, faulty, read_lines};
use super::files::CommittedFile;
use super::page_group::PageGroup;
use crate::decode::{DecodeError, DecodeLimits, DecodeStatus, EventReader};
use crate::event::EventId;
use crate::ledger::model::page::PageName;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Precedes the first line, so that all lines are read as the `Records` of one log. Events without an ID that have the
/// same content are then numbered, as in an object.
const START: &[u8] = b"{\"Records\":[";

const NO_LIMITS: DecodeLimits = DecodeLimits { object_bytes: u64::MAX, value_bytes: usize::MAX / 4, events: u32::MAX };

/// The events of one group of pages. Takes about 40 bytes per event.
#[derive(Debug)]
pub(super) struct FileEvents {
    group: PageGroup,
    /// A number for each root page. `events` contains the number instead of the name, to save memory.
    roots: HashMap<String, u32>,
    events: HashSet<(u32, EventId)>,
    /// Number of repetitions of events. The first occurrence of an event is not counted.
    pub(super) repeats: u64,
}

impl FileEvents {
    /// Reads these files completely. Files with a fault are added to `faults`, and their events count as absent.
    pub(super) fn read<'a>(
        group: PageGroup,
        root: &Path,
        files: impl Iterator<Item = &'a CommittedFile>,
        faults: &mut Vec<FaultyFile>,
    ) -> Self {
        let mut found = Self { group, roots: HashMap::new(), events: HashSet::new(), repeats: 0 };
        let mut reader = None;
        for file in files {
            let mut invalid = Ok(());
            let read = read_lines(root, file, |block| {
                if invalid.is_ok() {
                    invalid = found.add(&mut reader, block);
                }
            });
            let invalid = invalid.map_err(|error| FileFault::Damaged(format!("contains an invalid event: {error}")));
            if let Err(fault) = read.and(invalid) {
                faults.push(faulty(root, file, fault));
                reader = None;
            }
        }
        found
    }

    fn add(&mut self, reader: &mut Option<EventReader<'static>>, block: &[u8]) -> Result<(), DecodeError> {
        let lines = block.iter().map(|&byte| if byte == b'\n' { b',' } else { byte });
        let reader = match reader {
            Some(reader) => {
                reader.feed(lines.collect());
                reader
            }
            None => {
                let first = START.iter().copied().chain(lines).collect();
                reader.insert(EventReader::in_chunks(first, u64::MAX, NO_LIMITS))
            }
        };
        while reader.advance()? == DecodeStatus::Ready {
            let Some((id, scope)) = reader.event()?.map(|event| (event.id, event.scope)) else { continue };
            let Some(scope) = reader.scopes().get(scope as usize) else { continue };
            let page = PageName::root(scope, id);
            if PageGroup::of_page(&page) != self.group {
                continue;
            }
            let next = u32::try_from(self.roots.len()).unwrap_or(u32::MAX);
            let root = *self.roots.entry(page.0).or_insert(next);
            self.repeats += u64::from(!self.events.insert((root, id)));
        }
        Ok(())
    }

    /// Returns whether the files contain an event of this page.
    pub(super) fn contains(&self, page: &PageName, id: EventId) -> bool {
        self.roots.get(page.root_part()).is_some_and(|root| self.events.contains(&(*root, id)))
    }

    /// Returns how many of these events repeat an event without ID. The reader of the files numbers such a repetition as a
    /// further event with the same content. So `known`, the IDs in the ledger, contains the repeated event and not the
    /// repetition.
    pub(super) fn repeats_without_id(&self, known: &HashSet<EventId>) -> u64 {
        let all: HashSet<EventId> = self.events.iter().map(|(_, id)| *id).collect();
        let later = |first: &EventId| {
            let occurrences = (1..).map(|number| first.occurrence(number)).take_while(|id| all.contains(id));
            occurrences.filter(|id| !known.contains(id)).count() as u64
        };
        all.intersection(known).map(later).sum()
    }

    /// Returns the number of distinct events.
    pub(super) fn len(&self) -> u64 {
        self.events.len() as u64
    }
}
