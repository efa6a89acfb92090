//! Contents: one object looked at from its first byte to its last, before anything of it leaves.

use crate::decode::{DecodeError, Event, Events, Limits};
use crate::event::Place;
use crate::filter::Filter;
use crate::ledger::Known;
use std::sync::Arc;

/// What an object holds, and its lines where there was room to keep them.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    stored: &'a [u8],
    limits: Limits,
    pub events: Vec<Known>,
    pub places: Arc<Vec<Place>>,
    /// Bytes of all lines, line ends included.
    pub line_bytes: usize,
    /// Length of the longest line, without line end.
    pub longest: usize,
    /// Decompressed size in bytes.
    pub size: u64,
    /// `eventTime` of the newest event.
    pub newest: Option<i64>,
    held: Option<Held>,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    lines: Vec<u8>,
    ends: Vec<usize>,
}

impl<'a> Contents<'a> {
    /// Reads the whole object. Its lines are kept as long as they take no more than `hold` bytes; those of a larger
    /// object are inflated a second time when they leave.
    pub(super) fn read(stored: &'a [u8], limits: Limits, filter: &Filter, hold: usize) -> Result<Self, DecodeError> {
        let mut read = Events::new(stored, limits);
        // What is too long as it is stored is longer than that inflated.
        let mut held = (stored.len() <= hold).then(Held::default);
        let mut events = Vec::new();
        let (mut line_bytes, mut longest, mut newest) = (0, 0, None);
        while let Some(event) = read.next()? {
            let Event { id, place, fingerprint, line, seconds, .. } = event;
            events.push(Known { id, place, fingerprint, filtered: filter.drops(line) });
            line_bytes += line.len() + 1;
            longest = longest.max(line.len());
            newest = newest.max(seconds);
            held = held.filter(|held| held.lines.len() + line.len() <= hold);
            if let Some(held) = &mut held {
                held.lines.extend_from_slice(line);
                held.ends.push(held.lines.len());
            }
        }
        let size = read.bytes();
        let places = Arc::new(read.into_places());
        Ok(Self { stored, limits, events, places, line_bytes, longest, size, newest, held })
    }

    /// The lines, from the first.
    pub(super) fn lines(&self) -> Lines<'_> {
        match &self.held {
            Some(held) => Lines::Held { held, next: 0 },
            None => Lines::Inflated(Box::new(Events::new(self.stored, self.limits))),
        }
    }
}

/// The lines of an object, in file order.
#[derive(Debug)]
pub(super) enum Lines<'a> {
    Held { held: &'a Held, next: usize },
    Inflated(Box<Events<'a>>),
}

impl Lines<'_> {
    /// The next line and its event's index.
    pub(super) fn next(&mut self) -> Result<Option<(u32, &[u8])>, DecodeError> {
        match self {
            Self::Held { held, next } => {
                let Some(&end) = held.ends.get(*next) else { return Ok(None) };
                let start = next.checked_sub(1).map_or(0, |before| held.ends[before]);
                let ordinal = *next as u32;
                *next += 1;
                Ok(Some((ordinal, &held.lines[start..end])))
            }
            Self::Inflated(events) => Ok(events.next()?.map(|event| (event.ordinal, event.line))),
        }
    }
}
