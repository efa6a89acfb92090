//! Bytes into events.
