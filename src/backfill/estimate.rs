//! The estimate of the time and cost of ingesting the objects that a dry run counted.
//!
//! Objects, stored bytes and requests are counted. The content of the objects is unknown until they are read, so
//! events, time and dollars are computed from the figures below. The figures are averages of real accounts; for an
//! unusual account the estimate can be wrong by a factor of two.

use super::dispatch::Packing;
use crate::billing::price::BilledUnits;
use crate::listing::ListingCounts;
use std::time::Duration;

/// The bytes of an event as JSON: the average of 39,585 events of three real accounts.
const EVENT_BYTES: f64 = 1_300.0;

/// The compression ratio of gzip: the average of the same accounts' objects.
const GZIP_RATIO: f64 = 6.2;

/// The ledger write units per object, for its lease, its completion and one page of a quarter of an hour. A test
/// compares this and the next two figures with the requests of the real pipeline.
const WRITE_UNITS_PER_OBJECT: f64 = 2.78;

/// The additional ledger write units per event, because events make pages larger and more numerous.
const WRITE_UNITS_PER_EVENT: f64 = 0.038;

/// The ledger read units per object, because pages are read before they are written.
const READ_UNITS_PER_OBJECT: f64 = 1.15;

/// The smallest default quota of a Firehose stream in the large regions, in bytes per second. The quota of other
/// regions is a fifth of it.
/// <https://docs.aws.amazon.com/firehose/latest/dev/limits.html>
pub(crate) const STREAM_BYTES_PER_SECOND: f64 = 5.0 * 1024.0 * 1024.0;

/// The GB-seconds of Lambda per million events, measured on a machine similar to Lambda's and including the SDK's work.
const GB_SECONDS_PER_MILLION_EVENTS: f64 = 12.0;

/// The seconds that a worker waits for the requests of one object, in a function of 0.5 GB that processes 16 objects
/// concurrently.
const SECONDS_PER_OBJECT: f64 = 0.2;

/// The share of one object in the memory of that function, in GB.
const GB_PER_OBJECT: f64 = 0.5 / 16.0;

/// The SQS requests per message: its share of sending, receiving and deleting batches of ten. Each started 64 KB of a
/// batch is billed as one request.
const SQS_REQUESTS_PER_MESSAGE: f64 = 0.6;

/// The estimated time and cost of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The events in the objects.
    pub events: u64,
    /// The bytes of the events as JSON.
    pub event_bytes: u64,
    /// The time that the stream or the budget needs for the events.
    pub time: Duration,
    /// The billed units of AWS, including discovery and listing.
    pub counted: BilledUnits,
}

impl Estimate {
    /// Estimates a run over the objects that this dry run counted. `bytes_per_second` limits the stored bytes, if set.
    pub fn of(counts: &ListingCounts, bytes_per_second: Option<u64>) -> Self {
        let (objects, bytes) = (counts.sent as f64, counts.bytes as f64);
        let event_bytes = bytes * GZIP_RATIO;
        let events = (event_bytes / EVENT_BYTES).max(if bytes > 0.0 { objects } else { 0.0 });
        let messages = (counts.sent as f64 / Packing::default().objects as f64).ceil();
        let by_stream = event_bytes / STREAM_BYTES_PER_SECOND;
        let by_budget = bytes_per_second.map_or(0.0, |rate| bytes / rate.max(1) as f64);
        let counted = BilledUnits {
            write_units: objects * WRITE_UNITS_PER_OBJECT + events * WRITE_UNITS_PER_EVENT,
            read_units: counts.ledger_reads as f64 + objects * READ_UNITS_PER_OBJECT,
            firehose_bytes: event_bytes,
            s3_gets: objects,
            s3_lists: counts.list_requests as f64,
            sqs_requests: messages * SQS_REQUESTS_PER_MESSAGE,
            lambda_requests: (messages / 10.0).ceil(),
            lambda_gb_seconds: events / 1e6 * GB_SECONDS_PER_MILLION_EVENTS
                + objects * SECONDS_PER_OBJECT * GB_PER_OBJECT,
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
    fn estimate_of_a_thousand_objects_matches_known_figures() {
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
        assert_eq!((write_units, read_units, s3_gets, s3_lists, sqs_requests), (5_136.0, 6_150.0, 1_000.0, 9.0, 24.0));
        assert!((0.004..0.01).contains(&estimate.counted.dollars()), "{}", estimate.counted.dollars());
        assert_eq!(Estimate::of(&counts, Some(65_536)).time.as_secs(), 198, "a budget may be slower than the stream");
        assert_eq!(Estimate::of(&ListingCounts::default(), None).counted.dollars(), 0.0);
    }

    /// Notices a change of the ledger's pages that makes the figures wrong.
    #[cfg(feature = "cli")]
    #[tokio::test]
    async fn ledger_units_are_those_of_the_real_pipeline() {
        use crate::billing::estimate::Sample;
        use crate::generate::ObjectSize;
        for events in [9, 17, 59] {
            let sample = Sample::of(ObjectSize::Events(events)).await.unwrap();
            let real = sample.billed_units(sample.events);
            let counts = ListingCounts {
                sent: sample.objects,
                bytes: (sample.events as f64 * EVENT_BYTES / GZIP_RATIO) as u64,
                ..ListingCounts::default()
            };
            let estimate = Estimate::of(&counts, None).counted;
            for (name, estimate, real) in
                [("write", estimate.write_units, real.write_units), ("read", estimate.read_units, real.read_units)]
            {
                let ratio = estimate / real;
                assert!((0.9..1.1).contains(&ratio), "{events} events: {name} units {estimate}, {real} counted");
            }
        }
    }
}
