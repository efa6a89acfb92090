//! Realistic CloudTrail data out of a seed: for people without a trail, for tests and for benches. Pure.
//!
//! Sizes, events per file and latencies follow what 39,585 events of three real accounts showed: an event has 1.2 kB in
//! the median, 1.7 at the 90th and 2.4 at the 99th percentile, and a few reach the documented 256 kB; a file has 5 events
//! in the median, 8.6 on average and tens of thousands in busy accounts. Nothing in it names anybody: accounts, addresses
//! and domains are those that documentation may use, access keys end in `EXAMPLE`.
//!
//! The same seed makes the same JSON on every machine, and never the same `eventID` twice. The gzip bytes around it may
//! differ, because the compressor looks at what the processor can do.

mod bucket;
mod content;
mod event;
mod quantile;
mod tables;
#[cfg(test)]
mod tests;

pub use bucket::{EventsPerFile, Files, SyntheticBucket};

use event::EventGenerator;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};

/// How much an object holds. Never more than 2³² − 1 events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectSize {
    /// So many events.
    Events(u32),
    /// Events until the JSON has at least so many bytes; more by less than one event.
    Bytes(u64),
}

/// How much of an event is new, and with that what gzip can make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Variety {
    /// The same few principals and resources again and again: a poller's account. Smaller than usual in gzip.
    Alike,
    /// As real accounts are: large files shrink to between a sixth and a tenth.
    #[default]
    Usual,
    /// Every resource another one. Larger than usual in gzip.
    Varied,
}

/// One log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntheticObject {
    /// What everything follows from.
    pub seed: u64,
    /// The account whose events these are: 12 digits.
    pub account: String,
    /// The region whose events these are.
    pub region: String,
    /// The delivery in seconds since 1970. The events are from the minutes before.
    pub delivered: i64,
    /// How much it holds.
    pub size: ObjectSize,
    /// How much of it is new.
    pub variety: Variety,
    /// Tells the objects of one seed apart: those of different numbers never share an event.
    pub number: u32,
}

/// How much was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteStats {
    /// Events.
    pub events: u32,
    /// Bytes of JSON.
    pub bytes: u64,
}

impl SyntheticObject {
    /// A file of the first account in `us-east-1`, delivered at noon of 15 January 2026.
    pub fn new(seed: u64, size: ObjectSize) -> Self {
        Self {
            seed,
            account: account(0),
            region: "us-east-1".to_owned(),
            delivered: 1_768_478_400,
            size,
            variety: Variety::default(),
            number: 0,
        }
    }

    /// Writes its JSON: `{"Records":[…]}` on one line, as CloudTrail does. Holds one event at a time.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, mut out: impl Write) -> io::Result<WriteStats> {
        const START: &[u8] = b"{\"Records\":[";
        const END: &[u8] = b"]}";
        out.write_all(START)?;
        let mut maker = EventGenerator::new(self);
        let mut written = WriteStats { events: 0, bytes: (START.len() + END.len()) as u64 };
        while match self.size {
            ObjectSize::Events(events) => written.events < events,
            ObjectSize::Bytes(bytes) => written.bytes < bytes && written.events < u32::MAX,
        } {
            if written.events > 0 {
                out.write_all(b",")?;
                written.bytes += 1;
            }
            let event = maker.event();
            out.write_all(event.as_bytes())?;
            written.events += 1;
            written.bytes += event.len() as u64;
        }
        out.write_all(END)?;
        Ok(written)
    }

    /// Writes it as it lies in a bucket: the same JSON, in gzip.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_gzip(&self, out: impl Write) -> io::Result<WriteStats> {
        // The encoder wants large pieces.
        let mut out = io::BufWriter::with_capacity(64 << 10, GzEncoder::new(out, Compression::default()));
        let written = self.write_json(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
        Ok(written)
    }
}

/// How many regions a [`SyntheticBucket`] may have.
pub const REGIONS: u32 = tables::REGIONS.len() as u32;

/// How many different accounts [`account`] knows.
pub const ACCOUNTS: u32 = 5_000;

/// An account's number. The first three are the ones of AWS's documentation; the others are made after the first of
/// them, `11112222` and four digits, and are just as much nobody's. Counted anew after [`ACCOUNTS`].
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>
pub fn account(index: u32) -> String {
    match index % ACCOUNTS {
        0 => "111122223333".to_owned(),
        1 => "444455556666".to_owned(),
        2 => "123456789012".to_owned(),
        // From 4000, so that 3333 does not come again.
        index => format!("11112222{}", 4_000 + index),
    }
}
