//! An object's bytes as a stream of decompressed ones, with the place in the stored bytes for errors.

use super::{DecodeError, StepError};
use flate2::bufread::MultiGzDecoder;
use std::borrow::Cow;
use std::io::{self, BufRead, ErrorKind, Read};

/// Gzip of any number of members, or bytes that are taken as they are. Told apart by gzip's two magic bytes, for a name
/// can lie.
#[derive(Debug)]
pub(super) enum Input<'a> {
    Gzip(Box<MultiGzDecoder<StoredBytes<'a>>>),
    Plain(StoredBytes<'a>),
}

/// The stored bytes: as a whole, or the piece that is being read.
#[derive(Debug)]
pub(super) struct StoredBytes<'a> {
    chunk: Cow<'a, [u8]>,
    /// Bytes of the piece that are consumed.
    used: usize,
    /// Bytes of the object before the piece.
    before: u64,
    /// Bytes of the object.
    size: u64,
}

impl StoredBytes<'_> {
    fn rest(&self) -> &[u8] {
        &self.chunk[self.used..]
    }

    /// How many of the object's bytes are consumed.
    fn offset(&self) -> u64 {
        self.before + self.used as u64
    }

    fn replace(&mut self, chunk: Vec<u8>) {
        self.before += self.chunk.len() as u64;
        self.chunk = chunk.into();
        self.used = 0;
    }

    /// Whether the object goes on behind this piece.
    fn goes_on(&self) -> bool {
        self.before + (self.chunk.len() as u64) < self.size
    }
}

impl BufRead for StoredBytes<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest().is_empty() && self.goes_on() {
            // Let go of at once: the next piece is fetched before it is fed.
            self.replace(Vec::new());
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(self.rest())
    }

    fn consume(&mut self, bytes: usize) {
        self.used += bytes;
    }
}

impl Read for StoredBytes<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let taken = self.fill_buf()?.read(into)?;
        self.consume(taken);
        Ok(taken)
    }
}

impl<'a> Input<'a> {
    /// Reads an object of `size` bytes, of which `chunk` is the first, or all.
    pub(super) fn new(chunk: Cow<'a, [u8]>, size: u64) -> Self {
        let gzip = chunk.starts_with(&[0x1f, 0x8b]);
        let stored = StoredBytes { chunk, used: 0, before: 0, size };
        if gzip { Self::Gzip(Box::new(MultiGzDecoder::new(stored))) } else { Self::Plain(stored) }
    }

    /// Goes on with the next piece. The one before must be read to its end.
    pub(super) fn feed(&mut self, chunk: Vec<u8>) {
        let stored = match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Plain(stored) => stored,
        };
        debug_assert!(stored.rest().is_empty(), "{} stored bytes are not read yet", stored.rest().len());
        stored.replace(chunk);
    }

    fn stored(&self) -> &StoredBytes<'a> {
        match self {
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Plain(stored) => stored,
        }
    }

    /// Bytes as stored.
    pub(super) fn size(&self) -> u64 {
        self.stored().size
    }

    /// What the decompressed bytes and one more likely amount to. Gzip's last four bytes say the size of its last member,
    /// as far as they can be believed: good for the size of a buffer, for nothing else.
    pub(super) fn likely_size(&self) -> usize {
        let stored = self.stored();
        match self {
            // Far more than any buffer takes.
            _ if stored.goes_on() => stored.chunk.len(),
            Self::Gzip(_) => {
                let said = stored.chunk.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
                // Of many members the last may be the smallest.
                said.saturating_add(1).max(stored.chunk.len().saturating_mul(4))
            }
            Self::Plain(_) => stored.chunk.len() + 1,
        }
    }

    /// How many of the stored bytes are consumed.
    pub(super) fn offset(&self) -> u64 {
        self.stored().offset()
    }

    /// Reads on. 0 at the end, where every member's checksum and length have been verified.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, StepError> {
        let read = match self {
            Self::Plain(stored) => stored.read(into),
            Self::Gzip(decoder) => decoder.read(into),
        };
        read.map_err(|error| {
            let what = match error.kind() {
                ErrorKind::WouldBlock => return StepError::NeedsInput,
                ErrorKind::UnexpectedEof => "the gzip stream is cut short".to_owned(),
                ErrorKind::InvalidInput if error.to_string().contains("header") => {
                    "neither the end nor another gzip member follows".to_owned()
                }
                _ => format!("the gzip stream is corrupt ({error})"),
            };
            DecodeError::Gzip { what, at: self.offset(), size: self.size() }.into()
        })
    }
}
