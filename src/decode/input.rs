//! An object's bytes as a stream of decompressed ones, with the place in the stored bytes for errors.

use super::DecodeError;
use flate2::bufread::MultiGzDecoder;
use std::io::{ErrorKind, Read};

/// Gzip of any number of members, or bytes that are taken as they are. Told apart by gzip's two magic bytes, for a name
/// can lie.
#[derive(Debug)]
pub(super) enum Input<'a> {
    Gzip { decoder: Box<MultiGzDecoder<&'a [u8]>>, size: u64 },
    Plain { rest: &'a [u8], size: u64 },
}

impl<'a> Input<'a> {
    pub(super) fn new(stored: &'a [u8]) -> Self {
        let size = stored.len() as u64;
        if stored.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip { decoder: Box::new(MultiGzDecoder::new(stored)), size }
        } else {
            Self::Plain { rest: stored, size }
        }
    }

    /// Bytes as stored.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Gzip { size, .. } | Self::Plain { size, .. } => *size,
        }
    }

    /// What the decompressed bytes and one more likely amount to. Gzip's last four bytes say the size of its last member,
    /// as far as they can be believed: good for the size of a buffer, for nothing else.
    pub(super) fn likely_size(&self) -> usize {
        match self {
            Self::Gzip { decoder, .. } => {
                let stored = decoder.get_ref();
                let said = stored.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
                // Of many members the last may be the smallest.
                said.saturating_add(1).max(stored.len().saturating_mul(4))
            }
            Self::Plain { rest, .. } => rest.len() + 1,
        }
    }

    /// How many of the stored bytes are consumed.
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::Gzip { decoder, size } => size - decoder.get_ref().len() as u64,
            Self::Plain { rest, size } => size - rest.len() as u64,
        }
    }

    /// Reads on. 0 at the end, where every member's checksum and length have been verified.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, DecodeError> {
        match self {
            Self::Plain { rest, .. } => {
                let taken = rest.len().min(into.len());
                into[..taken].copy_from_slice(&rest[..taken]);
                *rest = &rest[taken..];
                Ok(taken)
            }
            Self::Gzip { decoder, size } => decoder.read(into).map_err(|error| {
                let what = match error.kind() {
                    ErrorKind::UnexpectedEof => "the gzip stream is cut short".to_owned(),
                    ErrorKind::InvalidInput if error.to_string().contains("header") => {
                        "neither the end nor another gzip member follows".to_owned()
                    }
                    _ => format!("the gzip stream is corrupt ({error})"),
                };
                DecodeError::Gzip { what, at: *size - decoder.get_ref().len() as u64, size: *size }
            }),
        }
    }
}
