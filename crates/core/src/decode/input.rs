//! A stream of an object's decompressed bytes that also reports the offset in the stored bytes for errors.

use super::{DecodeError, StepError};
use flate2::bufread::MultiGzDecoder;
use std::borrow::Cow;
use std::io::{self, BufRead, ErrorKind, Read};

/// Gzip with any number of members, or uncompressed bytes. The two magic bytes of gzip decide, because an object's name
/// can be wrong.
#[derive(Debug)]
pub(super) enum Input<'a> {
    Gzip(Box<MultiGzDecoder<StoredBytes<'a>>>),
    Plain(StoredBytes<'a>),
}

/// The stored bytes: the whole object, or the current chunk.
#[derive(Debug)]
pub(super) struct StoredBytes<'a> {
    chunk: Cow<'a, [u8]>,
    /// Number of consumed bytes of the chunk.
    used: usize,
    /// Number of bytes of the object before the chunk.
    before: u64,
    /// Size of the stored object in bytes.
    size: u64,
}

impl StoredBytes<'_> {
    fn rest(&self) -> &[u8] {
        &self.chunk[self.used..]
    }

    /// Returns the number of consumed bytes of the object.
    fn offset(&self) -> u64 {
        self.before + self.used as u64
    }

    fn replace(&mut self, chunk: Vec<u8>) {
        self.before += self.chunk.len() as u64;
        self.chunk = chunk.into();
        self.used = 0;
    }

    /// Returns whether the object has more bytes after this chunk.
    fn has_more(&self) -> bool {
        self.before + (self.chunk.len() as u64) < self.size
    }
}

impl BufRead for StoredBytes<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest().is_empty() && self.has_more() {
            // Free the chunk now: the next one is fetched before `feed` is called.
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
    /// Reads an object of `size` stored bytes. `chunk` is the whole object or its first chunk.
    pub(super) fn new(chunk: Cow<'a, [u8]>, size: u64) -> Self {
        let gzip = chunk.starts_with(&[0x1f, 0x8b]);
        let stored = StoredBytes { chunk, used: 0, before: 0, size };
        if gzip { Self::Gzip(Box::new(MultiGzDecoder::new(stored))) } else { Self::Plain(stored) }
    }

    /// Supplies the next chunk. The previous chunk must be consumed.
    pub(super) fn feed(&mut self, chunk: Vec<u8>) {
        let stored = match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Plain(stored) => stored,
        };
        debug_assert!(stored.rest().is_empty(), "{} stored bytes are not consumed yet", stored.rest().len());
        stored.replace(chunk);
    }

    fn stored(&self) -> &StoredBytes<'a> {
        match self {
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Plain(stored) => stored,
        }
    }

    /// Returns the size of the stored object in bytes.
    pub(super) fn size(&self) -> u64 {
        self.stored().size
    }

    /// Estimates the number of decompressed bytes plus one. With one byte more, the end is found without enlarging the
    /// buffer. The last four bytes of gzip contain the size of its last member. They may be wrong, so the estimate is
    /// used only for the size of a buffer.
    pub(super) fn likely_size(&self) -> usize {
        let stored = self.stored();
        match self {
            // Larger than any buffer.
            _ if stored.has_more() => stored.chunk.len(),
            Self::Gzip(_) => {
                let size_hint = stored.chunk.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
                // With several members, the last may be the smallest.
                size_hint.saturating_add(1).max(stored.chunk.len().saturating_mul(4))
            }
            Self::Plain(_) => stored.chunk.len() + 1,
        }
    }

    /// Returns the number of consumed stored bytes.
    pub(super) fn offset(&self) -> u64 {
        self.stored().offset()
    }

    /// Reads decompressed bytes. Returns 0 at the end, after the checksum and length of every member are verified.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, StepError> {
        let read = match self {
            Self::Plain(stored) => stored.read(into),
            Self::Gzip(decoder) => decoder.read(into),
        };
        read.map_err(|error| {
            let what = match error.kind() {
                ErrorKind::WouldBlock => return StepError::NeedsInput,
                ErrorKind::UnexpectedEof => "the gzip stream is truncated".to_owned(),
                ErrorKind::InvalidInput if error.to_string().contains("header") => {
                    "the bytes after the gzip member are not another member".to_owned()
                }
                _ => format!("the gzip stream is corrupt ({error})"),
            };
            DecodeError::Gzip { what, at: self.offset(), size: self.size() }.into()
        })
    }
}
