//! Offsets of an object's lines in its decompressed bytes. An object that is too large to buffer is read twice; with
//! these offsets the second pass decompresses the object without parsing it.

use super::input::Input;
use super::{DecodeError, DecodeStatus, Event, StepError};
use std::borrow::Cow;

/// The offsets of the lines of an object, in order. Uses 8 bytes per line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineOffsets {
    list: Vec<LineOffset>,
    /// End of the last line in the decompressed object.
    end: u64,
}

/// One line: its distance in bytes from the end of the previous line, and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LineOffset {
    gap: u32,
    length: u32,
}

impl LineOffsets {
    /// Adds the next event of an object. Returns false, and adds nothing, if the line cannot be read by its offset: it
    /// differs from the stored bytes, or it starts 4 GiB or more after the end of the previous line.
    pub fn add(&mut self, event: &Event<'_>) -> bool {
        let gap = event.at.checked_sub(self.end).and_then(|gap| u32::try_from(gap).ok());
        let length = u32::try_from(event.line.len()).ok();
        let (Some(gap), Some(length), true) = (gap, length, event.as_stored) else { return false };
        self.list.push(LineOffset { gap, length });
        self.end = event.at + u64::from(length);
        true
    }
}

/// Reads the lines of an object by their offsets, without parsing the bytes. The caller ensures that the bytes are the
/// same as in the first pass.
#[derive(Debug)]
pub struct LineReader<'a> {
    input: Input<'a>,
    line_offsets: &'a [LineOffset],
    /// Number of lines that were returned.
    lines_read: usize,
    /// Decompressed bytes; `buffer[at..filled]` is not returned yet.
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    /// Number of bytes between `at` and the next line.
    gap: usize,
}

/// Initial size of the buffer in bytes.
const BUFFER_BYTES: usize = 256 << 10;

impl<'a> LineReader<'a> {
    /// Reads the lines of `stored`, a whole object.
    pub fn new(stored: &'a [u8], line_offsets: &'a LineOffsets) -> Self {
        Self::of(Input::new(Cow::Borrowed(stored), stored.len() as u64), line_offsets)
    }

    /// Reads the lines of an object of `size` stored bytes in chunks, like
    /// [`EventReader::in_chunks`](super::EventReader::in_chunks).
    pub fn in_chunks(first: Vec<u8>, size: u64, line_offsets: &'a LineOffsets) -> Self {
        Self::of(Input::new(Cow::Owned(first), size), line_offsets)
    }

    fn of(input: Input<'a>, line_offsets: &'a LineOffsets) -> Self {
        let gap = line_offsets.list.first().map_or(0, |line| line.gap as usize);
        let (lines_read, at, filled) = (0, 0, 0);
        Self { input, line_offsets: &line_offsets.list, lines_read, buffer: vec![0; BUFFER_BYTES], at, filled, gap }
    }

    /// Supplies the next chunk after [`DecodeStatus::NeedsInput`]. The chunk must not be empty.
    pub fn feed(&mut self, chunk: Vec<u8>) {
        self.input.feed(chunk);
    }

    /// Reads until the next line is ready for [`LineReader::line`].
    ///
    /// # Errors
    /// [`DecodeError::Gzip`] if the object ends before its last line or does not decompress: the bytes differ from
    /// those of the first pass.
    pub fn advance(&mut self) -> Result<DecodeStatus, DecodeError> {
        let Some(line) = self.line_offsets.get(self.lines_read) else { return Ok(DecodeStatus::End) };
        let length = line.length as usize;
        loop {
            let skipped = self.gap.min(self.filled - self.at);
            self.at += skipped;
            self.gap -= skipped;
            if self.gap == 0 && self.filled - self.at >= length {
                return Ok(DecodeStatus::Ready);
            }
            match self.read_more(length) {
                Ok(()) => {}
                Err(StepError::NeedsInput) => return Ok(DecodeStatus::NeedsInput),
                Err(StepError::Error(error)) => return Err(error),
            }
        }
    }

    /// Returns the line that is ready and the index of its event, or `None` if no line is ready.
    pub fn line(&mut self) -> Option<(u32, &[u8])> {
        let length = self.line_offsets.get(self.lines_read)?.length as usize;
        let line = self.buffer[..self.filled].get(self.at..self.at + length).filter(|_| self.gap == 0)?;
        let ordinal = self.lines_read as u32;
        self.lines_read += 1;
        self.at += length;
        self.gap = self.line_offsets.get(self.lines_read).map_or(0, |line| line.gap as usize);
        Some((ordinal, line))
    }

    fn read_more(&mut self, length: usize) -> Result<(), StepError> {
        self.buffer.copy_within(self.at..self.filled, 0);
        self.filled -= self.at;
        self.at = 0;
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
        match self.input.read(&mut self.buffer[self.filled..])? {
            0 => {
                let what = "the object is shorter than in the first pass".to_owned();
                Err(DecodeError::Gzip { what, at: self.input.offset(), size: self.input.size() }.into())
            }
            read => {
                self.filled += read;
                Ok(())
            }
        }
    }
}
