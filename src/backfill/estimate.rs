//! Estimate: what it would take to ingest what a dry run counted. Pure.
//!
//! Objects, stored bytes and requests are counted. What the objects hold is not known before they are read, so events,
//! time and dollars follow from the figures below, which are those of real accounts; an account of its own habits can
//! be off by a factor of two.

use super::dispatch::Packing;
use crate::billing::price::BilledUnits;
use crate::listing::ListingCounts;
use std::time::Duration;

/// Bytes of an event as JSON, on average over 39,585 events of three real accounts.
const EVENT_BYTES: f64 = 1_300.0;

/// By how much gzip makes an object smaller, on average over the same accounts' objects.
const GZIP: f64 = 6.2;

/// Ledger write units of an object: leased and done, and its pages. The least that README's table shows, where 17
/// events a file cost 6.9 units.
const WRITE_UNITS_AN_OBJECT: f64 = 6.0;

/// And for each of its events, by which its pages are larger and more: README's table again, where 59 events a file
/// cost 9.1.
const WRITE_UNITS_AN_EVENT: f64 = 0.055;

/// Ledger read units of an object, its pages read before they are written: between 4.4 and 7.1 in README's table.
const READ_UNITS_AN_OBJECT: f64 = 6.0;

/// The smallest default quota of a Firehose stream in the large regions, in bytes a second; elsewhere it is a fifth.
/// <https://docs.aws.amazon.com/firehose/latest/dev/limits.html>
pub const STREAM_BYTES_A_SECOND: f64 = 5.0 * 1024.0 * 1024.0;

/// Lambda's GB-seconds for a million events: measured on a machine like Lambda's, the SDK's work included.
const GB_SECONDS_A_MILLION_EVENTS: f64 = 12.0;

/// Seconds for which a worker waits for the requests of one object, in a function of half a GB that works on 16 at
/// once.
const SECONDS_AN_OBJECT: f64 = 0.2;

/// GB of that function, shared by the objects it works on at once.
const GB_AN_OBJECT: f64 = 0.5 / 16.0;

/// SQS requests for a message: its share of sending, receiving and deleting ten at a time, each begun 64 KB being one.
const REQUESTS_A_MESSAGE: f64 = 0.6;

/// What it would take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Events in the objects.
    pub events: u64,
    /// Their bytes as JSON.
    pub event_bytes: u64,
    /// How long the stream, or the budget, would be busy with them.
    pub time: Duration,
    /// What would be asked of AWS, the looking included.
    pub counted: BilledUnits,
}

impl Estimate {
    /// Of a run that would see what this dry run saw; `bytes_per_second` of stored bytes, if there is to be a bound.
    pub fn of(counts: &ListingCounts, bytes_per_second: Option<u64>) -> Self {
        let (objects, bytes) = (counts.sent as f64, counts.bytes as f64);
        let event_bytes = bytes * GZIP;
        let events = (event_bytes / EVENT_BYTES).max(if bytes > 0.0 { objects } else { 0.0 });
        let messages = (counts.sent as f64 / Packing::default().objects as f64).ceil();
        let by_stream = event_bytes / STREAM_BYTES_A_SECOND;
        let by_budget = bytes_per_second.map_or(0.0, |rate| bytes / rate.max(1) as f64);
        let counted = BilledUnits {
            write_units: objects * WRITE_UNITS_AN_OBJECT + events * WRITE_UNITS_AN_EVENT,
            read_units: counts.ledger_reads as f64 + objects * READ_UNITS_AN_OBJECT,
            firehose_bytes: event_bytes,
            s3_gets: objects,
            s3_lists: counts.list_requests as f64,
            sqs_requests: messages * REQUESTS_A_MESSAGE,
            lambda_requests: (messages / 10.0).ceil(),
            lambda_gb_seconds: events / 1e6 * GB_SECONDS_A_MILLION_EVENTS + objects * SECONDS_AN_OBJECT * GB_AN_OBJECT,
            ..BilledUnits::default()
        };
        Self {
            events: events.round() as u64,
            event_bytes: event_bytes.round() as u64,
            time: Duration::try_from_secs_f64(by_stream.max(by_budget)).unwrap_or(Duration::MAX),
            counted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_objects_of_a_known_size_come_to_known_figures() {
        let counts = ListingCounts {
            listed: 5_000,
            sent: 1_000,
            bytes: 13_000_000,
            list_requests: 9,
            ledger_reads: 5_000,
            ..ListingCounts::default()
        };
        let estimate = Estimate::of(&counts, None);
        assert_eq!((estimate.events, estimate.event_bytes), (62_000, 80_600_000));
        assert_eq!(estimate.time.as_secs(), 15);
        let BilledUnits { write_units, read_units, s3_gets, s3_lists, sqs_requests, .. } = estimate.counted;
        assert_eq!((write_units, read_units, s3_gets, s3_lists, sqs_requests), (9_410.0, 11_000.0, 1_000.0, 9.0, 24.0));
        assert!((0.005..0.02).contains(&estimate.counted.dollars()), "{}", estimate.counted.dollars());
        assert_eq!(Estimate::of(&counts, Some(65_536)).time.as_secs(), 198, "a budget may be slower than the stream");
        assert_eq!(Estimate::of(&ListingCounts::default(), None).counted.dollars(), 0.0);
    }
}
