//! Estimates the AWS cost of a number of events from the requests that the real pipeline makes for a sample.
//!
//! Generated files of the given size go through [`Ingest`] with a ledger, a source and a sink in memory, which count
//! the usage that DynamoDB, S3 and Firehose bill. The counts are then scaled, so there is no second formula to
//! maintain. The cost of an object's messages and invocation follows from the template; see the constants below.

mod in_memory;

use crate::billing::price::{BilledUnits, GB};
use crate::decode;
use crate::event::filter::Filter;
use crate::generate::{ObjectSize, SyntheticObject, account};
use crate::ingest::{CHUNK_BYTES, Deadline, Ingest, KeyPolicy, MAX_BUFFERED_BYTES, Outcome};
use crate::ledger::metered::MeteredStore;
use crate::ledger::store::memory::Memory;
use crate::ledger::{Ledger, cost as ledger_cost};
use crate::sink::cost as sink_cost;
use crate::sink::metered::MeteredSink;
use crate::source::metered::{MeteredSource, SourceCounters, SourceUsage};
use in_memory::{DiscardingSink, InMemorySource};
use std::sync::Arc;
use std::time::Duration;

/// Messages of one invocation: the template's `BatchSize`.
pub(crate) const MESSAGES_PER_INVOCATION: f64 = 10.0;

/// The SQS requests per object: one for the message that S3 sends, and its share of a receive and a delete of
/// [`MESSAGES_PER_INVOCATION`] messages. Empty receives of an idle queue are not included.
pub(crate) const SQS_REQUESTS: f64 = 1.0 + 2.0 / MESSAGES_PER_INVOCATION;

/// The retention of the ledger in months: the template's 90 days.
pub(crate) const RETENTION_MONTHS: f64 = 3.0;

/// The bytes that DynamoDB bills for an item in addition to its attributes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
const ITEM_BYTES: usize = 100;

/// The interval between two files of one account and region: "about every 5 minutes".
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/how-cloudtrail-works.html>
const DELIVERY_INTERVAL_SECONDS: i64 = 300;

/// The limits of a sample: two hours of small files, or fewer files if they are large. A sample has at least two files.
const SAMPLE_EVENTS: u64 = 20_000;
const SAMPLE_FILES: u64 = 24;

/// The counts of an ingested sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Files.
    pub objects: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes of their JSON.
    pub json_bytes: u64,
    /// Bytes as stored in the bucket.
    pub stored_bytes: u64,
    /// The usage of the source.
    pub source: SourceUsage,
    /// The usage of the ledger.
    pub ledger: ledger_cost::LedgerUsage,
    /// The usage of the sink.
    pub sink: sink_cost::SinkUsage,
    /// The size of the ledger in bytes.
    pub ledger_bytes: u64,
}

impl Sample {
    /// Ingests files of this size from one account and region, one every five minutes.
    ///
    /// # Errors
    /// Returns a text that names the file that was not delivered, which is a defect of this program.
    pub async fn of(size: ObjectSize) -> Result<Self, String> {
        Self::with_limits(size, MAX_BUFFERED_BYTES, CHUNK_BYTES).await
    }

    /// Ingests like [`Sample::of`], with other limits for the buffered bytes of an object and for the size of a chunk.
    async fn with_limits(size: ObjectSize, max_buffered_bytes: usize, chunk_bytes: usize) -> Result<Self, String> {
        let source = Arc::new(InMemorySource::default());
        let (mut objects, mut events, mut refs) = (0, 0, Vec::new());
        while objects < 2 || (objects < SAMPLE_FILES && events < SAMPLE_EVENTS) {
            let number = u32::try_from(objects).unwrap_or(u32::MAX);
            let object = SyntheticObject {
                number,
                delivered: 1_768_478_400 + DELIVERY_INTERVAL_SECONDS * i64::from(number),
                ..SyntheticObject::new(1, size)
            };
            let mut stored = Vec::new();
            let written = object.write_gzip(&mut stored).map_err(|error| error.to_string())?;
            events += u64::from(written.events);
            objects += 1;
            refs.push(source.put(&key(number), stored));
        }
        let memory = Arc::new(Memory::default());
        let store = MeteredStore::new(Arc::clone(&memory));
        let sink = MeteredSink::new(Arc::new(DiscardingSink));
        let (source_usage, ledger_usage, sink_usage) =
            (Arc::<SourceCounters>::default(), store.counters(), sink.counters());
        let ingest = Ingest {
            source: Arc::new(MeteredSource::new(source, Arc::clone(&source_usage))),
            ledger: Ledger::new(Arc::new(store), crate::ledger::system_clock(), 90 * 86_400),
            sink: Arc::new(sink),
            limits: decode::DecodeLimits::default(),
            filter: Filter::default(),
            max_buffered_bytes,
            chunk_bytes,
            key_policy: KeyPolicy::CloudTrailLogs,
        };
        let mut sample = Self {
            objects,
            events,
            json_bytes: 0,
            stored_bytes: 0,
            source: SourceUsage::default(),
            ledger: ledger_cost::LedgerUsage::default(),
            sink: sink_cost::SinkUsage::default(),
            ledger_bytes: 0,
        };
        for at in refs {
            match ingest.object(&at, Deadline::within(Duration::from_secs(900))).await {
                Outcome::Done(report) => {
                    sample.json_bytes += report.json_bytes;
                    sample.stored_bytes += report.stored_bytes;
                }
                other => return Err(format!("{at} of the sample was not delivered: {other:?}")),
            }
        }
        sample.source = source_usage.usage();
        (sample.ledger, sample.sink) = (ledger_usage.usage(), sink_usage.usage());
        sample.ledger_bytes = ledger_bytes(&memory);
        Ok(sample)
    }

    /// Returns the billed units of `events` events like those of the sample, without Lambda's execution time. See
    /// docs/cost.md.
    pub fn billed_units(&self, events: u64) -> BilledUnits {
        let objects = self.objects as f64;
        let sample = BilledUnits {
            firehose_bytes: self.sink.billed_bytes as f64,
            ledger_gb_months: self.ledger_bytes as f64 / GB * RETENTION_MONTHS,
            s3_gets: self.source.gets as f64,
            sqs_requests: objects * SQS_REQUESTS,
            lambda_requests: objects / MESSAGES_PER_INVOCATION,
            ..BilledUnits::ledger(self.ledger)
        };
        sample * (events as f64 / self.events.max(1) as f64)
    }
}

fn ledger_bytes(memory: &Memory) -> u64 {
    let contents = memory.contents();
    let pages = contents.pages.iter().map(|(name, page)| ledger_cost::page_bytes(name, page));
    let rows = contents.rows.values().map(ledger_cost::row_bytes);
    pages.chain(rows).map(|bytes| (bytes + ITEM_BYTES) as u64).sum()
}

/// A key of the length and shape that CloudTrail gives.
fn key(number: u32) -> String {
    let account = account(0);
    format!(
        "AWSLogs/o-exampleorgid/{account}/CloudTrail/us-east-1/2026/01/15/\
         {account}_CloudTrail_us-east-1_20260115T1200Z_{number:016}.json.gz"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small object costs two writes of its row, one write per page, and one GET.
    #[tokio::test]
    async fn estimate_is_the_scaled_usage_of_a_real_run() {
        let sample = Sample::of(ObjectSize::Events(8)).await.unwrap();
        assert_eq!((sample.objects, sample.events), (24, 192));
        assert_eq!(sample.sink.calls, 24);
        assert!(sample.ledger.write_units >= 3 * 24, "{:?}", sample.ledger);
        let billed_units = sample.billed_units(1_920);
        assert_eq!(billed_units.write_units, 10.0 * sample.ledger.write_units as f64);
        assert_eq!(billed_units.read_units, 10.0 * sample.ledger.read_units as f64);
        assert_eq!(billed_units.firehose_bytes, 10.0 * sample.sink.billed_bytes as f64);
        assert_eq!((billed_units.s3_gets, billed_units.lambda_requests), (240.0, 24.0));
        assert!(
            sample.sink.bytes < sample.sink.billed_bytes && sample.sink.billed_bytes < sample.sink.bytes + 24 * 5_120
        );
    }

    /// A small object costs two writes of its row, one per page, and at most one further unit.
    #[tokio::test]
    async fn small_object_costs_at_most_three_write_units_and_its_pages() {
        let sample = Sample::of(ObjectSize::Events(8)).await.unwrap();
        let Sample { objects, ledger, .. } = sample;
        let pages = ledger.writes - 2 * objects;
        assert!(ledger.write_units <= 3 * objects + pages, "{ledger:?}");
        assert_eq!(ledger.refused, 0);
    }

    #[tokio::test]
    async fn each_chunk_of_a_large_object_is_requested_twice() {
        let sample = Sample::with_limits(ObjectSize::Bytes(600_000), 50_000, 20_000).await.unwrap();
        let object_bytes = sample.stored_bytes.div_ceil(sample.objects);
        assert!(object_bytes > 60_000, "{sample:?}");
        let chunks = 2 * sample.objects * object_bytes.div_ceil(20_000);
        assert!((chunks - 2 * sample.objects..=chunks).contains(&sample.source.gets), "{sample:?}");
    }

    #[tokio::test]
    async fn firehose_bill_of_a_large_object_barely_exceeds_its_payload() {
        let sample = Sample::of(ObjectSize::Bytes(1_100_000)).await.unwrap();
        assert!(sample.sink.billed_bytes * 100 <= sample.sink.bytes * 102, "{:?}", sample.sink);
    }
}
