//! Cuts: where an object's lines lie in its decompressed bytes, so that an object that was read once, and is too large to
//! be kept, is only inflated the second time.

use super::input::Input;
use super::{DecodeError, DecodeStatus, Event, StepError};
use std::borrow::Cow;

/// Where the lines of an object lie, in their order. At most 8 bytes a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineOffsets {
    list: Vec<LineOffset>,
    /// Where the last one ends in the decompressed object.
    end: u64,
}

/// One line: so many bytes behind the one before, so many bytes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LineOffset {
    gap: u32,
    length: u32,
}

impl LineOffsets {
    /// Notes the next event of an object. False where it cannot be cut out again: a line that leaves otherwise than it lies
    /// there, or one that lies 4 GiB behind the one before. Nothing is noted then.
    pub fn add(&mut self, event: &Event<'_>) -> bool {
        let gap = event.at.checked_sub(self.end).and_then(|gap| u32::try_from(gap).ok());
        let length = u32::try_from(event.line.len()).ok();
        let (Some(gap), Some(length), true) = (gap, length, event.as_stored) else { return false };
        self.list.push(LineOffset { gap, length });
        self.end = event.at + u64::from(length);
        true
    }
}

/// The lines of an object that was read before, cut out of its bytes without looking at them. The caller vouches that they
/// are the same bytes.
#[derive(Debug)]
pub struct LineReader<'a> {
    input: Input<'a>,
    line_offsets: &'a [LineOffset],
    /// Lines that were given.
    given: usize,
    /// Inflated bytes; `buffer[at..filled]` is not given yet.
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    /// How many bytes lie between `at` and the next line.
    gap: usize,
}

const BUFFER: usize = 256 << 10;

impl<'a> LineReader<'a> {
    /// Cuts `stored`, a whole object.
    pub fn new(stored: &'a [u8], line_offsets: &'a LineOffsets) -> Self {
        Self::of(Input::new(Cow::Borrowed(stored), stored.len() as u64), line_offsets)
    }

    /// Cuts an object of `size` bytes piece by piece, as [`EventReader::in_chunks`](super::Events::in_pieces) reads it.
    pub fn in_chunks(first: Vec<u8>, size: u64, line_offsets: &'a LineOffsets) -> Self {
        Self::of(Input::new(Cow::Owned(first), size), line_offsets)
    }

    fn of(input: Input<'a>, line_offsets: &'a LineOffsets) -> Self {
        let gap = line_offsets.list.first().map_or(0, |cut| cut.gap as usize);
        let (given, at, filled) = (0, 0, 0);
        Self { input, line_offsets: &line_offsets.list, given, buffer: vec![0; BUFFER], at, filled, gap }
    }

    /// Gives the next piece, after [`DecodeStatus::NeedsInput`]. It may not be empty.
    pub fn feed(&mut self, chunk: Vec<u8>) {
        self.input.feed(chunk);
    }

    /// Goes on until the next line is ready for [`LineReader::line`].
    ///
    /// # Errors
    /// The bytes end before the last line does, or do not inflate: they are not those that were read before.
    pub fn advance(&mut self) -> Result<DecodeStatus, DecodeError> {
        let Some(cut) = self.line_offsets.get(self.given) else { return Ok(DecodeStatus::End) };
        let length = cut.length as usize;
        loop {
            let skipped = self.gap.min(self.filled - self.at);
            self.at += skipped;
            self.gap -= skipped;
            if self.gap == 0 && self.filled - self.at >= length {
                return Ok(DecodeStatus::Ready);
            }
            match self.read_on(length) {
                Ok(()) => {}
                Err(StepError::NeedsInput) => return Ok(DecodeStatus::NeedsInput),
                Err(StepError::Error(error)) => return Err(error),
            }
        }
    }

    /// Takes the line that is ready, with its event's index; none if none is.
    pub fn line(&mut self) -> Option<(u32, &[u8])> {
        let length = self.line_offsets.get(self.given)?.length as usize;
        let line = self.buffer[..self.filled].get(self.at..self.at + length).filter(|_| self.gap == 0)?;
        let ordinal = self.given as u32;
        self.given += 1;
        self.at += length;
        self.gap = self.line_offsets.get(self.given).map_or(0, |cut| cut.gap as usize);
        Some((ordinal, line))
    }

    fn read_on(&mut self, length: usize) -> Result<(), StepError> {
        self.buffer.copy_within(self.at..self.filled, 0);
        self.filled -= self.at;
        self.at = 0;
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
        match self.input.read(&mut self.buffer[self.filled..])? {
            0 => {
                let what = "the object ends sooner than when it was read before".to_owned();
                Err(DecodeError::Gzip { what, at: self.input.offset(), size: self.input.size() }.into())
            }
            read => {
                self.filled += read;
                Ok(())
            }
        }
    }
}
