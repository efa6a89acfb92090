//! Events as a forward sends them, requests with one batch, and the IDs of batches.

use super::redaction::Redaction;
use crate::index::IndexedFields;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use ring::digest::{Context, SHA256};
use std::io::Write;

/// An event as a forward sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardedEvent {
    /// The event ID. An event without one is identified by a hash of its content and its position.
    pub id: String,
    /// The bytes before redaction.
    original: Vec<u8>,
    /// The bytes after redaction. `None` if no field was redacted.
    redacted: Option<Vec<u8>>,
}

impl ForwardedEvent {
    /// Creates an event.
    pub(super) fn new(
        bytes: &[u8],
        position: impl FnOnce() -> String,
        redaction: Option<&Redaction>,
    ) -> Result<Self, String> {
        let fields = IndexedFields::read(bytes);
        let id = match fields.event_id.as_deref() {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => format!("{}-{}", fields.id(bytes), position()),
        };
        let redacted = match redaction {
            Some(redaction) => redaction.apply(bytes).map_err(|reason| format!("the event {id}: {reason}"))?,
            None => None,
        };
        Ok(Self { id, original: bytes.to_vec(), redacted })
    }

    /// Changes the ID.
    pub(super) fn with_id(self, id: String) -> Self {
        Self { id, ..self }
    }

    /// Returns the bytes that are sent.
    pub fn bytes(&self) -> &[u8] {
        self.redacted.as_deref().unwrap_or(&self.original)
    }

    /// Returns the bytes before redaction.
    pub fn original(&self) -> &[u8] {
        &self.original
    }
}

/// A request with one batch. Its ID and its events are the same on every attempt.
#[derive(Debug, Clone)]
pub struct ForwardRequest<'a> {
    /// The ID of the batch.
    pub id: String,
    /// The events.
    pub events: &'a [ForwardedEvent],
    /// The body before compression. The signature covers it, because libraries that verify signatures expect text.
    pub content: Bytes,
    /// The body as it is sent.
    pub body: Bytes,
}

/// Returns the ID of a batch. It is derived from the IDs of its events, so it is the same on every attempt.
pub(super) fn batch_id(events: &[ForwardedEvent]) -> String {
    let mut hash = Context::new(&SHA256);
    for event in events {
        hash.update(event.id.as_bytes());
        hash.update(b"\n");
    }
    format!("batch_{}", hex(&hash.finish().as_ref()[..16]))
}

/// Returns the size of the events in bytes, each with a separator.
pub(super) fn size(events: &[ForwardedEvent]) -> usize {
    events.iter().map(|event| event.bytes().len() + 1).sum::<usize>() + 1
}

/// Compresses a body. Equal bodies have equal results.
pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

/// Returns bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str, position: &str) -> ForwardedEvent {
        ForwardedEvent::new(text.as_bytes(), || position.to_owned(), None).unwrap()
    }

    #[test]
    fn batch_id_depends_only_on_event_ids() {
        let (a, b) = (event(r#"{"eventID":"a","x":1}"#, "1"), event(r#"{"eventID":"b"}"#, "2"));
        let same_id = event(r#"{"eventID":"a","x":2}"#, "3");
        assert_eq!(batch_id(&[a.clone(), b.clone()]), batch_id(&[same_id, b.clone()]));
        assert_ne!(batch_id(&[a.clone(), b.clone()]), batch_id(&[b, a.clone()]));
        assert_ne!(batch_id(std::slice::from_ref(&a)), batch_id(&[a.clone(), a]));
    }

    #[test]
    fn equal_events_without_an_id_are_in_different_batches() {
        let (first, second) = (event(r#"{"x":1}"#, "f:0:0"), event(r#"{"x":1}"#, "f:0:9"));
        assert_ne!(batch_id(&[first]), batch_id(&[second]), "a receiver would ignore the second as a repeat");
    }
}
