//! Contents: one object looked at from its first byte to its last, before anything of it leaves.

use super::stored::Stored;
use super::{End, Ingest, Later};
use crate::decode::{Cuts, Cutter, DecodeError, Event, Events, Limits, Step};
use crate::event::Place;
use crate::event::filter::Filter;
use crate::ledger::Known;
use crate::object::Object;
use crate::source::SourceError;
use std::sync::Arc;
use tokio::time::Instant;

/// What an object holds, and its lines where there was room to keep them.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    stored: Stored<'a>,
    stop: Instant,
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
    kept: Kept,
}

/// What is kept of the lines.
#[derive(Debug)]
enum Kept {
    /// All of them.
    Lines(Held),
    /// Where they lie in the decompressed object.
    Cuts(Cuts),
    /// Nothing: they do not leave as they lie there.
    Nothing,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    lines: Vec<u8>,
    ends: Vec<usize>,
}

impl Held {
    /// The line at index `next`, which it moves on, with that index.
    fn line(&self, next: &mut usize) -> Option<(u32, &[u8])> {
        let end = *self.ends.get(*next)?;
        let start = next.checked_sub(1).map_or(0, |before| self.ends[before]);
        let ordinal = *next as u32;
        *next += 1;
        Some((ordinal, &self.lines[start..end]))
    }
}

/// What is learnt of the events while they are read.
#[derive(Debug, Default)]
struct Learnt {
    events: Vec<Known>,
    line_bytes: usize,
    longest: usize,
    newest: Option<i64>,
    /// The lines, until they are too many.
    held: Option<Held>,
    cuts: Option<Cuts>,
}

impl Learnt {
    fn note(&mut self, event: Option<Event<'_>>, filter: &Filter, hold: usize) {
        let Some(event) = event else { return };
        let Event { id, place, fingerprint, line, seconds, .. } = event;
        self.events.push(Known { id, place, fingerprint, filtered: filter.drops(line) });
        self.line_bytes += line.len() + 1;
        self.longest = self.longest.max(line.len());
        self.newest = self.newest.max(seconds);
        self.cuts = self.cuts.take().and_then(|mut cuts| cuts.note(&event).then_some(cuts));
        self.held = self.held.take().filter(|held| held.lines.len() + line.len() <= hold);
        if let Some(held) = &mut self.held {
            held.lines.extend_from_slice(line);
            held.ends.push(held.lines.len());
        }
    }

    fn kept(held: Option<Held>, cuts: Option<Cuts>) -> Kept {
        match (held, cuts) {
            (Some(held), _) => Kept::Lines(held),
            (None, Some(cuts)) => Kept::Cuts(cuts),
            (None, None) => Kept::Nothing,
        }
    }
}

impl<'a> Contents<'a> {
    /// Reads the whole object, which is said to have `said` bytes. Its lines are kept as long as they take no more than
    /// [`Ingest::hold`] bytes; those of a larger object are inflated a second time when they leave.
    /// No piece but the first is fetched after `stop`.
    pub(super) async fn read(
        ingest: &'a Ingest,
        object: &Object,
        said: Option<u64>,
        stop: Instant,
    ) -> Result<Self, End> {
        let (mut stored, first) =
            Stored::fetch(&*ingest.source, object, said, ingest.hold, ingest.piece).await.map_err(unfetched)?;
        let hold = ingest.hold;
        let mut learnt = Learnt { cuts: Some(Cuts::default()), ..Learnt::default() };
        let (size, places) = match first {
            Some(first) => {
                let mut read = Events::in_pieces(first, stored.size(), ingest.limits);
                loop {
                    match read.advance().map_err(unreadable)? {
                        Step::Ready => learnt.note(read.event().map_err(unreadable)?, &ingest.filter, hold),
                        Step::Wanting => {
                            in_time(stop)?;
                            read.feed(stored.next().await.map_err(unfetched)?);
                        }
                        Step::End => break (read.bytes(), read.into_places()),
                    }
                }
            }
            None => {
                let whole = stored.whole().unwrap_or_default();
                // What is too long as it is stored is longer than that inflated.
                learnt.held = (whole.len() <= hold).then(Held::default);
                let mut read = Events::new(whole, ingest.limits);
                while read.advance().map_err(unreadable)? == Step::Ready {
                    learnt.note(read.event().map_err(unreadable)?, &ingest.filter, hold);
                }
                (read.bytes(), read.into_places())
            }
        };
        let Learnt { events, line_bytes, longest, newest, held, cuts } = learnt;
        let (places, kept) = (Arc::new(places), Learnt::kept(held, cuts));
        Ok(Self { stored, stop, limits: ingest.limits, events, places, line_bytes, longest, size, newest, kept })
    }

    /// Bytes of the object as stored.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored.size()
    }

    /// The lines, from the first.
    pub(super) async fn lines(&self) -> Result<Lines<'_>, End> {
        let stored = &self.stored;
        let from = match (&self.kept, stored.whole()) {
            (Kept::Lines(held), _) => From::Held { held, next: 0 },
            (Kept::Cuts(cuts), Some(whole)) => From::Cut(Box::new(Cutter::new(whole, cuts))),
            (Kept::Cuts(cuts), None) => {
                From::Cut(Box::new(Cutter::in_pieces(stored.again(0).await?, stored.size(), cuts)))
            }
            (Kept::Nothing, Some(whole)) => From::Read(Box::new(Events::new(whole, self.limits))),
            (Kept::Nothing, None) => {
                From::Read(Box::new(Events::in_pieces(stored.again(0).await?, stored.size(), self.limits)))
            }
        };
        Ok(Lines { stored, stop: self.stop, pieces: 1, from })
    }
}

/// That a call may still be begun. An object without end, or one that trickles in, would keep its neighbours waiting too.
fn in_time(stop: Instant) -> Result<(), End> {
    if Instant::now() < stop { Ok(()) } else { Err(End::Later(Later::OutOfTime)) }
}

/// What it means that an object cannot be fetched.
fn unfetched(error: SourceError) -> End {
    match error {
        // A loss that must be seen: the object was announced and never ingested.
        SourceError::Missing(_) => End::Quarantine("missing".into(), error.to_string()),
        SourceError::Changed(..) => End::Quarantine("changed".into(), error.to_string()),
        error => error.into(),
    }
}

fn unreadable(error: DecodeError) -> End {
    End::Quarantine(error.kind().into(), error.to_string())
}

/// The lines of an object, in file order.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    stored: &'a Stored<'a>,
    stop: Instant,
    /// Pieces that were given.
    pieces: usize,
    from: From<'a>,
}

#[derive(Debug)]
enum From<'a> {
    Held { held: &'a Held, next: usize },
    Cut(Box<Cutter<'a>>),
    Read(Box<Events<'a>>),
}

impl Lines<'_> {
    /// The next line and its event's index.
    pub(super) async fn next(&mut self) -> Result<Option<(u32, &[u8])>, End> {
        loop {
            let step = match &mut self.from {
                From::Held { .. } => break,
                From::Cut(cutter) => cutter.advance(),
                From::Read(events) => events.advance(),
            };
            match step? {
                Step::Ready => break,
                Step::End => return Ok(None),
                Step::Wanting => {
                    in_time(self.stop)?;
                    let piece = self.stored.again(self.pieces).await?;
                    self.pieces += 1;
                    match &mut self.from {
                        From::Held { .. } => {}
                        From::Cut(cutter) => cutter.feed(piece),
                        From::Read(events) => events.feed(piece),
                    }
                }
            }
        }
        Ok(match &mut self.from {
            From::Held { held, next } => held.line(next),
            From::Cut(cutter) => cutter.line(),
            From::Read(events) => events.event()?.map(|event| (event.ordinal, event.line)),
        })
    }
}
