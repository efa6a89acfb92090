//! Generates realistic CloudTrail data from a seed, for users without a trail, for tests and for benchmarks.
//!
//! Sizes, events per file and latencies follow measurements of 39,585 events of three real accounts. An event has 1.2
//! kB in the median, 1.7 kB at the 90th and 2.4 kB at the 99th percentile, and a few events reach the documented
//! maximum of 256 kB. A file has 5 events in the median, 8.6 on average and tens of thousands in busy accounts. The
//! data contains no real identities: accounts, addresses and domains are reserved for documentation, and access keys
//! end in `EXAMPLE`.
//!
//! The same seed generates the same JSON on every machine, and never the same `eventID` twice except in the copies of a
//! second trail. The gzip bytes may differ, because the compressor uses different code on different processors.

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

/// The size of an object. The maximum is 2³² − 1 events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectSize {
    /// This number of events.
    Events(u32),
    /// Events until the JSON has at least this number of bytes. It exceeds the number by less than one event.
    Bytes(u64),
}

/// The share of new values in an event, which determines how well gzip compresses the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Variety {
    /// The same few principals and resources, as in an account with a polling client. Compresses better than usual.
    Alike,
    /// As in real accounts: gzip compresses large files to between a sixth and a tenth.
    #[default]
    Usual,
    /// Each value is new. Compresses worse than usual.
    Varied,
}

/// The description of one synthetic log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntheticObject {
    /// The seed of the random numbers.
    pub seed: u64,
    /// The account ID of the events: 12 digits.
    pub account: String,
    /// The region of the events.
    pub region: String,
    /// The time of the delivery in seconds since 1970. The events occur in the minutes before it.
    pub delivered: i64,
    /// The size of the file.
    pub size: ObjectSize,
    /// The share of new values.
    pub variety: Variety,
    /// The number of the object within its seed. Objects with different numbers never share an event.
    pub number: u32,
}

/// The number of events and bytes that were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteStats {
    /// Number of events.
    pub events: u32,
    /// Number of bytes of JSON.
    pub bytes: u64,
}

impl SyntheticObject {
    /// Describes a file of the first account in `us-east-1`, delivered on 15 January 2026 at noon UTC.
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

    /// Writes the JSON of the file: `{"Records":[…]}` on one line, as CloudTrail does. Keeps one event in memory.
    ///
    /// # Errors
    /// The errors of `out`.
    pub fn write_json(&self, mut out: impl Write) -> io::Result<WriteStats> {
        const START: &[u8] = b"{\"Records\":[";
        const END: &[u8] = b"]}";
        out.write_all(START)?;
        let mut generator = EventGenerator::new(self);
        let mut written = WriteStats { events: 0, bytes: (START.len() + END.len()) as u64 };
        while match self.size {
            ObjectSize::Events(events) => written.events < events,
            ObjectSize::Bytes(bytes) => written.bytes < bytes && written.events < u32::MAX,
        } {
            if written.events > 0 {
                out.write_all(b",")?;
                written.bytes += 1;
            }
            let event = generator.event();
            out.write_all(event.as_bytes())?;
            written.events += 1;
            written.bytes += event.len() as u64;
        }
        out.write_all(END)?;
        Ok(written)
    }

    /// Writes the file as stored in a bucket: the same JSON, compressed with gzip.
    ///
    /// # Errors
    /// The errors of `out`.
    pub fn write_gzip(&self, out: impl Write) -> io::Result<WriteStats> {
        // The encoder is faster with large writes.
        let mut out = io::BufWriter::with_capacity(64 << 10, GzEncoder::new(out, Compression::default()));
        let written = self.write_json(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
        Ok(written)
    }
}

/// Maximum number of regions of a [`SyntheticBucket`].
pub const REGIONS: u32 = tables::REGIONS.len() as u32;

/// Number of different accounts that [`account`] returns.
pub const ACCOUNTS: u32 = 5_000;

/// Returns an account ID. The first three are the examples of AWS's documentation. The others have the form of the
/// first of them, `11112222` and four digits. The IDs repeat after [`ACCOUNTS`].
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>
pub fn account(index: u32) -> String {
    match index % ACCOUNTS {
        0 => "111122223333".to_owned(),
        1 => "444455556666".to_owned(),
        2 => "123456789012".to_owned(),
        // Starts at 4000 so that 3333, the first account, does not repeat.
        index => format!("11112222{}", 4_000 + index),
    }
}
